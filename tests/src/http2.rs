//! An HTTP/2 client (prior knowledge) for tests: whole requests by a library, and raw fields that no library sends.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::client::Answer;

/// How long a test waits for a response before it fails.
const PATIENCE: Duration = Duration::from_secs(20);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Frame types (RFC 9113, 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// Sends one request on a connection of its own and reads the response.
///
/// # Errors
/// When there is no response.
pub fn exchange(address: SocketAddr, request: http::Request<Bytes>) -> io::Result<Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let exchange = tokio::time::timeout(PATIENCE, exchanged(address, request));
        exchange.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    })
}

async fn exchanged(address: SocketAddr, request: http::Request<Bytes>) -> io::Result<Answer> {
    let socket = tokio::net::TcpStream::connect(address).await?;
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket));
    let (mut sender, connection) = handshake.await.map_err(io::Error::other)?;
    let serving = tokio::spawn(connection);

    let response = sender.send_request(request.map(Full::new)).await.map_err(io::Error::other)?;
    let (parts, body) = response.into_parts();
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes().to_vec();

    serving.abort();
    Ok(Answer { status: parts.status.as_u16(), headers, body })
}

/// The end of a stream of raw fields.
#[derive(Clone, Debug, Default)]
pub struct RawAnswer {
    /// The bytes of its body.
    pub body: Vec<u8>,
    /// The code of the `RST_STREAM` or `GOAWAY` that ended it, if one did.
    pub reset: Option<u32>,
}

impl RawAnswer {
    /// A member of the problem document as text.
    #[must_use]
    pub fn problem(&self, member: &str) -> String {
        let document: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let member = document.get(member).cloned().unwrap_or_default();
        member.as_str().map_or_else(|| member.to_string(), str::to_owned)
    }
}

/// Sends fields byte for byte, pseudo fields included, as one stream without a body.
///
/// # Errors
/// When the connection ends before the stream does.
pub fn raw(address: SocketAddr, fields: &[(&str, &[u8])]) -> io::Result<RawAnswer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(PREFACE)?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[]))?;
    stream.write_all(&header_frames(fields))?;
    let mut answer = RawAnswer::default();
    loop {
        let (kind, flags, id, payload) = read_frame(&mut stream)?;
        match kind {
            SETTINGS if flags & ACK == 0 => stream.write_all(&frame(SETTINGS, ACK, 0, &[]))?,
            DATA if id == 1 => answer.body.extend_from_slice(&payload),
            RST_STREAM if id == 1 => answer.reset = payload.first_chunk().copied().map(u32::from_be_bytes),
            GOAWAY => answer.reset = payload.get(4..).and_then(<[u8]>::first_chunk).copied().map(u32::from_be_bytes),
            _ => {}
        }
        let ended = id == 1 && matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0;
        if ended || answer.reset.is_some() {
            return Ok(answer);
        }
    }
}

/// The fields as literals without Huffman coding that no table keeps (RFC 7541, 6.2.2), cut into frames.
fn header_frames(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name.as_bytes(), value] {
            integer(text.len(), &mut block);
            block.extend_from_slice(text);
        }
    }
    let (mut frames, mut parts) = (Vec::new(), block.chunks(16_000).peekable());
    let mut kind = HEADERS;
    while let Some(part) = parts.next() {
        let end = if parts.peek().is_none() { END_HEADERS } else { 0 };
        let flags = if kind == HEADERS { end | END_STREAM } else { end };
        frames.extend_from_slice(&frame(kind, flags, 1, part));
        kind = 9;
    }
    frames
}

/// A length as an integer with a prefix of 7 bits (RFC 7541, 5.1).
fn integer(length: usize, out: &mut Vec<u8>) {
    if length < 127 {
        out.push(length as u8);
        return;
    }
    out.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        out.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    out.push(rest as u8);
}

fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
    let mut bytes = vec![a, b, c, kind, flags];
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn read_frame(stream: &mut TcpStream) -> io::Result<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head)?;
    let [a, b, c, kind, flags, id @ ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    stream.read_exact(&mut payload)?;
    Ok((kind, flags, u32::from_be_bytes(id), payload))
}
