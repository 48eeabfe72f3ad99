//! Where a response body ends (RFC 9112, 6.3).

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode};

use super::error::Malformed;
use super::head::ResponseHead;

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none.
    None,
    /// After so many bytes; never 0.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// When the connection ends.
    UntilClose,
}

/// What a head says of its body and of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) framing: Framing,
    /// Whether the connection may carry another exchange after this body.
    pub(crate) keep_alive: bool,
}

pub(crate) fn frame(head: &ResponseHead, method: &Method) -> Result<Frame, Malformed> {
    let coded = chunked(head)?;
    let length = content_length(&head.headers)?;
    if coded && length.is_some() {
        return Err(Malformed::LengthAndEncoding);
    }
    let persistent = head.is_http11 && !says_close(&head.headers);
    let bodiless = method == Method::HEAD || head.status == StatusCode::NOT_MODIFIED;
    if bodiless {
        return Ok(Frame { framing: Framing::None, keep_alive: persistent });
    }
    if head.status == StatusCode::NO_CONTENT || head.status.is_informational() {
        // It has no body whatever it says; if it says otherwise, what follows cannot be trusted.
        let honest = !coded && length.unwrap_or(0) == 0;
        return Ok(Frame { framing: Framing::None, keep_alive: persistent && honest });
    }
    Ok(match (coded, length) {
        (true, _) => Frame { framing: Framing::Chunked, keep_alive: persistent },
        (false, Some(0)) => Frame { framing: Framing::None, keep_alive: persistent },
        (false, Some(n)) => Frame { framing: Framing::Length(n), keep_alive: persistent },
        (false, None) => Frame { framing: Framing::UntilClose, keep_alive: false },
    })
}

fn chunked(head: &ResponseHead) -> Result<bool, Malformed> {
    let mut values = head.headers.get_all(TRANSFER_ENCODING).iter();
    let Some(only) = values.next() else { return Ok(false) };
    // We asked for no other coding (no TE field), and could not hand one on.
    if values.next().is_some() || !head.is_http11 || !only.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err(Malformed::TransferEncoding);
    }
    Ok(true)
}

/// The one length that all Content-Length fields name. A list in one field is refused.
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Malformed> {
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        let digits = value.as_bytes();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Err(Malformed::ContentLength);
        }
        let n = std::str::from_utf8(digits)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
            .ok_or(Malformed::ContentLength)?;
        if length.is_some_and(|known| known != n) {
            return Err(Malformed::ContentLength);
        }
        length = Some(n);
    }
    Ok(length)
}

fn says_close(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"))
}
