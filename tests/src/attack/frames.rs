//! HTTP/2 frame by frame (RFC 9113), for peers that no client library lets a test be: those that stop in the middle, close
//! their window, or never end.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The first bytes of an HTTP/2 connection (RFC 9113, 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const GOAWAY: u8 = 0x7;
const WINDOW_UPDATE: u8 = 0x8;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const ACK: u8 = 0x1;
/// SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113, 6.5.2).
const INITIAL_WINDOW: u16 = 0x4;

/// A frame that a peer sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Came {
    /// A head of an answer on this stream.
    Head(u32),
    /// So many bytes of a body on this stream.
    Data(u32, usize),
    /// The peer ended this stream.
    Reset(u32),
    /// The peer takes no more streams.
    GoAway,
    /// Another frame.
    Other,
    /// Nothing in time.
    Nothing,
    /// The connection has ended.
    Closed,
}

/// A connection whose frames a test writes.
#[derive(Debug)]
pub struct Frames {
    stream: TcpStream,
}

impl Frames {
    /// Connects, and sends the preface with an initial window of so many bytes for each stream.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn connect(address: SocketAddr, window: u32) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(Duration::from_secs(1)))?;
        let mut frames = Self { stream };

        frames.stream.write_all(PREFACE)?;
        let [high, low] = INITIAL_WINDOW.to_be_bytes();
        let [a, b, c, d] = window.to_be_bytes();
        frames.write(SETTINGS, 0, 0, &[high, low, a, b, c, d])?;
        Ok(frames)
    }

    /// Begins a request; `ends` when it has no body.
    ///
    /// # Errors
    /// When the connection has ended.
    pub fn request(&mut self, id: u32, fields: &[(&str, &str)], ends: bool) -> io::Result<()> {
        let mut block = Vec::new();
        for (name, value) in fields {
            // A literal without indexing, name and value plain (RFC 7541, 6.2.2).
            block.push(0);
            for text in [name, value] {
                let length = u8::try_from(text.len()).ok().filter(|length| *length < 127);
                block.push(length.ok_or(io::ErrorKind::InvalidInput)?);
                block.extend_from_slice(text.as_bytes());
            }
        }
        self.write(HEADERS, END_HEADERS | if ends { END_STREAM } else { 0 }, id, &block)
    }

    /// Sends a part of a body, which goes on.
    ///
    /// # Errors
    /// When the connection has ended, or the peer takes nothing for a second.
    pub fn data(&mut self, id: u32, bytes: &[u8]) -> io::Result<()> {
        bytes.chunks(16_384).try_for_each(|part| self.write(DATA, 0, id, part))
    }

    /// Lets the peer send so many bytes more on the connection as a whole.
    ///
    /// # Errors
    /// When the connection has ended.
    pub fn widen(&mut self, id: u32, by: u32) -> io::Result<()> {
        self.write(WINDOW_UPDATE, 0, id, &by.to_be_bytes())
    }

    /// The next frame that comes within this time. Settings of the peer are acknowledged.
    pub fn came(&mut self, patience: Duration) -> Came {
        if self.stream.set_read_timeout(Some(patience)).is_err() {
            return Came::Closed;
        }
        let mut head = [0; 9];
        match self.stream.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Came::Nothing;
            }
            Err(_) => return Came::Closed,
        }

        let [a, b, c, kind, flags, d, e, f, g] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        let id = u32::from_be_bytes([d, e, f, g]) & 0x7fff_ffff;
        if self.stream.read_exact(&mut payload).is_err() {
            return Came::Closed;
        }
        match kind {
            HEADERS => Came::Head(id),
            DATA => Came::Data(id, payload.len()),
            RST_STREAM => Came::Reset(id),
            GOAWAY => Came::GoAway,
            SETTINGS if flags & ACK == 0 => {
                let _ = self.write(SETTINGS, ACK, 0, &[]);
                Came::Other
            }
            _ => Came::Other,
        }
    }

    fn write(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let [_, a, b, c] = length.to_be_bytes();
        let mut frame = vec![a, b, c, kind, flags];
        frame.extend_from_slice(&id.to_be_bytes());
        frame.extend_from_slice(payload);
        self.stream.write_all(&frame)
    }
}
