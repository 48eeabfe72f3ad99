//! Where a field stands: file, line, column.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use policy::names::ObjectRef;
use policy::problem::Problem;

use super::yaml::{Document, Spot};

/// A file's text.
#[derive(PartialEq, Eq)]
pub struct Text {
    /// Its path.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

/// A file may hold Secrets, so only its path is shown.
impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({})", self.path.display())
    }
}

/// A stretch of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file's path.
    pub path: PathBuf,
    /// Its text, when it could be read.
    pub text: Option<Arc<Text>>,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The bytes.
    pub bytes: Range<usize>,
}

impl Place {
    /// A file as a whole.
    #[must_use]
    pub fn whole(path: PathBuf) -> Self {
        Self { path, text: None, line: 1, column: 1, bytes: 0..0 }
    }

    /// Some bytes of a text.
    #[must_use]
    pub fn at(text: &Arc<Text>, bytes: Range<usize>) -> Self {
        let before = text.text.get(..bytes.start).unwrap_or(&text.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            path: text.path.clone(),
            text: Some(Arc::clone(text)),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            bytes,
        }
    }

    /// A field of a document, or the nearest field around it that is there.
    #[must_use]
    pub fn of(text: &Arc<Text>, document: &Document, field: &str) -> Self {
        Self::at(text, spot(&document.spots, field))
    }
}

fn spot(spots: &HashMap<String, Spot>, field: &str) -> Range<usize> {
    let mut at = field;
    loop {
        if let Some(Spot { key, scalar }) = spots.get(at) {
            // What is there is shown by its value; what is missing, by the field that should hold it.
            return scalar.clone().filter(|range| at == field && !range.is_empty()).unwrap_or_else(|| key.clone());
        }
        let Some(end) = at.rfind(['.', '[']) else { break };
        at = at.get(..end).unwrap_or_default();
    }
    spots.get("").map_or(0..0, |spot| spot.key.clone())
}

/// Where every object stands.
#[derive(Clone, Debug, Default)]
pub struct Sources(HashMap<ObjectRef, Source>);

type Source = (Arc<Text>, Arc<HashMap<String, Spot>>);

impl Sources {
    /// Whether the object stands anywhere.
    #[must_use]
    pub fn contains(&self, object: &ObjectRef) -> bool {
        self.0.contains_key(object)
    }

    pub(super) fn insert(&mut self, object: ObjectRef, text: &Arc<Text>, document: &Document) {
        self.0.insert(object, (Arc::clone(text), Arc::new(document.spots.clone())));
    }

    /// The place of the field that a problem names.
    #[must_use]
    pub fn locate(&self, problem: &Problem) -> Option<Place> {
        let (text, spots) = self.0.get(&problem.object)?;
        Some(Place::at(text, spot(spots, &problem.field)))
    }
}

/// Something wrong with a file, or with a document that is no object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProblem {
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// The way out.
    pub help: String,
}

impl FileProblem {
    pub(super) fn new(place: Place, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { place, message: message.into(), help: help.into() }
    }
}
