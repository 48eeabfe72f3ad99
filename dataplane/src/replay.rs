//! Where a dead letter goes when it is replayed: owner, source, schema and sanitising decide again, as for an entry that
//! comes now. The window and the sender's address are not asked again: both were held against the request.
//!
//! A dead letter crosses to another tenant only when no tenant owned it, and only to the tenant that claims its
//! identifier now. When another tenant held the identifier since, or when that is not known, an operator has to name
//! the tenant: the message may be the other's.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use policy::names::TenantName;
use policy::refusal::Reason;
use policy::stage::Filter;
use policy::webhook_source::{EntryIdentifiers, sanitise, stored};

use crate::event::replay::{Judge, Judged, Replay, ReplayError, Replayed, Replays};
use crate::event::spool::replay::DeadLetter;
use crate::event::spool::{Settings, Shard, is_beside_broker};
use crate::event::{Event, NewEvent, Origin};
use crate::placement::{Placement, behind, place};
use crate::runtime::{Builder, Runtime, Source, TenantRuntime};
use crate::snapshot::{HeldElsewhere, Holders, Keeper, Volume, VolumeError};
use crate::telemetry::Metrics;
use crate::upstream::Registry;

/// Decides by the configuration in force.
pub(crate) struct LiveJudge {
    live: Arc<ArcSwap<Runtime>>,
    holders: Arc<Holders>,
}

type Found<'r> = (&'r Arc<TenantRuntime>, &'r Arc<Source>);

/// Why a dead letter stays.
struct Stays {
    reason: &'static str,
    detail: String,
}

fn stays<T>(reason: &'static str, detail: impl Into<String>) -> Result<T, Stays> {
    Err(Stays { reason, detail: detail.into() })
}

impl LiveJudge {
    pub(crate) fn new(live: Arc<ArcSwap<Runtime>>, holders: Arc<Holders>) -> Self {
        Self { live, holders }
    }

    fn decide(&self, letter: &DeadLetter, to: Option<&TenantName>) -> Result<(NewEvent, Origin), Stays> {
        let runtime = self.live.load();
        let event = &letter.envelope.event;
        let Some(own) = runtime.tenant(&event.tenant).zip(runtime.source(&event.tenant, &event.source)) else {
            return stays("no_source", format!("{} of tenant {} is not configured", event.source, event.tenant));
        };
        let entrance = entrance(&runtime, own)?;
        let Ok(data) = serde_json::from_slice(&event.data) else {
            return stays("no_source", "its data cannot be read");
        };
        let mut entry = stored(&event.id, &event.kind, &event.conversation, data);
        if let Some(origin) = &letter.origin {
            entry.identifiers = origin.identifiers.clone();
        }

        let (tenant, source) = match to {
            Some(to) => named(&runtime, letter, (own, entrance), to)?,
            None => self.placed(&runtime, letter, entrance, &entry.identifiers)?,
        };
        if source.destination.is_none() {
            return stays("no_destination", format!("{} has no destination to deliver to", source.object));
        }
        if let Some(broken) = [entrance.1, source].into_iter().find(|one| !one.ir.broken_security.is_empty()) {
            let fields = broken.ir.broken_security.join(", ");
            let detail = format!("{} refuses until this is corrected: {fields}", broken.object);
            return stays(Reason::PolicyBroken.word(), detail);
        }
        for guarded in [entrance.1, source] {
            if let Some(guard) = &guarded.schema {
                let decided = guard.decider.check_event(entry.event());
                if let Err(refusal) = guard.judge(Filter::Schema, decided, &mut Vec::new()) {
                    return stays(refusal.reason.word(), refusal.detail);
                }
            }
        }

        let places = sanitise(&source.ir.sanitise, &mut entry);
        let sanitised = match (&event.sanitised, places) {
            (Some(before), Some(now)) if **before != *now => Some(format!("{before} {now}").into()),
            (None, Some(now)) => Some(now.into()),
            (before, _) => before.clone(),
        };
        let origin = Origin { identifiers: entry.identifiers, owner: Some(tenant.name.clone()) };
        let new = NewEvent {
            event: Event {
                tenant: tenant.name.clone(),
                source: source.object.clone(),
                data: Bytes::from(entry.data.to_string()),
                sanitised,
                ..event.clone()
            },
            dedupe_window: std::time::Duration::from_secs(source.ir.dedupe_window_secs),
            pending_bytes: tenant.base.ceilings.pending_bytes,
            dead_when_full: None,
        };
        Ok((new, origin))
    }

    /// Where accepting would bring its entry now, if it may go there.
    fn placed<'r>(
        &self,
        runtime: &'r Runtime,
        letter: &DeadLetter,
        entrance: Found<'r>,
        identifiers: &EntryIdentifiers,
    ) -> Result<Found<'r>, Stays> {
        let event = &letter.envelope.event;
        let Placement { tenant, source, owner, refused } = place(runtime, entrance.0, entrance.1, identifiers);
        match refused {
            Some(reason @ Reason::Unclaimed) => {
                let detail = match owner {
                    None => "no tenant claims its identifiers: add them to a Tenant".to_owned(),
                    Some(owner) => format!("tenant {owner} has no source with a destination behind {}", event.source),
                };
                return stays(reason.word(), detail);
            }
            Some(reason @ Reason::TenantMismatch) => {
                let owner = owner.map_or("another", TenantName::as_str);
                let detail = format!("tenant {owner} claims it, and {} is not shared with it", entrance.1.object);
                return stays(reason.word(), detail);
            }
            Some(_) | None => {}
        }
        if tenant.name == event.tenant {
            return Ok((tenant, source));
        }
        let known_owner = letter.origin.as_ref().and_then(|origin| origin.owner.as_ref());
        let is_unowned = letter.reason == Reason::Unclaimed.word();
        if !is_unowned && known_owner != Some(&tenant.name) {
            let detail = format!(
                "it is of tenant {0}, and {1} claims it now: --to {0} delivers it there",
                event.tenant, tenant.name
            );
            return stays(Reason::TenantMismatch.word(), detail);
        }
        let elsewhere = match &letter.origin {
            Some(Origin { owner: Some(owner), .. }) if *owner != tenant.name => {
                let identifier = "it".to_owned();
                Some(HeldElsewhere::Tenant { tenant: owner.clone(), identifier })
            }
            Some(_) => self.holders.held_elsewhere(identifiers, &tenant.name, letter.accepted_ms),
            // It was stored by a version that did not record its identifiers.
            None => Some(HeldElsewhere::Unknown),
        };
        match elsewhere {
            None => Ok((tenant, source)),
            Some(HeldElsewhere::Tenant { tenant: other, identifier }) => stays(
                "other_tenant",
                format!(
                    "tenant {other} held {identifier} since it was accepted: name the tenant with --to, {} now",
                    tenant.name
                ),
            ),
            Some(HeldElsewhere::Unknown) => stays(
                "other_tenant",
                format!(
                    "whether another tenant held its identifier since it was accepted is not known here: name the tenant with --to, {} now",
                    tenant.name
                ),
            ),
        }
    }
}

/// The source that requests come to: the shared one of a source behind it.
fn entrance<'r>(runtime: &'r Runtime, own: Found<'r>) -> Result<Found<'r>, Stays> {
    let Some(shared) = &own.1.ir.shared else { return Ok(own) };
    let found = runtime.tenants().find_map(|tenant| {
        let source = tenant.sources.iter().find(|(name, _)| name == shared).map(|(_, source)| source)?;
        Some((tenant, source))
    });
    match found {
        Some(found) if found.1.ir.shared_with.contains(&own.0.name) => Ok(found),
        Some(_) => stays("no_source", format!("{shared} is not shared with tenant {} any more", own.0.name)),
        None => stays("no_source", format!("{shared}, which it came through, is not configured")),
    }
}

/// The place that an operator named: its own tenant, or for an event that nobody owned one that the source is shared
/// with.
fn named<'r>(
    runtime: &'r Runtime,
    letter: &DeadLetter,
    (own, entrance): (Found<'r>, Found<'r>),
    to: &TenantName,
) -> Result<Found<'r>, Stays> {
    if *to == own.0.name {
        return Ok(own);
    }
    if letter.reason != Reason::Unclaimed.word() {
        let detail = format!("it is of tenant {}, and goes to no other", own.0.name);
        return stays(Reason::TenantMismatch.word(), detail);
    }
    let shared = entrance.1.ir.shared_with.contains(to).then(|| behind(runtime, to, &entrance.1.object)).flatten();
    match shared {
        Some(found) => Ok(found),
        None => stays(
            Reason::TenantMismatch.word(),
            format!(
                "{} is not shared with tenant {to}, or that has no source with a destination behind it",
                entrance.1.object
            ),
        ),
    }
}

impl Judge for LiveJudge {
    fn judge(&self, letter: &DeadLetter, to: Option<&TenantName>) -> Judged {
        match self.decide(letter, to) {
            Ok((new, origin)) => Judged::Goes { new: Box::new(new), origin: Some(origin) },
            Err(Stays { reason, detail }) => Judged::Stays { reason, detail },
        }
    }
}

/// Why a store that no process holds could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// Its last-good configuration.
    #[error("the last-good configuration of the gateway cannot be read")]
    Volume(#[from] VolumeError),
    /// A metric, which nobody sees.
    #[error("could not declare the metrics")]
    Metrics(#[from] prometheus::Error),
    /// The runtime that waits for the store.
    #[error("could not start")]
    Runtime(#[source] std::io::Error),
    /// The store.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// A shard of an installation gets its numbers from Redis.
    #[error("this store is a shard's beside a broker: replay with --settings, or at its admin port with --admin")]
    BesideBroker,
}

/// Replays the dead letters in the data directory of a gateway that does not run, by the configuration that was in force
/// there last. A dry run may read beside a running gateway. Blocks.
///
/// # Errors
/// [`OfflineError`]
pub fn offline(data: &Path, ask: &Replay) -> Result<Replayed, OfflineError> {
    let metrics = Metrics::new()?;
    let live = Arc::new(ArcSwap::from_pointee(Runtime::default()));
    let (last_good, unwritten) = (data.join("last-good"), metrics.last_good_unwritten.clone());
    let volume = last_good.is_dir().then(|| Volume::open(&last_good, unwritten)).transpose()?;
    let keeper = Keeper::new(Builder::new(metrics, Arc::new(Registry::default())), live.clone(), volume);
    let judge = Arc::new(LiveJudge::new(live, keeper.holders()));

    let directory = data.join("spool");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(OfflineError::Runtime)?;
    if ask.dry_run {
        return Ok(runtime.block_on(Replays::dry(&directory, judge).run(ask))?);
    }
    if is_beside_broker(&directory).map_err(ReplayError::from)? {
        return Err(OfflineError::BesideBroker);
    }
    let shard = Arc::new(Shard::open(Settings::new(&directory)).map_err(ReplayError::from)?);
    let replays = Replays::new(shard.clone(), judge);
    let replayed = runtime.block_on(replays.run(ask));
    drop(replays);
    if let Some(shard) = Arc::into_inner(shard) {
        shard.shutdown();
    }
    Ok(replayed?)
}
