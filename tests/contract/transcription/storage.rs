//! Where Twilio keeps recordings, as a server meets it that may have to fetch anything; and a transcription service that
//! takes uploads of any length and only counts them. Plain HTTP on loopback, one exchange a connection.

use super::voice::Script;
use bytes::Bytes;
use callwarden_core::audio::Encoding;
use callwarden_core::sid::RecordingSid;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _, copy, sink};
use smol::net::{TcpListener, TcpStream};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The account and its first token.
const BASIC: &str =
    "Basic QUMwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMTowYTFiMmMzZDRlNWY2MDcxODI5M2E0YjVjNmQ3ZThmOQ==";
/// What the service makes of any upload.
pub(crate) const TEXT: &str = "דברים רבים";

/// What is kept of a recording.
#[derive(Clone, Debug)]
pub(crate) enum Kept {
    /// A file.
    File(Bytes),
    /// Something else: a status, header lines, each ended by CR LF, and a body.
    Answer(u16, String, &'static str),
    /// A WAV of somebody who speaks for so many seconds, made while it is sent.
    Long(u32),
}

/// The stand-in. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Storage {
    address: SocketAddr,
    inside: Arc<Inside>,
    /// Accepts for as long as it is kept.
    _accepting: smol::Task<()>,
}

#[derive(Debug, Default)]
struct Inside {
    kept: Mutex<BTreeMap<RecordingSid, Kept>>,
    /// How long the service takes.
    delay: Mutex<Duration>,
    asked: Mutex<Asked>,
}

/// What was asked of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// Connections.
    pub(crate) connections: usize,
    /// The recording of each request for one that had the right credentials.
    pub(crate) recordings: Vec<RecordingSid>,
    /// How many had none, or wrong ones.
    pub(crate) strangers: usize,
    /// The length of each upload.
    pub(crate) uploads: Vec<u64>,
}

impl Storage {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let inside = Arc::new(Inside::default());
        let shared = Arc::clone(&inside);
        let accepting = smol::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.asked.lock().expect("no holder panics").connections += 1;
                let inside = Arc::clone(&shared);
                // A connection that breaks is the business of the server.
                smol::spawn(async move { attend(stream, &inside).await.unwrap_or_default() }).detach();
            }
        });
        Self { address, inside, _accepting: accepting }
    }

    /// As `TWILIO_API_BASE`.
    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// As `OPENAI_BASE_URL`.
    pub(crate) fn service(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Keeps something from now on.
    pub(crate) fn keep(&self, recording: RecordingSid, kept: Kept) {
        self.inside.kept.lock().expect("no holder panics").insert(recording, kept);
    }

    /// From now on the service takes this long.
    pub(crate) fn set_delay(&self, delay: Duration) {
        *self.inside.delay.lock().expect("no holder panics") = delay;
    }

    pub(crate) fn asked(&self) -> Asked {
        self.inside.asked.lock().expect("no holder panics").clone()
    }
}

async fn attend(mut stream: TcpStream, inside: &Inside) -> io::Result<()> {
    let (head, early) = head(&mut stream).await?;
    let target = head.split(' ').nth(1).unwrap_or_default();
    let value = |name: &str| {
        let mut pairs = head.lines().filter_map(|line| line.split_once(": "));
        pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    };
    if target.ends_with("/audio/transcriptions") {
        let length = value("content-length").and_then(|length| length.parse().ok()).unwrap_or(0_u64);
        copy((&mut stream).take(length - early), &mut sink()).await?;
        inside.asked.lock().expect("no holder panics").uploads.push(length);
        let delay = *inside.delay.lock().expect("no holder panics");
        smol::Timer::after(delay).await;
        return answer(&mut stream, 200, "content-type: application/json\r\n", &format!("{{\"text\":\"{TEXT}\"}}"))
            .await;
    }
    let name = target.rsplit('/').next().and_then(|name| name.strip_suffix(".wav")).unwrap_or_default();
    let recording = name.parse::<RecordingSid>().ok();
    if value("authorization") != Some(BASIC) {
        inside.asked.lock().expect("no holder panics").strangers += 1;
        return answer(&mut stream, 401, "content-type: application/json\r\n", "{\"code\":20003}").await;
    }
    inside.asked.lock().expect("no holder panics").recordings.extend(recording);
    let kept = recording.and_then(|sid| inside.kept.lock().expect("no holder panics").get(&sid).cloned());
    match kept {
        None => answer(&mut stream, 404, "content-type: application/json\r\n", "{\"code\":20404}").await,
        Some(Kept::Answer(status, lines, body)) => answer(&mut stream, status, &lines, body).await,
        Some(Kept::File(file)) => {
            let lines = "content-type: audio/x-wav\r\n";
            stream.write_all(opening(200, lines, file.len() as u64).as_bytes()).await?;
            stream.write_all(&file).await?;
            stream.close().await
        }
        Some(Kept::Long(seconds)) => {
            let header = header(seconds * BYTES_PER_SECOND);
            let second = pcm(&Script::sample().audio()[..8_000]);
            let length = header.len() as u64 + u64::from(seconds) * second.len() as u64;
            stream.write_all(opening(200, "content-type: audio/x-wav\r\n", length).as_bytes()).await?;
            stream.write_all(&header).await?;
            for _ in 0..seconds {
                stream.write_all(&second).await?;
            }
            stream.close().await
        }
    }
}

/// A request's head, and how many bytes of its body came along.
async fn head(stream: &mut TcpStream) -> io::Result<(String, u64)> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4_096]);
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let early = (bytes.len() - end - 4) as u64;
            return Ok((String::from_utf8_lossy(&bytes[..end]).into_owned(), early));
        }
        match stream.read(&mut buffer).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

async fn answer(stream: &mut TcpStream, status: u16, lines: &str, body: &str) -> io::Result<()> {
    stream.write_all([&opening(status, lines, body.len() as u64), body].concat().as_bytes()).await?;
    stream.close().await
}

fn opening(status: u16, lines: &str, length: u64) -> String {
    format!("HTTP/1.1 {status} Simulated\r\n{lines}content-length: {length}\r\nconnection: close\r\n\r\n")
}

const BYTES_PER_SECOND: u32 = 16_000;

/// The header of a WAV of 16 bits whose audio has so many bytes.
pub(crate) fn header(bytes: u32) -> Vec<u8> {
    let mut header = b"RIFF".to_vec();
    header.extend((36 + bytes).to_le_bytes());
    header.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data");
    header.extend(bytes.to_le_bytes());
    header
}

fn pcm(mu_law: &[u8]) -> Vec<u8> {
    Encoding::MuLaw.samples(mu_law).flat_map(i16::to_le_bytes).collect()
}

/// A WAV of these samples, as Twilio gives it.
pub(crate) fn wav(mu_law: &[u8]) -> Bytes {
    let audio = pcm(mu_law);
    let mut file = header(u32::try_from(audio.len()).expect("short"));
    file.extend(audio);
    file.into()
}
