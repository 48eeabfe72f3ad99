//! Joins a WebhookSource with its last-good configuration: security is the current one, the last good supplies the
//! traffic part only.
//!
//! A last good of another provider, match or event is not used: its traffic part was meant for other events.

use super::WebhookSourceIr;
use crate::snapshot::Applies;
use crate::upstream::UpstreamKey;

/// Returns the source to run, and what of it applies. `namespace` is the source's own.
#[must_use]
pub fn join(
    mut source: WebhookSourceIr,
    last: Option<&WebhookSourceIr>,
    namespace: &str,
) -> (WebhookSourceIr, Applies) {
    if source.broken_traffic.is_empty() {
        return (source, Applies::Current);
    }
    match last.filter(|last| is_usable(&source, last)) {
        Some(last) => {
            take_traffic(&mut source, last, namespace);
            (source, Applies::LastGood)
        }
        None => (source, Applies::NotProgrammed),
    }
}

/// Returns the last good of a source that cannot be read any more: it refuses, and its deliveries are parked.
#[must_use]
pub fn refusing(last: &WebhookSourceIr) -> WebhookSourceIr {
    let broken = vec!["spec".into()];
    WebhookSourceIr { broken_security: broken.clone(), broken_outbound: broken, ..last.clone() }
}

fn is_usable(source: &WebhookSourceIr, last: &WebhookSourceIr) -> bool {
    last.broken_traffic.is_empty()
        && last.provider == source.provider
        && last.entrance == source.entrance
        && last.extraction == source.extraction
}

/// Puts the traffic part of `last` into `source`. A destination in another namespace is used only where the current
/// source names it too and so is granted now; of two bounds of a body the smaller holds.
fn take_traffic(source: &mut WebhookSourceIr, last: &WebhookSourceIr, namespace: &str) {
    let WebhookSourceIr {
        // What the source is, and its security.
        provider: _,
        entrance: _,
        broken_security: _,
        broken_outbound: _,
        broken_traffic: _,
        verification: _,
        addresses: _,
        client_certificate: _,
        replay_window_secs: _,
        shared: _,
        shared_with: _,
        schema: _,
        extraction: _,
        dedupe_window_secs: _,
        mode: _,
        // Traffic.
        unclaimed,
        sanitise,
        destination,
        delivery,
        wait_for_gap_ms,
        retention_secs,
        max_body_size,
    } = last;
    let leads_to = |upstream: &UpstreamKey| source.destination.as_ref().is_some_and(|to| to.upstream == *upstream);
    let foreign = match destination.as_ref().map(|to| &to.upstream) {
        Some(UpstreamKey::Service(service)) => *service.namespace != *namespace,
        Some(UpstreamKey::Url { .. }) | None => false,
    };
    if let Some(to) = destination.as_ref().filter(|to| foreign && !leads_to(&to.upstream)) {
        source.broken_outbound.push(format!("spec.destination: {} of the last good", to.upstream).into());
    }

    source.unclaimed = *unclaimed;
    source.sanitise.clone_from(sanitise);
    source.destination.clone_from(destination);
    let sign_with = std::mem::take(&mut source.delivery.sign_with);
    source.delivery = super::DeliveryIr { sign_with, ..delivery.clone() };
    source.wait_for_gap_ms = *wait_for_gap_ms;
    source.retention_secs = *retention_secs;
    source.max_body_size = source.max_body_size.min(*max_body_size);
    source.broken_traffic = Vec::new();
}
