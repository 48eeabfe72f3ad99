//! Which tenant and which source an entry of a webhook goes to. Accepting and replaying decide it by the same rule.

use std::sync::Arc;

use policy::names::{ObjectRef, TenantName};
use policy::refusal::Reason;
use policy::webhook_source::entry::EntryIdentifiers;

use crate::runtime::{Runtime, Source, TenantRuntime};

/// Where an entry goes.
pub(crate) struct Placement<'r> {
    /// The tenant that stores it.
    pub(crate) tenant: &'r Arc<TenantRuntime>,
    /// That tenant's source.
    pub(crate) source: &'r Arc<Source>,
    /// The tenant that claims one of its identifiers, whether or not the entry goes there.
    pub(crate) owner: Option<&'r TenantName>,
    /// Why it is not delivered.
    pub(crate) refused: Option<Reason>,
}

/// Returns the place of an entry that a source of a tenant took: the tenant that claims an identifier of it, if the
/// source is shared with that tenant, else the source's own.
pub(crate) fn place<'r>(
    runtime: &'r Runtime,
    tenant: &'r Arc<TenantRuntime>,
    source: &'r Arc<Source>,
    identifiers: &EntryIdentifiers,
) -> Placement<'r> {
    let owner = runtime.owners.of(identifiers);
    let own = |refused| Placement { tenant, source, owner, refused };
    match owner {
        Some(owner) if *owner == tenant.name => own(None),
        Some(claims) if source.ir.shared_with.contains(claims) => match behind(runtime, claims, &source.object) {
            // The other tenants' entries go on, so its own broken policy cannot refuse the request.
            Some((tenant, source)) => {
                let broken = !source.ir.broken_security.is_empty() || !source.ir.broken_traffic.is_empty();
                Placement { tenant, source, owner, refused: broken.then_some(Reason::PolicyBroken) }
            }
            None => own(Some(Reason::Unclaimed)),
        },
        Some(_) => own(Some(Reason::TenantMismatch)),
        // Whoever signed knows the source's own secret: what names nobody is its own, if it can deliver.
        None if source.destination.is_some() => own(None),
        None => own(Some(Reason::Unclaimed)),
    }
}

/// Returns a tenant and its source behind a shared one, if that source has a destination.
pub(crate) fn behind<'r>(
    runtime: &'r Runtime,
    tenant: &TenantName,
    shared: &ObjectRef,
) -> Option<(&'r Arc<TenantRuntime>, &'r Arc<Source>)> {
    let tenant = runtime.tenant(tenant)?;
    let mut sources = tenant.sources.iter().map(|(_, source)| source);
    let found = sources.find(|source| source.ir.shared.as_ref() == Some(shared) && source.destination.is_some())?;
    Some((tenant, found))
}
