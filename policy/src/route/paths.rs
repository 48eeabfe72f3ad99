//! Forms of a path that two parties could read in two ways, and that a rule may allow nevertheless.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// A form of a path that some upstreams read otherwise than it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum PathForm {
    /// `;` or `%3B`: some upstreams cut a segment there (matrix parameters).
    Semicolon,
    /// `%2F`: some upstreams decode it before they route.
    EncodedSlash,
    /// `//`: some upstreams merge slashes.
    DoubleSlash,
}

impl PathForm {
    /// All of them, in the order in which a reading applies them backwards.
    pub const ALL: [Self; 3] = [Self::Semicolon, Self::EncodedSlash, Self::DoubleSlash];

    /// The word in `paths.allow`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Semicolon => "Semicolon",
            Self::EncodedSlash => "EncodedSlash",
            Self::DoubleSlash => "DoubleSlash",
        }
    }

    /// Returns the characters in the path.
    #[must_use]
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Semicolon => "; or %3B",
            Self::EncodedSlash => "an encoded slash (%2F)",
            Self::DoubleSlash => "an empty segment (//)",
        }
    }

    fn is_in(self, path: &str) -> bool {
        match self {
            Self::Semicolon => path.contains(';') || path.contains("%3B"),
            Self::EncodedSlash => path.contains("%2F"),
            Self::DoubleSlash => path.contains("//"),
        }
    }

    /// The path as an upstream reads it that resolves this form.
    fn resolve(self, path: &str) -> String {
        match self {
            Self::Semicolon => path.split('/').map(without_parameters).collect::<Vec<_>>().join("/"),
            Self::EncodedSlash => path.replace("%2F", "/"),
            Self::DoubleSlash => {
                let mut merged = path.to_owned();
                while merged.contains("//") {
                    merged = merged.replace("//", "/");
                }
                merged
            }
        }
    }
}

/// A segment up to its first parameter.
#[must_use]
pub fn without_parameters(segment: &str) -> &str {
    let segment = segment.split(';').next().unwrap_or_default();
    segment.split("%3B").next().unwrap_or_default()
}

/// The forms that a canonical path holds; none for nearly all.
#[must_use]
pub fn forms(path: &str) -> Vec<PathForm> {
    PathForm::ALL.into_iter().filter(|form| form.is_in(path)).collect()
}

/// The other paths that upstreams could read in this one: each form resolved or not, in either order.
#[must_use]
pub fn readings(path: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![path.to_owned()];
    // Each step shortens the path, so this ends; three forms leave a handful of readings.
    while let Some(path) = open.pop() {
        for form in PathForm::ALL.into_iter().filter(|form| form.is_in(&path)) {
            let reading = form.resolve(&path);
            if reading != path && found.insert(reading.clone()) {
                open.push(reading);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_a_reading_for_each_way_to_resolve_it() {
        assert!(forms("/a/b").is_empty() && readings("/a/b").is_empty());
        assert_eq!(forms("/a;x=1//b%2Fc"), PathForm::ALL);
        assert_eq!(forms("/a%3Bb"), [PathForm::Semicolon]);
        let of = |path| readings(path).into_iter().collect::<Vec<_>>();
        assert_eq!(of("/admin;x"), ["/admin"]);
        assert_eq!(of("/admin%3Bx/y"), ["/admin/y"]);
        assert_eq!(of("//admin"), ["/admin"]);
        assert_eq!(of("/a%2Fb"), ["/a/b"]);
        assert_eq!(of("/a/%2Fb"), ["/a//b", "/a/b"]);
        assert_eq!(of("/a;x%2Fb"), ["/a", "/a/b", "/a;x/b"]);
    }
}
