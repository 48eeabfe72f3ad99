//! The header fields that tell an upstream who calls.

use std::fmt::Write;

use http::{HeaderName, HeaderValue};

use crate::request::Caller;

/// The tenant whose rule took the request.
pub const TENANT: HeaderName = HeaderName::from_static("x-postern-tenant");
/// The caller, as `method:id`.
pub const CALLER: HeaderName = HeaderName::from_static("x-postern-caller");
/// The caller's roles, as a list of a structured field (RFC 9651).
pub const ROLES: HeaderName = HeaderName::from_static("x-postern-roles");
/// True when a caller was proved: [`VERIFIED`] or [`NOBODY`].
pub const AUTH: HeaderName = HeaderName::from_static("x-postern-auth");

/// A method of the rule has proved the caller.
pub const VERIFIED: HeaderValue = HeaderValue::from_static("verified");
/// Nobody was proved: the rule is open, or its authentication audits or rests.
pub const NOBODY: HeaderValue = HeaderValue::from_static("none");

/// `method:id`. Of the id, `%` and what is not visible ASCII are percent-encoded, so that two ids never look alike.
#[must_use]
pub fn caller(caller: &Caller) -> Option<HeaderValue> {
    let Caller { id, method, tenant: _, roles: _, claims: _, forward: _ } = caller;
    let mut value = String::with_capacity(method.len() + id.len() + 1);
    value.push_str(method);
    value.push(':');
    encode(&mut value, id, |byte| byte.is_ascii_graphic() && byte != b'%');
    HeaderValue::try_from(value).ok()
}

/// The roles as a list: Strings, and Display Strings where a role is not ASCII. Nothing when there are none.
#[must_use]
pub fn roles(caller: &Caller) -> Option<HeaderValue> {
    let mut list = String::new();
    for role in &caller.roles {
        if !list.is_empty() {
            list.push_str(", ");
        }
        if role.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            list.push('"');
            for character in role.chars() {
                if matches!(character, '"' | '\\') {
                    list.push('\\');
                }
                list.push(character);
            }
        } else {
            list.push_str("%\"");
            encode(&mut list, role, |byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'%' | b'"'));
        }
        list.push('"');
    }
    if list.is_empty() { None } else { HeaderValue::try_from(list).ok() }
}

fn encode(out: &mut String, text: &str, plain: impl Fn(u8) -> bool) {
    for byte in text.bytes() {
        if plain(byte) {
            out.push(char::from(byte));
        } else {
            let _infallible = write!(out, "%{byte:02x}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn named(id: &str, roles: &[&str]) -> Caller {
        Caller {
            id: id.into(),
            method: "partners".into(),
            tenant: None,
            roles: roles.iter().map(|role| Arc::from(*role)).collect(),
            claims: Arc::new(serde_json::Value::Null),
            forward: Vec::new(),
        }
    }

    #[test]
    fn a_caller_is_its_method_and_its_id_in_visible_ascii() {
        let of = |id| caller(&named(id, &[])).unwrap();
        assert_eq!(of("initech"), "partners:initech");
        assert_eq!(of("a b%\r\n\u{e9}:c"), "partners:a%20b%25%0d%0a%c3%a9:c");
    }

    #[test]
    fn roles_are_a_list_that_no_role_can_break_out_of() {
        let of = |list: &[&str]| roles(&named("a", list));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["agent", "a\", \"admin", "b\\"]).unwrap(), r#""agent", "a\", \"admin", "b\\""#);
        assert_eq!(of(&["J\u{e4}ger \"1\"%"]).unwrap(), "%\"J%c3%a4ger %221%22%25\"");
    }
}
