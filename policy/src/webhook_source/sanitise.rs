//! What is taken out of an event before anybody reads it: control characters, texts and nestings without end.
//!
//! It runs over all of `data`, the provider's own object included, after id, type and conversation are taken: they
//! stay what they are. Whatever is changed is said.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::entry::Entry;
use super::{ControlCharacters, SanitiseIr};

/// Bytes of the list of places; after it, `...`.
const MAX_PLACES_BYTES: usize = 1024;

/// Sanitises an event; says where: JSON Pointers into `data` as URI fragments (RFC 6901, 6), separated by spaces.
#[must_use]
pub fn sanitise(ir: &SanitiseIr, entry: &mut Entry) -> Option<String> {
    let mut pass = Pass { ir, mended: entry.mended, places: String::new() };
    pass.value(&mut entry.data, &At { within: None, step: Step::Root }, 1);
    (!pass.places.is_empty()).then_some(pass.places)
}

/// Where in `data` something is; only written out when it has to be told.
struct At<'a> {
    within: Option<&'a At<'a>>,
    step: Step<'a>,
}

enum Step<'a> {
    Root,
    Name(&'a str),
    Index(usize),
}

struct Pass<'a> {
    ir: &'a SanitiseIr,
    mended: bool,
    places: String,
}

impl Pass<'_> {
    fn value(&mut self, value: &mut Value, at: &At<'_>, depth: u32) {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
            Value::String(text) => {
                if self.text(text) {
                    self.tell(at);
                }
            }
            Value::Array(_) | Value::Object(_) if depth > self.ir.max_depth => {
                *value = Value::Null;
                self.tell(at);
            }
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.value(item, &At { within: Some(at), step: Step::Index(index) }, depth + 1);
                }
            }
            Value::Object(fields) => {
                if self.names(fields) {
                    self.tell(at);
                }
                for (name, field) in fields.iter_mut() {
                    self.value(field, &At { within: Some(at), step: Step::Name(name) }, depth + 1);
                }
            }
        }
    }

    /// The names of an object are texts too. Where two become one, the first stays.
    fn names(&self, fields: &mut Map<String, Value>) -> bool {
        let touched = fields.keys().any(|name| self.touches(name));
        if touched {
            for (mut name, field) in std::mem::take(fields) {
                self.text(&mut name);
                fields.entry(name).or_insert(field);
            }
        }
        touched
    }

    /// Sanitises a text; true when it was changed, by this or by mending.
    fn text(&self, text: &mut String) -> bool {
        let touched = self.touches(text);
        if touched {
            match self.ir.control_characters {
                ControlCharacters::Remove => text.retain(|c| !is_unwanted(c)),
                ControlCharacters::Replace => *text = text.replace(is_unwanted, "\u{fffd}"),
                ControlCharacters::Keep => {}
            }
            text.truncate(text.floor_char_boundary(self.longest()));
        }
        touched
    }

    fn touches(&self, text: &str) -> bool {
        let keeps = self.ir.control_characters == ControlCharacters::Keep;
        // Almost every text has no byte that could be part of one: looked for without reading characters.
        let may_have =
            || text.bytes().fold(false, |found, byte| found | (byte < 0x20) | (byte == 0x7f) | (byte == 0xc2));
        text.len() > self.longest()
            || (!keeps && may_have() && text.contains(is_unwanted))
            || (self.mended && text.contains(char::REPLACEMENT_CHARACTER))
    }

    fn longest(&self) -> usize {
        usize::try_from(self.ir.max_string_length).unwrap_or(usize::MAX)
    }

    fn tell(&mut self, at: &At<'_>) {
        const MORE: &str = " ...";
        if self.places.ends_with(MORE) {
            return;
        }
        let mut place = String::from(if self.places.is_empty() { "#" } else { " #" });
        write_pointer(&mut place, at);
        if self.places.len() + place.len() + MORE.len() > MAX_PLACES_BYTES {
            place = if self.places.is_empty() { "# ...".to_owned() } else { MORE.to_owned() };
        }
        self.places.push_str(&place);
    }
}

/// C0, DEL and C1; tab, line feed and carriage return are text.
fn is_unwanted(c: char) -> bool {
    c.is_control() && !matches!(c, '\t' | '\n' | '\r')
}

fn write_pointer(to: &mut String, at: &At<'_>) {
    if let Some(within) = at.within {
        write_pointer(to, within);
    }
    // Writing into a String cannot fail.
    let _ = match at.step {
        Step::Root => Ok(()),
        Step::Index(index) => write!(to, "/{index}"),
        Step::Name(name) => {
            to.push('/');
            name.bytes().try_for_each(|byte| match byte {
                b'~' => write!(to, "~0"),
                b'/' => write!(to, "~1"),
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => write!(to, "{}", char::from(byte)),
                other => write!(to, "%{other:02X}"),
            })
        }
    };
}

#[cfg(test)]
#[path = "sanitise_tests.rs"]
mod tests;
