//! JSON whose identities survive the parse.
//!
//! `serde_json` has 64-bit integers and doubles: a longer number loses digits, and two ids that differ in the last
//! one become equal. Whoever takes an identity out of JSON reads it from the rewritten text, where such numbers
//! are texts.

use std::ops::Range;

/// Numbers of up to so many bytes without an exponent are always exact: a double has 15 digits for sure.
const ALWAYS_EXACT: usize = 15;

/// Which numbers become texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inexact {
    /// Integers beyond 64 bits.
    Integers,
    /// Every number that would not come out of the parser as it went in, and halves of surrogate pairs.
    All,
}

/// Returns the JSON text with each number that would lose digits as a text of these digits, and with each half of a
/// surrogate pair as its escape in letters; `None` when the parser loses nothing.
///
/// The text need not be valid JSON. What is no JSON before is none afterwards.
pub(crate) fn rewritten(json: &[u8], which: Inexact) -> Option<Vec<u8>> {
    let mut written: Vec<u8> = Vec::new();
    let (mut at, mut copied) = (0, 0);

    while let Some(rest) = json.get(at..).filter(|rest| !rest.is_empty()) {
        match rest {
            [b'"', ..] => {
                let string = at..at + string_length(rest);
                let halves = if which == Inexact::All { lone_halves(json, &string) } else { Vec::new() };
                for half in halves {
                    written.extend_from_slice(json.get(copied..half)?);
                    written.push(b'\\');
                    copied = half;
                }
                at = string.end;
            }
            [b'-' | b'0'..=b'9', ..] => {
                let length = rest.iter().take_while(|byte| is_of_number(**byte)).count();
                let number = rest.get(..length)?;
                if !is_exact(number, which) {
                    written.extend_from_slice(json.get(copied..at)?);
                    written.extend_from_slice(&[b"\"", number, b"\""].concat());
                    copied = at + length;
                }
                at += length;
            }
            _ => at += 1,
        }
    }

    if copied == 0 && written.is_empty() {
        return None;
    }
    written.extend_from_slice(json.get(copied..)?);
    Some(written)
}

fn is_of_number(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')
}

/// Bytes of the string that begins here, with its quotes; without a closing quote, all bytes.
fn string_length(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

/// Where escapes stand that are one half of a surrogate pair without the other.
fn lone_halves(json: &[u8], string: &Range<usize>) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = string.start;
    while let Some(rest) = json.get(at..string.end).filter(|rest| !rest.is_empty()) {
        at += match (code_unit(rest), rest.get(6..).and_then(code_unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                found.push(at);
                6
            }
            (Some(_), _) => 6,
            (None, _) if rest.first() == Some(&b'\\') => 2,
            (None, _) => 1,
        };
    }
    found
}

/// The code unit of an escape that stands at the beginning.
pub(crate) fn code_unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn is_exact(number: &[u8], which: Inexact) -> bool {
    let is_integer = number.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'-'));
    if number.len() <= ALWAYS_EXACT && !number.iter().any(|byte| matches!(byte, b'e' | b'E')) {
        return true;
    }
    let Ok(text) = std::str::from_utf8(number) else { return true };
    if is_integer {
        // What does not parse at all is for the parser to refuse: `-` or `1-2`.
        return text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok() || text.parse::<f64>().is_err();
    }
    if which == Inexact::Integers {
        return true;
    }
    let Ok(value) = text.parse::<f64>() else { return true };
    decimal(text) == decimal(&format!("{value:e}"))
}

/// Digits and power of ten of a number without its sign; `None` for an exponent beyond all bounds.
fn decimal(number: &str) -> Option<(String, i64)> {
    let number = number.trim_start_matches('-');
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    let significant = digits.trim_end_matches('0');

    let dropped = i64::try_from(digits.len() - significant.len()).ok()?;
    let exponent = exponent.parse::<i64>().ok()?.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    let significant = significant.trim_start_matches('0');
    let power = if significant.is_empty() { 0 } else { exponent.checked_add(dropped)? };
    Some((significant.to_owned(), power))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn texts(json: &str, which: Inexact) -> Option<String> {
        rewritten(json.as_bytes(), which).map(|written| String::from_utf8(written).unwrap())
    }

    #[test]
    fn numbers_that_lose_digits_become_texts_and_others_stay() {
        for kept in [
            "[9007199254740993,18446744073709551615,-9223372036854775808]",
            r#"{"a":0.1,"b":1.50,"c":-0,"d":52.520008,"e":0.30000000000000004,"f":1e3,"g":1.0E+2}"#,
            r#"["12345678901234567890123","\"12345678901234567890123","\ud83d\ude00"]"#,
            "",
            "-",
            "1-2345678901234567890123",
        ] {
            assert_eq!(texts(kept, Inexact::All), None, "{kept}");
        }
        let given =
            r#"{"a":[12345678901234567890123,-18446744073709551616],"b":0.12345678901234567891,"c":1e-400,"d":7}"#;
        let all = r#"{"a":["12345678901234567890123","-18446744073709551616"],"b":"0.12345678901234567891","c":"1e-400","d":7}"#;
        let integers =
            r#"{"a":["12345678901234567890123","-18446744073709551616"],"b":0.12345678901234567891,"c":1e-400,"d":7}"#;
        assert_eq!(texts(given, Inexact::All).as_deref(), Some(all));
        assert_eq!(texts(given, Inexact::Integers).as_deref(), Some(integers));
    }

    #[test]
    fn halves_of_surrogate_pairs_stay_apart() {
        let read = |json: &str| serde_json::from_str::<Value>(&texts(json, Inexact::All).unwrap()).unwrap();
        assert_eq!(read(r#"["a\ud83d","a\ud83e\ud83d\ude00"]"#), serde_json::json!(["a\\ud83d", "a\\ud83e\u{1f600}"]));
    }

    proptest! {
        #[test]
        fn what_was_json_is_json_and_numbers_that_differ_stay_different(
            one in "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})?", other in "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})?",
        ) {
            let read = |number: &str| -> Value {
                let json = format!("[{number}]");
                serde_json::from_slice(&rewritten(json.as_bytes(), Inexact::All).unwrap_or(json.into_bytes())).unwrap()
            };
            let is_zero = |number: &str| !number.contains(|c| matches!(c, '1'..='9'));
            let same = decimal(&one) == decimal(&other)
                && (is_zero(&one) || one.starts_with('-') == other.starts_with('-'));
            prop_assert!(same || read(&one) != read(&other), "{one} {other}");
        }

        #[test]
        fn whatever_is_no_json_stays_none(json in "[\\[\\]{}:,\"\\\\a-u0-9eE.+ -]{0,40}") {
            if let Some(written) = rewritten(json.as_bytes(), Inexact::All) {
                let is = |json: &[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(json).is_ok();
                prop_assert!(is(json.as_bytes()) || !is(&written), "{json}");
            }
        }
    }
}
