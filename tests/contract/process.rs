//! The server as a process, met with what it should never be sent: over real sockets, while a healthy call streams.

mod database;
mod floods;
mod http;
mod life;
mod nodes;
mod prompts;
mod secrets;
mod sockets;
mod webhooks;

use super::{BINARY, RUNTIME};
use callwarden_core::path;
use callwarden_tests::caller::{Healthy, stop_server};
use callwarden_tests::http::{RawAnswer, soon};
use callwarden_tests::process::Server;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The server, as it is deployed.
fn server(variables: &[(&str, &str)]) -> Server {
    Server::start(BINARY, variables)
}

/// A directory that goes with its test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("callwarden-נתונים-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// Runs a test beside a healthy stream, which it must not harm though both share one thread.
fn beside_a_healthy_stream(test: impl AsyncFnOnce(&Server, &Healthy)) {
    smol::block_on(async {
        let server = server(&[("WORKER_THREADS", "1")]);
        let healthy = Healthy::start(&server).await;
        test(&server, &healthy).await;
        healthy.finish(&server).await;
        stop_server(server).await;
    });
}

async fn page(server: &Server, path: &str) -> RawAnswer {
    let mut client = server.connect().await;
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n").as_bytes()).await.expect("open");
    client.answer().await.expect("an answer")
}

/// Waits until the database answers the server, or no longer does.
async fn until_ready_is(server: &Server, status: u16) {
    soon("/readyz", async {
        while page(server, path::READYZ).await.status != status {
            smol::Timer::after(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[test]
fn version_is_all_that_tells_one_server_from_the_other() {
    smol::block_on(async {
        let server = server(&[("GIT_COMMIT", "0123abcd"), ("DEPLOY_ID", "blue-7")]);
        let version = page(&server, path::VERSION).await;
        let mut version: Value = serde_json::from_slice(&version.body).expect("JSON");
        let own = version.as_object_mut().expect("an object");
        assert!(own.remove("node").is_some_and(|node| node.is_string()));
        assert!(own.remove("started_at_unix_ms").is_some_and(|started| started.is_i64()));
        let expected = json!({
            "name": "callwarden", "version": env!("CARGO_PKG_VERSION"), "git_commit": "0123abcd",
            "deploy_id": "blue-7", "runtime": RUNTIME,
        });
        assert_eq!(version, expected);
        stop_server(server).await;
    });
}
