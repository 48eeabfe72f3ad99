//! Where schemas stand inside a schema, and which part of an instance each of them judges.

use serde_json::{Map, Value};

/// Which part of an instance a schema inside a schema judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach<'a> {
    /// The instance itself.
    Same,
    /// The member of this name.
    Member(&'a str),
    /// Any member.
    Members,
    /// The item of this index.
    Item(usize),
    /// Any item.
    Items,
    /// The names of the members.
    Names,
    /// Nothing, until something refers to it.
    Nothing,
}

/// A schema inside a schema.
#[derive(Clone, Debug)]
pub(super) struct Inner<'a> {
    pub(super) keyword: &'a str,
    /// Its name in a map of schemas.
    pub(super) name: Option<&'a str>,
    /// Its index in a list of schemas.
    index: Option<usize>,
    pub(super) schema: &'a Value,
    pub(super) reach: Reach<'a>,
}

impl<'a> Inner<'a> {
    /// Its place in the document, below `at` (RFC 6901).
    pub(super) fn pointer(&self, at: &str) -> String {
        match (self.name, self.index) {
            (Some(name), _) => format!("{at}/{}/{}", self.keyword, escaped(name)),
            (None, Some(index)) => format!("{at}/{}/{index}", self.keyword),
            (None, None) => format!("{at}/{}", self.keyword),
        }
    }

    fn one(keyword: &'a str, schema: &'a Value, reach: Reach<'a>) -> Vec<Self> {
        vec![Self { keyword, name: None, index: None, schema, reach }]
    }

    fn list(keyword: &'a str, schemas: &'a [Value], reach: impl Fn(usize) -> Reach<'a>) -> Vec<Self> {
        let inner = |(index, schema)| Self { keyword, name: None, index: Some(index), schema, reach: reach(index) };
        schemas.iter().enumerate().map(inner).collect()
    }

    fn map(keyword: &'a str, schemas: &'a Value, reach: impl Fn(&'a str) -> Reach<'a>) -> Vec<Self> {
        let entries = schemas.as_object().into_iter().flatten();
        // `dependencies` of draft-07 holds lists of names besides schemas.
        let schemas = entries.filter(|(_, schema)| schema.is_object() || schema.is_boolean());
        schemas
            .map(|(name, schema)| Self { keyword, name: Some(name), index: None, schema, reach: reach(name) })
            .collect()
    }
}

/// The schemas directly inside a schema object. What stands in `const`, `enum`, `default` or `examples` is data.
pub(super) fn inner(schema: &Map<String, Value>) -> impl Iterator<Item = Inner<'_>> {
    schema.iter().flat_map(|(keyword, value)| match (keyword.as_str(), value) {
        ("allOf" | "anyOf" | "oneOf", Value::Array(list)) => Inner::list(keyword, list, |_| Reach::Same),
        ("not" | "if" | "then" | "else", _) => Inner::one(keyword, value, Reach::Same),
        ("dependentSchemas" | "dependencies", _) => Inner::map(keyword, value, |_| Reach::Same),
        ("properties", _) => Inner::map(keyword, value, Reach::Member),
        ("patternProperties", _) => Inner::map(keyword, value, |_| Reach::Members),
        ("additionalProperties" | "unevaluatedProperties", _) => Inner::one(keyword, value, Reach::Members),
        ("propertyNames", _) => Inner::one(keyword, value, Reach::Names),
        ("prefixItems" | "items", Value::Array(list)) => Inner::list(keyword, list, Reach::Item),
        ("items" | "additionalItems" | "unevaluatedItems" | "contains", _) => Inner::one(keyword, value, Reach::Items),
        ("contentSchema", _) => Inner::one(keyword, value, Reach::Nothing),
        ("$defs" | "definitions", _) => Inner::map(keyword, value, |_| Reach::Nothing),
        (_, _) => Vec::new(),
    })
}

/// The schema that a reference within the document names: `#`, or `#/` and a JSON Pointer.
pub(super) fn referred<'a>(document: &'a Value, reference: &str) -> Option<&'a Value> {
    document.pointer(reference.strip_prefix('#')?)
}

/// A name as a step of a JSON Pointer.
pub(super) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
