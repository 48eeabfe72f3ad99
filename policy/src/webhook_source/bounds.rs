//! What is looked at before a body becomes a tree: how deep it goes, and of how many objects and lists it is made.

use crate::exact::code_unit;
use crate::refusal::{Reason, Refusal};

/// Objects and lists inside each other. What providers send goes no deeper than 20.
const MAX_DEPTH: usize = 100;
/// Objects and lists in one body. Three bytes can ask for a list, and an object with one field takes some 600 bytes
/// of memory, so the size of the body alone is no bound. A full batch of Meta's has some 20,000.
const MAX_NODES: usize = 100_000;

/// Refuses a body whose tree would be out of all proportion to it. Costs half a nanosecond a byte.
///
/// # Errors
/// [`Reason::PayloadInvalid`] when it is too deep, [`Reason::BodyTooLarge`] when it holds too many objects and lists.
pub(super) fn check(body: &[u8]) -> Result<(), Refusal> {
    let (mut depth, mut nodes) = (0_usize, 0_usize);
    let mut rest = body.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => skip_string(&mut rest),
            b'{' | b'[' => {
                depth += 1;
                nodes += 1;
                if depth > MAX_DEPTH {
                    let detail = format!("the body nests objects and lists more than {MAX_DEPTH} deep");
                    return Err(Refusal::new(Reason::PayloadInvalid, detail));
                }
                if nodes > MAX_NODES {
                    let detail = format!("the body holds more than {MAX_NODES} objects and lists");
                    return Err(Refusal::new(Reason::BodyTooLarge, detail));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// Goes on behind the string's closing quote.
fn skip_string(rest: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => return,
            b'\\' => _ = rest.next(),
            _ => {}
        }
    }
}

/// The body with `\ufffd` in place of every escape that is one half of a surrogate pair without the other; `None`
/// when there is none. Senders that count in UTF-16 cut texts there.
pub(super) fn mended(body: &[u8]) -> Option<Vec<u8>> {
    let mut mended = body.to_vec();
    let (mut at, mut found) = (0, false);
    while let Some(rest) = body.get(at..).filter(|rest| !rest.is_empty()) {
        at += match (code_unit(rest), rest.get(6..).and_then(code_unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                found = true;
                mended.get_mut(at..at + 6)?.copy_from_slice(b"\\ufffd");
                6
            }
            (Some(_), _) => 6,
            (None, _) if rest.first() == Some(&b'\\') => 2,
            (None, _) => 1,
        };
    }
    found.then_some(mended)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn depth_and_number_are_bounded_and_strings_do_not_count() {
        let reason = |body: &str| check(body.as_bytes()).map_err(|refusal| refusal.reason);
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(reason(&nested(MAX_DEPTH)), Ok(()));
        assert_eq!(reason(&nested(MAX_DEPTH + 1)), Err(Reason::PayloadInvalid));
        assert_eq!(reason(&format!("[\"\\\"{}\"]", "[".repeat(1000))), Ok(()));
        let many = |nodes: usize| format!("[{}[]]", "{},".repeat(nodes - 2));
        assert_eq!(reason(&many(MAX_NODES)), Ok(()));
        assert_eq!(reason(&many(MAX_NODES + 1)), Err(Reason::BodyTooLarge));
    }

    #[test]
    fn only_half_pairs_are_mended() {
        let text = |body: &str| mended(body.as_bytes()).map(|mended| String::from_utf8(mended).unwrap());
        for whole in [r#""\ud83d\ude00""#, r#""\\ud83d""#, r#""\u00e4""#, r#""\u12"#, "\\"] {
            assert_eq!(text(whole), None, "{whole}");
        }
        assert_eq!(text(r#""\ud83d""#).unwrap(), r#""\ufffd""#);
        assert_eq!(text(r#""\ude00\ud83d\ude00\uD83D\n""#).unwrap(), r#""\ufffd\ud83d\ude00\ufffd\n""#);
        assert_eq!(text(r#""\ud83d\ud83d\ude00""#).unwrap(), r#""\ufffd\ud83d\ude00""#);
    }

    proptest! {
        #[test]
        fn whatever_is_escaped_is_json_after_mending(units in prop::collection::vec(any::<u16>(), 0..8)) {
            let text = units.iter().fold(String::new(), |text, unit| format!("{text}\\u{unit:04x}"));
            let body = format!("\"{text}\"");
            let body = mended(body.as_bytes()).unwrap_or(body.into_bytes());
            let read: Value = serde_json::from_slice(&body).unwrap();
            prop_assert_eq!(read.as_str().unwrap(), String::from_utf16_lossy(&units));
        }
    }
}
