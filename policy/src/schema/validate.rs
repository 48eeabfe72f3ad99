//! Whether a body fits a schema, and if not, where.
//!
//! The verdict and the list of violations are two questions: the first is fast and bounded, the second is asked only
//! of what does not fit, and only when `meter` says that the answer is not too long.

use std::collections::HashSet;
use std::fmt;

use http::{HeaderMap, Method};
use jsonschema::{Draft, PatternOptions, ValidationOptions, Validator};
use serde_json::Value;

use super::survey::{self, Flaw, MAX_PATTERNS, MAX_SCHEMA_BYTES, Survey};
use super::violation::{Violation, excerpt};
use super::{SchemaIr, json, media_type, meter};
use crate::refusal::{Extra, Reason, Refusal};

/// Bytes of a body that is checked, whatever the rule takes without a schema.
pub const MAX_BODY_BYTES: u64 = 4 * 1024 * 1024;
/// How deep a body may nest.
const MAX_DEPTH: usize = 64;
/// Schemas one in another at one value, times levels of a body, for a schema that refers to itself: bounds the stack.
const MAX_STACKED: usize = 512;
/// A body that is longer, or whose length times the schema's weight is larger, is not checked between other requests.
const MAX_PROMPT_BYTES: usize = 64 * 1024;
const MAX_PROMPT_WORK: usize = 4 * 1024 * 1024;
/// Violations that a refusal lists.
const MAX_LISTED: usize = 8;
/// Visits of a schema to a value that listing may take.
const MAX_LISTING: usize = 50_000;
/// Flaws that are told at once.
const MAX_FLAWS: usize = 32;
/// Bytes of one compiled regular expression, and of what it remembers of a text.
const MAX_REGEX_BYTES: usize = 1024 * 1024;

/// Everything that keeps a schema document from being used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaError(Vec<Flaw>);

impl SchemaError {
    /// All of it.
    #[must_use]
    pub fn flaws(&self) -> &[Flaw] {
        &self.0
    }
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the schema cannot be used")?;
        self.0.iter().try_for_each(|Flaw { pointer, message, help: _ }| write!(f, "; {pointer} {message}"))
    }
}

impl std::error::Error for SchemaError {}

/// A schema, ready to decide. Built when a snapshot is swapped in, never for a request.
pub struct Schema {
    document: Value,
    validator: Validator,
    names: HashSet<String>,
    doubts: Vec<Flaw>,
    weight: usize,
    max_depth: usize,
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema").field("weight", &self.weight).finish_non_exhaustive()
    }
}

impl Schema {
    /// Makes a schema ready.
    ///
    /// # Errors
    /// [`SchemaError`] with everything that is wrong.
    pub fn new(ir: &SchemaIr) -> Result<Self, SchemaError> {
        let text = ir.document.as_bytes();
        let whole = |message: String, help: &str| SchemaError(vec![Flaw::new("", message, help)]);
        if text.len() > MAX_SCHEMA_BYTES {
            let help = "split the API into rules with smaller schemas";
            return Err(whole(format!("is longer than {MAX_SCHEMA_BYTES} bytes"), help));
        }
        let document = json::read(text, MAX_DEPTH).map_err(|refusal| {
            whole(refusal.detail.replacen("the body ", "", 1), "write one JSON document (not YAML), each name once")
        })?;
        let draft = survey::draft(&document).map_err(|flaw| SchemaError(vec![flaw]))?;
        let survey = Survey::of(&document);
        let mut flaws = survey.flaws.clone();
        flaws.extend(survey.long_patterns());
        flaws.extend(invalid(&document, draft));
        let options = options(draft);
        let patterns = survey.patterns.iter().take(MAX_PATTERNS);
        flaws.extend(patterns.filter_map(|(pointer, pattern)| unusable(pointer, pattern, &options)));
        flaws.truncate(MAX_FLAWS);
        // Past its bounds a document is not built: the library has none of its own.
        if !flaws.is_empty() {
            return Err(SchemaError(flaws));
        }
        let validator = options
            .build(&document)
            .map_err(|error| whole(format!("cannot be used: {}", excerpt(error.to_string())), "correct it"))?;
        let doubts = survey.formats.iter().filter(|(_, format)| !options.is_known_format(draft, format));
        let doubts = doubts.map(|(pointer, format)| {
            Flaw::new(
                pointer,
                format!("{format:?} is no format that is checked"),
                "say it with pattern, or leave it out",
            )
        });
        let stacked = if survey.recursive { MAX_STACKED / survey.at_once.max(1) } else { MAX_DEPTH };
        Ok(Self {
            doubts: doubts.collect(),
            weight: survey.weight,
            max_depth: stacked.min(MAX_DEPTH),
            names: survey.names,
            validator,
            document,
        })
    }

    /// What it says and does not do.
    #[must_use]
    pub fn doubts(&self) -> &[Flaw] {
        &self.doubts
    }

    /// Whether a request must have a body that fits. What asks for nothing to be done to a body may come without one.
    #[must_use]
    pub fn concerns(method: &Method, has_body: bool) -> bool {
        has_body || ![Method::GET, Method::HEAD, Method::DELETE, Method::OPTIONS, Method::TRACE].contains(method)
    }

    /// Whether a body of this length can take so long that other requests of the core would feel it.
    #[must_use]
    pub fn is_slow(&self, bytes: usize) -> bool {
        bytes > MAX_PROMPT_BYTES || bytes.saturating_mul(self.weight) > MAX_PROMPT_WORK
    }

    /// Refuses a head that does not announce plain JSON, before a byte of the body is read.
    ///
    /// # Errors
    /// [`Reason::MediaTypeUnsupported`]
    pub fn check_head(headers: &HeaderMap) -> Result<(), Refusal> {
        media_type::check(headers)
    }

    /// Refuses a body that is not JSON or does not fit.
    ///
    /// # Errors
    /// [`Reason::PayloadInvalid`], [`Reason::SchemaInvalid`]
    pub fn check_body(&self, body: &[u8]) -> Result<(), Refusal> {
        self.fits(&json::read(body, self.max_depth)?)
    }

    /// Refuses an event that does not fit.
    ///
    /// # Errors
    /// [`Reason::SchemaInvalid`]
    pub fn check_event(&self, event: &Value) -> Result<(), Refusal> {
        if nests_deeper(event, self.max_depth) {
            let detail = format!("the event nests deeper than {} levels", self.max_depth);
            return Err(Refusal::new(Reason::SchemaInvalid, detail));
        }
        self.fits(event)
    }

    fn fits(&self, instance: &Value) -> Result<(), Refusal> {
        if self.validator.is_valid(instance) { Ok(()) } else { Err(self.refusal(instance)) }
    }

    fn refusal(&self, instance: &Value) -> Refusal {
        if !meter::within(&self.document, instance, MAX_LISTING) {
            let detail = "it does not fit the schema; it is too large for this schema to say where";
            return Refusal::new(Reason::SchemaInvalid, detail);
        }
        let mut errors = self.validator.iter_errors(instance);
        let of = |error| Violation::of(&error, &self.document, &self.names);
        let listed: Vec<_> = errors.by_ref().take(MAX_LISTED).map(of).collect();
        let first = listed.first().map(Violation::told).unwrap_or_default();
        let more = match listed.len().saturating_sub(1) + errors.count() {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let refusal = Refusal::new(Reason::SchemaInvalid, format!("it does not fit the schema: {first}{more}"));
        refusal.with(Extra::Violations(listed))
    }
}

fn options(draft: Draft) -> ValidationOptions<'static> {
    let patterns = PatternOptions::regex().size_limit(MAX_REGEX_BYTES).dfa_size_limit(MAX_REGEX_BYTES);
    let options = jsonschema::options().with_draft(draft).offline().with_pattern_options(patterns);
    options.should_validate_formats(true).should_ignore_unknown_formats(true)
}

/// What the meta-schema says against a document.
fn invalid(document: &Value, draft: Draft) -> Vec<Flaw> {
    let meta = if draft == Draft::Draft7 {
        jsonschema::draft7::meta::validator()
    } else {
        jsonschema::draft202012::meta::validator()
    };
    let flaw = |error: jsonschema::ValidationError<'_>| {
        let pointer = error.instance_path().as_str();
        let help = match pointer.rsplit('/').next() {
            Some("type") => "write string, number, integer, boolean, object, array or null, or a list of them",
            Some(_) | None => "see https://json-schema.org/understanding-json-schema",
        };
        Flaw::new(pointer, format!("is not what JSON Schema allows there: {}", excerpt(error.to_string())), help)
    };
    meta.iter_errors(document).take(MAX_FLAWS).map(flaw).collect()
}

/// A regular expression that the linear engine does not take.
fn unusable(pointer: &str, pattern: &str, options: &ValidationOptions<'_>) -> Option<Flaw> {
    options.build(&serde_json::json!({"pattern": pattern})).err()?;
    let help =
        "write it without look-around and back-references, and with small repetitions: they must run in linear time";
    Some(Flaw::new(pointer, format!("{pattern:?} is no regular expression that is taken"), help))
}

fn nests_deeper(value: &Value, levels: usize) -> bool {
    let inside = |value| nests_deeper(value, levels.saturating_sub(1));
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(inside),
        Value::Object(members) => levels == 0 || members.values().any(inside),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
