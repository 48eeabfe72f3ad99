//! The objects of a cluster as they are now, listed once: for commands that look and change nothing.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use kube::Client;
use kube::api::ListParams;
use policy::names::Kind;

use super::Gathered;
use super::watch::{EVERYWHERE, FOREIGN_SECRETS, api};
use crate::resolve::Ownership;

/// Objects that are asked for at once.
const PAGE: u32 = 500;

/// What was listed.
#[derive(Debug, Default)]
pub struct Listed {
    /// The objects.
    pub gathered: Gathered,
    /// What could not be listed: nothing is known of it.
    pub unread: Vec<Unread>,
}

/// A kind that could not be listed.
#[derive(Debug)]
pub struct Unread {
    /// Which.
    pub kind: Kind,
    /// Where; everywhere when nothing is said.
    pub namespace: Option<Arc<str>>,
    /// Why.
    pub cause: kube::Error,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, cause } = self;
        match namespace {
            Some(namespace) => write!(f, "the {kind}s of namespace {namespace} cannot be read: {cause}"),
            None => write!(f, "the {kind}s cannot be read: {cause}"),
        }
    }
}

impl Listed {
    /// Whether all Secrets that objects could name were read; without them references to them look broken.
    #[must_use]
    pub fn has_secrets(&self) -> bool {
        !self.unread.iter().any(|unread| unread.kind == Kind::Secret)
    }
}

/// Lists the four kinds and what they can name. Secrets and ConfigMaps are read in the namespaces that tenants list.
///
/// # Errors
/// When the four kinds themselves cannot be listed.
pub async fn list(client: &Client) -> Result<Listed, kube::Error> {
    let mut listed = Listed::default();
    for kind in EVERYWHERE {
        match list_kind(client, kind, None, &mut listed.gathered).await {
            Ok(()) => {}
            // Nobody has installed the Gateway API: there are no grants.
            Err(kube::Error::Api(status)) if kind == Kind::ReferenceGrant && status.code == 404 => {}
            Err(cause) if matches!(kind, Kind::Tenant | Kind::Route | Kind::RateLimitPolicy | Kind::WebhookSource) => {
                return Err(cause);
            }
            Err(cause) => listed.unread.push(Unread { kind, namespace: None, cause }),
        }
    }
    let namespaces: BTreeSet<Arc<str>> = Ownership::of(&listed.gathered).owners.into_keys().collect();
    for namespace in namespaces {
        for kind in [Kind::Secret, Kind::ConfigMap] {
            if let Err(cause) = list_kind(client, kind, Some(&namespace), &mut listed.gathered).await {
                listed.unread.push(Unread { kind, namespace: Some(Arc::clone(&namespace)), cause });
            }
        }
    }
    Ok(listed)
}

async fn list_kind(
    client: &Client,
    kind: Kind,
    namespace: Option<&str>,
    gathered: &mut Gathered,
) -> Result<(), kube::Error> {
    let api = api(client, kind, namespace);
    let mut page = ListParams::default().limit(PAGE);
    if kind == Kind::Secret {
        page = page.fields(FOREIGN_SECRETS);
    }
    loop {
        let found = api.list(&page).await?;
        for observed in found.items {
            gathered.take(observed.parts(kind).0, Vec::new());
        }
        match found.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(()),
        }
    }
}
