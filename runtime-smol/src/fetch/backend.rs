//! The HTTP backend behind `surf`: our connections, our framing, and the `async-h1` codec on complete messages only.

use super::ClientSettings;
use super::connect::{Connector, Origin};
use super::exchange::{Deadlines, exchange};
use super::pool::Pool;
use super::response::{Answer, Framer};
use async_h1::client::{Encoder, decode};
use async_trait::async_trait;
use callwarden_core::fetch::FetchError;
use callwarden_core::http::Headers;
use core::fmt::Write;
use http_client::{Error, HttpClient, Request, Response};
use http_types::{Method, StatusCode};
use smol::io::{AsyncReadExt, Cursor};
use std::time::Instant;

/// What a request is allowed; travels as an extension of the request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// The answer is due.
    pub(super) due: Instant,
    /// Bytes of its body at most.
    pub(super) response_bytes_max: usize,
    /// It goes to public addresses only.
    pub(super) public_only: bool,
}

/// The head as received; travels as an extension of the response. The codec's own knows fewer status codes, forgets
/// the order of the lines and invents a `date`.
#[derive(Clone, Debug)]
pub(super) struct ReceivedHead {
    /// 200 to 599.
    pub(super) status: u16,
    /// The header lines.
    pub(super) headers: Headers,
}

/// Performs requests over pooled connections.
#[derive(Debug)]
pub(super) struct Backend {
    connector: Connector,
    pool: Pool,
    settings: ClientSettings,
}

impl Backend {
    /// A backend without connections.
    pub(super) fn new(settings: ClientSettings) -> Self {
        let connector = Connector::new(settings.extra_roots.clone());
        Self { connector, pool: Pool::new(settings.idle_time), settings }
    }

    /// Sends the request once, over a kept connection or a new one.
    async fn perform(&self, request: Request) -> Result<Answer, FetchError> {
        let not_sent = |cause: &str| FetchError::NotSent(cause.to_owned());
        let budget = *request.ext().get::<Budget>().ok_or_else(|| not_sent("the request has no budget"))?;
        let origin = Origin::of(request.url(), budget.public_only)
            .ok_or_else(|| not_sent("the URL is neither http nor https"))?;
        let mut connection = match self.pool.take(&origin).await {
            Some(connection) => connection,
            None => {
                let time = self.settings.connect_time.min(budget.due.saturating_duration_since(Instant::now()));
                self.connector.connect(&origin, time).await?
            }
        };
        let framer = Framer::new(request.method() == Method::Head, budget.response_bytes_max);
        let deadlines =
            Deadlines { due: budget.due, head_time: self.settings.head_time, stall_time: self.settings.stall_time };
        let answer = exchange(&mut connection, Encoder::new(request), framer, deadlines)
            .await
            .map_err(|cause| FetchError::Ambiguous(format!("{origin}: {cause}")))?;
        if answer.reusable {
            self.pool.put(origin, connection);
        }
        Ok(answer)
    }
}

#[async_trait]
impl HttpClient for Backend {
    async fn send(&self, request: Request) -> Result<Response, Error> {
        let answer = self.perform(request).await.map_err(|error| Error::new(StatusCode::BadGateway, error))?;
        respond(answer).await
    }
}

/// Hands a complete answer to the codec, from memory.
async fn respond(answer: Answer) -> Result<Response, Error> {
    let head = codec_head(&answer).into_bytes();
    let mut response = decode(Cursor::new(head).chain(Cursor::new(answer.body))).await?;
    response.ext_mut().insert(ReceivedHead { status: answer.status, headers: answer.headers });
    Ok(response)
}

/// The answer's head as the codec can take it: a length for every body, ASCII only (it panics on anything else), and a
/// status it does not know as the first of its class, as RFC 9110 (section 15) has it.
fn codec_head(answer: &Answer) -> String {
    let known = StatusCode::try_from(answer.status).is_ok();
    let status = if known { answer.status } else { answer.status / 100 * 100 };
    let mut head = format!("HTTP/1.1 {status} \r\n");
    for (name, value) in answer.headers.iter() {
        if !["content-length", "transfer-encoding"].iter().any(|framing| name.eq_ignore_ascii_case(framing)) {
            head.extend([name, ": "]);
            head.extend(value.chars().map(|c| if c.is_ascii() { c } else { '?' }));
            head.push_str("\r\n");
        }
    }
    let length = answer.body.len();
    write!(head, "content-length: {length}\r\n\r\n").expect("writing to a string cannot fail");
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use callwarden_core::limits::{RESPONSE_HEAD_BYTES_MAX, RESPONSE_HEADERS_MAX};

    #[test]
    fn every_status_and_text_reaches_the_caller_through_the_codec() {
        smol::block_on(async {
            for status in 200..=599 {
                let headers =
                    Headers::from_iter([("x-name", "שלום"), ("Transfer-Encoding", "chunked"), ("x-name", "2")]);
                let body = "תשובה".as_bytes().to_vec();
                let answer = Answer { status, headers: headers.clone(), body: body.clone(), reusable: true };
                let mut response = respond(answer).await.unwrap();
                assert_eq!(u16::from(response.status()) / 100, status / 100);
                let received = response.ext().get::<ReceivedHead>().unwrap();
                assert_eq!((received.status, &received.headers), (status, &headers));
                assert_eq!(response.body_bytes().await.unwrap(), body);
            }
        });
    }

    #[test]
    fn the_longest_head_fits_the_codec() {
        let (start, end) = ("HTTP/1.0 200\r\ncontent-length:0\r\n", "\r\n\r\n");
        let lines = "a:\r\n".repeat(RESPONSE_HEADERS_MAX - 2);
        let filling = "b".repeat(RESPONSE_HEAD_BYTES_MAX - start.len() - lines.len() - "a:".len() - end.len());
        let head = format!("{start}{lines}a:{filling}{end}");
        assert_eq!(head.len(), RESPONSE_HEAD_BYTES_MAX);
        let mut framer = Framer::new(false, 0);
        framer.push(head.as_bytes()).unwrap();
        let answer = framer.take_answer().unwrap();
        assert_eq!(answer.headers.iter().count(), RESPONSE_HEADERS_MAX);
        assert_eq!(smol::block_on(respond(answer)).unwrap().status(), StatusCode::Ok);
    }
}
