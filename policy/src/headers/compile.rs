//! A preset with its exceptions to the header fields that are sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use super::{HeaderValueSpec, STRICT, SecurityHeadersIr, SecurityHeadersPreset, SecurityHeadersSpec};
use crate::problem::Problems;

/// Fields that say how a message is framed or who a cookie belongs to: no policy may set them on every answer.
const RESERVED: &[&str] = &[
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The fields of a block; `None` when a problem was recorded.
pub fn compile(spec: &SecurityHeadersSpec, mut problems: Problems<'_>) -> Option<SecurityHeadersIr> {
    let SecurityHeadersSpec { preset, overrides, omit, mode: _ } = spec;
    let before = problems.errors();
    let start = match preset {
        SecurityHeadersPreset::Strict => STRICT,
        SecurityHeadersPreset::None => &[],
    };
    let mut fields: BTreeMap<String, String> =
        start.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    for (index, name) in omit.iter().enumerate() {
        if fields.remove(&name.to_ascii_lowercase()).is_none() {
            problems
                .at("omit")
                .item(index)
                .invalid(format!("{name:?} is not in the preset"), "leave it out: it is not sent anyway");
        }
    }
    for (index, HeaderValueSpec { name, value }) in overrides.iter().enumerate() {
        let mut problems = problems.at("overrides");
        let mut problems = problems.item(index);
        let lower = name.to_ascii_lowercase();
        if HeaderName::from_bytes(lower.as_bytes()).is_err() {
            problems.at("name").invalid(format!("{name:?} is no header field name"), "write letters, digits and '-'");
        } else if RESERVED.contains(&lower.as_str()) {
            problems.at("name").invalid(
                format!("{name} cannot be set on every answer"),
                "leave it out; it belongs to one message, and the gateway or the upstream sets it",
            );
        } else if HeaderValue::from_str(value).is_err() {
            problems
                .at("value")
                .invalid("cannot stand in a header field", "write visible ASCII characters and spaces, on one line");
        } else {
            fields.insert(lower, value.clone());
        }
    }
    let set = fields.into_iter().map(|(name, value)| (Arc::from(name), Arc::from(value))).collect();
    (problems.errors() == before).then_some(SecurityHeadersIr { set })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn golden_files_hold_and_the_page_compiles() {
        golden::check("headers", |spec: &SecurityHeadersSpec, _, problems| compile(spec, problems));
        golden::check_page("headers", "/securityHeaders", |spec: &SecurityHeadersSpec, _, problems| {
            compile(spec, problems)
        });
    }
}
