//! Backends as people write them to upstreams.

use http::Uri;

use super::{BackendSpec, UpstreamKey};
use crate::problem::Problems;
use crate::reference::BackendRef;
use crate::refs::{Refs, resolved};
use crate::route::BackendIr;

const URL_HELP: &str = "write an origin and nothing more, such as http://10.0.0.7:8080";

/// One backend of a rule; `None` when a problem was recorded.
pub fn compile(spec: &BackendSpec, refs: &dyn Refs, mut problems: Problems<'_>) -> Option<BackendIr> {
    let BackendSpec { name, namespace, port, url, weight } = spec;
    let upstream = match (name, port, url) {
        (Some(name), Some(port), None) => {
            let reference = BackendRef { name: name.clone(), namespace: namespace.clone(), port: *port };
            UpstreamKey::Service(resolved(refs.service(&reference), &mut problems)?)
        }
        (None, None, Some(url)) => origin(url, problems.at("url"))?,
        (_, _, _) => {
            problems.invalid("names neither a Service port nor an url", "write name and port, or url alone");
            return None;
        }
    };
    Some(BackendIr { upstream, weight: weight.unwrap_or(1) })
}

/// An URL's origin; `None` when a problem was recorded.
pub fn origin(url: &str, mut problems: Problems<'_>) -> Option<UpstreamKey> {
    let parsed: Option<Uri> = url.parse().ok();
    let parts = parsed.as_ref().and_then(|uri| Some((uri.scheme_str()?, uri.host()?, uri)));
    let Some((scheme, host, uri)) = parts else {
        problems.invalid(format!("{url:?} is no URL"), URL_HELP);
        return None;
    };
    if scheme == "https" {
        problems.not_enforced("write http to a TLS-terminating proxy next to the gateway, or name a Service");
        return None;
    }
    let more = !matches!(uri.path(), "" | "/") || uri.query().is_some() || url.contains(['@', '#']);
    if scheme != "http" || more || host.is_empty() {
        problems.invalid(format!("{url:?} is more than an origin"), URL_HELP);
        return None;
    }
    let port = uri.port_u16().unwrap_or(80);
    Some(UpstreamKey::Url { scheme: scheme.into(), host: host.to_ascii_lowercase().into(), port })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn golden_files_hold() {
        golden::check("upstream", |spec: &BackendSpec, refs, problems| compile(spec, refs, problems));
    }
}
