//! One thing wrong with an object, in the words of the YAML that its user wrote.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::names::ObjectRef;

/// How much a problem costs its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The object is programmed; something in it is doubtful or degraded in its context.
    Warning,
    /// The object is not programmed as written: its last good stays, or it refuses.
    Error,
}

/// Which promise of the object a problem breaks; the condition that it shows on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// The text is not a valid object: wrong type, unknown field, out of range, contradictory.
    Invalid,
    /// The field is part of the API, but this version does not enforce it yet and so refuses it.
    NotEnforced,
    /// Something it names is missing, or not granted.
    UnresolvedRef,
    /// Its Tenant does not allow it: the namespace, the host or the size. It may, later, without a change here.
    NotAllowed,
    /// Another object holds what this one claims.
    Conflict,
}

/// One thing wrong with one field of one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The object that its user has to edit.
    pub object: ObjectRef,
    /// The field, as a path from the root of the object: `spec.rules[0].timeouts.request`.
    pub field: String,
    /// What is wrong, without a final stop.
    pub message: String,
    /// The way out: what to write instead, or to do.
    pub help: String,
    /// How much it costs.
    pub severity: Severity,
    /// Which kind of wrong it is.
    pub kind: ProblemKind,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}; {}", self.object, self.field, self.message, self.help)
    }
}

/// Collects the problems of one object; `at` narrows it to a field, so that compile steps
/// need not know where their block stands.
#[derive(Debug)]
pub struct Problems<'a> {
    object: &'a ObjectRef,
    field: String,
    found: &'a mut Vec<Problem>,
}

impl<'a> Problems<'a> {
    /// A collector for `object`, at its root.
    pub fn of(object: &'a ObjectRef, found: &'a mut Vec<Problem>) -> Self {
        Self { object, field: String::new(), found }
    }

    /// The same collector, one field further in: `at("rules[0]")` inside `spec` is `spec.rules[0]`.
    pub fn at(&mut self, field: impl fmt::Display) -> Problems<'_> {
        let field = if self.field.is_empty() { field.to_string() } else { format!("{}.{field}", self.field) };
        Problems { object: self.object, field, found: self.found }
    }

    /// The same collector at item `index` of the list it stands at: `spec.rules` becomes `spec.rules[2]`.
    pub fn item(&mut self, index: usize) -> Problems<'_> {
        Problems { object: self.object, field: format!("{}[{index}]", self.field), found: self.found }
    }

    /// The same collector at the same field, for a step that takes it whole.
    pub fn reborrow(&mut self) -> Problems<'_> {
        Problems { object: self.object, field: self.field.clone(), found: self.found }
    }

    /// Records an error of kind [`ProblemKind::Invalid`] at this field.
    pub fn invalid(&mut self, message: impl Into<String>, help: impl Into<String>) {
        self.push(ProblemKind::Invalid, Severity::Error, message.into(), help.into());
    }

    /// Records that this field is known but not enforced by this version.
    pub fn not_enforced(&mut self, help: impl Into<String>) {
        let message = "is not enforced by this version, so it is refused rather than ignored".to_owned();
        self.push(ProblemKind::NotEnforced, Severity::Error, message, help.into());
    }

    /// Records a reference that leads nowhere, or that is not granted.
    pub fn unresolved(&mut self, message: impl Into<String>, help: impl Into<String>) {
        self.push(ProblemKind::UnresolvedRef, Severity::Error, message.into(), help.into());
    }

    /// Records that the Tenant does not allow what this field asks for.
    pub fn not_allowed(&mut self, message: impl Into<String>, help: impl Into<String>) {
        self.push(ProblemKind::NotAllowed, Severity::Error, message.into(), help.into());
    }

    /// Records that another object holds what this one claims.
    pub fn conflict(&mut self, message: impl Into<String>, help: impl Into<String>) {
        self.push(ProblemKind::Conflict, Severity::Error, message.into(), help.into());
    }

    /// Records something doubtful that does not stop the object.
    pub fn warn(&mut self, message: impl Into<String>, help: impl Into<String>) {
        self.push(ProblemKind::Invalid, Severity::Warning, message.into(), help.into());
    }

    /// How many errors (not warnings) have been recorded for the object so far.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.found.iter().filter(|p| p.severity == Severity::Error && p.object == *self.object).count()
    }

    /// Returns the fields of the object's errors after the first `errors` of them.
    #[must_use]
    pub fn fields_since(&self, errors: usize) -> Vec<String> {
        let own = self.found.iter().filter(|p| p.severity == Severity::Error && p.object == *self.object);
        own.skip(errors).map(|p| p.field.clone()).collect()
    }

    /// The object whose problems these are.
    #[must_use]
    pub fn object(&self) -> &ObjectRef {
        self.object
    }

    /// The field at which this collector stands.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    fn push(&mut self, kind: ProblemKind, severity: Severity, message: String, help: String) {
        let field = self.field.clone();
        self.found.push(Problem { object: self.object.clone(), field, message, help, severity, kind });
    }
}
