//! Reads one response head, strictly (RFC 9112).

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::error::Malformed;

/// Bytes of a response head, interim ones not counted.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Header fields of a response head.
pub const MAX_FIELDS: usize = 128;

/// A response head.
#[derive(Debug)]
pub struct ResponseHead {
    /// Its status.
    pub status: StatusCode,
    /// Whether it speaks HTTP/1.1; else 1.0.
    pub is_http11: bool,
    /// Its fields as they came, hop-by-hop ones included.
    pub headers: HeaderMap,
}

/// Looks for the end of a head as bytes come in; no byte is looked at twice.
#[derive(Debug, Default)]
pub(crate) struct HeadScan {
    seen: usize,
    line_start: usize,
}

impl HeadScan {
    /// The length of the head with its empty line, once it is there.
    pub(crate) fn find(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let fresh = bytes.get(self.seen..).unwrap_or_default();
        let mut previous = self.seen.checked_sub(1).and_then(|at| bytes.get(at)).copied();
        for (at, &byte) in (self.seen..).zip(fresh) {
            let after_cr = previous == Some(b'\r');
            if after_cr != (byte == b'\n') {
                return Err(Malformed::LineEnd);
            }
            if byte == b'\n' {
                if at == self.line_start + 1 {
                    return if self.line_start == 0 { Err(Malformed::StatusLine) } else { bounded(at + 1).map(Some) };
                }
                self.line_start = at + 1;
            }
            previous = Some(byte);
        }
        self.seen = bytes.len();
        bounded(self.seen)?;
        Ok(None)
    }
}

fn bounded(length: usize) -> Result<usize, Malformed> {
    if length > MAX_HEAD_BYTES { Err(Malformed::HeadTooLarge) } else { Ok(length) }
}

/// Takes a head off the buffer, or nothing when it is not complete.
pub(crate) fn take_head(scan: &mut HeadScan, buffer: &mut BytesMut) -> Result<Option<ResponseHead>, Malformed> {
    let Some(length) = scan.find(buffer)? else { return Ok(None) };
    *scan = HeadScan::default();
    parse(buffer.split_to(length).freeze()).map(Some)
}

fn parse(bytes: Bytes) -> Result<ResponseHead, Malformed> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut parsed, &bytes, &mut fields) {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
        Ok(_) | Err(httparse::Error::Token | httparse::Error::NewLine) => return Err(Malformed::StatusLine),
        Err(httparse::Error::Status | httparse::Error::Version) => return Err(Malformed::StatusLine),
        Err(httparse::Error::TooManyHeaders) => return Err(Malformed::TooManyFields),
        Err(httparse::Error::HeaderName | httparse::Error::HeaderValue) => return Err(Malformed::Field),
    }
    let code = parsed.code.ok_or(Malformed::StatusLine)?;
    let status = StatusCode::from_u16(code).map_err(|_| Malformed::StatusLine)?;
    if code >= 600 {
        return Err(Malformed::StatusLine);
    }
    let headers = collect(&bytes, parsed.headers)?;
    Ok(ResponseHead { status, is_http11: parsed.version == Some(1), headers })
}

/// Field values are slices of the head, not copies.
pub(crate) fn collect(bytes: &Bytes, fields: &[httparse::Header<'_>]) -> Result<HeaderMap, Malformed> {
    let mut headers = HeaderMap::with_capacity(fields.len() + 4);
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Malformed::Field)?;
        let value = if field.value.is_empty() { Bytes::new() } else { bytes.slice_ref(field.value) };
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| Malformed::Field)?;
        headers.try_append(name, value).map_err(|_| Malformed::TooManyFields)?;
    }
    Ok(headers)
}
