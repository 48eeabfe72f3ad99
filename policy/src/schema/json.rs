//! A body read once and strictly: what is checked here must be what the upstream will read.
//!
//! A member that stands twice is refused (RFC 8259, 4, leaves open which one counts): the gateway would check one,
//! and the upstream might read the other.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::refusal::{Reason, Refusal};

/// Values in one body: bounds the memory that a body of many small values takes when it is read.
const MAX_VALUES: usize = 200_000;

/// Why a text that may be JSON was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Deep,
    Many,
    Repeated,
}

/// Reads one value and nothing after it.
///
/// # Errors
/// [`Reason::PayloadInvalid`], with the place and never a piece of the text.
pub(super) fn read(text: &[u8], max_depth: usize) -> Result<Value, Refusal> {
    let bounds = Bounds { values: Cell::new(MAX_VALUES), fault: Cell::new(None) };
    let mut reader = serde_json::Deserializer::from_slice(text);
    let read = Reader { bounds: &bounds, depth: max_depth }.deserialize(&mut reader);
    read.and_then(|value| reader.end().map(|()| value)).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        let detail = match bounds.fault.get() {
            None => format!("the body is not JSON: {place}"),
            Some(Fault::Deep) => format!("the body nests deeper than {max_depth} levels: {place}"),
            Some(Fault::Many) => format!("the body holds more than {MAX_VALUES} values: {place}"),
            Some(Fault::Repeated) => format!("the body names a member twice in one object: {place}"),
        };
        Refusal::new(Reason::PayloadInvalid, detail)
    })
}

struct Bounds {
    values: Cell<usize>,
    fault: Cell<Option<Fault>>,
}

/// Reads a value that may nest this deep.
#[derive(Clone, Copy)]
struct Reader<'a> {
    bounds: &'a Bounds,
    depth: usize,
}

impl Reader<'_> {
    fn fail<E: Error>(self, fault: Fault) -> E {
        self.bounds.fault.set(Some(fault));
        E::custom("a bound")
    }

    fn inside<E: Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| self.fail(Fault::Deep))?;
        Ok(Self { depth, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left = self.bounds.values.get().checked_sub(1).ok_or_else(|| self.fail(Fault::Many))?;
        self.bounds.values.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inside)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if map.contains_key(&name) {
                return Err(self.fail(Fault::Repeated));
            }
            let value = members.next_value_seed(inside)?;
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(text: &str) -> String {
        let refusal = read(text.as_bytes(), 4).unwrap_err();
        assert_eq!(refusal.reason, Reason::PayloadInvalid);
        refusal.detail.into_owned()
    }

    #[test]
    fn a_member_that_stands_twice_is_refused() {
        assert_eq!(
            refused(r#"{"role": 1, "role": 2}"#),
            "the body names a member twice in one object: line 1, column 18"
        );
        assert!(refused(r#"[{"a": {"b": 1, "b": 1}}]"#).starts_with("the body names a member twice"));
        // The same name, written in another way.
        assert!(refused(r#"{"role": 1, "\u0072ole": 2}"#).starts_with("the body names a member twice"));
    }

    #[test]
    fn depth_and_number_are_bounded() {
        assert!(read(b"[[[[1]]]]", 4).is_ok());
        assert!(refused("[[[[[1]]]]]").starts_with("the body nests deeper than 4 levels"));
        assert!(refused(&"[".repeat(1_000_000)).starts_with("the body nests deeper than 4 levels"));
        let many = format!("[{}1]", "1,".repeat(MAX_VALUES));
        assert!(refused(&many).starts_with("the body holds more than 200000 values"));
    }

    #[test]
    fn what_is_not_one_value_is_not_json() {
        for text in ["", "{", "{} {}", "{'a': 1}", "\u{feff}{}", "NaN", "[1,]", "\"\\ud800\""] {
            assert!(refused(text).starts_with("the body is not JSON"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_what_serde_json_reads(text in "[\\[\\]{}:,\"a-c0-9.eE+\\\\ -]{0,40}") {
            if let Ok(value) = read(text.as_bytes(), 64) {
                prop_assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap());
            }
        }
    }
}
