//! Replaying dead letters: each is decided anew as if it came now, but for the window and the sender's address.
//!
//! Whoever knows the configuration decides ([`Judge`]); the store that holds the dead letter revives it. Nothing is
//! taken from a dead letter that stays: its reason, its owner and its retention are as they were.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use policy::names::TenantName;
use policy::refusal::Reason;
use serde::{Deserialize, Serialize};

use super::claim::{Away, Claim, Claims, Confirmed, Key, Wanted, conversation_key, digest, event_key};
use super::spool::operate::Filter;
use super::spool::replay::{self, DeadLetter, Number, Revival, Revived};
use super::spool::{Shard, SpoolError};
use super::{NewEvent, Origin};

/// Dead letters that a report lists; all are counted.
const MAX_LISTED: usize = 1000;
/// How long the number of a replay is remembered that has no id of its own.
const NUMBER_REMEMBERED: Duration = Duration::from_secs(3600);

/// A request to replay.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Replay {
    /// Which dead letters.
    pub filter: Filter,
    /// The tenant that gets them, where another one held their identifier meanwhile.
    pub to: Option<TenantName>,
    /// Only reports what would happen.
    pub dry_run: bool,
}

/// The decision on a dead letter.
#[derive(Clone, Debug)]
pub enum Judged {
    /// It is delivered.
    Goes {
        /// As this event.
        new: Box<NewEvent>,
        /// The tenant of its entry.
        origin: Option<Origin>,
    },
    /// It stays a dead letter.
    Stays {
        /// Why, as a word.
        reason: &'static str,
        /// Why, and what to do.
        detail: String,
    },
}

/// Decides where a dead letter goes, as things are now.
pub trait Judge: Send + Sync + 'static {
    /// Decides. `to` is the tenant that the operator named.
    fn judge(&self, letter: &DeadLetter, to: Option<&TenantName>) -> Judged;
}

/// One dead letter of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// Its row.
    pub row: i64,
    /// Its id.
    pub id: String,
    /// The tenant that it was stored for.
    pub tenant: String,
    /// The source that it was stored for.
    pub source: String,
    /// The tenant that it goes to; none when it stays.
    pub to_tenant: Option<String>,
    /// That tenant's source.
    pub to_source: Option<String>,
    /// Why it stays, as a word.
    pub reason: Option<String>,
    /// Why it stays, and what to do.
    pub detail: Option<String>,
}

/// The result of a replay, or of its dry run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// Dead letters that are delivered again.
    pub events: u64,
    /// Dead letters that stay.
    pub stay: u64,
    /// Requests to Routes that match, which are never replayed.
    pub requests: u64,
    /// The first of them, in their order.
    pub decided: Vec<Decided>,
}

/// Why nothing was replayed, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The store.
    #[error("the event store")]
    Spool(#[from] SpoolError),
    /// Redis says whether an id was delivered, and gives the numbers.
    #[error("Redis is needed to replay: it knows which events are delivered already; try again when it answers")]
    Redis(#[from] Away),
}

/// Where new numbers come from.
enum Numbers {
    /// The store: it is the queue, and knows the ids that it accepted.
    Store,
    /// Redis, which all gateways share.
    Claims(Claims),
    /// The clock: order is given up, as for any event of such an installation.
    Clock,
}

/// Replays the dead letters of one store.
pub struct Replays {
    directory: PathBuf,
    shard: Option<Arc<Shard>>,
    judge: Arc<dyn Judge>,
    numbers: Numbers,
}

/// A dead letter with what was decided of it.
type One = (DeadLetter, Judged);

impl Replays {
    /// Of a store that is the queue itself.
    pub fn new(shard: Arc<Shard>, judge: Arc<dyn Judge>) -> Self {
        Self { directory: shard.directory().to_owned(), shard: Some(shard), judge, numbers: Numbers::Store }
    }

    /// Of a store beside a broker.
    pub fn beside_broker(shard: Arc<Shard>, judge: Arc<dyn Judge>, claims: Option<Claims>) -> Self {
        let numbers = claims.map_or(Numbers::Clock, Numbers::Claims);
        Self { numbers, ..Self::new(shard, judge) }
    }

    /// Of a store that another process may hold: it can say what would happen, and do nothing.
    pub fn dry(directory: &Path, judge: Arc<dyn Judge>) -> Self {
        Self { directory: directory.to_owned(), shard: None, judge, numbers: Numbers::Store }
    }

    /// Replays what matches and is dead now.
    ///
    /// # Errors
    /// [`ReplayError`]: what was replayed before stays replayed, and the rest is as it was.
    pub async fn run(&self, ask: &Replay) -> Result<Replayed, ReplayError> {
        let Replay { filter, to, dry_run } = ask;
        if !dry_run {
            tracing::warn!(?filter, to = to.as_ref().map(TenantName::as_str), "an operator replays events");
        }
        let (directory, wanted) = (self.directory.clone(), filter.clone());
        let begin = move || Ok((replay::requests(&directory, &wanted)?, replay::last_row(&directory)?));
        let (requests, last) = aside(begin).await?;
        let mut report = Replayed { requests, ..Replayed::default() };

        let mut after = Some(0);
        while let Some(from) = after {
            let (directory, filter, to, judge) =
                (self.directory.clone(), filter.clone(), to.clone(), self.judge.clone());
            let dry = *dry_run && matches!(self.numbers, Numbers::Store);
            let decide = move || {
                let page = replay::page(&directory, &filter, from, last)?;
                let mut decided = Vec::with_capacity(page.letters.len());
                for letter in page.letters {
                    let judged = judge.judge(&letter, to.as_ref());
                    let judged = if dry { unless_known(&directory, &letter, judged)? } else { judged };
                    decided.push((letter, judged));
                }
                Ok((decided, page.after))
            };
            let (mut decided, next) = aside(decide).await?;
            after = next;
            if let (false, Some(shard)) = (dry_run, &self.shard) {
                self.revive(shard, &mut decided).await?;
            }
            decided.into_iter().for_each(|one| report.add(one, *dry_run));
        }
        Ok(report)
    }

    /// Revives what goes; what cannot be revived stays.
    async fn revive(&self, shard: &Shard, decided: &mut [One]) -> Result<(), ReplayError> {
        let numbers = self.numbered(decided).await?;
        let mut revivals = Vec::with_capacity(decided.len());
        for ((letter, judged), number) in decided.iter().zip(numbers) {
            if let Judged::Goes { new, origin } = judged {
                let (row, sequence) = (letter.row, letter.envelope.sequence);
                revivals.push(Revival { row, sequence, new: (**new).clone(), origin: origin.clone(), number });
            }
        }
        if revivals.is_empty() {
            return Ok(());
        }
        let rows: Vec<i64> = revivals.iter().map(|revival| revival.row).collect();
        let revived = shard.revive(revivals).await?;
        for (row, revived) in rows.into_iter().zip(revived) {
            let Some((letter, judged)) = decided.iter_mut().find(|(letter, _)| letter.row == row) else { continue };
            let Judged::Goes { new, .. } = &*judged else { continue };
            match revived {
                Revived::Waits => self.confirm(letter, new),
                Revived::Known => *judged = known(new),
                Revived::Full => *judged = full(&new.event.tenant),
                Revived::Changed => *judged = changed(),
            }
        }
        Ok(())
    }

    /// The number of each that goes, in their order; none where the store gives it.
    async fn numbered(&self, decided: &mut [One]) -> Result<Vec<Option<Number>>, ReplayError> {
        let claims = match &self.numbers {
            Numbers::Store => return Ok(vec![None; decided.len()]),
            Numbers::Clock => return Ok(decided.iter().map(|(letter, _)| Some(by_the_clock(letter))).collect()),
            Numbers::Claims(claims) => claims,
        };
        let mut wanted = Vec::new();
        for (letter, judged) in decided.iter() {
            if let Judged::Goes { new, .. } = judged {
                let (event, (tenant, conversation)) = (claimed_as(letter, new), conversation(new));
                wanted.push(Wanted { tenant, event, conversation });
            }
        }
        if wanted.is_empty() {
            return Ok(vec![None; decided.len()]);
        }
        let mut claimed = claims.claim(wanted).await?.into_iter();
        let mut numbers = Vec::with_capacity(decided.len());
        for (_, judged) in decided.iter_mut() {
            let claim = if matches!(judged, Judged::Goes { .. }) { claimed.next() } else { None };
            let number = match claim {
                Some(Claim::New { sequence, previous } | Claim::TakenOver { sequence, previous }) => {
                    Some(Number { sequence, previous, degraded: false })
                }
                Some(Claim::Confirmed) => {
                    if let Judged::Goes { new, .. } = &*judged {
                        *judged = known(new);
                    }
                    None
                }
                None => None,
            };
            numbers.push(number);
        }
        Ok(numbers)
    }

    /// Confirms the dedupe claim: the event is durable.
    fn confirm(&self, letter: &DeadLetter, new: &NewEvent) {
        let Numbers::Claims(claims) = &self.numbers else { return };
        let dedupe_window = if died_at_accept(letter) { new.dedupe_window } else { NUMBER_REMEMBERED };
        let (tenant, event) = (new.event.tenant.clone(), claimed_as(letter, new));
        claims.confirm(vec![Confirmed { tenant, event, dedupe_window }]);
    }
}

impl Replayed {
    fn add(&mut self, (letter, judged): One, dry_run: bool) {
        let event = &letter.envelope.event;
        let (row, id, tenant) = (letter.row, &*event.id, event.tenant.as_str());
        let mut decided = Decided {
            row,
            id: id.to_owned(),
            tenant: tenant.to_owned(),
            source: source_text(event),
            to_tenant: None,
            to_source: None,
            reason: None,
            detail: None,
        };
        match judged {
            Judged::Goes { new, .. } => {
                self.events += 1;
                let to = new.event.tenant.as_str();
                if !dry_run && to != tenant {
                    tracing::warn!(row, id, tenant, to, "a dead letter goes to another tenant");
                }
                decided.to_source = Some(source_text(&new.event));
                decided.to_tenant = Some(to.to_owned());
            }
            Judged::Stays { reason, detail } => {
                self.stay += 1;
                if !dry_run {
                    tracing::info!(row, id, tenant, reason, detail, "a dead letter is not replayed");
                }
                (decided.reason, decided.detail) = (Some(reason.to_owned()), Some(detail));
            }
        }
        if self.decided.len() < MAX_LISTED {
            self.decided.push(decided);
        }
    }
}

fn source_text(event: &super::Event) -> String {
    format!("{}/{}", event.source.namespace, event.source.name)
}

fn conversation(new: &NewEvent) -> (TenantName, Key) {
    let event = &new.event;
    (event.tenant.clone(), conversation_key(&event.tenant, &event.source, &event.conversation))
}

/// Returns whether its id was never accepted for delivery: the reason is that of a refusal.
fn died_at_accept(letter: &DeadLetter) -> bool {
    Reason::ALL.iter().any(|reason| reason.word() == letter.reason)
}

/// What a number is claimed for. The id of an event that was accepted for delivery is confirmed already, by this event
/// itself: its number is claimed for this life of it.
fn claimed_as(letter: &DeadLetter, new: &NewEvent) -> Key {
    let key = event_key(&new.event, false);
    if died_at_accept(letter) { key } else { digest([b"replay", &key, &letter.envelope.sequence.to_be_bytes()]) }
}

fn by_the_clock(letter: &DeadLetter) -> Number {
    let now_us = jiff::Timestamp::now().as_microsecond();
    Number { sequence: now_us.max(letter.envelope.sequence.saturating_add(1)), previous: None, degraded: true }
}

fn unless_known(directory: &Path, letter: &DeadLetter, judged: Judged) -> Result<Judged, SpoolError> {
    let is_known = match &judged {
        Judged::Goes { new, .. } => replay::is_known(directory, new, letter.envelope.sequence)?,
        Judged::Stays { .. } => false,
    };
    match &judged {
        Judged::Goes { new, .. } if is_known => Ok(known(new)),
        Judged::Goes { .. } | Judged::Stays { .. } => Ok(judged),
    }
}

fn known(new: &NewEvent) -> Judged {
    let detail = format!("an event with this id was accepted for tenant {}: drop this one", new.event.tenant);
    Judged::Stays { reason: "already_delivered", detail }
}

fn full(tenant: &TenantName) -> Judged {
    let detail = format!("tenant {tenant} has no room: drop its dead letters, or raise ceilings.pendingBytes");
    Judged::Stays { reason: Reason::PendingFull.word(), detail }
}

fn changed() -> Judged {
    Judged::Stays { reason: "not_dead", detail: "it was replayed or dropped meanwhile".to_owned() }
}

/// Reads and decides where nobody waits for it.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SpoolError> + Send + 'static,
) -> Result<T, SpoolError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(SpoolError::Stopped))
}
