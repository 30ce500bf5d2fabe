//! The task's own duties, on the real machine. What the machine decides is tested in the core.

use super::*;
use crate::fetch::ClientSettings;
use callwarden_core::config::Config;
use callwarden_core::http::{Headers, Method};
use callwarden_core::id::StreamKind;
use callwarden_core::key::Slab;
use callwarden_core::stream::StreamSettings;
use std::net::{IpAddr, Ipv4Addr};
use tokio::runtime::{Builder, Runtime};

/// A switchboard whose effects go nowhere: its runtime is not run.
struct Bench {
    switch: Switch,
    inbox: Receiver<Message>,
    _runtime: Runtime,
}

fn bench() -> Bench {
    let config = Config::from_pairs([]).expect("the defaults");
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let context = runtime.enter();
    let (sender, inbox) = channel(limits::INBOX_MAX);
    let prompts = crate::prompts::read(&config).expect("no files");
    let settings = crate::serve::settings(&config, prompts).expect("random bytes");
    let data_dir = std::env::temp_dir().join(format!("callwarden-switch-{}", settings.node));
    let hands = Hands {
        clock: Clock::start(),
        spawner: Spawner::new(runtime.handle()),
        client: Client::new(ClientSettings::default()),
        store: Arc::new(Store::new(&config.database).expect("a store")),
        disk: Disk::new(&data_dir, &settings.node).expect("a directory"),
        inbox: sender,
    };
    std::fs::remove_dir_all(&data_dir).expect("nothing is written");
    let mut out = Vec::new();
    let board = Switchboard::new(hands.clock.now(), settings, &mut out);
    drop(context);
    let (waiting, streams) = (BTreeMap::new(), BTreeMap::new());
    Bench { switch: Switch { board, hands, out, waiting, streams, draining: false }, inbox, _runtime: runtime }
}

fn request() -> Request {
    let (headers, body) = (Headers::default(), bytes::Bytes::new());
    let target = "/healthz".to_owned();
    Request { method: Method::Get, target, headers, body, peer: IpAddr::V4(Ipv4Addr::LOCALHOST) }
}

#[test]
fn a_request_is_answered_and_a_client_that_is_gone_harms_nothing() {
    let mut bench = bench();
    let (reply, mut answer) = oneshot::channel();
    let (gone, _) = oneshot::channel();
    for reply in [gone, reply] {
        bench.switch.handle(Message::Request { request: request(), reply });
    }
    assert!(matches!(answer.try_recv(), Ok(Answer::Response(_))));
    assert!(bench.switch.waiting.is_empty());
}

#[test]
fn one_request_too_many_is_answered_at_once() {
    let mut bench = bench();
    while bench.switch.board.admit(&request()).is_ok() {}
    let (reply, mut answer) = oneshot::channel();
    bench.switch.handle(Message::Request { request: request(), reply });
    assert!(matches!(answer.try_recv(), Ok(Answer::Response(response)) if response.status == 503));
}

#[test]
fn a_stream_that_leaves_its_commands_lying_is_let_go() {
    let mut bench = bench();
    let id = Slab::new(1).insert(StreamKind).expect("room");
    let (sender, commands) = channel(limits::COMMANDS_PER_STREAM_MAX);
    bench.switch.streams.insert(id, sender);
    for _ in 0..limits::COMMANDS_PER_STREAM_MAX {
        bench.switch.command(id, StreamCommand::Release);
    }
    assert!(!commands.is_closed());
    bench.switch.command(id, StreamCommand::Close);
    assert!(commands.is_closed() && bench.switch.streams.is_empty());
    bench.switch.command(id, StreamCommand::Close);
}

#[test]
fn an_upgrade_for_a_client_that_is_gone_reports_its_end() {
    let mut bench = bench();
    let request = bench.switch.board.admit(&request()).expect("room");
    let id = Slab::new(1).insert(StreamKind).expect("room");
    let (reply, _) = oneshot::channel();
    bench.switch.waiting.insert(request, reply);
    let settings =
        StreamSettings { media_timeout: Duration::from_secs(6), end_silence: None, listen: false, trace_frames: false };
    let machine = Box::new(MediaStream::new(bench.switch.hands.clock.mono(), "1.0", settings));
    bench.switch.upgrade(request, id, machine);
    let end = bench.inbox.try_recv().expect("a report");
    assert!(matches!(end, Message::Stream { report: StreamReport::Ended { .. }, .. }), "{end:?}");
    bench.switch.handle(end);
    assert!(bench.switch.streams.is_empty() && bench.inbox.is_empty());
}
