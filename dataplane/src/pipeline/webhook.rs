//! A request to a WebhookSource: verified over its raw bytes, split, made durable, and only then answered.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use policy::refusal::{Extra, Reason, Refusal};
use policy::stage::Filter;
use policy::webhook_source::entry::Entry as Part;
use policy::webhook_source::{Unclaimed, Verified, handshake, identify, in_window, is_forgotten, sanitise, split};

use super::{Core, Ended, schema};
use crate::answer::{self, Body};
use crate::event::outcomes::{EventOutcome, OutcomeKind};
use crate::event::{AcceptError, Entry, Event, NewEvent, Origin};
use crate::http::memory::Sender;
use crate::http::{Ids, Pace, Parsed};
use crate::placement::{Placement, place};
use crate::runtime::{Runtime, Source, TenantRuntime};

/// When a provider should try again after we could not store its events: well within Genesys' 85 seconds.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Answers a request to a source.
pub(super) async fn answer(
    core: &Rc<Core>,
    (runtime, tenant): (&Arc<Runtime>, &Arc<TenantRuntime>),
    source: &Arc<Source>,
    ids: &Ids,
    mut parsed: Parsed,
    ended: &mut Ended,
) -> Result<Response<Body>, Refusal> {
    ended.object = Some((source.name.clone(), "".into()));
    if !source.ir.broken_security.is_empty() {
        let fields = source.ir.broken_security.join(", ");
        return Err(Refusal::new(
            Reason::PolicyBroken,
            format!("the source refuses until this is corrected: {fields}"),
        )
        .with(Extra::RetryAfter(RETRY_AFTER)));
    }
    if let Some(guard) = &source.addresses {
        let decided = guard.decider.check(parsed.address, || core.clock.now_secs());
        guard.judge(Filter::Addresses, decided, &mut ended.would_refuse)?;
    }
    if let Some(guard) = &source.client_certificate {
        let shown = guard.decider.check(&parsed.headers, parsed.from_trusted_proxy());
        guard.judge(Filter::ClientCertificate, shown, &mut ended.would_refuse)?;
    }
    if parsed.method != Method::POST {
        let asked = handshake::asked(source.ir.provider, &parsed.head(), source.handshake.as_ref());
        let asked = asked.inspect_err(|_| tenant.failures.record(parsed.address, core.clock.mono_ns()))?;
        if let Some(handshake::Answer { status, content_type, body }) = asked {
            return Ok(answer::full(status, content_type, body));
        }
        let refusal = Refusal::new(Reason::MethodNotAllowed, "webhooks are sent with POST");
        return Err(refusal.with(Extra::Allow("POST".to_owned())));
    }
    parsed.body.limit(source.ir.max_body_size).map_err(|error| error.refusal())?;
    core.account(&mut parsed, &tenant.name, Sender::Unauthenticated);
    let body = parsed.body.collect(&Pace::new(&core.limits, None)).await.map_err(|error| error.refusal())?;
    let verified = verify(core, tenant, source, &parsed, &body, ended)?;
    if verified.is_some() {
        parsed.body.authenticated();
    }
    let verdict = source.limits.check(None, parsed.address, core.clock.mono_ns());
    ended.would_refuse.extend(verdict.would_refuse.map(|refusal| (Filter::RateLimit, refusal)));
    if let Some(refusal) = verdict.refused {
        return Err(refusal);
    }
    if let Some(verified) = verified
        && let Some(answer) = handshake::challenged(source.ir.provider, &parsed.headers, &body, &verified)?
    {
        return Ok(answer::full(answer.status, answer.content_type, answer.body));
    }
    if !source.ir.broken_traffic.is_empty() {
        return Err(super::traffic_broken(&source.ir.broken_traffic));
    }
    ended.enter(tenant)?;
    let mut parts = split(source.ir.provider, &source.ir.extraction, &parsed.headers, &body)?;
    identify(&source.ir, &body, &mut parts);
    ended.events = u32::try_from(parts.len()).unwrap_or(u32::MAX);
    let parts = fitting(core, (runtime, tenant), source, (body.len(), parts), ended).await?;
    let entries = entries(core, (runtime, tenant), source, ids, (parts, &mut *ended));
    let durable = core.events.accept(entries).await.map_err(|error| not_accepted(&error))?;
    if durable.pending_full {
        ended.dead_lettered(Reason::PendingFull);
    }
    Ok(answer::empty(StatusCode::OK))
}

/// Proves who sent it; nothing is proven where verification audits or rests.
fn verify<'s>(
    core: &Core,
    tenant: &TenantRuntime,
    source: &'s Source,
    parsed: &Parsed,
    body: &[u8],
    ended: &mut Ended,
) -> Result<Option<Verified<'s>>, Refusal> {
    let Some(guard) = &source.verifier else { return Ok(None) };
    let verified = core.check(&tenant.failures, parsed.address, |costly| {
        if guard.decider.is_asymmetric() {
            costly.begin()?;
        }
        guard.decider.verify(&parsed.head(), parsed.called(), body, core.clock.now_secs())
    });
    let verified = verified.map_err(|refusal| {
        if refusal.reason == Reason::TooManyFailures {
            return refusal;
        }
        if !guard.audits() {
            tenant.failures.record(parsed.address, core.clock.mono_ns());
        }
        match source.ir.provider.preset() {
            Some(preset) => refusal.with(Extra::Status(preset.unverified_status)),
            None => refusal,
        }
    });
    guard.judge(Filter::Authentication, verified, &mut ended.would_refuse)
}

/// The entries of one POST, each with the reason why it does not fit a schema: that of the source which verified it,
/// and that of the one which it goes to.
async fn fitting(
    core: &Core,
    (runtime, tenant): (&Runtime, &Arc<TenantRuntime>),
    source: &Arc<Source>,
    (length, parts): (usize, Vec<Part>),
    ended: &mut Ended,
) -> Result<Vec<(Option<Refusal>, Part)>, Refusal> {
    let guards = |part: &Part| {
        let to = place(runtime, tenant, source, &part.identifiers).source;
        let other = Some(to).filter(|to| !Arc::ptr_eq(to, source)).and_then(|to| to.schema.clone());
        source.schema.iter().cloned().chain(other).collect()
    };
    let parts = parts.into_iter().map(|part| (guards(&part), part)).collect();
    schema::entries(core, length, parts, ended).await
}

/// The entries of one POST with their tenants; what belongs to nobody is dead, or left out.
fn entries(
    core: &Core,
    (runtime, tenant): (&Runtime, &Arc<TenantRuntime>),
    source: &Arc<Source>,
    ids: &Ids,
    (parts, ended): (Vec<(Option<Refusal>, Part)>, &mut Ended),
) -> Vec<Entry> {
    let now_secs = core.clock.now_secs();
    let mut entries = Vec::with_capacity(parts.len());
    for (misfit, part) in parts {
        let place = place(runtime, tenant, source, &part.identifiers);
        let refused = place.refused.or_else(|| too_old(source, place.source, &part, now_secs));
        let refused = refused.or(misfit.as_ref().map(|refusal| refusal.reason));
        let retention = Duration::from_secs(place.source.ir.retention_secs);
        let shared = !source.ir.shared_with.is_empty();
        let origin = Origin { identifiers: part.identifiers.clone(), owner: place.owner.cloned() };
        let new = NewEvent { dead_when_full: shared.then_some(retention), ..new_event(&place, ids, part, now_secs) };
        let Some(reason) = refused else {
            entries.push(Entry::Deliver(new));
            continue;
        };

        ended.dead_lettered(reason);
        if reason == Reason::Unclaimed && source.ir.unclaimed == Unclaimed::Refuse {
            let refused = EventOutcome::of(&new.event, OutcomeKind::Refused, now_secs.saturating_mul(1000));
            core.events.counters().outcomes.record(refused.because(reason.word()));
            continue;
        }
        let violations = misfit.filter(|misfit| misfit.reason == reason).and_then(|misfit| violations(&misfit));
        let origin = Some(Box::new(origin));
        entries.push(Entry::Dead { new, reason: reason.word().into(), retention, violations, origin });
    }
    entries
}

/// The violations of a refusal as JSON text.
fn violations(refusal: &Refusal) -> Option<Arc<str>> {
    refusal.extras.iter().find_map(|extra| match extra {
        Extra::Violations(violations) => serde_json::to_string(violations).ok().map(Arc::from),
        Extra::RetryAfter(_) | Extra::Challenge(_) | Extra::Allow(_) | Extra::Status(_) => None,
    })
}

/// Where the provider signs no time, an event's own time must be near: for the source that took it, and for the
/// one behind that it is for. Where neither names a window, what dedupe has forgotten is too old.
fn too_old(source: &Source, to: &Source, part: &Part, now_secs: i64) -> Option<Reason> {
    let mut windows = [source, to].into_iter().filter_map(|source| source.ir.replay_window_secs);
    let inside = match windows.next() {
        Some(first) => std::iter::once(first).chain(windows).all(|window| in_window(part.time_ms, window, now_secs)),
        None => !is_forgotten(&source.ir, to.ir.dedupe_window_secs, part.time_ms, now_secs),
    };
    (!inside).then_some(Reason::TimestampOutsideWindow)
}

fn new_event(place: &Placement<'_>, ids: &Ids, mut part: Part, now_secs: i64) -> NewEvent {
    let sanitised = sanitise(&place.source.ir.sanitise, &mut part);
    let now = jiff::Timestamp::from_second(now_secs).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let time = part.time_ms.and_then(|time| jiff::Timestamp::from_millisecond(time).ok());
    NewEvent {
        event: Event {
            tenant: place.tenant.name.clone(),
            source: place.source.object.clone(),
            id: part.id.into(),
            kind: part.kind.into(),
            conversation: part.conversation.into(),
            time: time.unwrap_or(now),
            data: Bytes::from(part.data.to_string()),
            dataraw: None,
            traceparent: ids.traceparent.as_deref().map(Into::into),
            unknown: part.unknown,
            sanitised: sanitised.map(Into::into),
            request_id: Some((&*ids.request).into()),
        },
        dedupe_window: Duration::from_secs(place.source.ir.dedupe_window_secs),
        pending_bytes: place.tenant.base.ceilings.pending_bytes,
        dead_when_full: None,
    }
}

/// Our own trouble is never a 4xx: the provider has to send again.
fn not_accepted(error: &AcceptError) -> Refusal {
    let (reason, detail) = match error {
        AcceptError::NotDurable { .. } => (Reason::NotDurable, "the events could not be made durable; send them again"),
        AcceptError::Reserve => (Reason::NotDurable, "the event store is full; send them again later"),
        AcceptError::PendingFull { .. } => {
            (Reason::PendingFull, "this tenant's events wait or are dead up to its ceiling, or its share of the store")
        }
    };
    Refusal::new(reason, detail).with(Extra::RetryAfter(RETRY_AFTER))
}
