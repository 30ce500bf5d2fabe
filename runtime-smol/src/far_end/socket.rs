//! The task of one WebSocket of the simulated Twilio.

use super::call::Arrival;
use super::http;
use async_tungstenite::tungstenite::client::IntoClientRequest as _;
use async_tungstenite::tungstenite::handshake::client::Request;
use async_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use async_tungstenite::tungstenite::{Error, Message};
use async_tungstenite::{WebSocketStream, client_async};
use callwarden_core::far_end::SocketId;
use callwarden_core::limits;
use futures_util::StreamExt as _;
use smol::Timer;
use smol::channel::{Receiver, Sender};
use smol::future::or;
use smol::net::TcpStream;

/// What a close frame without a code counts as (RFC 6455, 7.1.5).
const NO_CODE: u16 = 1005;

/// What a socket's task is told to do.
#[derive(Debug)]
pub(super) enum Order {
    Send(String),
    /// Close properly.
    Close,
    /// Cut the connection.
    Drop,
}

/// Opens a socket and serves it to its end. A call that is over hears of nothing any more.
pub(super) async fn run(
    id: SocketId,
    server: &str,
    url: &str,
    headers: &[(&'static str, String)],
    orders: &Receiver<Order>,
    arrivals: &Sender<Arrival>,
) {
    let tell = |arrival| arrivals.try_send(arrival).unwrap_or_default();
    let given_up = async {
        // Before the socket is open the machine only ever gives it up.
        orders.recv().await.ok();
        None
    };
    let opened = or(given_up, async { Some(open(server, url, headers).await) }).await;
    match opened {
        None => {}
        Some(Err(status)) => tell(Arrival::Failed(id, status)),
        Some(Ok(socket)) => {
            tell(Arrival::Opened(id));
            serve(id, socket, orders, &tell).await;
        }
    }
}

/// Connects and shakes hands; on failure the status of the answer, if one came.
async fn open(
    server: &str,
    url: &str,
    headers: &[(&'static str, String)],
) -> Result<WebSocketStream<TcpStream>, Option<u16>> {
    let work = async {
        let request = request(url, headers).map_err(|_| None)?;
        let stream = TcpStream::connect(server).await.map_err(|_| None)?;
        stream.set_nodelay(true).ok();
        match client_async(request, stream).await {
            Ok((socket, _)) => Ok(socket),
            Err(Error::Http(answer)) => Err(Some(answer.status().as_u16())),
            Err(_) => Err(None),
        }
    };
    or(work, async {
        Timer::after(limits::FAR_END_REQUEST_TIME).await;
        Err(None)
    })
    .await
}

fn request(url: &str, headers: &[(&'static str, String)]) -> Result<Request, Error> {
    let (authority, target) = http::parts(url);
    let mut request = format!("ws://{authority}{target}").into_client_request()?;
    for (name, value) in headers {
        request.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_str(value)?);
    }
    Ok(request)
}

enum Step {
    Order(Option<Order>),
    Message(Option<Result<Message, Error>>),
}

async fn serve(
    id: SocketId,
    mut socket: WebSocketStream<TcpStream>,
    orders: &Receiver<Order>,
    tell: &impl Fn(Arrival),
) {
    loop {
        let order = async { Step::Order(orders.recv().await.ok()) };
        let message = async { Step::Message(socket.next().await) };
        match or(order, message).await {
            Step::Order(Some(Order::Send(text))) => {
                if socket.send(Message::text(text)).await.is_err() {
                    return tell(Arrival::Closed(id, None));
                }
            }
            Step::Order(Some(Order::Close)) => return close(socket).await,
            Step::Order(Some(Order::Drop) | None) => return,
            Step::Message(Some(Ok(Message::Text(text)))) => tell(Arrival::Text(id, text.as_str().to_owned())),
            Step::Message(Some(Ok(Message::Binary(_)))) => tell(Arrival::Binary(id)),
            Step::Message(Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)))) => {}
            Step::Message(Some(Ok(Message::Close(frame)))) => {
                tell(Arrival::Closed(id, Some(frame.map_or(NO_CODE, |frame| frame.code.into()))));
                return drain(socket).await;
            }
            Step::Message(Some(Err(_)) | None) => return tell(Arrival::Closed(id, None)),
        }
    }
}

/// Says goodbye and waits for the server's, for a while.
async fn close(mut socket: WebSocketStream<TcpStream>) {
    // A server that is gone already needs no goodbye.
    socket.close(None).await.ok();
    drain(socket).await;
}

/// Reads to the end: the library answers a close of the server's meanwhile.
async fn drain(mut socket: WebSocketStream<TcpStream>) {
    let rest = async { while let Some(Ok(_)) = socket.next().await {} };
    or(rest, async {
        Timer::after(limits::CLOSE_TIME).await;
    })
    .await;
}
