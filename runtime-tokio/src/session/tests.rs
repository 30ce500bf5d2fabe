//! The loop with the real machine, over real sockets.

use super::*;
use callwarden_core::id::StreamKind;
use callwarden_core::key::Slab;
use callwarden_core::sid::{CallSid, StreamSid};
use callwarden_core::stream::{StreamSettings, Trouble};
use futures_util::StreamExt;
use std::cell::RefCell;
use std::future::Future;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::ReadBuf;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Mutex;
use tokio::sync::mpsc::channel;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

type Socket = WebSocketStream<UnixStream>;

/// One stream as the switchboard and the peer see it.
struct Line {
    runtime: Runtime,
    /// There until the switchboard lets go.
    commands: RefCell<Option<Sender<StreamCommand>>>,
    inbox: Sender<SwitchMessage>,
    reports: Mutex<Receiver<SwitchMessage>>,
}

impl Line {
    /// A session and everything around it, with room for `inbox` messages to the switchboard.
    fn new(inbox: usize, media_timeout: Duration) -> (Self, Session) {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (commands, receiver) = channel(limits::COMMANDS_PER_STREAM_MAX);
        let (sender, reports) = channel(inbox);
        let clock = Clock::start();
        let settings = StreamSettings { media_timeout, end_silence: None, listen: false, trace_frames: false };
        let machine = Box::new(MediaStream::new(clock.mono(), "1.0", settings));
        let id = Slab::new(1).insert(StreamKind).expect("room");
        let session = Session::new(id, machine, receiver, sender.clone(), clock, Spawner::new(runtime.handle()));
        (Self { runtime, commands: RefCell::new(Some(commands)), inbox: sender, reports: Mutex::new(reports) }, session)
    }

    /// Runs the session on one end of a socket and `peer` on the other; both must end.
    fn converse<F: Future<Output = ()>>(&self, session: Session, peer: impl FnOnce(Socket) -> F) {
        let config = WebSocketConfig::default().max_message_size(Some(limits::MESSAGE_BYTES_MAX));
        self.runtime.block_on(within_seconds(async {
            let (ours, theirs) = UnixStream::pair().expect("a pair");
            let socket = WebSocketStream::from_raw_socket(ours, Role::Server, Some(config)).await;
            let running = tokio::spawn(session.run(socket));
            peer(WebSocketStream::from_raw_socket(theirs, Role::Client, None).await).await;
            running.await.expect("no panic");
        }));
    }

    async fn report(&self) -> StreamReport {
        let message = self.reports.lock().await.recv().await.expect("a report");
        let SwitchMessage::Stream { report, .. } = message else { panic!("not a report: {message:?}") };
        report
    }

    /// The last report, which must be the end and the only thing left.
    fn end(&self) -> String {
        let report = self.runtime.block_on(within_seconds(self.report()));
        assert!(!self.has_report());
        let StreamReport::Ended { how, .. } = report else { panic!("not the end: {report:?}") };
        how
    }

    /// Presents a stream and has it accepted.
    async fn start(&self, socket: &mut Socket) {
        socket.send(Message::text(start())).await.expect("sent");
        assert!(matches!(self.report().await, StreamReport::Started(_)));
        self.command(StreamCommand::Accept);
    }

    fn command(&self, command: StreamCommand) {
        self.commands.borrow().as_ref().expect("not let go").try_send(command).expect("room");
    }

    fn has_report(&self) -> bool {
        !self.reports.try_lock().expect("nobody waits").is_empty()
    }
}

async fn within_seconds<T>(test: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), test).await.expect("the test waits for something that does not come")
}

fn sids() -> (CallSid, StreamSid) {
    (CallSid::from_number(1), StreamSid::from_number(2))
}

fn start() -> String {
    let (call, stream) = sids();
    format!(
        r#"{{"event":"start","sequenceNumber":"1","streamSid":"{stream}","start":{{"streamSid":"{stream}","callSid":"{call}","tracks":["inbound"],"customParameters":{{"שם":"ערך"}},"mediaFormat":{{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}}}}}}"#
    )
}

fn media(chunk: u32) -> String {
    let (_, stream) = sids();
    format!(
        r#"{{"event":"media","sequenceNumber":"{}","streamSid":"{stream}","media":{{"track":"inbound","chunk":"{chunk}","timestamp":"{}","payload":"/////w=="}}}}"#,
        chunk + 1,
        chunk * 20
    )
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_stream_starts_is_heard_and_ends_once_when_the_peer_closes() {
    let (line, session) = Line::new(8, LONG);
    line.converse(session, async |mut socket| {
        line.start(&mut socket).await;
        socket.send(Message::text(media(1))).await.expect("sent");
        assert!(matches!(line.report().await, StreamReport::Heard(counts) if counts.frames == 1));
        // The mark that learns whether this stream echoes.
        let mark = socket.next().await.expect("open").expect("a message");
        assert!(mark.to_text().expect("text").contains("\"mark\""), "{mark}");
        socket.close(None).await.expect("sent");
        let answer = socket.next().await;
        assert!(matches!(answer, Some(Ok(Message::Close(_)))), "{answer:?}");
        assert!(socket.next().await.is_none());
    });
    assert!(line.end().contains("closed"));
}

#[test]
fn a_ping_is_answered_and_binary_is_survived() {
    let (line, session) = Line::new(8, LONG);
    line.converse(session, async |mut socket| {
        socket.send(Message::binary(vec![0, 1, 2])).await.expect("sent");
        socket.send(Message::Ping("שלום".into())).await.expect("sent");
        let pong = socket.next().await.expect("open").expect("a message");
        assert_eq!(pong, Message::Pong("שלום".into()));
        drop(socket);
    });
    line.end();
}

#[test]
fn a_close_command_sends_a_close_frame_and_waits_for_the_peers() {
    let (line, session) = Line::new(8, LONG);
    line.converse(session, async |mut socket| {
        line.start(&mut socket).await;
        line.command(StreamCommand::Close);
        let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { panic!("no close frame") };
        assert_eq!(frame.code, CloseCode::Normal);
        assert!(!line.has_report(), "the socket is still there");
        while let Some(Ok(_)) = socket.next().await {}
    });
    line.end();
}

#[test]
fn a_frame_watch_expires_by_the_timer() {
    let (line, session) = Line::new(8, Duration::from_millis(30));
    line.converse(session, async |mut socket| {
        line.start(&mut socket).await;
        assert!(matches!(line.report().await, StreamReport::Trouble(Trouble::Mute, _)));
        drop(socket);
    });
    line.end();
}

#[test]
fn a_message_that_is_too_long_closes_with_1009() {
    let (line, session) = Line::new(8, LONG);
    line.converse(session, async |mut socket| {
        socket.send(Message::text("א".repeat(limits::MESSAGE_BYTES_MAX))).await.ok();
        let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { panic!("no close frame") };
        assert_eq!(frame.code, CloseCode::Size);
    });
    line.end();
}

#[test]
fn a_flooding_socket_does_not_keep_commands_out() {
    let (line, session) = Line::new(8, LONG);
    line.converse(session, async |socket| {
        let (mut sender, mut receiver) = socket.split();
        let flood = async {
            for number in 0.. {
                if sender.send(Message::Ping(vec![number as u8].into())).await.is_err() {
                    return;
                }
                if number == limits::INPUTS_PER_TURN_MAX * 4 {
                    line.command(StreamCommand::Close);
                }
            }
        };
        let closed = async {
            loop {
                match receiver.next().await {
                    Some(Ok(Message::Close(_))) | None => return,
                    Some(_) => {}
                }
            }
        };
        tokio::select! {
            () = flood => {}
            () = closed => {}
        }
    });
    line.end();
}

#[test]
fn a_stream_without_a_switchboard_to_hear_is_let_go() {
    let (line, session) = Line::new(8, LONG);
    line.converse(session, async |mut socket| {
        line.commands.take();
        let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { panic!("no close frame") };
        assert_eq!(frame.code, CloseCode::Error);
    });
    assert!(line.end().contains("let go"));
}

#[test]
fn a_session_that_never_gets_its_socket_ends_once() {
    let (line, session) = Line::new(8, LONG);
    drop(session);
    assert!(line.end().contains("the socket was dropped"));
}

#[test]
fn the_end_waits_for_room_and_comes_last() {
    let (line, session) = Line::new(1, LONG);
    line.inbox.try_send(SwitchMessage::Drain).expect("room");
    drop(session);
    assert!(matches!(line.reports.try_lock().expect("nobody waits").try_recv(), Ok(SwitchMessage::Drain)));
    line.end();
}

/// A socket whose driver has a bug.
struct Broken;

impl AsyncRead for Broken {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        panic!("no bytes today")
    }
}

impl AsyncWrite for Broken {
    fn poll_write(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()))
    }
}

#[test]
fn a_panic_in_the_task_ends_the_stream_once_and_says_why() {
    let (line, session) = Line::new(8, LONG);
    line.runtime.block_on(within_seconds(async {
        let socket = WebSocketStream::from_raw_socket(Broken, Role::Server, None).await;
        session.run(socket).await;
    }));
    assert!(line.end().contains("the stream's task panicked: no bytes today"));
}

#[test]
fn a_stream_costs_little_memory_beside_its_read_buffer() {
    let (line, session) = Line::new(8, LONG);
    let socket = line.runtime.block_on(async {
        let (ours, _theirs) = UnixStream::pair().expect("a pair");
        WebSocketStream::from_raw_socket(ours, Role::Server, None).await
    });
    let future = session.run(socket);
    // A streaming call may cost 16 KiB, and the kernel, the library and the switchboard want the rest of it.
    assert!(size_of_val(&future) + size_of::<MediaStream>() <= 4 * 1024, "{}", size_of_val(&future));
}
