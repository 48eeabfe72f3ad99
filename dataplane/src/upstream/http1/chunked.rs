//! Decodes a chunked body (RFC 9112, 7.1), strictly.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};

use super::decode::Step;
use super::error::Malformed;
use super::head::collect;

/// Hex digits of a chunk's size.
const MAX_SIZE_DIGITS: usize = 16;
/// Bytes of one chunk's extensions.
const MAX_EXTENSION_BYTES: usize = 256;
/// Bytes of all extensions of a body: they carry nothing and only cost.
const MAX_EXTENSIONS_BYTES: usize = 16 * 1024;
/// Bytes of the trailer section.
pub(crate) const MAX_TRAILER_BYTES: usize = 16 * 1024;
/// Fields of the trailer section.
pub(crate) const MAX_TRAILERS: usize = 32;

#[derive(Debug)]
enum State {
    Size,
    Data(u64),
    DataEnd,
    Trailers,
    End,
}

/// The decoder's place in a body.
#[derive(Debug)]
pub(crate) struct Chunked {
    state: State,
    extensions: usize,
}

impl Chunked {
    pub(crate) fn new() -> Self {
        Self { state: State::Size, extensions: 0 }
    }

    /// The next piece of what is buffered.
    pub(crate) fn step(&mut self, buffer: &mut BytesMut) -> Result<Step, Malformed> {
        loop {
            match self.state {
                State::Size => {
                    let Some(size) = self.take_size(buffer)? else { return Ok(Step::More) };
                    self.state = if size == 0 { State::Trailers } else { State::Data(size) };
                }
                State::Data(left) => {
                    if buffer.is_empty() {
                        return Ok(Step::More);
                    }
                    let data = take_up_to(buffer, left);
                    let left = left - data.len() as u64;
                    self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
                    return Ok(Step::Data(data));
                }
                State::DataEnd => match buffer.get(..2) {
                    Some(b"\r\n") => {
                        buffer.advance(2);
                        self.state = State::Size;
                    }
                    Some(_) => return Err(Malformed::ChunkEnd),
                    None if matches!(buffer.first(), None | Some(b'\r')) => return Ok(Step::More),
                    None => return Err(Malformed::ChunkEnd),
                },
                State::Trailers => {
                    let Some(trailers) = take_trailers(buffer)? else { return Ok(Step::More) };
                    self.state = State::End;
                    if !trailers.is_empty() {
                        return Ok(Step::Trailers(trailers));
                    }
                }
                State::End => return Ok(Step::End),
            }
        }
    }

    pub(crate) fn is_end(&self) -> bool {
        matches!(self.state, State::End)
    }

    fn take_size(&mut self, buffer: &mut BytesMut) -> Result<Option<u64>, Malformed> {
        let longest = MAX_SIZE_DIGITS + MAX_EXTENSION_BYTES + 2;
        let window = buffer.get(..buffer.len().min(longest)).unwrap_or_default();
        let Some(end) = window.iter().position(|b| *b == b'\n') else {
            check_partial(window)?;
            return if window.len() == longest { Err(Malformed::ChunkExtension) } else { Ok(None) };
        };
        let line = window.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(Malformed::ChunkSize)?;
        let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let (digits, extension) = line.split_at(digits);
        check_extension(extension)?;
        self.extensions += extension.len();
        if extension.len() > MAX_EXTENSION_BYTES || self.extensions > MAX_EXTENSIONS_BYTES {
            return Err(Malformed::ChunkExtension);
        }
        let size = parse_hex(digits)?;
        buffer.advance(end + 1);
        Ok(Some(size))
    }
}

/// Refuses at once what no further byte can mend, so that nobody waits for it.
fn check_partial(window: &[u8]) -> Result<(), Malformed> {
    let digits = window.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let rest = window.get(digits..).unwrap_or_default();
    if digits > MAX_SIZE_DIGITS || (digits == 0 && !rest.is_empty()) {
        return Err(Malformed::ChunkSize);
    }
    check_extension(rest.strip_suffix(b"\r").unwrap_or(rest))
}

/// Empty, or from a semicolon on without control characters; blanks before the semicolon are refused, as
/// recipients differ on them.
fn check_extension(extension: &[u8]) -> Result<(), Malformed> {
    match extension.first() {
        None => Ok(()),
        Some(b';') if extension.iter().all(|b| *b == b'\t' || (0x20..0x7f).contains(b)) => Ok(()),
        Some(b';') => Err(Malformed::ChunkExtension),
        Some(_) => Err(Malformed::ChunkSize),
    }
}

fn parse_hex(digits: &[u8]) -> Result<u64, Malformed> {
    if digits.is_empty() || digits.len() > MAX_SIZE_DIGITS {
        return Err(Malformed::ChunkSize);
    }
    let text = std::str::from_utf8(digits).map_err(|_| Malformed::ChunkSize)?;
    u64::from_str_radix(text, 16).map_err(|_| Malformed::ChunkSize)
}

pub(crate) fn take_up_to(buffer: &mut BytesMut, most: u64) -> Bytes {
    let length = usize::try_from(most).unwrap_or(usize::MAX).min(buffer.len());
    buffer.split_to(length).freeze()
}

fn take_trailers(buffer: &mut BytesMut) -> Result<Option<HeaderMap>, Malformed> {
    if buffer.starts_with(b"\r\n") {
        buffer.advance(2);
        return Ok(Some(HeaderMap::new()));
    }
    let mut previous = None;
    let mut line_start = 0;
    let mut end = None;
    for (at, &byte) in buffer.iter().enumerate().take(MAX_TRAILER_BYTES) {
        if (previous == Some(b'\r')) != (byte == b'\n') {
            return Err(Malformed::Trailer);
        }
        if byte == b'\n' {
            if at == line_start + 1 {
                end = Some(at + 1);
                break;
            }
            line_start = at + 1;
        }
        previous = Some(byte);
    }
    let Some(end) = end else {
        return if buffer.len() >= MAX_TRAILER_BYTES { Err(Malformed::Trailer) } else { Ok(None) };
    };
    let bytes = buffer.split_to(end).freeze();
    let mut fields = [httparse::EMPTY_HEADER; MAX_TRAILERS];
    let Ok(httparse::Status::Complete((length, fields))) = httparse::parse_headers(&bytes, &mut fields) else {
        return Err(Malformed::Trailer);
    };
    if length != bytes.len() {
        return Err(Malformed::Trailer);
    }
    let mut trailers = collect(&bytes, fields).map_err(|_| Malformed::Trailer)?;
    // A trailer must not say what only a head may (RFC 9110, 6.5.1).
    for name in [CONTENT_LENGTH, TRANSFER_ENCODING, HOST] {
        trailers.remove(name);
    }
    crate::upstream::hop_by_hop::strip(&mut trailers);
    Ok(Some(trailers))
}
