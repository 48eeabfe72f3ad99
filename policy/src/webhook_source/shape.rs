//! From a provider's own object to ours: a type names what is taken and what it is called; the rest stays in the
//! provider's object, which travels beside.

use jiff::Timestamp;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Number, Value};

/// A provider's object is not of the shape that the provider documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Undocumented;

/// What `T` takes of a provider's object. What is not there is left out, not null.
pub(super) fn taken<T: DeserializeOwned + Serialize>(value: &Value) -> Result<Value, Undocumented> {
    let typed = T::deserialize(value).map_err(|_| Undocumented)?;
    written(&typed)
}

/// The same for a part that may be missing: null when it is.
pub(super) fn taken_if_there<T: DeserializeOwned + Serialize>(value: Option<&Value>) -> Result<Value, Undocumented> {
    match value {
        None | Some(Value::Null) => Ok(Value::Null),
        Some(value) => taken::<T>(value),
    }
}

/// A value of ours as JSON.
pub(super) fn written<T: Serialize>(value: &T) -> Result<Value, Undocumented> {
    serde_json::to_value(value).map(without_nulls).map_err(|_| Undocumented)
}

/// Leaves out what is null in our own objects; lists keep their places.
pub(super) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, without_nulls(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

/// A text that some senders write as a number: ids, codes, amounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Text(pub(super) String);

#[derive(Deserialize)]
#[serde(untagged)]
enum TextOrNumber {
    Text(String),
    Number(Number),
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match TextOrNumber::deserialize(deserializer)? {
            TextOrNumber::Text(text) => Self(text),
            TextOrNumber::Number(number) => Self(number.to_string()),
        })
    }
}

/// An instant that comes as Unix seconds, in a text or a number, and leaves as RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Instant(Timestamp);

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        let secs = text.parse::<i64>().map_err(D::Error::custom)?;
        Timestamp::from_second(secs).map(Self).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all(serialize = "camelCase"))]
    struct Sample {
        some_id: Text,
        ends_at: Option<Instant>,
        note: Option<String>,
    }

    #[test]
    fn what_is_named_is_taken_and_the_rest_stays() {
        let sample = json!({"some_id": 7, "ends_at": "1749416383", "note": null, "more": [1]});
        assert_eq!(taken::<Sample>(&sample), Ok(json!({"someId": "7", "endsAt": "2025-06-08T20:59:43Z"})));
    }

    #[test]
    fn another_shape_is_undocumented() {
        for other in [json!({}), json!({"some_id": {}}), json!({"some_id": "7", "ends_at": "soon"}), json!(null)] {
            assert_eq!(taken::<Sample>(&other), Err(Undocumented), "{other}");
        }
        assert_eq!(taken_if_there::<Sample>(Some(&Value::Null)), Ok(Value::Null));
    }
}
