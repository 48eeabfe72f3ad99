//! Bodies and events against their schemas; what takes long is checked off the core's runtime.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use policy::refusal::{Reason, Refusal};
use policy::schema::{MAX_BODY_BYTES, Schema};
use policy::stage::Filter;
use policy::webhook_source::entry::Entry;

use super::{Core, Ended};
use crate::http::Pace;
use crate::http::memory::Charge;
use crate::runtime::{Guard, Rule};
use crate::upstream::RequestBody;

/// The body that goes on, and what its bytes are charged to when all of them are held.
type Outgoing = (RequestBody<crate::http::RequestBody>, Option<Charge>);

/// The body that goes on: read whole and checked when the rule has a schema, else as it comes.
pub(super) async fn body(
    core: &Core,
    rule: &Rule,
    (method, headers): (&Method, &HeaderMap),
    body: crate::http::RequestBody,
    ended: &mut Ended,
) -> Result<Outgoing, Refusal> {
    let has_body = !http_body::Body::is_end_stream(&body);
    match rule.schema.as_ref().filter(|_| Schema::concerns(method, has_body)) {
        None => Ok(as_it_comes(body)),
        Some(guard) => checked(core, guard, rule, headers, body, ended).await,
    }
}

fn as_it_comes(body: crate::http::RequestBody) -> Outgoing {
    match http_body::Body::is_end_stream(&body) {
        true => (RequestBody::Whole(Bytes::new()), None),
        false => (RequestBody::Streaming(body), None),
    }
}

async fn checked(
    core: &Core,
    guard: &Guard<Arc<Schema>>,
    rule: &Rule,
    headers: &HeaderMap,
    mut body: crate::http::RequestBody,
    ended: &mut Ended,
) -> Result<Outgoing, Refusal> {
    // A guard that audits lets the body pass as it comes where it need not be read.
    if guard.judge(Filter::Schema, Schema::check_head(headers), &mut ended.would_refuse)?.is_none() {
        return Ok(as_it_comes(body));
    }
    let bounded = body.limit(rule.max_body_size.min(MAX_BODY_BYTES)).map_err(|error| error.refusal());
    if guard.judge(Filter::Schema, bounded, &mut ended.would_refuse)?.is_none() {
        body.limit(rule.max_body_size).map_err(|error| error.refusal())?;
        return Ok(as_it_comes(body));
    }
    if guard.audits() {
        body.limit(rule.max_body_size).map_err(|error| error.refusal())?;
    }
    let until = rule.request_timeout().map(|timeout| (ended.began + timeout).into());
    let bytes = body.collect(&Pace::new(&core.limits, until)).await.map_err(|error| error.refusal())?;
    let (schema, read) = (guard.decider.clone(), bytes.clone());
    let verdict = if bytes.len() as u64 > MAX_BODY_BYTES {
        Err(too_long())
    } else if schema.is_slow(bytes.len()) {
        aside(core, move || schema.check_body(&read)).await?
    } else {
        schema.check_body(&read)
    };
    guard.judge(Filter::Schema, verdict, &mut ended.would_refuse)?;
    Ok((RequestBody::Whole(bytes), body.take_charge()))
}

fn too_long() -> Refusal {
    Refusal::new(Reason::BodyTooLarge, format!("a body of more than {MAX_BODY_BYTES} bytes is not checked"))
}

/// The schemas that one entry must fit, in the order in which it meets them.
pub(super) type Guards = Vec<Guard<Arc<Schema>>>;

/// What the schemas say of the entries of one request, entry by entry; those that audit say it to `ended` only.
pub(super) async fn entries(
    core: &Core,
    length: usize,
    parts: Vec<(Guards, Entry)>,
    ended: &mut Ended,
) -> Result<Vec<(Option<Refusal>, Entry)>, Refusal> {
    let slow = parts.iter().flat_map(|(guards, _)| guards).any(|guard| guard.decider.is_slow(length));
    let judged = if slow { aside(core, move || judge(parts)).await? } else { judge(parts) };
    let mut entries = Vec::with_capacity(judged.len());
    for (refused, would_refuse, entry) in judged {
        // Once a request: its line in the log is one line however many entries it has.
        let told = ended.would_refuse.iter().any(|(filter, _)| *filter == Filter::Schema);
        ended.would_refuse.extend(would_refuse.into_iter().next().filter(|_| !told));
        entries.push((refused, entry));
    }
    Ok(entries)
}

type Judged = (Option<Refusal>, Vec<(Filter, Refusal)>, Entry);

fn judge(parts: Vec<(Guards, Entry)>) -> Vec<Judged> {
    let one = |(guards, entry): (Guards, Entry)| {
        let mut would_refuse = Vec::new();
        let mut decide = |guard: &Guard<Arc<Schema>>| {
            guard.judge(Filter::Schema, guard.decider.check_event(entry.event()), &mut would_refuse).err()
        };
        let refused = guards.iter().find_map(&mut decide);
        (refused, would_refuse, entry)
    };
    parts.into_iter().map(one).collect()
}

/// Runs what may take long where no other request of this core waits for it. A core has few such places, so that
/// they cannot take all of the machine; who finds none waits.
async fn aside<T: Send + 'static>(core: &Core, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    let failed = || Refusal::new(Reason::Internal, "the check of the body could not be finished");
    let place = core.aside.clone().acquire_owned().await.map_err(|_| failed())?;
    let done = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(place);
        done
    });
    done.await.map_err(|_| failed())
}
