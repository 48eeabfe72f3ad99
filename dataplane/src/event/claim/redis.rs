//! Claims in a Redis that all gateways share.
//!
//! A claim is a memo, not a lock: it holds an event's number and the number that it follows for ten minutes,
//! and who meets an unconfirmed claim takes its numbers over. A confirmed id is remembered for its dedupe
//! window. Each claim is one call of a script, and the calls of all cores share one connection, which belongs
//! to a thread of its own. What Redis does not say in time it does not say: [`Away`], and the event goes on
//! without a number.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::future::try_join_all;
use policy::error::chain;
use policy::names::TenantName;
use redis::{RedisResult, Value};
use tokio::sync::{mpsc, watch};

use super::Key;
use super::layout::Layout;
use super::link::{Connection, Eviction, Link, RedisTraffic};
use super::record::{Confirmed, Record, write};
use super::script::{Call, Scripts};
use super::settings::{ClaimsError, RedisSettings};
use crate::event::counters::add;

/// How long an unconfirmed claim holds its numbers.
const MEMO_KEPT: Duration = Duration::from_secs(10 * 60);
/// How long a conversation that is silent keeps its last number.
pub(super) const CONVERSATION_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Confirmations and deliveries that wait to be written; more are dropped and counted.
const MAX_RECORDS: usize = 65_536;

/// An entry of a POST that wants a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Whose.
    pub tenant: TenantName,
    /// Which event.
    pub event: Key,
    /// In which conversation.
    pub conversation: Key,
}

/// A conversation of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// Whose.
    pub tenant: TenantName,
    /// Which.
    pub key: Key,
}

/// What a claim says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Nobody has claimed it before.
    New {
        /// Its number.
        sequence: i64,
        /// The number that it follows.
        previous: Option<i64>,
    },
    /// Somebody claimed it and has not confirmed it: it is made durable again, under the same number.
    TakenOver {
        /// Its number.
        sequence: i64,
        /// The number that it follows.
        previous: Option<i64>,
    },
    /// It is durable already. Its number is not remembered, only its id.
    Confirmed,
}

/// Redis did not say. The claim may have been made nevertheless; who tries again takes it over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Away {
    /// There is no connection.
    #[error("Redis is not connected")]
    Disconnected,
    /// No answer in time.
    #[error("Redis did not answer in time")]
    Late,
    /// It refused: full, read-only, loading, not permitted.
    #[error("Redis refused")]
    Refused,
}

/// Whether there is a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimsState {
    /// Claims are answered, or refused by Redis.
    Connected,
    /// Every claim is [`Away`] at once.
    Away,
}

/// Totals since start.
#[derive(Debug, Default)]
pub struct ClaimsCounters {
    /// Entries that were new.
    pub new: AtomicU64,
    /// Entries whose claim was taken over.
    pub taken_over: AtomicU64,
    /// Entries whose id was confirmed.
    pub confirmed: AtomicU64,
    /// Calls without a connection.
    pub disconnected: AtomicU64,
    /// Calls without an answer in time.
    pub late: AtomicU64,
    /// Calls that Redis refused.
    pub refused: AtomicU64,
    /// Confirmations and deliveries that were not written, because too many waited or the process ended.
    pub records_dropped: AtomicU64,
    /// Remembered ids dropped before their window ended, because a tenant had too many.
    pub ids_forgotten: AtomicU64,
}

/// What callers and the thread share.
pub(super) struct Shared {
    pub(super) layout: Layout,
    pub(super) scripts: Scripts,
    pub(super) link: Link,
    pub(super) counters: ClaimsCounters,
    pub(super) max_ids_per_tenant: u64,
    timeout: Duration,
    stop: watch::Sender<bool>,
}

impl Shared {
    /// Waits until the thread is to end.
    pub(super) async fn stopped(&self) {
        // The sender is this one's own.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }
}

struct Inner {
    shared: Arc<Shared>,
    records: mpsc::Sender<Record>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.stop.send_replace(true);
    }
}

/// Claims, for any number of runtimes. The thread ends with the last clone.
#[derive(Clone)]
pub struct Claims(Arc<Inner>);

impl Claims {
    /// Starts the thread that connects. Redis need not be there.
    ///
    /// # Errors
    /// [`ClaimsError`]: settings that cannot work.
    pub fn start(settings: RedisSettings) -> Result<Self, ClaimsError> {
        settings.check()?;
        let layout = Layout::new(&settings.key_prefix);
        let shared = Arc::new(Shared {
            scripts: Scripts::default(),
            counters: ClaimsCounters::default(),
            max_ids_per_tenant: settings.max_ids_per_tenant,
            timeout: settings.timeout,
            stop: watch::Sender::new(false),
            link: Link::new(settings, &layout),
            layout,
        });
        let (records, queue) = mpsc::channel(MAX_RECORDS);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ClaimsError::Thread)?;
        let own = shared.clone();
        let run = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = own.link.keep() => {}
                    () = write(queue, &own) => {}
                }
            });
            own.link.close();
        };
        let thread = std::thread::Builder::new().name("redis".into()).spawn(run).map_err(ClaimsError::Thread)?;
        Ok(Self(Arc::new(Inner { shared, records, thread: Mutex::new(Some(thread)) })))
    }

    /// Claims all entries of one POST, in their order. One round trip, and one call for each tenant.
    ///
    /// # Errors
    /// [`Away`]: none of them has a number that may be used.
    pub async fn claim(&self, wanted: Vec<Wanted>) -> Result<Vec<Claim>, Away> {
        let Shared { layout, scripts, counters, .. } = &*self.0.shared;
        let claims = self
            .ask(async |connection: Connection| {
                let calls = calls_by_tenant(&wanted, layout, connection.since_us);
                let run = async |(places, call): &(Vec<usize>, Call)| {
                    let answer = call.run(&scripts.claim, &mut connection.clone()).await?;
                    RedisResult::Ok((places.clone(), read_claims(&answer)?))
                };
                in_order(try_join_all(calls.iter().map(run)).await?, wanted.len())
            })
            .await?;
        for claim in &claims {
            let counter = match claim {
                Claim::New { .. } => &counters.new,
                Claim::TakenOver { .. } => &counters.taken_over,
                Claim::Confirmed => &counters.confirmed,
            };
            add(counter, 1);
        }
        Ok(claims)
    }

    /// Remembers ids for their windows, in the background.
    pub fn confirm(&self, confirmed: Vec<Confirmed>) {
        for one in confirmed {
            self.record(Record::Confirmed(one));
        }
    }

    /// Records, in the background, that a conversation is delivered or dead up to this number.
    pub fn delivered(&self, conversation: Conversation, sequence: i64) {
        self.record(Record::Delivered(conversation, sequence));
    }

    /// Up to which number each conversation is delivered or dead, where that is known.
    ///
    /// # Errors
    /// [`Away`]
    pub async fn done_up_to(&self, conversations: &[Conversation]) -> Result<Vec<Option<i64>>, Away> {
        let layout = &self.0.shared.layout;
        self.ask(async |connection: Connection| {
            let read = async |Conversation { tenant, key }: &Conversation| {
                let mut get = redis::cmd("GET");
                get.arg(layout.conversation(tenant, key));
                let text: Option<String> = redis::from_redis_value(connection.clone().ask(&get).await?)?;
                RedisResult::Ok(text.as_deref().and_then(done_of))
            };
            try_join_all(conversations.iter().map(read)).await
        })
        .await
    }

    /// Whether the thread runs; when not, readiness goes.
    #[must_use]
    pub fn healthy(&self) -> bool {
        self.thread().as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Whether there is a connection.
    #[must_use]
    pub fn state(&self) -> ClaimsState {
        if self.0.shared.link.connection().is_some() { ClaimsState::Connected } else { ClaimsState::Away }
    }

    /// What Redis does when it is full, as it said at the last connect.
    #[must_use]
    pub fn eviction(&self) -> Eviction {
        self.0.shared.link.eviction()
    }

    /// What it counts.
    #[must_use]
    pub fn counters(&self) -> &ClaimsCounters {
        &self.0.shared.counters
    }

    /// What is asked of Redis.
    #[must_use]
    pub fn traffic(&self) -> &RedisTraffic {
        self.0.shared.link.traffic()
    }

    /// Writes what waits, when Redis is there, and ends the thread. Blocks.
    pub fn shutdown(self) {
        self.0.shared.stop.send_replace(true);
        if let Some(thread) = self.thread().take() {
            let _ = thread.join();
        }
    }

    fn thread(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.0.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, record: Record) {
        if self.0.records.try_send(record).is_err() {
            add(&self.0.shared.counters.records_dropped, 1);
        }
    }

    /// Asks Redis within the time that a call may take.
    async fn ask<T>(&self, asked: impl AsyncFnOnce(Connection) -> RedisResult<T>) -> Result<T, Away> {
        let Shared { link, counters, timeout, .. } = &*self.0.shared;
        let Some(connection) = link.connection() else {
            add(&counters.disconnected, 1);
            return Err(Away::Disconnected);
        };
        match tokio::time::timeout(*timeout, asked(connection)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                tracing::debug!(error = chain(&error), "Redis refused");
                link.suspect();
                add(&counters.refused, 1);
                Err(Away::Refused)
            }
            Err(_) => {
                link.suspect();
                add(&counters.late, 1);
                Err(Away::Late)
            }
        }
    }
}

/// One call for each tenant, with the places of its entries in the POST.
fn calls_by_tenant(wanted: &[Wanted], layout: &Layout, since_us: i64) -> Vec<(Vec<usize>, Call)> {
    let mut calls: Vec<(&TenantName, Vec<usize>, Call)> = Vec::new();
    for (place, Wanted { tenant, event, conversation }) in wanted.iter().enumerate() {
        let at = calls.iter().position(|(own, ..)| *own == tenant).unwrap_or_else(|| {
            let mut call = Call::default();
            call.keys.push(layout.record(tenant));
            call.number(MEMO_KEPT.as_millis());
            call.number(CONVERSATION_KEPT.as_millis());
            call.number(since_us);
            calls.push((tenant, Vec::new(), call));
            calls.len() - 1
        });
        let Some((_, places, call)) = calls.get_mut(at) else { continue };
        places.push(place);
        call.keys.push(layout.memo(tenant, event));
        call.keys.push(layout.conversation(tenant, conversation));
        call.keys.extend(layout.buckets(tenant, event));
        call.arguments.push(event.to_vec());
    }
    calls.into_iter().map(|(_, places, call)| (places, call)).collect()
}

/// Up to which number a conversation is done: "last done", as the scripts write it.
pub(in crate::event) fn done_of(text: &str) -> Option<i64> {
    text.split_once(' ')?.1.parse().ok()
}

/// Three values an entry: its kind, its number, the number it follows.
pub(in crate::event) fn read_claims(answer: &Value) -> RedisResult<Vec<Claim>> {
    let values: Vec<Option<i64>> = redis::from_redis_value_ref(answer)?;
    let claims = values.chunks(3).map(|claim| match *claim {
        [Some(0), Some(sequence), previous] => Some(Claim::New { sequence, previous }),
        [Some(1), Some(sequence), previous] => Some(Claim::TakenOver { sequence, previous }),
        [Some(2), ..] => Some(Claim::Confirmed),
        _ => None,
    });
    claims.collect::<Option<_>>().ok_or_else(not_ours)
}

/// Puts the claims of each tenant at the places of their entries.
fn in_order(answers: Vec<(Vec<usize>, Vec<Claim>)>, entries: usize) -> RedisResult<Vec<Claim>> {
    let mut placed: Vec<_> = answers.into_iter().flat_map(|(places, claims)| places.into_iter().zip(claims)).collect();
    placed.sort_unstable_by_key(|(place, _)| *place);
    if placed.len() == entries { Ok(placed.into_iter().map(|(_, claim)| claim).collect()) } else { Err(not_ours()) }
}

fn not_ours() -> redis::RedisError {
    (redis::ErrorKind::UnexpectedReturnType, "the claim script answers something else").into()
}
