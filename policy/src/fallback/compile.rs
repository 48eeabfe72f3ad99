//! A fallback block with its defaults.

use http::HeaderValue;

use super::{FallbackIr, FallbackSpec};
use crate::problem::Problems;

const DEFAULT_CONTENT_TYPE: &str = "application/json";

/// The answer of a block; `None` when a problem was recorded.
pub fn compile(spec: &FallbackSpec, mut problems: Problems<'_>) -> Option<FallbackIr> {
    let FallbackSpec { status, content_type, body, mode: _ } = spec;
    let before = problems.errors();
    let content_type = content_type.as_deref().unwrap_or(DEFAULT_CONTENT_TYPE);
    if HeaderValue::from_str(content_type).is_err() || !content_type.contains('/') {
        let help = "write one such as application/json or text/plain; charset=utf-8";
        problems.at("contentType").invalid(format!("{content_type:?} is no content type"), help);
    }
    if matches!(status, 204 | 304) && !body.is_empty() {
        problems.at("body").invalid(format!("cannot go with status {status}"), "empty it, or write another status");
    }
    let ir = FallbackIr { status: *status, content_type: content_type.into(), body: body.as_str().into() };
    (problems.errors() == before).then_some(ir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn golden_files_hold_and_the_page_compiles() {
        golden::check("fallback", |spec: &FallbackSpec, _, problems| compile(spec, problems));
        golden::check_page("fallback", "/fallback", |spec: &FallbackSpec, _, problems| compile(spec, problems));
    }
}
