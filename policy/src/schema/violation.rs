//! What is wrong with a body, told without repeating it.
//!
//! A refusal is read by more than its caller: proxies, logs and support tools keep it. So it says where and what was
//! expected, both in the schema's words, and of what was found the type and the size only. Even a member's name is
//! the caller's text: one that the schema does not mention is written `*`.

use std::collections::HashSet;

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use jsonschema::paths::LocationSegment;
use serde::Serialize;
use serde_json::Value;

use super::keywords::escaped;

/// Bytes of a schema's own value that a violation repeats.
const MAX_EXCERPT_BYTES: usize = 160;

/// One place that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Where in the body (RFC 6901). A member's name that the schema does not mention is `*`.
    pub pointer: String,
    /// Which keyword of the schema says so (RFC 6901).
    pub schema: String,
    /// What it wants.
    pub expected: String,
    /// What is there: its type and size.
    pub found: String,
}

impl Violation {
    /// What the library found, in words of the schema. `names` are the members that it mentions.
    pub(super) fn of(error: &ValidationError<'_>, document: &Value, names: &HashSet<String>) -> Self {
        let mut pointer = String::new();
        for segment in error.instance_path().segments() {
            pointer.push('/');
            match segment {
                LocationSegment::Property(name) if names.contains(&*name) => pointer.push_str(&escaped(&name)),
                LocationSegment::Property(_) => pointer.push('*'),
                LocationSegment::Index(index) => pointer.push_str(&index.to_string()),
            }
        }
        let schema = error.schema_path().as_str().to_owned();
        let expected = expected(error.kind(), document.pointer(&schema));
        Self { pointer, schema, expected, found: found(error.instance()) }
    }

    /// All of it as the end of a sentence.
    pub(super) fn told(&self) -> String {
        let place = if self.pointer.is_empty() { "the whole" } else { &self.pointer };
        format!("{place}: expected {}, found {}", self.expected, self.found)
    }
}

fn expected(kind: &ValidationErrorKind, rule: Option<&Value>) -> String {
    if let ValidationErrorKind::Required { property } = kind {
        return format!("a member {}", written(property));
    }
    let count = |rule: Option<&Value>| rule.and_then(Value::as_array).map_or(0, Vec::len);
    match (kind.keyword(), rule) {
        ("additionalProperties" | "unevaluatedProperties", _) => {
            "no member that the schema does not mention".to_owned()
        }
        ("additionalItems" | "unevaluatedItems", _) => "no further items".to_owned(),
        ("anyOf", rule) => format!("one of the {} schemas in anyOf", count(rule)),
        ("oneOf", rule) => format!("exactly one of the {} schemas in oneOf", count(rule)),
        (_, Some(Value::Bool(false))) => "nothing here".to_owned(),
        (keyword, Some(Value::Object(_)) | None) => format!("what `{keyword}` says"),
        (keyword, Some(Value::Array(list))) if list.iter().any(|item| item.is_object() || item.is_array()) => {
            format!("what `{keyword}` says")
        }
        (keyword, Some(rule)) => format!("{keyword} {}", written(rule)),
    }
}

/// The schema's own value as text.
fn written(rule: &Value) -> String {
    excerpt(match rule {
        Value::String(text) => format!("`{text}`"),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => rule.to_string(),
    })
}

/// A text, cut where it is long.
pub(super) fn excerpt(text: String) -> String {
    if text.len() <= MAX_EXCERPT_BYTES {
        return text;
    }
    format!("{}...", text.get(..text.floor_char_boundary(MAX_EXCERPT_BYTES)).unwrap_or_default())
}

fn found(instance: &Value) -> String {
    match instance {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "a boolean".to_owned(),
        Value::Number(number) if number.is_f64() => "a number".to_owned(),
        Value::Number(_) => "an integer".to_owned(),
        Value::String(text) => format!("a string of {} characters", text.chars().count()),
        Value::Array(items) => format!("an array of {} items", items.len()),
        Value::Object(members) => format!("an object of {} members", members.len()),
    }
}
