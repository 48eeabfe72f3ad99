//! The canonical path: what the policies decided about is, byte for byte, what the upstream gets.
//!
//! | in the target | what happens |
//! |---|---|
//! | percent-encoded letters, digits, `-._~` | decoded: they mean the same (RFC 3986, 6.2.2.2) |
//! | other percent-encoded bytes | kept, hexadecimal digits in upper case (6.2.2.1) |
//! | `%5C`, `%00`, encoded control characters | refused: some upstreams decode them before they route |
//! | `.` and `..` segments, also encoded or followed by `;` | refused: some upstreams resolve them |
//! | `\` | refused: some upstreams turn it |
//! | `;`, `%3B`, `%2F`, `//` | refused behind matching, unless the rule allows them: see `policy::route::paths` |
//! | `#`, bytes beyond ASCII, a `%` without two digits | refused: not allowed in a target |

use std::borrow::Cow;

use policy::refusal::{Reason, Refusal};
use policy::route::paths::without_parameters;

fn ambiguous(detail: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(Reason::AmbiguousPath, detail)
}

fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// The one spelling of a path.
///
/// # Errors
/// [`Reason::AmbiguousPath`] when two parties could read it in two ways.
pub(crate) fn canonical(path: &str) -> Result<Cow<'_, str>, Refusal> {
    let decoded = if path.contains('%') { Cow::Owned(decode(path)?) } else { Cow::Borrowed(path) };
    if !decoded.starts_with('/') {
        return Err(ambiguous("the path must start with /"));
    }
    for byte in decoded.bytes() {
        match byte {
            b'\\' => return Err(ambiguous("the path holds a backslash; use / between segments")),
            b'#' => return Err(ambiguous("the path holds #, which is not allowed in a request; write %23")),
            0..=32 | 127.. => return Err(ambiguous("the path holds a byte that must be percent-encoded")),
            _ => {}
        }
    }
    for segment in decoded.split('/').flat_map(|part| part.split("%2F")) {
        if matches!(without_parameters(segment), "." | "..") {
            return Err(ambiguous("the path holds a . or .. segment; send the path that it leads to"));
        }
    }
    Ok(decoded)
}

fn decode(path: &str) -> Result<String, Refusal> {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let digits = after.get(..2).filter(|two| two.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let digits = digits.ok_or_else(|| ambiguous("the path holds a % that two hexadecimal digits do not follow"))?;
        let byte = u8::from_str_radix(digits, 16).unwrap_or_default();
        match byte {
            b'\\' => return Err(ambiguous("the path holds an encoded backslash (%5C)")),
            0..=31 | 127 => return Err(ambiguous("the path holds an encoded control character")),
            _ if unreserved(byte) => out.push(char::from(byte)),
            _ => {
                out.push('%');
                out.push_str(&digits.to_ascii_uppercase());
            }
        }
        rest = after.get(2..).unwrap_or_default();
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_path_has_one_spelling() {
        for (path, wanted) in [
            ("/", "/"),
            ("/a/b/", "/a/b/"),
            ("/%61%2d%7E", "/a-~"),
            ("/a%20b%c3%a4", "/a%20b%C3%A4"),
            ("/a;v=1/b", "/a;v=1/b"),
            ("/...", "/..."),
            ("/a%3bb", "/a%3Bb"),
            ("/a%2fb", "/a%2Fb"),
            ("/a//b", "/a//b"),
        ] {
            assert_eq!(canonical(path).unwrap(), wanted);
        }
    }

    #[test]
    fn what_two_parties_could_read_in_two_ways_is_refused() {
        for path in [
            "",
            "a",
            "/a/../b",
            "/a%2f..%2fb",
            "/..%3Bx/b",
            "/a/./b",
            "/..",
            "/.",
            "/%2e%2e/b",
            "/.%2e",
            "/..;/b",
            "/..;x=1/b",
            "/a%5cb",
            "/a\\b",
            "/a%00",
            "/a%0d%0a",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a#b",
            "/\u{e4}",
            "/a b",
        ] {
            assert_eq!(canonical(path).map_err(|refusal| refusal.reason), Err(Reason::AmbiguousPath), "{path:?}");
        }
    }

    proptest! {
        #[test]
        fn the_canonical_path_is_its_own_canonical_path(path in "/([a-z%0-9.;/\\\\A-F~-]{0,30})") {
            if let Ok(once) = canonical(&path) {
                prop_assert_eq!(&canonical(&once).unwrap(), &once);
                prop_assert!(!once.split('/').any(|segment| segment == ".." || segment == "."));
            }
        }
    }
}
