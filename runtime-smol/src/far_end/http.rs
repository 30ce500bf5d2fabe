//! HTTP/1.1 as plainly as it can be spoken: one exchange a connection, bodies by their length or the connection's end.

use bytes::Bytes;
use callwarden_core::fetch::{FetchError, FetchRequest, FetchResponse};
use callwarden_core::http::{Headers, Method};
use callwarden_core::limits;
use smol::Timer;
use smol::future::or;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use smol::net::TcpStream;
use std::fmt::Write as _;

/// Sends a request to `server` and reads its whole answer.
pub(super) async fn exchange(server: &str, request: FetchRequest) -> Result<FetchResponse, FetchError> {
    let (timeout, connect) = (request.timeout, TcpStream::connect(server));
    let mut connected = false;
    let work = async {
        let mut stream = connect.await.map_err(|error| FetchError::NotSent(error.to_string()))?;
        connected = true;
        stream.set_nodelay(true).ok();
        let answer = converse(&mut stream, &request).await;
        answer.map_err(FetchError::Ambiguous)
    };
    let late = async {
        Timer::after(timeout).await;
        None
    };
    let result = or(async { Some(work.await) }, late).await;
    result.unwrap_or_else(|| {
        let text = "no answer in time".to_owned();
        Err(if connected { FetchError::Ambiguous(text) } else { FetchError::NotSent(text) })
    })
}

async fn converse(stream: &mut TcpStream, request: &FetchRequest) -> Result<FetchResponse, String> {
    let mut bytes = head(request).into_bytes();
    bytes.extend_from_slice(&request.body);
    stream.write_all(&bytes).await.map_err(|error| error.to_string())?;
    let (head, early) = read_head(stream).await?.ok_or("the connection was closed without an answer")?;
    let (status, headers) = parse_answer(&head)?;
    if headers.get("transfer-encoding").is_some() {
        return Err("the answer is chunked; this simple client reads bodies by their length".to_owned());
    }
    let bodiless = matches!(status, 204 | 304) || request.method == Method::Head;
    let length = if bodiless { Some(0) } else { content_length(&headers)? };
    let body = read_body(stream, early, length, request.response_bytes_max).await?;
    Ok(FetchResponse { status, headers, body })
}

fn head(request: &FetchRequest) -> String {
    let method = match request.method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Options => "OPTIONS",
        Method::Patch => "PATCH",
    };
    let (authority, target) = parts(&request.url);
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n");
    for (name, value) in &request.headers {
        write!(head, "{name}: {value}\r\n").expect("writing to a string does not fail");
    }
    if request.method == Method::Post || !request.body.is_empty() {
        write!(head, "content-length: {}\r\n", request.body.len()).expect("writing to a string does not fail");
    }
    head.push_str("\r\n");
    head
}

/// Authority and target of an absolute URL.
pub(super) fn parts(url: &str) -> (&str, &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    }
}

/// The bytes up to the empty line, and those after it that came along; `None` when nothing came at all.
pub(super) async fn read_head(stream: &mut TcpStream) -> Result<Option<(Vec<u8>, Vec<u8>)>, String> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4_096]);
    loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(at + 4);
            return Ok(Some((bytes, rest)));
        }
        if bytes.len() > limits::HEAD_BYTES_MAX {
            return Err("the head is too long".to_owned());
        }
        match stream.read(&mut buffer).await {
            Ok(0) if bytes.is_empty() => return Ok(None),
            Ok(0) => return Err("the connection was closed within a head".to_owned()),
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Reads a body of this length, or up to the connection's end.
pub(super) async fn read_body(
    stream: &mut TcpStream,
    early: Vec<u8>,
    length: Option<usize>,
    max: usize,
) -> Result<Bytes, String> {
    let (mut body, mut buffer) = (early, [0; 16_384]);
    while length.is_none_or(|length| body.len() < length) {
        if body.len() > max {
            return Err("the body is too long".to_owned());
        }
        match stream.read(&mut buffer).await {
            Ok(0) if length.is_none() => break,
            Ok(0) => return Err("the connection was closed within a body".to_owned()),
            Ok(count) => body.extend_from_slice(&buffer[..count]),
            Err(error) => return Err(error.to_string()),
        }
    }
    body.truncate(length.unwrap_or(usize::MAX));
    Ok(body.into())
}

pub(super) fn content_length(headers: &Headers) -> Result<Option<usize>, String> {
    let length = headers.get("content-length").map(str::parse).transpose();
    length.map_err(|_| "content-length is no number".to_owned())
}

fn parse_answer(head: &[u8]) -> Result<(u16, Headers), String> {
    let mut lines = [httparse::EMPTY_HEADER; limits::HEADERS_MAX];
    let mut answer = httparse::Response::new(&mut lines);
    answer.parse(head).map_err(|error| format!("the answer is no HTTP: {error}"))?;
    Ok((answer.code.unwrap_or_default(), headers(answer.headers)))
}

/// Header lines as text; what is not UTF-8 is replaced.
pub(super) fn headers(lines: &[httparse::Header<'_>]) -> Headers {
    lines.iter().map(|line| (line.name, String::from_utf8_lossy(line.value))).collect()
}
