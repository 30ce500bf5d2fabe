//! The REST interface: accepts connections, reads one request each, and puts it to the call it names.

use super::{Exchange, http};
use callwarden_core::far_end::{rest_call, rest_refusal};
use callwarden_core::fetch::{FetchRequest, FetchResponse};
use callwarden_core::http::Method;
use callwarden_core::limits;
use callwarden_core::secret::Secret;
use smol::Timer;
use smol::future::or;
use smol::io::AsyncWriteExt as _;
use smol::net::{TcpListener, TcpStream};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, exchange: Arc<Exchange>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => smol::spawn(attend(stream, Arc::clone(&exchange))).detach(),
            Err(_) => drop(Timer::after(limits::BODY_TIME).await),
        }
    }
}

async fn attend(mut stream: TcpStream, exchange: Arc<Exchange>) {
    let late = async {
        Timer::after(limits::FAR_END_REQUEST_TIME).await;
        Err("no request in time".to_owned())
    };
    let answer = match or(read(&mut stream), late).await {
        Ok(Some(request)) => answer(&exchange, &request),
        Ok(None) => return,
        Err(cause) => rest_refusal(400, 20001, &cause),
    };
    let bytes = [head(&answer).as_bytes(), &answer.body].concat();
    // A client that left before its answer is its own affair.
    stream.write_all(&bytes).await.ok();
    stream.close().await.ok();
}

/// The head of an answer after which the connection is closed.
pub(super) fn head(answer: &FetchResponse) -> String {
    let mut head = format!("HTTP/1.1 {} Simulated\r\ncontent-length: {}\r\n", answer.status, answer.body.len());
    for (name, value) in answer.headers.iter() {
        write!(head, "{name}: {value}\r\n").expect("writing to a string does not fail");
    }
    head.push_str("connection: close\r\n\r\n");
    head
}

async fn read(stream: &mut TcpStream) -> Result<Option<FetchRequest>, String> {
    let Some((head, early)) = http::read_head(stream).await? else { return Ok(None) };
    let (mut request, length) = parse(&head)?;
    request.body = http::read_body(stream, early, Some(length), limits::BODY_BYTES_MAX).await?;
    Ok(Some(request))
}

/// The head of a request, as a request without its body, and the length of the body.
pub(super) fn parse(head: &[u8]) -> Result<(FetchRequest, usize), String> {
    let mut lines = [httparse::EMPTY_HEADER; limits::HEADERS_MAX];
    let mut request = httparse::Request::new(&mut lines);
    request.parse(head).map_err(|error| format!("the request is no HTTP: {error}"))?;
    let method = match request.method {
        Some("GET") => Method::Get,
        Some("POST") => Method::Post,
        Some("DELETE") => Method::Delete,
        Some(_) | None => Method::Options,
    };
    let url = request.path.unwrap_or_default().to_owned();
    let headers = http::headers(request.headers);
    let length = http::content_length(&headers)?.unwrap_or(0);
    let request = FetchRequest {
        method,
        url,
        headers: headers.get("content-type").map(|kind| ("content-type", kind.to_owned())).into_iter().collect(),
        authorization: headers.get("authorization").map(Secret::new),
        body: Default::default(),
        timeout: limits::FAR_END_REQUEST_TIME,
        response_bytes_max: limits::REST_BYTES_MAX,
        public_only: false,
    };
    Ok((request, length))
}

fn answer(exchange: &Exchange, request: &FetchRequest) -> FetchResponse {
    match exchange.refusal.load(Ordering::Relaxed) {
        0 => {}
        401 => return rest_refusal(401, 20003, "Authenticate"),
        429 => return rest_refusal(429, 20429, "Too Many Requests"),
        status => return rest_refusal(status, 20500, "Internal Server Error"),
    }
    let call = match rest_call(&request.url) {
        Some((_, call)) => exchange.calls().get(&call).cloned(),
        None => exchange.calls().values().find(|call| call.machine().answers(&request.url)).cloned(),
    };
    match call {
        Some(call) => call.rest(request),
        None => rest_refusal(404, 20404, &format!("The requested resource {} was not found", request.url)),
    }
}
