//! The server as a process, met with what it should never be sent: over real sockets, while a healthy call streams.

mod floods;
mod http;
mod sockets;
mod webhooks;

use callwarden_tests::caller::Healthy;
use callwarden_tests::process::Server;

/// The binary under test, as it is deployed.
fn server(variables: &[(&str, &str)]) -> Server {
    Server::start(env!("CARGO_BIN_EXE_callwarden"), variables)
}

/// Runs a test beside a healthy stream, which it must not harm.
fn beside_a_healthy_stream(test: impl AsyncFnOnce(&Server, &Healthy)) {
    smol::block_on(async {
        let server = server(&[]);
        let healthy = Healthy::start(&server).await;
        test(&server, &healthy).await;
        healthy.finish(&server).await;
        server.stop();
    });
}
