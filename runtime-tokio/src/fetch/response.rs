//! Whether an answer can be trusted: the library shows one without a known length as whole when its connection closes,
//! and reads bodies of any length.

use super::Failure;
use super::connect::{causes, chain};
use super::exchange::Progress;
use bytes::{Bytes, BytesMut};
use callwarden_core::fetch::FetchResponse;
use callwarden_core::http::Headers;
use callwarden_core::limits::{RESPONSE_HEAD_BYTES_MAX, RESPONSE_HEADERS_MAX};
use core::error::Error;
use core::fmt;
use std::io;

/// Why a response cannot be used. The peer is to blame for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadResponse {
    /// The status is none of a final answer.
    Status,
    /// The head passes `RESPONSE_HEAD_BYTES_MAX` or `RESPONSE_HEADERS_MAX`.
    HeadTooLong,
    /// Several lengths, a coding other than chunked, or a length and a coding.
    Framing,
    /// Neither a length nor chunked: the end of the connection would be the end of the body, and on a plain connection
    /// a server that died looks the same. Refused: half a recording must not pass for a whole one.
    NoLength,
    /// The body is longer than the request allows.
    TooLong,
}

impl fmt::Display for BadResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Status => "the answer is not HTTP/1: its status is no final one",
            Self::HeadTooLong => "the head of the answer is too long",
            Self::Framing => "the answer's length is contradictory or unknown",
            Self::NoLength => "the answer has neither content-length nor chunked coding",
            Self::TooLong => "the answer's body is too long",
        })
    }
}

/// Reads an answer to its end.
///
/// # Errors
///
/// [`Failure`]; the connection is closed then.
pub(super) async fn read(
    mut response: reqwest::Response,
    head_asked: bool,
    bytes_max: usize,
    progress: &Progress,
) -> Result<FetchResponse, Failure> {
    let status = response.status().as_u16();
    let headers = check(&response, head_asked, bytes_max).map_err(Failure::Bad)?;
    let mut body = BytesMut::new();
    while let Some(piece) = response.chunk().await.map_err(Failure::Client)? {
        if piece.len() > bytes_max - body.len() {
            return Err(Failure::Bad(BadResponse::TooLong));
        }
        body.extend_from_slice(&piece);
        progress.reads();
    }
    Ok(FetchResponse { status, headers, body: Bytes::from(body) })
}

/// The header lines of a head that can be trusted; a byte that is not UTF-8 is replaced.
fn check(response: &reqwest::Response, head_asked: bool, bytes_max: usize) -> Result<Headers, BadResponse> {
    let status = response.status().as_u16();
    if !(200..=599).contains(&status) {
        return Err(BadResponse::Status);
    }
    let lines = response.headers();
    let bytes: usize = lines.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum();
    if bytes > RESPONSE_HEAD_BYTES_MAX || lines.len() > RESPONSE_HEADERS_MAX {
        return Err(BadResponse::HeadTooLong);
    }
    let headers: Headers =
        lines.iter().map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()))).collect();
    if head_asked || matches!(status, 204 | 304) {
        return Ok(headers);
    }
    let codings: Vec<&str> = headers.all("transfer-encoding").collect();
    let lengths: Vec<&str> = headers.all("content-length").collect();
    match (codings.as_slice(), lengths.as_slice()) {
        ([], []) => Err(BadResponse::NoLength),
        ([], [length]) => match length.parse::<usize>() {
            Ok(length) if length <= bytes_max => Ok(headers),
            Ok(_) => Err(BadResponse::TooLong),
            Err(_) => Err(BadResponse::Framing),
        },
        ([coding], []) if coding.eq_ignore_ascii_case("chunked") => Ok(headers),
        _ => Err(BadResponse::Framing),
    }
}

/// What the library's error means for a request that was begun. Its own text would show the URL.
pub(super) fn explain(progress: &Progress, error: &reqwest::Error) -> String {
    let cause = error.source().map(causes).unwrap_or_default();
    let hyper = chain(error).find_map(|error| error.downcast_ref::<hyper::Error>());
    let input = chain(error).filter_map(|error| error.downcast_ref::<io::Error>());
    let is_wrong = |error: &io::Error| matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData);
    let what = match hyper {
        Some(error) if error.is_parse() => "the answer is not HTTP/1",
        _ if !progress.has_head() => "the connection closed without a whole head of an answer",
        _ if input.into_iter().any(is_wrong) => "the answer's chunked coding is wrong",
        _ => "the connection closed in the body of the answer",
    };
    format!("{what}: {cause}")
}
