//! Whether the bytes of a request head are one unambiguous request (RFC 9112), before anything acts on them.
//!
//! Stricter than the parser behind it, which takes bare line feeds, several or no `Host`, `Content-Length`
//! beside `Transfer-Encoding`, and more that two parties could read in two ways.

use std::mem::MaybeUninit;

use httparse::{Header, Status};
use policy::refusal::{Reason, Refusal};

use super::limits::HttpLimits;

/// How the bytes behind a head are delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// So many bytes; 0 for none.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// The most header fields that any limit can allow; the parser's table has this size.
const MAX_FIELDS: usize = 128;

/// Bytes that HTTP/2 counts for a field besides its name and value (RFC 9113, 6.5.2).
const H2_FIELD_OVERHEAD: usize = 32;

fn malformed(detail: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(Reason::MalformedRequest, detail)
}

/// Checks one complete head, the empty line included.
///
/// # Errors
/// A refusal that names what is wrong.
pub(crate) fn check(head: &[u8], limits: &HttpLimits) -> Result<Framing, Refusal> {
    check_line_ends(head)?;
    // Only what is there is written into the table: most heads are short.
    let mut table = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let allowed = table.len().min(limits.header_fields);
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(head, table.get_mut(..allowed).unwrap_or_default()) {
        Ok(Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(malformed("the head has an empty line where none may be")),
        Err(httparse::Error::TooManyHeaders) => {
            let detail = format!("the request has more than {allowed} header fields");
            return Err(Refusal::new(Reason::HeadersTooLarge, detail));
        }
        Err(error) => return Err(malformed(format!("the request head cannot be parsed: {error}"))),
    }
    let method = request.method.unwrap_or_default();
    let target = request.path.unwrap_or_default();
    let minor = request.version.unwrap_or_default();
    check_request_line(head, method, target, limits)?;
    check_host(request.headers, target)?;
    check_expect(request.headers)?;
    framing(request.headers, minor)
}

/// Lines end with CR LF and nothing else; no other control character stands in a head (RFC 9112, 2.2).
fn check_line_ends(head: &[u8]) -> Result<(), Refusal> {
    let mut before = 0_u8;
    for &byte in head {
        match byte {
            b'\n' if before != b'\r' => return Err(malformed("a line ends with a bare LF; lines end with CR LF")),
            b' ' | b'\t' if before == b'\n' => {
                return Err(malformed("a header line starts with a space (obsolete folding); write it on one line"));
            }
            b'\n' | b'\r' | b'\t' => {}
            0..=31 | 127 => return Err(malformed("the head holds a control character")),
            _ => {}
        }
        if before == b'\r' && byte != b'\n' {
            return Err(malformed("the head holds a bare CR"));
        }
        before = byte;
    }
    Ok(())
}

fn check_request_line(head: &[u8], method: &str, target: &str, limits: &HttpLimits) -> Result<(), Refusal> {
    // The parser skips empty lines and doubled spaces; one request line is written in one way only.
    let exact = head.strip_prefix(method.as_bytes()).and_then(|rest| rest.strip_prefix(b" "));
    let exact = exact.and_then(|rest| rest.strip_prefix(target.as_bytes()));
    let version = exact.and_then(|rest| rest.get(..11));
    if !matches!(version, Some(b" HTTP/1.1\r\n" | b" HTTP/1.0\r\n")) {
        return Err(malformed("the request line must be METHOD SP target SP HTTP/1.1"));
    }
    if target.len() > limits.target_bytes {
        let detail = format!("the target has {} bytes, more than {}", target.len(), limits.target_bytes);
        return Err(Refusal::new(Reason::TargetTooLong, detail));
    }
    check_characters(target)?;
    if method == "CONNECT" {
        return Err(malformed("CONNECT is not served here"));
    }
    if target.starts_with('/') || (authority_of(target).is_some() && http::Uri::try_from(target).is_ok()) {
        return Ok(());
    }
    Err(malformed("the target must be a path that starts with / (or an absolute http URL)"))
}

/// Characters that no target may have, and those that the parser behind this check does not take.
pub(super) fn check_characters(target: &str) -> Result<(), Refusal> {
    let mut in_query = false;
    for byte in target.bytes() {
        match byte {
            b'?' => in_query = true,
            b'#' => {
                let detail = "the target holds #, which is not allowed in a request; write %23";
                return Err(Refusal::new(Reason::AmbiguousPath, detail));
            }
            b'<' | b'>' => return Err(malformed("the target holds < or >; write %3C or %3E")),
            b'"' if in_query => return Err(malformed("the query holds a quotation mark; write %22")),
            b'`' if !in_query => return Err(malformed("the path holds a backtick; write %60")),
            b'!'..=b'~' => {}
            _ => return Err(malformed("the target holds a byte that must be percent-encoded")),
        }
    }
    Ok(())
}

/// The authority of an absolute-form target.
pub(super) fn authority_of(target: &str) -> Option<&str> {
    let (scheme, rest) = target.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    rest.get(..end).filter(|authority| !authority.is_empty())
}

fn named<'a>(headers: &'a [Header<'a>], name: &'a str) -> impl Iterator<Item = &'a [u8]> + 'a {
    headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

fn check_host(headers: &[Header<'_>], target: &str) -> Result<(), Refusal> {
    let mut hosts = named(headers, "host");
    let Some(host) = hosts.next() else {
        return Err(malformed("the Host header is missing (RFC 9112, 3.2)"));
    };
    if hosts.next().is_some() {
        return Err(malformed("the Host header is there more than once"));
    }
    match authority_of(target) {
        Some(authority) if !authority.as_bytes().eq_ignore_ascii_case(host) => {
            Err(malformed("the Host header and the absolute target name different hosts"))
        }
        _ => Ok(()),
    }
}

fn check_expect(headers: &[Header<'_>]) -> Result<(), Refusal> {
    let mut expectations = named(headers, "expect");
    match (expectations.next(), expectations.next()) {
        (None, _) => Ok(()),
        (Some(one), None) if one.eq_ignore_ascii_case(b"100-continue") => Ok(()),
        _ => Err(malformed("the only expectation that is served is 100-continue")),
    }
}

fn framing(headers: &[Header<'_>], minor: u8) -> Result<Framing, Refusal> {
    let (mut lengths, mut codings) = (named(headers, "content-length"), named(headers, "transfer-encoding"));
    let (length, coding) = (lengths.next(), codings.next());
    if lengths.next().is_some() {
        return Err(malformed("Content-Length is there more than once"));
    }
    if codings.next().is_some() {
        return Err(malformed("Transfer-Encoding is there more than once"));
    }
    match (length, coding) {
        (None, None) => Ok(Framing::Length(0)),
        (Some(_), Some(_)) => Err(malformed("Content-Length and Transfer-Encoding exclude each other")),
        (None, Some(_)) if minor == 0 => Err(malformed("HTTP/1.0 has no Transfer-Encoding")),
        (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
        (None, Some(_)) => Err(malformed("the only Transfer-Encoding that is served is chunked")),
        (Some(text), None) => {
            // Digits only: "+5", "5, 5" and "0x5" are read differently by different parties.
            let digits = !text.is_empty() && text.len() <= 18 && text.iter().all(u8::is_ascii_digit);
            let length = std::str::from_utf8(text).ok().filter(|_| digits).and_then(|text| text.parse().ok());
            length.map(Framing::Length).ok_or_else(|| malformed("Content-Length must be one decimal number"))
        }
    }
}

/// The same for a request of HTTP/2, whose framing its own parser has checked: what remains is the target and
/// the number of fields.
///
/// # Errors
/// A refusal that names what is wrong.
pub(crate) fn check_h2<B>(request: &http::Request<B>, limits: &HttpLimits) -> Result<(), Refusal> {
    if request.headers().len() > limits.header_fields {
        let detail = format!("the request has more than {} header fields", limits.header_fields);
        return Err(Refusal::new(Reason::HeadersTooLarge, detail));
    }
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + H2_FIELD_OVERHEAD);
    if fields.sum::<usize>() > limits.head_bytes {
        let detail =
            format!("the request head has more than {} bytes; send fewer or shorter header fields", limits.head_bytes);
        return Err(Refusal::new(Reason::HeadersTooLarge, detail));
    }
    let target = request.uri().path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    if target.len() > limits.target_bytes {
        let detail = format!("the target has {} bytes, more than {}", target.len(), limits.target_bytes);
        return Err(Refusal::new(Reason::TargetTooLong, detail));
    }
    if request.method() == http::Method::CONNECT {
        return Err(malformed("CONNECT is not served here"));
    }
    if !target.starts_with('/') {
        return Err(malformed("the target must be a path that starts with /"));
    }
    Ok(())
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
