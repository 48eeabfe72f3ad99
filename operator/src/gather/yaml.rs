//! YAML to values, with the place of every field.
//!
//! Only what Kubernetes manifests need: anchors, aliases and own tags are refused, so that a small file cannot
//! unfold into a large value. Nesting is bounded.

use std::collections::HashMap;
use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};
use serde_json::{Map, Number, Value};

/// How deep a document may nest.
pub const MAX_DEPTH: usize = 64;

/// Where a field stands in its file, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Its key, or its first byte when it has none (an item of a list).
    pub key: Range<usize>,
    /// Its value, when that is a scalar.
    pub scalar: Option<Range<usize>>,
}

/// Something wrong with a field that the value no longer shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The field.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// The way out.
    pub help: &'static str,
}

/// One document of a file. Not `Debug`: it may be a Secret.
#[derive(Clone, Default)]
pub struct Document {
    /// What it says.
    pub value: Value,
    /// Where each field stands; the root is the empty path.
    pub spots: HashMap<String, Spot>,
    /// What was refused while reading.
    pub faults: Vec<Fault>,
}

/// The text is no YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// What is wrong.
    pub message: String,
    /// The byte at which.
    pub at: usize,
}

impl Document {
    /// The items of a `List`, each with the places of its own fields; `None` when this is not one, or has no list.
    pub(super) fn items(&self) -> Option<Vec<Self>> {
        let items = self.value.get("items").and_then(Value::as_array)?;
        let mut documents: Vec<Self> =
            items.iter().map(|value| Self { value: value.clone(), ..Self::default() }).collect();

        for (path, spot) in &self.spots {
            if let Some((index, field)) = item(path)
                && let Some(document) = documents.get_mut(index)
            {
                document.spots.insert(field.to_owned(), spot.clone());
            }
        }
        for Fault { field, message, help } in &self.faults {
            if let Some((index, field)) = item(field)
                && let Some(document) = documents.get_mut(index)
            {
                document.faults.push(Fault { field: field.to_owned(), message: message.clone(), help });
            }
        }
        Some(documents)
    }
}

/// `items[7].spec.rules` as 7 and `spec.rules`.
fn item(path: &str) -> Option<(usize, &str)> {
    let (index, rest) = path.strip_prefix("items[")?.split_once(']')?;
    Some((index.parse().ok()?, rest.strip_prefix('.').unwrap_or(rest)))
}

enum Frame {
    Map { path: String, map: Map<String, Value>, key: Option<(String, Range<usize>)> },
    List { path: String, list: Vec<Value> },
}

struct Builder<'t> {
    text: &'t str,
    /// Byte offsets of characters, when they differ.
    bytes: Vec<usize>,
    stack: Vec<Frame>,
    document: Document,
}

/// Reads every document of a text. Empty documents are left out.
///
/// # Errors
/// [`SyntaxError`], with nothing read: half a file is not what anybody wrote.
pub fn documents(text: &str) -> Result<Vec<Document>, SyntaxError> {
    // JSON may be indented with tabs, YAML may not. JSON has them between its tokens only.
    let spaced = text.trim_start().starts_with(['{', '[']).then(|| text.replace('\t', " "));
    parsed(spaced.as_deref().unwrap_or(text)).or_else(|error| match serde_json::from_str::<Value>(text) {
        // JSON that YAML has no escapes for; its fields have no places.
        Ok(value) => Ok(vec![Document { value, ..Document::default() }]),
        Err(_) => Err(error),
    })
}

fn parsed(text: &str) -> Result<Vec<Document>, SyntaxError> {
    let bytes = if text.is_ascii() { Vec::new() } else { text.char_indices().map(|(at, _)| at).collect() };
    let mut builder = Builder { text, bytes, stack: Vec::new(), document: Document::default() };
    let mut found = Vec::new();
    let mut parser: Parser<'_, StrInput<'_>> = Parser::new_from_str(text);
    while let Some(next) = parser.next_event() {
        let (event, span) = next.map_err(|error| SyntaxError {
            message: error.info().to_owned(),
            at: builder.byte(error.marker().index()),
        })?;
        if matches!(event, Event::DocumentEnd) {
            let document = std::mem::take(&mut builder.document);
            if !document.value.is_null() {
                found.push(document);
            }
        } else {
            builder.on(event, span)?;
        }
    }
    Ok(found)
}

impl Builder<'_> {
    fn byte(&self, character: usize) -> usize {
        let at = if self.bytes.is_empty() { Some(character) } else { self.bytes.get(character).copied() };
        at.unwrap_or(self.text.len()).min(self.text.len())
    }

    fn range(&self, span: Span) -> Range<usize> {
        self.byte(span.start.index())..self.byte(span.end.index())
    }

    fn on(&mut self, event: Event<'_>, span: Span) -> Result<(), SyntaxError> {
        let range = self.range(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse(anchor != 0, tag.is_some_and(|tag| !tag.is_yaml_core_schema()));
                self.scalar(&text, style, range);
            }
            Event::Alias(_) => {
                self.refuse(true, false);
                self.value(Value::Null, Some(range));
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse(anchor != 0, tag.is_some_and(|tag| !tag.is_yaml_core_schema()));
                self.open(range, true)?;
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse(anchor != 0, tag.is_some_and(|tag| !tag.is_yaml_core_schema()));
                self.open(range, false)?;
            }
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop() {
                Some(Frame::Map { map, .. }) => self.value(Value::Object(map), None),
                Some(Frame::List { list, .. }) => self.value(Value::Array(list), None),
                None => {}
            },
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {}
        }
        Ok(())
    }

    /// Anchors, aliases and own tags are refused where they stand.
    fn refuse(&mut self, anchor: bool, tag: bool) {
        let field = self.path();
        if anchor {
            let message = "uses a YAML anchor or alias".to_owned();
            self.document.faults.push(Fault { field, message, help: "write the value out in every place" });
        } else if tag {
            let message = "uses a YAML tag of its own".to_owned();
            self.document.faults.push(Fault { field, message, help: "leave the tag out" });
        }
    }

    /// The path of the value that comes next.
    fn path(&self) -> String {
        match self.stack.last() {
            None => String::new(),
            Some(Frame::List { path, list }) => format!("{path}[{}]", list.len()),
            Some(Frame::Map { path, key, .. }) => match key {
                Some((key, _)) if path.is_empty() => key.clone(),
                Some((key, _)) => format!("{path}.{key}"),
                None => path.clone(),
            },
        }
    }

    fn open(&mut self, range: Range<usize>, list: bool) -> Result<(), SyntaxError> {
        if self.stack.len() >= MAX_DEPTH {
            let message = format!("nests deeper than {MAX_DEPTH} levels");
            return Err(SyntaxError { message, at: range.start });
        }
        let path = self.path();
        let key = self.pending_key().unwrap_or(range.start..range.start + 1);
        self.document.spots.insert(path.clone(), Spot { key, scalar: None });
        self.stack.push(if list {
            Frame::List { path, list: Vec::new() }
        } else {
            Frame::Map { path, map: Map::new(), key: None }
        });
        Ok(())
    }

    fn pending_key(&self) -> Option<Range<usize>> {
        match self.stack.last() {
            Some(Frame::Map { key: Some((_, range)), .. }) => Some(range.clone()),
            Some(Frame::Map { key: None, .. } | Frame::List { .. }) | None => None,
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, range: Range<usize>) {
        if let Some(Frame::Map { key: key @ None, .. }) = self.stack.last_mut() {
            *key = Some((text.to_owned(), range));
            return;
        }
        let value = if style == ScalarStyle::Plain { plain(text) } else { Value::String(text.to_owned()) };
        self.value(value, Some(range));
    }

    /// A finished value goes to the list or the key that waits for it.
    fn value(&mut self, value: Value, scalar: Option<Range<usize>>) {
        if let Some(range) = scalar {
            let key = self.pending_key().unwrap_or_else(|| range.clone());
            self.document.spots.insert(self.path(), Spot { key, scalar: Some(range) });
        }
        let path = self.path();
        match self.stack.last_mut() {
            None => self.document.value = value,
            Some(Frame::List { list, .. }) => list.push(value),
            Some(Frame::Map { map, key, .. }) => {
                // A key that is no scalar has no name; its value then stands for it, and is refused as unknown.
                let Some((name, _)) = key.take() else {
                    *key = Some(("?".to_owned(), 0..0));
                    return;
                };
                if map.insert(name, value).is_some() {
                    let message = "is written twice".to_owned();
                    self.document.faults.push(Fault { field: path, message, help: "keep one of them" });
                }
            }
        }
    }
}

/// A plain scalar by the YAML 1.2 core schema.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    if let Ok(whole) = text.parse::<i64>() {
        return Value::Number(whole.into());
    }
    if let Ok(whole) = text.parse::<u64>() {
        return Value::Number(whole.into());
    }
    let numeric = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'))
        && text.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E'));
    let float = if numeric { text.parse::<f64>().ok().and_then(Number::from_f64) } else { None };
    float.map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(text: &str) -> Document {
        documents(text).unwrap().into_iter().next().unwrap()
    }

    #[test]
    fn every_field_knows_its_place() {
        let text = "kind: Route\nspec:\n  rules:\n    - name: é\n      timeouts: {request: 10s}\n";
        let document = one(text);
        let spot = &document.spots["spec.rules[0].timeouts.request"];
        assert_eq!(&text[spot.key.clone()], "request");
        assert_eq!(&text[spot.scalar.clone().unwrap()], "10s");
        assert_eq!(&text[document.spots["spec.rules"].key.clone()], "rules");
        assert_eq!(document.value["spec"]["rules"][0]["name"], "é");
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        let document = one("[1, 1.5, true, off, 'true', ~, 0.0.0.0/0, 10.0.0.1, -3, 2026-11-01, '']");
        assert_eq!(
            document.value,
            json!([1, 1.5, true, "off", "true", null, "0.0.0.0/0", "10.0.0.1", -3, "2026-11-01", ""])
        );
    }

    #[test]
    fn anchors_aliases_and_double_keys_are_refused() {
        let document = one("a: &x [1]\nb: *x\nc: 1\nc: 2\n");
        let fields: Vec<_> = document.faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, ["a", "b", "c"]);
    }

    #[test]
    fn a_bomb_does_not_unfold() {
        let mut text = String::from("a0: &a0 [x, x]\n");
        for level in 1..40 {
            text += &format!("a{level}: &a{level} [*a{0}, *a{0}, *a{0}]\n", level - 1);
        }
        assert!(one(&text).value["a39"][0].is_null());
        assert!(documents(&"[".repeat(MAX_DEPTH + 1)).is_err());
    }

    #[test]
    fn json_is_read_as_it_is_written() {
        let document = one("{\n\t\"kind\": \"Route\",\n\t\"text\": \"\\ud83d\\ude00 \\/ \\t\"\n}");
        assert_eq!(document.value, json!({"kind": "Route", "text": "\u{1f600} / \t"}));
        assert!(documents("{\"a\": \"\\ud83d\"}").is_err() || !one("{\"a\": \"\\ud83d\"}").faults.is_empty());
    }

    #[test]
    fn items_of_a_list_keep_their_places() {
        let text = "kind: List\nitems:\n- kind: Route\n  spec: {a: 1}\n- {kind: Tenant, kind: Tenant}\n";
        let items = one(text).items().unwrap();
        assert_eq!((items.len(), &items[1].value), (2, &json!({"kind": "Tenant"})));
        assert_eq!(&text[items[0].spots["spec.a"].scalar.clone().unwrap()], "1");
        assert_eq!(items[1].faults[0].field, "kind");
        assert!(one("kind: List").items().is_none());
    }

    #[test]
    fn half_a_file_is_no_file() {
        let error = documents("a: 1\n---\nb: [1, 2\nc: }\n").err().unwrap();
        assert!(error.at > 8, "{error:?}");
        assert!(documents("").unwrap().is_empty());
        assert_eq!(documents("---\n---\na: 1\n").unwrap().len(), 1);
    }
}
