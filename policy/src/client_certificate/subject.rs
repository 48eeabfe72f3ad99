//! Distinguished names and Envoy's certificate field, read strictly: what can be read in two ways is refused.

/// The longest text that is read.
pub(super) const MAX_BYTES: usize = 4_096;

/// The one common name of a distinguished name (RFC 4514; quoted values as in RFC 2253).
pub(super) fn common_name(text: &str) -> Option<String> {
    let mut found = None;
    let mut rest = text;
    loop {
        let (kind, after) = rest.split_once('=')?;
        let kind = kind.trim();
        let is_kind = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
        if kind.is_empty() || !kind.bytes().all(is_kind) {
            return None;
        }
        let (value, left) = value(after)?;
        let is_common_name = kind.eq_ignore_ascii_case("CN") || kind == "2.5.4.3";
        if is_common_name && found.replace(value).is_some() {
            return None;
        }
        match left {
            Some(left) => rest = left,
            None => return found.filter(|name| !name.is_empty()),
        }
    }
}

/// A value, unescaped, and what follows the separator behind it.
fn value(text: &str) -> Option<(String, Option<&str>)> {
    let text = text.trim_start_matches(' ');
    let quoted = text.strip_prefix('"');
    let mut bytes = Vec::new();
    // How much of it cannot be trimmed.
    let mut kept = 0;
    let mut at = quoted.unwrap_or(text).char_indices();
    let whole = quoted.unwrap_or(text);
    while let Some((index, char)) = at.next() {
        match (char, quoted) {
            ('\\', _) => {
                let (next, escaped) = at.next()?;
                match hex_pair(whole.get(next..)?) {
                    Some(byte) => {
                        at.next();
                        bytes.push(byte);
                    }
                    None if escaped.is_ascii_alphanumeric() || !escaped.is_ascii() => return None,
                    None => bytes.push(u8::try_from(escaped).ok()?),
                }
                kept = bytes.len();
            }
            ('"', Some(_)) => {
                let after = whole.get(index + 1..)?.trim_start_matches(' ');
                let left = match after.chars().next() {
                    None => None,
                    Some(',' | '+' | ';') => Some(after.get(1..)?),
                    Some(_) => return None,
                };
                return Some((String::from_utf8(bytes).ok()?, left));
            }
            (',' | '+' | ';', None) => {
                bytes.truncate(kept.max(trimmed(&bytes)));
                return Some((String::from_utf8(bytes).ok()?, Some(whole.get(index + 1..)?)));
            }
            // A raw value (`#04...`) is never a name that is looked for, and a bare quote is malformed.
            ('"' | '<' | '>' | '\0', None) => return None,
            ('#', None) if bytes.is_empty() => return None,
            (char, _) => bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    if quoted.is_some() {
        return None;
    }
    bytes.truncate(kept.max(trimmed(&bytes)));
    Some((String::from_utf8(bytes).ok()?, None))
}

/// The length without trailing spaces.
fn trimmed(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != b' ').map_or(0, |at| at + 1)
}

fn hex_pair(text: &str) -> Option<u8> {
    let pair = text.get(..2).filter(|pair| pair.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u8::from_str_radix(pair, 16).ok()
}

/// The subject in an `x-forwarded-client-cert` field of one element; `None` when there are more, which proxies
/// further out, or the caller, have written.
pub(super) fn forwarded_subject(text: &str) -> Option<String> {
    let mut subject = None;
    let mut rest = text;
    loop {
        let (key, after) = rest.split_once('=')?;
        let (value, separator, left) = pair_value(after)?;
        if key.trim().eq_ignore_ascii_case("Subject") && subject.replace(value).is_some() {
            return None;
        }
        match separator {
            None => return subject,
            Some(';') => rest = left,
            Some(_) => return None,
        }
    }
}

/// A value, bare or in quotes with `\"` inside, the separator behind it and what follows.
fn pair_value(text: &str) -> Option<(String, Option<char>, &str)> {
    let (value, rest) = match text.strip_prefix('"') {
        None => {
            let end = text.find([';', ',', '"']).unwrap_or(text.len());
            let (value, rest) = text.split_at_checked(end)?;
            (value.to_owned(), rest)
        }
        Some(quoted) => {
            let mut value = String::new();
            let mut chars = quoted.char_indices();
            let end = loop {
                match chars.next()? {
                    (at, '"') => break at,
                    (_, '\\') => match chars.next()?.1 {
                        quote @ '"' => value.push(quote),
                        // The backslash belongs to the name inside.
                        other => value.extend(['\\', other]),
                    },
                    (_, other) => value.push(other),
                }
            };
            (value, quoted.get(end + 1..)?)
        }
    };
    match rest.chars().next() {
        None => Some((value, None, "")),
        Some(separator @ (';' | ',')) => Some((value, Some(separator), rest.get(1..)?)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_common_name_is_read_wherever_it_stands() {
        for subject in [
            "CN=a.example",
            "CN=a.example,O=Meta Platforms\\, Inc.,C=US",
            "C=US,ST=California,O=\"Meta Platforms, Inc.\",CN=a.example",
            "C=US, O=x + CN=a.example ",
            "cn=a\\2eexample",
            "2.5.4.3=a.example;O=x",
            "CN=\"a.example\"",
        ] {
            assert_eq!(common_name(subject).as_deref(), Some("a.example"), "{subject}");
        }
    }

    #[test]
    fn a_name_inside_another_value_is_not_the_common_name() {
        for subject in [
            "O=x\\,CN=a.example",
            "O=\"x,CN=a.example\"",
            "O=x\\, CN\\=a.example,CN=other",
            "/C=US/CN=a.example",
            "O=x CN=a.example",
            "OU=CN=a.example",
        ] {
            assert_ne!(common_name(subject).as_deref(), Some("a.example"), "{subject}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_not_read() {
        for subject in [
            "",
            "CN=",
            "CN=a,CN=b",
            "CN=a,cn=a",
            "CN=a,2.5.4.3=a",
            "CN=a,",
            "CN=a,O",
            "CN=\"a",
            "CN=\"a\"b",
            "CN=a\\",
            "CN=a\\g",
            "CN=a\"b",
            "CN=#0401",
            "CN=\\ff",
            "=a",
        ] {
            assert_eq!(common_name(subject), None, "{subject}");
        }
    }

    #[test]
    fn envoy_tells_one_subject() {
        let told = "By=spiffe://a;Hash=00ff;Subject=\"CN=a.example,O=\\\"x, y\\\"\";URI=";
        assert_eq!(forwarded_subject(told).as_deref(), Some("CN=a.example,O=\"x, y\""));
        assert_eq!(forwarded_subject("subject=CN=a.example").as_deref(), Some("CN=a.example"));
        for text in [
            "Hash=1;Subject=\"CN=a\",Hash=2",
            "Hash=2,Hash=1;Subject=\"CN=a\"",
            "Subject=\"CN=a\";Subject=\"CN=b\"",
            "Subject=\"CN=a",
            "Subject=\"CN=a\"x",
            "Hash=1",
            "Subject",
            "",
        ] {
            assert_eq!(forwarded_subject(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_value_it_is_read_back_and_brings_no_name_of_its_own(value in "[a-z,+;=\"\\\\#<> CN.é]{0,12}") {
            let escaped: String = value.bytes().map(|byte| format!("\\{byte:02x}")).collect();
            let beside = common_name(&format!("O={escaped},CN=real"));
            prop_assert_eq!(beside.as_deref(), Some("real"));
            let read = common_name(&format!("CN={escaped}"));
            prop_assert_eq!(read.unwrap_or_default(), value);
        }

        #[test]
        fn no_text_is_too_odd_to_be_read(text in "[CNOSubject=,;+\"\\\\# a0é]{0,40}") {
            let _ = (common_name(&text), forwarded_subject(&text));
        }
    }
}
