//! Backends as people write them to upstreams.

use http::Uri;

use super::{BackendSpec, UpstreamKey};
use crate::problem::Problems;
use crate::reference::BackendRef;
use crate::refs::{RefError, Refs, resolved};
use crate::route::BackendIr;

const URL_HELP: &str = "write an origin and nothing more, such as http://10.0.0.7:8080";

/// Why a backend cannot be used; the problem is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It is wrong, or leads nowhere.
    Wrong,
    /// It is another's, who has not granted it, or not any more.
    NotGranted,
}

/// One backend of a rule.
///
/// # Errors
/// [`Unusable`]
pub fn compile(spec: &BackendSpec, refs: &dyn Refs, mut problems: Problems<'_>) -> Result<BackendIr, Unusable> {
    let BackendSpec { name, namespace, port, url, weight } = spec;
    let upstream = match (name, port, url) {
        (Some(name), Some(port), None) => {
            let reference = BackendRef { name: name.clone(), namespace: namespace.clone(), port: *port };
            let found = refs.service(&reference);
            let foreign = matches!(found, Err(RefError::NotGranted { .. } | RefError::ForeignNamespace { .. }));
            let unusable = if foreign { Unusable::NotGranted } else { Unusable::Wrong };
            UpstreamKey::Service(resolved(found, &mut problems).ok_or(unusable)?)
        }
        (None, None, Some(url)) => origin(url, problems.at("url")).ok_or(Unusable::Wrong)?,
        (_, _, _) => {
            problems.invalid("names neither a Service port nor an url", "write name and port, or url alone");
            return Err(Unusable::Wrong);
        }
    };
    Ok(BackendIr { upstream, weight: weight.unwrap_or(1) })
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
        golden::check("upstream", |spec: &BackendSpec, refs, problems| compile(spec, refs, problems).ok());
    }
}
