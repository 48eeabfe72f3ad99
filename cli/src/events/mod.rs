//! `postern events`: what waits, is parked or is dead; replay it, drop it, or let go what waits for it.
//!
//! It asks folders, or the shards of an installation as their settings name them; what several say is one list.

mod admin;
mod curl;
mod find;
mod stores;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use dataplane::event::replay::{Decided, Replay, Replayed};
use dataplane::event::shards::OperateError;
use dataplane::event::spool::SpoolError;
use dataplane::event::spool::operate::{Change, Filter, NOT_REPLAYED, State};
use dataplane::replay::OfflineError;
use policy::names::TenantName;

use self::stores::Stores;
use crate::out;
use crate::settings::SettingsError;

/// What can be done with events.
#[derive(Debug, clap::Subcommand)]
pub enum EventsCommand {
    /// Lists events, oldest first.
    #[command(
        after_help = "Examples:\n  postern events ls --data postern-data --state dead --tenant acme\n  postern events ls --settings operate.yaml --conversation '106540352242922#16505551234'\n\nEnds with 0, or 2 when a store could not be asked; the others are listed."
    )]
    Ls(Chosen),
    /// Shows one event: its CloudEvent, attempts and last answer.
    #[command(
        after_help = "Examples:\n  postern events show 42 --data postern-data\n  postern events show 42 --curl\n\nEnds with 0, 1 when no store has that row, 2 when one could not be asked."
    )]
    Show {
        /// Its row, as `ls` says it.
        row: i64,
        /// Prints the call that sends a kept request again, without the secrets of its caller: they are not kept.
        #[arg(long)]
        curl: bool,
        /// Where it is.
        #[command(flatten)]
        places: Places,
    },
    /// Finds what became of an event, in every store: deliveries, retries and deaths of the last 72 hours.
    #[command(
        after_help = "Examples:\n  postern events find wamid.1 --data postern-data\n  postern events find wamid.1 --settings operate.yaml\n\nEnds with 0, 1 when no store knows the event, 2 when a store could not be asked."
    )]
    Find {
        /// The event's id: `id` of its CloudEvent.
        id: String,
        /// Where it may be.
        #[command(flatten)]
        places: Places,
    },
    /// Delivers dead letters again, each to the tenant that owns it now; reports where each would go, and does it only
    /// with --yes.
    #[command(
        after_help = "An event that no tenant owned goes to the tenant that claims its identifier now. When another tenant held the identifier since the event was accepted, name the tenant with --to.\n\nEnds with 0, 1 when nothing could be replayed of what matches, 2 when a store could not be asked.\n\nExamples:\n  postern events replay --state dead --conversation '106540352242922#16505551234'\n  postern events replay --id wamid.1 --yes --admin 127.0.0.1:9901\n  postern events replay --tenant acme --from 1764000000000 --settings operate.yaml --yes"
    )]
    Replay {
        /// Which, and how.
        #[command(flatten)]
        changed: Changed,
        /// The tenant that gets them, where another one held their identifier meanwhile.
        #[arg(long, value_name = "TENANT", value_parser = tenant)]
        to: Option<TenantName>,
    },
    /// Drops events; says how many, and does it only with --yes.
    Drop(Changed),
    /// Lets a conversation go on past what it waits for; says how many events, and does it only with --yes.
    #[command(
        after_help = "An event that waits until another shard answers goes without that answer; any other that is the oldest of its conversation becomes a dead letter `skipped`, which can be replayed. What goes next is flagged `gap`: order is given up there.\n\nExample:\n  postern events skip '106540352242922#16505551234' --settings operate.yaml --yes"
    )]
    Skip {
        /// The conversation, as `ls` says it.
        subject: String,
        /// Which of it, and how.
        #[command(flatten)]
        changed: Changed,
    },
}

/// Where the events are.
#[derive(Debug, Clone, clap::Args)]
pub struct Places {
    /// A data directory; may be repeated. Reading it beside a running gateway is safe. `postern-data` when nothing is
    /// named.
    #[arg(long, value_name = "DIR")]
    data: Vec<PathBuf>,
    /// The settings of the installation: its shards are asked, with a certificate that has the role `operate`.
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    settings: Option<PathBuf>,
    /// Only this one of them; may be repeated.
    #[arg(long, value_name = "NAME", requires = "settings")]
    shard: Vec<String>,
    /// The admin port of the gateway that runs: it is asked instead of a file.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "settings")]
    admin: Option<SocketAddr>,
    /// The file with the token of that port; not needed on the gateway's own machine.
    #[arg(long, value_name = "FILE", requires = "admin")]
    admin_token_file: Option<PathBuf>,
}

/// Which events.
#[derive(Debug, Clone, clap::Args)]
pub struct Chosen {
    #[command(flatten)]
    places: Places,
    /// Of this tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// Of this source, as namespace/name.
    #[arg(long)]
    source: Option<String>,
    /// Of this conversation.
    #[arg(long)]
    conversation: Option<String>,
    /// With this event id.
    #[arg(long)]
    id: Option<String>,
    /// In this state: waiting, spooled, drained, parked, dead, damaged.
    #[arg(long)]
    state: Option<State>,
    /// Accepted at this time or later, in milliseconds since the epoch.
    #[arg(long, value_name = "MILLIS")]
    from: Option<i64>,
    /// Accepted before this time, in milliseconds since the epoch.
    #[arg(long, value_name = "MILLIS")]
    before: Option<i64>,
}

/// Which events, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct Changed {
    #[command(flatten)]
    chosen: Chosen,
    /// Does it; without this the events are only counted.
    #[arg(long)]
    yes: bool,
}

/// Why nothing was done, or not all of it.
#[derive(Debug, thiserror::Error)]
enum EventsError {
    #[error("the event store could not be used")]
    Spool(#[from] SpoolError),
    #[error("nothing was replayed")]
    Offline(#[from] OfflineError),
    #[error("nothing was replayed: {0}")]
    Stays(String),
    #[error("the settings cannot be used")]
    Settings(#[from] SettingsError),
    #[error("the shards cannot be asked")]
    Shards(#[source] Box<dyn std::error::Error>),
    #[error("nothing was changed")]
    Shard(#[from] OperateError),
    #[error("not every store could be asked")]
    Partly,
    #[error("name at least one filter: all events at once is never meant")]
    NoFilter,
    #[error("name one --data with --admin: the port is that of one gateway")]
    OneFolder,
    #[error("{NOT_REPLAYED}")]
    Requests,
    #[error("no event has row {0}: it was delivered, or dropped")]
    Unknown(i64),
    #[error("event {0} is not known here since {1}")]
    NotFound(String, jiff::Timestamp),
    #[error("row {0} is no kept request; only those are sent again by hand, events are replayed")]
    NoRequest(i64),
    #[error("the admin port did not answer: {0}")]
    Admin(String),
    #[error("could not read {0}")]
    Token(PathBuf, #[source] std::io::Error),
    #[error("could not write the result")]
    Write(#[from] serde_json::Error),
}

impl EventsError {
    fn code(&self) -> u8 {
        match self {
            Self::Unknown(_) | Self::NotFound(..) | Self::NoRequest(_) | Self::Requests | Self::Stays(_) => out::FAULT,
            Self::Spool(_)
            | Self::Offline(_)
            | Self::Settings(_)
            | Self::Shards(_)
            | Self::Shard(_)
            | Self::Partly
            | Self::NoFilter
            | Self::OneFolder
            | Self::Admin(_)
            | Self::Token(..)
            | Self::Write(_) => out::TROUBLE,
        }
    }
}

impl Chosen {
    fn filter(&self) -> Filter {
        Filter {
            tenant: self.tenant.clone(),
            source: self.source.clone(),
            conversation: self.conversation.clone(),
            id: self.id.clone(),
            state: self.state,
            from_ms: self.from,
            before_ms: self.before,
        }
    }
}

fn tenant(text: &str) -> Result<TenantName, String> {
    TenantName::parse(text).map_err(|error| format!("it {error}"))
}

/// A change, and its word.
struct Kind {
    build: fn(Filter) -> Change,
    word: &'static str,
}

const DROP: Kind = Kind { build: Change::Drop, word: "dropped" };
const SKIP: Kind = Kind { build: Change::Skip, word: "passed over" };

/// Runs the command.
#[must_use]
pub fn run(command: &EventsCommand) -> ExitCode {
    let done = match command {
        EventsCommand::Ls(chosen) => list(chosen),
        EventsCommand::Show { row, curl, places } => show(places, *row, *curl),
        EventsCommand::Find { id, places } => find::find(places, id),
        EventsCommand::Replay { changed, to } => replay(changed, to.as_ref()),
        EventsCommand::Drop(changed) => change(changed, &DROP),
        EventsCommand::Skip { subject, changed } => {
            let chosen = Chosen { conversation: Some(subject.clone()), ..changed.chosen.clone() };
            change(&Changed { chosen, ..changed.clone() }, &SKIP)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => out::failed(&error, error.code()),
    }
}

fn list(chosen: &Chosen) -> Result<(), EventsError> {
    let stores = Stores::open(&chosen.places)?;
    let mut listing = stores.list(chosen.filter());
    while let Some(event) = listing.next() {
        out::line(serde_json::to_string(&event)?);
    }
    if !listing.all {
        return Err(EventsError::Partly);
    }
    if listing.is_empty() {
        out::note(format_args!("no event matches in {}", stores.names()));
    }
    Ok(())
}

fn show(places: &Places, row: i64, curl: bool) -> Result<(), EventsError> {
    let stores = Stores::open(places)?;
    let (mut found, mut all) = (false, true);
    for store in &stores.all {
        let shown = match stores.show(store, row) {
            Ok(Some(shown)) => shown,
            Ok(None) => continue,
            Err(error) => {
                all = false;
                out::failed(&error, out::TROUBLE);
                continue;
            }
        };
        found = true;
        let event: Option<serde_json::Value> =
            shown.cloud_event.map(|event| serde_json::from_slice(&event)).transpose()?;
        if curl {
            let call = event.as_ref().and_then(curl::call).ok_or(EventsError::NoRequest(row))?;
            out::line(call);
            continue;
        }
        let said = serde_json::json!({
            "shard": store.name(), "listed": shown.listed, "event": event, "remains": shown.remains
        });
        out::line(serde_json::to_string_pretty(&said)?);
    }
    match (found, all) {
        (true, true) => Ok(()),
        (_, false) => Err(EventsError::Partly),
        (false, true) => Err(EventsError::Unknown(row)),
    }
}

/// `1 event`, `2 events`.
fn events(count: u64) -> String {
    if count == 1 { "1 event".to_owned() } else { format!("{count} events") }
}

fn change(changed: &Changed, kind: &Kind) -> Result<(), EventsError> {
    let filter = changed.chosen.filter();
    if filter == Filter::default() {
        return Err(EventsError::NoFilter);
    }
    let Kind { build, word } = kind;
    let stores = Stores::open(&changed.chosen.places)?;
    let change = build(filter);
    // Every store is counted before one is changed: who does not answer would be left out unseen.
    let counted = stores.all.iter().map(|store| stores.count(store, &change)).collect::<Result<Vec<_>, _>>()?;
    if !changed.yes {
        out::line(format_args!("{} would be {word}; write --yes to do it", events(counted.iter().sum())));
        return Ok(());
    }
    let mut done = 0;
    for (store, counted) in stores.all.iter().zip(counted) {
        if counted > 0 {
            done += stores.change(store, &change)?;
        }
    }
    if matches!(change, Change::Skip(_)) && done > 0 {
        out::note("order is given up there: what goes next is flagged `gap`");
    }
    out::line(format_args!("{} {word}", events(done)));
    Ok(())
}

fn replay(changed: &Changed, to: Option<&TenantName>) -> Result<(), EventsError> {
    let filter = changed.chosen.filter();
    if filter == Filter::default() {
        return Err(EventsError::NoFilter);
    }
    let stores = Stores::open(&changed.chosen.places)?;
    let ask = |dry_run| Replay { filter: filter.clone(), to: to.cloned(), dry_run };
    // Every store is asked before one is changed: who does not answer would be left out unseen.
    let mut all = Vec::with_capacity(stores.all.len());
    for store in &stores.all {
        all.push(stores.replay(store, &ask(true))?);
    }
    if changed.yes {
        for (store, replayed) in stores.all.iter().zip(&mut all) {
            if replayed.events + replayed.stay > 0 {
                *replayed = stores.replay(store, &ask(false))?;
            }
        }
    }

    for decided in all.iter().flat_map(|replayed| &replayed.decided) {
        out::line(told(decided));
    }
    let sum = |count: fn(&Replayed) -> u64| all.iter().map(count).sum::<u64>();
    let (done, stay, requests) = (sum(|one| one.events), sum(|one| one.stay), sum(|one| one.requests));
    match (done + stay, requests) {
        (0, 1..) => return Err(EventsError::Requests),
        (_, 0) => {}
        (_, 1..) => out::line(format_args!("{requests} of what matches stay: {NOT_REPLAYED}")),
    }
    let stays = if stay > 0 { format!(", {stay} stay dead") } else { String::new() };
    if !changed.yes {
        out::line(format_args!("{} would be replayed{stays}; write --yes to do it", events(done)));
        return Ok(());
    }
    out::line(format_args!("{} replayed{stays}", events(done)));
    if done == 0 && stay > 0 {
        return Err(EventsError::Stays(format!("{} of what matches stay dead", events(stay))));
    }
    Ok(())
}

/// Where a dead letter goes, or why it stays.
fn told(decided: &Decided) -> String {
    let Decided { row, id, tenant, source, to_tenant, to_source, reason, detail } = decided;
    let from = format!("row {row} {id}: tenant {tenant}, {source}");
    match (to_tenant, to_source) {
        (Some(to), Some(to_source)) if (to, to_source) == (tenant, source) => from,
        (Some(to), Some(to_source)) => format!("{from} -> tenant {to}, {to_source}"),
        (_, _) => {
            let (reason, detail) = (reason.as_deref().unwrap_or_default(), detail.as_deref().unwrap_or_default());
            format!("{from}: stays, {reason}: {detail}")
        }
    }
}
