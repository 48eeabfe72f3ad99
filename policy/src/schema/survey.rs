//! A schema document, looked through before it is used: what is refused, what it costs, which names it mentions.
//!
//! A schema is written by a tenant and runs beside other tenants' requests, so its size, its depth and what one value
//! can cost are bounded here, where its author is told, and not where a request would feel it.

use std::collections::{HashMap, HashSet};

use jsonschema::Draft;
use serde_json::{Map, Value};

use super::keywords::{Inner, Reach, inner, referred};

/// Bytes of a schema document.
pub const MAX_SCHEMA_BYTES: usize = 128 * 1024;
/// Schemas in one document.
const MAX_SUBSCHEMAS: usize = 1_000;
/// Regular expressions in one document.
pub(super) const MAX_PATTERNS: usize = 64;
/// Bytes of one regular expression.
const MAX_PATTERN_BYTES: usize = 1_024;
/// Schemas that stand one in another, references followed.
const MAX_NESTING: usize = 64;
/// Values of the document with every reference written out: what one value of a body can cost.
const MAX_WEIGHT: usize = 20_000;

/// Something in a schema document that keeps it from being used, or from saying what it seems to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Where in the document (RFC 6901).
    pub pointer: String,
    /// What is wrong.
    pub message: String,
    /// The way out.
    pub help: String,
}

impl Flaw {
    pub(super) fn new(pointer: &str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { pointer: pointer.to_owned(), message: message.into(), help: help.into() }
    }
}

/// What was seen of a document.
#[derive(Debug)]
pub(super) struct Survey<'a> {
    document: &'a Value,
    /// What keeps it from being used.
    pub(super) flaws: Vec<Flaw>,
    /// Regular expressions, with their places.
    pub(super) patterns: Vec<(String, &'a str)>,
    /// Formats that it names, with their places.
    pub(super) formats: Vec<(String, &'a str)>,
    /// Members that it mentions.
    pub(super) names: HashSet<String>,
    /// Values of the document with every reference written out, up to where one comes back to itself.
    pub(super) weight: usize,
    /// The longest way from a schema into a schema, references followed.
    nesting: usize,
    /// The longest such way that stays at one value of a body.
    pub(super) at_once: usize,
    /// Whether a reference leads back into itself: then bodies of any depth are looked at.
    pub(super) recursive: bool,
    seen: HashMap<*const Value, (&'a Value, Measure)>,
    open: Vec<*const Value>,
}

#[derive(Clone, Copy, Debug)]
struct Measure {
    weight: usize,
    nesting: usize,
}

/// The draft that a document says it is written in; 2020-12 when it says nothing.
pub(super) fn draft(document: &Value) -> Result<Draft, Flaw> {
    let Some(named) = document.get("$schema") else { return Ok(Draft::Draft202012) };
    match named.as_str().map(|named| named.trim_end_matches('#')) {
        Some("https://json-schema.org/draft/2020-12/schema") => Ok(Draft::Draft202012),
        Some("http://json-schema.org/draft-07/schema" | "https://json-schema.org/draft-07/schema") => Ok(Draft::Draft7),
        Some(_) | None => Err(Flaw::new(
            "/$schema",
            "names a draft that is not taken",
            "write https://json-schema.org/draft/2020-12/schema or http://json-schema.org/draft-07/schema#",
        )),
    }
}

impl<'a> Survey<'a> {
    /// Looks through a document.
    pub(super) fn of(document: &'a Value) -> Self {
        let mut survey = Self {
            document,
            flaws: Vec::new(),
            patterns: Vec::new(),
            formats: Vec::new(),
            names: HashSet::new(),
            weight: 0,
            nesting: 0,
            at_once: 0,
            recursive: false,
            seen: HashMap::new(),
            open: Vec::new(),
        };
        let measure = survey.measure(document, "");
        (survey.weight, survey.nesting) = (measure.weight, measure.nesting);
        survey.same();
        survey.bounds();
        survey
    }

    fn bounds(&mut self) {
        let found = [
            (self.seen.len(), MAX_SUBSCHEMAS, "schemas", "split the API into rules with smaller schemas"),
            (self.patterns.len(), MAX_PATTERNS, "regular expressions", "use fewer, or maxLength and enum instead"),
            (
                self.nesting,
                MAX_NESTING,
                "schemas one in another",
                "make it flatter; references count as what they name",
            ),
            (
                self.weight,
                MAX_WEIGHT,
                "values with every $ref written out",
                "refer to large parts fewer times; each place that names one is checked for itself",
            ),
        ];
        for (count, most, of, help) in found {
            if count > most {
                self.flaws.push(Flaw::new("", format!("holds more than {most} {of}"), help));
            }
        }
    }

    fn measure(&mut self, schema: &'a Value, pointer: &str) -> Measure {
        let Value::Object(map) = schema else { return Measure { weight: 1, nesting: 1 } };
        let address = std::ptr::from_ref(schema);
        if self.open.contains(&address) {
            self.recursive = true;
            return Measure { weight: 1, nesting: 1 };
        }
        if let Some(measure) = self.seen.get(&address) {
            return measure.1;
        }
        // Told by `bounds`; what lies further in is not looked at, so that this ends.
        if self.open.len() > MAX_NESTING || self.seen.len() > MAX_SUBSCHEMAS {
            return Measure { weight: 1, nesting: MAX_NESTING + 1 };
        }
        self.open.push(address);
        self.keywords(map, pointer);
        let mut total = Measure { weight: values(schema), nesting: 0 };
        if let Some(Value::String(reference)) = map.get("$ref") {
            self.reference(reference, &format!("{pointer}/$ref"), &mut total);
        }
        for inner in inner(map) {
            let measure = self.measure(inner.schema, &inner.pointer(pointer));
            // Its own values are among those of `schema` already.
            total.weight = total.weight.saturating_add(measure.weight.saturating_sub(values(inner.schema)));
            total.nesting = total.nesting.max(measure.nesting);
            self.noted(&inner, pointer);
        }
        self.open.pop();
        total.nesting += 1;
        self.seen.insert(address, (schema, total));
        total
    }

    /// What several schemas say of one value. Recursion makes `measure` count too little of it: a schema that leads
    /// back through a member is a cycle there, and none here.
    fn same(&mut self) {
        let mut ways = Ways { document: self.document, seen: HashMap::new(), endless: false };
        let schemas: Vec<&'a Value> = self.seen.values().map(|(schema, _)| *schema).collect();
        for schema in schemas {
            let Measure { weight, nesting } = ways.measure(schema, 0);
            self.weight = self.weight.max(weight);
            self.at_once = self.at_once.max(nesting);
        }
        self.nesting = self.nesting.max(self.at_once);
        if ways.endless {
            let help = "refer to it from a member or an item of it";
            self.flaws.push(Flaw::new("", "holds a schema that refers to itself for the same value", help));
        }
    }

    /// References stay within the document: nothing is ever fetched.
    fn reference(&mut self, reference: &str, pointer: &str, total: &mut Measure) {
        let within = reference == "#" || (reference.starts_with("#/") && !reference.contains('%'));
        if !within {
            let help = "copy what it names into $defs of this schema and write #/$defs/NAME";
            self.flaws.push(Flaw::new(
                pointer,
                format!("{reference:?} leads out of the document, and nothing is fetched"),
                help,
            ));
            return;
        }
        let document: &'a Value = self.document;
        match referred(document, reference) {
            None => {
                let help = "write the place of a schema in this document: #/$defs/NAME";
                self.flaws.push(Flaw::new(pointer, format!("{reference:?} leads to nothing"), help));
            }
            Some(target) => {
                let measure = self.measure(target, reference.trim_start_matches('#'));
                total.weight = total.weight.saturating_add(measure.weight);
                total.nesting = total.nesting.max(measure.nesting);
            }
        }
    }

    /// What a schema object says by itself.
    fn keywords(&mut self, map: &'a Map<String, Value>, pointer: &str) {
        for (keyword, value) in map {
            let at = format!("{pointer}/{keyword}");
            match (keyword.as_str(), value) {
                ("$dynamicRef" | "$recursiveRef", _) => {
                    self.flaws.push(Flaw::new(&at, "is not taken", "write $ref with a place in this document"));
                }
                ("$id" | "$schema", _) if !pointer.is_empty() => {
                    self.flaws.push(Flaw::new(&at, "makes a document of its own in the document", "leave it out"));
                }
                ("pattern", Value::String(pattern)) => self.patterns.push((at, pattern)),
                ("format", Value::String(format)) => self.formats.push((at, format)),
                ("required", Value::Array(names)) => {
                    self.names.extend(names.iter().filter_map(Value::as_str).map(str::to_owned));
                }
                (_, _) => {}
            }
        }
    }

    /// What a schema is called.
    fn noted(&mut self, inner: &Inner<'a>, pointer: &str) {
        if inner.keyword == "properties" {
            self.names.extend(inner.name.map(str::to_owned));
        }
        if inner.keyword == "patternProperties"
            && let Some(pattern) = inner.name
        {
            self.patterns.push((inner.pointer(pointer), pattern));
        }
    }

    /// Regular expressions that are longer than they may be.
    pub(super) fn long_patterns(&self) -> impl Iterator<Item = Flaw> {
        let long = self.patterns.iter().filter(|(_, pattern)| pattern.len() > MAX_PATTERN_BYTES);
        long.map(|(pointer, _)| {
            Flaw::new(
                pointer,
                format!("is longer than {MAX_PATTERN_BYTES} bytes"),
                "use enum or several schemas instead",
            )
        })
    }
}

/// The ways from schema to schema that stay at one value.
struct Ways<'a> {
    document: &'a Value,
    /// `None` while it is being measured.
    seen: HashMap<*const Value, Option<Measure>>,
    endless: bool,
}

impl<'a> Ways<'a> {
    fn measure(&mut self, schema: &'a Value, from: usize) -> Measure {
        let Value::Object(map) = schema else { return Measure { weight: 1, nesting: 1 } };
        let address = std::ptr::from_ref(schema);
        match self.seen.get(&address) {
            Some(Some(measure)) => return *measure,
            Some(None) => {
                self.endless = true;
                return Measure { weight: 1, nesting: 1 };
            }
            None if from > MAX_NESTING => return Measure { weight: 1, nesting: 1 },
            None => self.seen.insert(address, None),
        };
        let referred = map.get("$ref").and_then(Value::as_str).and_then(|to| referred(self.document, to));
        let beside = inner(map).filter(|inner| inner.reach == Reach::Same).map(|inner| inner.schema);
        let mut total = Measure { weight: map.len() + 1, nesting: 0 };
        for schema in beside.chain(referred) {
            let measure = self.measure(schema, from + 1);
            total.weight = total.weight.saturating_add(measure.weight);
            total.nesting = total.nesting.max(measure.nesting);
        }
        total.nesting += 1;
        self.seen.insert(address, Some(total));
        total
    }
}

/// How many values a value holds, itself included.
fn values(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(values).sum::<usize>(),
        Value::Object(members) => members.values().map(values).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}
