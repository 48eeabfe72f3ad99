//! A value against the structural schema of its kind, as the API server does it: every problem at once.

use std::collections::HashMap;
use std::sync::LazyLock;

use policy::names::Kind;
use policy::problem::Problems;
use policy::units::{DURATION_PATTERN, SIZE_PATTERN, UnitError};
use regex::Regex;
use serde_json::{Map, Value};

/// How many problems of one object are told; more would bury the first.
pub const MAX_PROBLEMS: usize = 50;

static DEFINITIONS: LazyLock<Vec<(String, Value)>> = LazyLock::new(|| {
    let definitions = policy::crd::all().unwrap_or_default();
    let schema = |body: &Value| {
        let kind = body.pointer("/spec/names/kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        let spec = body.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").cloned();
        (kind, spec.unwrap_or_default())
    };
    definitions.iter().map(|definition| schema(&definition.body)).collect()
});

/// Every pattern of every schema, compiled once.
static PATTERNS: LazyLock<HashMap<String, Regex>> = LazyLock::new(|| {
    fn collect(schema: &Value, patterns: &mut HashMap<String, Regex>) {
        match schema {
            Value::Object(map) => {
                if let Some(pattern) = map.get("pattern").and_then(Value::as_str)
                    && let Ok(regex) = Regex::new(pattern)
                {
                    patterns.insert(pattern.to_owned(), regex);
                }
                map.values().for_each(|inner| collect(inner, patterns));
            }
            Value::Array(list) => list.iter().for_each(|inner| collect(inner, patterns)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut patterns = HashMap::new();
    DEFINITIONS.iter().for_each(|(_, schema)| collect(schema, &mut patterns));
    patterns
});

/// Checks `spec` of an object of one of the four kinds.
pub fn check(kind: Kind, spec: &Value, problems: &mut Problems<'_>) {
    let name = kind.to_string();
    if let Some((_, schema)) = DEFINITIONS.iter().find(|(kind, _)| *kind == name) {
        value(spec, schema, problems);
    }
}

fn value(value: &Value, schema: &Value, problems: &mut Problems<'_>) {
    if problems.errors() >= MAX_PROBLEMS {
        return;
    }
    match (schema.get("type").and_then(Value::as_str), value) {
        (Some("object"), Value::Object(map)) => object(map, schema, problems),
        (Some("array"), Value::Array(list)) => array(list, schema, problems),
        (Some("string"), Value::String(text)) => string(text, schema, problems),
        (Some("integer"), Value::Number(number)) if number.is_i64() || number.is_u64() => {
            integer(value, schema, problems);
        }
        (Some(wanted), found) => mistyped(wanted, found, schema, problems),
        (None, _) => {}
    }
}

fn mistyped(wanted: &str, found: &Value, schema: &Value, problems: &mut Problems<'_>) {
    let help = match (wanted, found) {
        ("string", Value::Bool(_)) if schema.get("enum").is_some() => {
            format!("write one of {}, in quotes if it is a word that YAML reads as true or false", choices(schema))
        }
        ("string", Value::Bool(_) | Value::Number(_)) => "put it in quotes".to_owned(),
        ("array", _) => "write a list: [..], or lines that start with a dash".to_owned(),
        ("object", _) => match schema.get("properties").and_then(Value::as_object) {
            Some(properties) => format!("write a block with {}", names(properties)),
            None => "write a block of names and values".to_owned(),
        },
        ("integer", _) => "write a whole number, without quotes".to_owned(),
        (_, _) => "write a text".to_owned(),
    };
    let wanted = match wanted {
        "array" => "a list",
        "object" => "a block",
        "integer" => "a whole number",
        _ => "a text",
    };
    let found = match found {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a block",
    };
    problems.invalid(format!("must be {wanted}, and is {found}"), help);
}

fn names(properties: &Map<String, Value>) -> String {
    properties.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn choices(schema: &Value) -> String {
    let all = schema.get("enum").and_then(Value::as_array);
    all.into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}

fn object(map: &Map<String, Value>, schema: &Value, problems: &mut Problems<'_>) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        let inner = schema.get("additionalProperties");
        for (name, item) in map {
            if let Some(inner) = inner {
                value(item, inner, &mut problems.at(name));
            }
        }
        if map.is_empty() {
            problems.invalid("must not be empty", "name at least one label with its value");
        }
        return;
    };
    for (name, item) in map {
        match properties.get(name) {
            Some(property) => value(item, property, &mut problems.at(name)),
            None => {
                let help = match nearest(name, properties.keys()) {
                    Some(near) => format!("did you mean `{near}`? Here are known: {}", names(properties)),
                    None => format!("here are known: {}", names(properties)),
                };
                problems.at(name).invalid("is an unknown field", help);
            }
        }
    }
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    for name in required.filter(|name| !map.contains_key(*name)) {
        let says = properties.get(name).and_then(|property| property.get("description")).and_then(Value::as_str);
        problems.at(name).invalid("is missing", format!("add it: {}", says.unwrap_or(name)));
    }
}

fn array(list: &[Value], schema: &Value, problems: &mut Problems<'_>) {
    let bound = |name: &str| schema.get(name).and_then(Value::as_u64);
    let length = list.len() as u64;
    if let Some(max) = bound("maxItems").filter(|max| length > *max) {
        problems.invalid(format!("has {length} items, and {max} is the most"), "split it over several objects");
        return;
    }
    if bound("minItems").is_some_and(|min| length < min) {
        problems.invalid("must not be empty", "add an item, or leave the field out if it is optional");
    }
    let Some(items) = schema.get("items") else { return };
    for (index, item) in list.iter().enumerate() {
        value(item, items, &mut problems.item(index));
    }
    let key = schema.pointer("/x-kubernetes-list-map-keys/0").and_then(Value::as_str);
    let unique = schema.get("x-kubernetes-list-type").and_then(Value::as_str) == Some("set");
    for (index, item) in list.iter().enumerate() {
        let same = |other: &Value| match key {
            Some(key) => item.get(key).is_some() && item.get(key) == other.get(key),
            None => unique && item == other,
        };
        if list.iter().take(index).any(same) {
            let what = key.map_or_else(|| "the value".to_owned(), |key| format!("the same `{key}`"));
            problems.item(index).invalid(format!("repeats {what} of an item before it"), "remove or rename one");
        }
    }
}

fn string(text: &str, schema: &Value, problems: &mut Problems<'_>) {
    if let Some(all) = schema.get("enum").and_then(Value::as_array) {
        if !all.iter().any(|one| one.as_str() == Some(text)) {
            problems.invalid(
                format!("`{}` is none of the choices", shown(text)),
                format!("write one of {}", choices(schema)),
            );
        }
        return;
    }
    let length = text.chars().count() as u64;
    let bound = |name: &str| schema.get(name).and_then(Value::as_u64);
    if let Some(max) = bound("maxLength").filter(|max| length > *max) {
        problems.invalid(format!("has {length} characters, and {max} is the most"), "shorten it");
        return;
    }
    if bound("minLength").is_some_and(|min| length < min) {
        problems.invalid("must not be empty", "write a text, or leave the field out if it is optional");
        return;
    }
    let Some(pattern) = schema.get("pattern").and_then(Value::as_str) else { return };
    if PATTERNS.get(pattern).is_none_or(|regex| !regex.is_match(text)) {
        let (message, help) = match pattern {
            DURATION_PATTERN => (format!("`{}` is no duration", shown(text)), UnitError::Duration.to_string()),
            SIZE_PATTERN => (format!("`{}` is no size", shown(text)), UnitError::Size.to_string()),
            _ => (format!("`{}` does not have the right form", shown(text)), format!("it must match {pattern}")),
        };
        problems.invalid(message, help);
    }
}

fn integer(number: &Value, schema: &Value, problems: &mut Problems<'_>) {
    let bound = |name: &str| schema.get(name).and_then(Value::as_i64);
    let (min, max) = (bound("minimum").unwrap_or(i64::MIN), bound("maximum").unwrap_or(i64::MAX));
    if !number.as_i64().is_some_and(|number| (min..=max).contains(&number)) {
        problems.invalid(format!("{number} is out of range"), format!("write a whole number from {min} to {max}"));
    }
}

/// The start of a text, for a message.
fn shown(text: &str) -> String {
    const MOST: usize = 40;
    if text.chars().count() <= MOST { text.to_owned() } else { text.chars().take(MOST).chain(['…']).collect() }
}

/// The name that was probably meant: at most a third of its letters differ.
pub fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n String>) -> Option<&'n str> {
    let lower = name.to_lowercase();
    names
        .map(|known| (distance(&lower, &known.to_lowercase()), known))
        .filter(|(distance, known)| *distance <= known.len().max(3) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known.as_str())
}

/// Edit distance (Levenshtein), row by row.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut previous = i + 1;
        let mut next = vec![previous];
        for ((b, diagonal), above) in other.iter().zip(&row).zip(row.iter().skip(1)) {
            previous = (diagonal + usize::from(a != *b)).min(previous + 1).min(above + 1);
            next.push(previous);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use policy::names::ObjectRef;
    use serde_json::json;

    use super::*;

    fn found(kind: Kind, spec: &Value) -> Vec<(String, String)> {
        let object = ObjectRef::new(kind, "acme", "x");
        let mut all = Vec::new();
        check(kind, spec, &mut Problems::of(&object, &mut all).at("spec"));
        all.into_iter().map(|problem| (problem.field, format!("{}; {}", problem.message, problem.help))).collect()
    }

    #[test]
    fn every_problem_is_told_at_once_with_its_field() {
        let spec = json!({"hostname": ["a"], "rules": [{"timeout": 3, "timeouts": {"request": "10"},
            "retry": {"attempts": 99, "mode": false}, "backendRefs": [{"name": "x", "port": "80"}]}, {}]});
        let all = found(Kind::Route, &spec);
        let fields: Vec<_> = all.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "spec.hostname",
                "spec.rules[0].backendRefs[0].port",
                "spec.rules[0].retry.attempts",
                "spec.rules[0].retry.mode",
                "spec.rules[0].timeout",
                "spec.rules[0].timeouts.request",
                "spec.rules[1].backendRefs"
            ]
        );
        assert!(all[0].1.contains("did you mean `hostnames`?"), "{}", all[0].1);
        assert!(all[5].1.contains("write a duration such as"), "{}", all[5].1);
    }

    #[test]
    fn repeated_names_and_values_are_told() {
        let spec = json!({"namespaces": {"names": ["a", "a"]}, "hostnames": [],
            "identifiers": {"claims": [{"name": "x", "values": ["1"]}, {"name": "x", "values": ["2"]}]}});
        let fields: Vec<_> = found(Kind::Tenant, &spec).into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields, ["spec.identifiers.claims[1]", "spec.namespaces.names[1]"]);
    }

    #[test]
    fn only_a_near_name_is_suggested() {
        let known = ["timeouts".to_owned(), "retry".to_owned()];
        assert_eq!(nearest("timeout", known.iter()), Some("timeouts"));
        assert_eq!(nearest("Retry", known.iter()), Some("retry"));
        assert_eq!(nearest("circuitBreaker", known.iter()), None);
    }
}
