//! Preflights, and what answers tell the browser.

use std::sync::Arc;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{CorsIr, OriginIr};
use crate::refusal::{Reason, Refusal};
use crate::request::RequestHead;

/// The fields that the gateway answers for; an upstream's own are taken out, since a browser refuses doubles.
const OWNED: [HeaderName; 6] = [
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
];

const PREFLIGHT_VARY: HeaderValue =
    HeaderValue::from_static("origin, access-control-request-method, access-control-request-headers");

/// A CORS policy, ready to decide.
#[derive(Clone, Debug)]
pub struct Cors {
    origins: Vec<OriginIr>,
    /// Every origin, and so the same answer for all.
    any: bool,
    allow_methods: Option<HeaderValue>,
    allow_headers: Option<HeaderValue>,
    expose_headers: Option<HeaderValue>,
    max_age: HeaderValue,
    credentials: bool,
}

impl Cors {
    /// Makes the policy ready. Names that cannot stand in a header field are left out, which grants less.
    #[must_use]
    pub fn new(ir: &CorsIr) -> Self {
        let CorsIr { allow_origins, allow_methods, allow_headers, expose_headers, max_age_secs, credentials } = ir;
        let any = allow_origins.contains(&OriginIr::Any);
        Self {
            origins: allow_origins.clone(),
            any,
            allow_methods: list(allow_methods),
            allow_headers: list(allow_headers),
            expose_headers: list(expose_headers),
            max_age: HeaderValue::from(*max_age_secs),
            // The Fetch standard forbids `*` with credentials; compile refuses it, and this does not trust that.
            credentials: *credentials && !any,
        }
    }

    /// Whether this is a preflight: `OPTIONS` with `Origin` and `Access-Control-Request-Method`.
    #[must_use]
    pub fn is_preflight(head: &RequestHead<'_>) -> bool {
        head.method == Method::OPTIONS
            && head.headers.contains_key(ORIGIN)
            && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// The header fields of the answer (204) to a preflight; `None` when the request is none. Methods and
    /// header fields that are not granted are simply not listed: the browser then names the one it missed.
    ///
    /// # Errors
    /// [`Reason::OriginDenied`] for an origin that may not call.
    pub fn preflight(&self, head: &RequestHead<'_>) -> Result<Option<HeaderMap>, Refusal> {
        if !Self::is_preflight(head) {
            return Ok(None);
        }
        let Some(origin) = self.granted(head.headers) else {
            return Err(Refusal::new(Reason::OriginDenied, "pages of this origin may not call this API"));
        };
        let mut answer = HeaderMap::with_capacity(6);
        self.grant(origin, &mut answer);
        let lists =
            [(ACCESS_CONTROL_ALLOW_METHODS, &self.allow_methods), (ACCESS_CONTROL_ALLOW_HEADERS, &self.allow_headers)];
        for (name, value) in lists {
            if let Some(value) = value {
                answer.insert(name, value.clone());
            }
        }
        answer.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        answer.insert(VARY, PREFLIGHT_VARY);
        Ok(Some(answer))
    }

    /// Tells the browser whether the page may read this answer. A refusal's answer too: a page that may call
    /// should see why it was refused.
    pub fn apply(&self, request: &HeaderMap, answer: &mut HeaderMap) {
        for name in OWNED {
            answer.remove(name);
        }
        if let Some(origin) = self.granted(request) {
            self.grant(origin, answer);
            if let Some(expose) = &self.expose_headers {
                answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
            }
        }
        // Without an origin as well: a cache must not hand that answer to a page.
        if !self.any && !varies_by_origin(answer) {
            answer.append(VARY, HeaderValue::from_static("origin"));
        }
    }

    fn grant(&self, origin: HeaderValue, answer: &mut HeaderMap) {
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.credentials {
            answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }

    /// What `Access-Control-Allow-Origin` says to the origin of this request, if anything.
    fn granted(&self, request: &HeaderMap) -> Option<HeaderValue> {
        let mut origins = request.get_all(ORIGIN).iter();
        let (origin, None) = (origins.next()?, origins.next()) else { return None };
        if self.any {
            return Some(HeaderValue::from_static("*"));
        }
        let text = origin.to_str().ok()?;
        self.origins.iter().any(|allowed| matches(allowed, text)).then(|| origin.clone())
    }
}

fn matches(allowed: &OriginIr, origin: &str) -> bool {
    // `null` is the origin of sandboxes, files and redirects: whoever wants to be it can be.
    if origin == "null" {
        return false;
    }
    match allowed {
        OriginIr::Any => true,
        OriginIr::Exact(exact) => **exact == *origin,
        OriginIr::Wildcard { scheme, suffix } => origin
            .strip_prefix(&**scheme)
            .and_then(|rest| rest.strip_prefix("://"))
            .and_then(|host| host.strip_suffix(&**suffix))
            .and_then(|labels| labels.strip_suffix('.'))
            .is_some_and(are_labels),
    }
}

/// Browsers serialise hosts in lower case; anything else in the place of labels is no origin.
fn are_labels(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    text.split('.').all(|label| !label.is_empty() && label.bytes().all(fits))
}

fn varies_by_origin(answer: &HeaderMap) -> bool {
    answer
        .get_all(VARY)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').map(str::trim).any(|name| name == "*" || name.eq_ignore_ascii_case("origin")))
}

fn list(names: &[Arc<str>]) -> Option<HeaderValue> {
    if names.is_empty() { None } else { HeaderValue::from_str(&names.join(", ")).ok() }
}

#[cfg(test)]
#[path = "origins_tests.rs"]
mod tests;
