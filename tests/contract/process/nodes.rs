//! Two processes behind one balancer: a webhook may reach the one that does not stream the call.

use super::{server, until_ready_is};
use callwarden_core::path;
use callwarden_core::sid::{CallSid, StreamSid};
use callwarden_tests::caller::{announce, media, start, stop_server};
use callwarden_tests::database::TestDatabase;
use callwarden_tests::websocket::Socket;

fn call() -> CallSid {
    CallSid::from_number(1)
}

fn sid() -> StreamSid {
    StreamSid::from_number(1)
}

#[test]
fn a_call_announced_to_one_process_streams_to_another() {
    smol::block_on(async {
        let database = TestDatabase::postgres();
        let url = database.url();
        let variables = [("DATABASE_URL", url.as_str())];
        let (announced, streaming) = (server(&variables), server(&variables));
        for server in [&announced, &streaming] {
            until_ready_is(server, 200).await;
        }
        let token = announce(&announced, call()).await;
        streaming.keep_secret(&token);
        let mut socket = Socket::open(streaming.connect().await, path::MEDIA).await;
        socket.text(&start(call(), sid(), &token)).await.expect("open");
        socket.text(&media(sid(), 1)).await.expect("open");
        streaming.wait_for_line("WS_FRAME", |line| line["stream_sid"] == sid().as_str());
        socket.close().await;
        for server in [announced, streaming] {
            stop_server(server).await;
        }
        let rows = database.rows("call_log").await;
        let row = rows.iter().find(|row| row["call_sid"] == call().as_str()).expect("a row");
        assert_eq!((row["frames"].as_str(), row["status"].as_str()), ("1", "completed"));
    });
}
