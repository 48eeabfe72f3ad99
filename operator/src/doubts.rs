//! What is doubtful between objects of several tenants: shown by `postern check`, and never a reason to refuse.

use policy::names::{ObjectRef, TenantName};
use policy::problem::{Problem, Problems};

use crate::gather::{Declared, Gathered};
use crate::resolve::Ownership;

/// Returns a warning for each tenant in `sharedWith` of a WebhookSource that has no source of its own behind it: its
/// entries become dead letters.
#[must_use]
pub fn doubts(gathered: &Gathered) -> Vec<Problem> {
    let ownership = Ownership::of(gathered);
    let mut problems = Vec::new();

    for (object, declared) in &gathered.webhook_sources {
        let Some(shared_with) = declared.spec.as_ref().and_then(|spec| spec.shared_with.as_ref()) else { continue };
        let owner = ownership.owner_of(gathered, object);
        for (index, tenant) in shared_with.tenants.iter().enumerate() {
            let Ok(tenant) = TenantName::parse(tenant) else { continue };
            if owner.as_ref() == Some(&tenant) || is_behind(gathered, &ownership, object, &tenant) {
                continue;
            }
            let mut problems = Problems::of(object, &mut problems);
            let (mut problems, help) = (
                problems.at("spec"),
                format!(
                    "have Tenant {tenant} add a WebhookSource with `shared: {{name: {}, namespace: {}}}` and a \
                     destination, or take it out of sharedWith",
                    object.name, object.namespace
                ),
            );
            problems.at(format_args!("sharedWith.tenants[{index}]")).warn(
                format!(
                    "names Tenant {tenant}, which has no WebhookSource behind this one: its entries are dead-lettered"
                ),
                help,
            );
        }
    }
    problems
}

/// Returns whether the tenant has a source that names this one and delivers somewhere.
fn is_behind(gathered: &Gathered, ownership: &Ownership, shared: &ObjectRef, tenant: &TenantName) -> bool {
    let names_it = |declared: &Declared<policy::webhook_source::WebhookSourceSpec>| {
        declared.spec.as_ref().is_some_and(|spec| {
            let named = spec.shared.as_ref();
            let named = named.is_some_and(|to| *to.name == *shared.name && *to.namespace == *shared.namespace);
            named && spec.destination.is_some()
        })
    };
    gathered
        .webhook_sources
        .iter()
        .any(|(object, declared)| names_it(declared) && ownership.owner_of(gathered, object).as_ref() == Some(tenant))
}
