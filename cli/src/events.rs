//! `postern events`: what waits, is parked or is dead; replay it or drop it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use bytes::Bytes;
use dataplane::event::spool::SpoolError;
use dataplane::event::spool::operate::{self, Change, Counted, Filter, NOT_REPLAYED, State};
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;

use crate::out;

/// What can be done with events.
#[derive(Debug, clap::Subcommand)]
pub enum EventsCommand {
    /// Lists events, oldest first.
    #[command(after_help = "Example:\n  postern events ls --data postern-data --state dead --tenant acme")]
    Ls(Chosen),
    /// Shows one event: its CloudEvent, attempts and last answer.
    #[command(after_help = "Example:\n  postern events show 42 --data postern-data")]
    Show {
        /// Its row, as `ls` says it.
        row: i64,
        /// The gateway's data directory.
        #[arg(long, value_name = "DIR", default_value = "postern-data")]
        data: PathBuf,
    },
    /// Has dead events delivered again; says how many, and does it only with --yes.
    #[command(
        after_help = "Examples:\n  postern events replay --state dead --conversation '106540352242922#16505551234'\n  postern events replay --id wamid.1 --yes --admin 127.0.0.1:9901"
    )]
    Replay(Changed),
    /// Drops events; says how many, and does it only with --yes.
    Drop(Changed),
}

/// Which events.
#[derive(Debug, Clone, clap::Args)]
pub struct Chosen {
    /// The gateway's data directory; reading it beside a running gateway is safe.
    #[arg(long, value_name = "DIR", default_value = "postern-data")]
    data: PathBuf,
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
    /// In this state: waiting, parked, dead, damaged.
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
    /// The admin port of the gateway that runs on this data; without one the file itself is changed.
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
enum EventsError {
    #[error("the event store said no")]
    Spool(#[from] SpoolError),
    #[error("name at least one filter: all events at once is never meant")]
    NoFilter,
    #[error("{NOT_REPLAYED}")]
    Requests,
    #[error("no event has row {0}: it was delivered, or dropped")]
    Unknown(i64),
    #[error("the admin port did not answer: {0}")]
    Admin(String),
    #[error("could not write the result")]
    Write(#[from] serde_json::Error),
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

    /// The same as a query of the admin port.
    fn query(&self, dry_run: bool) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let texts = [
            ("tenant", &self.tenant),
            ("source", &self.source),
            ("conversation", &self.conversation),
            ("id", &self.id),
        ];
        for (name, value) in texts {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        let state = self.state.map(|state| format!("{state:?}").to_lowercase());
        let numbers = [
            ("state", state),
            ("from", self.from.map(|n| n.to_string())),
            ("before", self.before.map(|n| n.to_string())),
        ];
        for (name, value) in numbers {
            if let Some(value) = value {
                query.append_pair(name, &value);
            }
        }
        query.append_pair("dryRun", if dry_run { "true" } else { "false" });
        query.finish()
    }
}

/// Runs the command.
#[must_use]
pub fn run(command: &EventsCommand) -> ExitCode {
    let done = match command {
        EventsCommand::Ls(chosen) => list(chosen),
        EventsCommand::Show { row, data } => show(data, *row),
        EventsCommand::Replay(changed) => change(changed, Method::POST, "/events/replay", Change::Replay, "replayed"),
        EventsCommand::Drop(changed) => change(changed, Method::DELETE, "/events", Change::Drop, "dropped"),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => out::failed(&error, out::TROUBLE),
    }
}

/// Where a gateway keeps its event store in its data directory.
fn spool(data: &std::path::Path) -> PathBuf {
    data.join("spool")
}

fn list(chosen: &Chosen) -> Result<(), EventsError> {
    let mut after = 0;
    loop {
        let page = operate::list(&spool(&chosen.data), &chosen.filter(), after, operate::MAX_LISTED)?;
        for event in &page {
            out::line(serde_json::to_string(event)?);
        }
        match page.last() {
            Some(last) => after = last.row,
            None => return Ok(()),
        }
    }
}

fn show(data: &std::path::Path, row: i64) -> Result<(), EventsError> {
    let shown = operate::show(&spool(data), row)?.ok_or(EventsError::Unknown(row))?;
    let event: Option<serde_json::Value> = shown.cloud_event.map(|event| serde_json::from_slice(&event)).transpose()?;
    out::line(serde_json::to_string_pretty(
        &serde_json::json!({"listed": shown.listed, "event": event, "remains": shown.remains}),
    )?);
    Ok(())
}

fn change(
    changed: &Changed,
    method: Method,
    path: &str,
    build: fn(Filter) -> Change,
    word: &str,
) -> Result<(), EventsError> {
    let filter = changed.chosen.filter();
    if filter == Filter::default() {
        return Err(EventsError::NoFilter);
    }
    let (spool, change) = (spool(&changed.chosen.data), build(filter));
    if let (true, Some(admin)) = (changed.yes, changed.admin) {
        let count = ask(admin, method, &format!("{path}?{}", changed.chosen.query(false)))?;
        out::line(format_args!("{count} events {word}"));
        return Ok(());
    }
    let Counted { events, requests } = operate::count(&spool, &change)?;
    match (events, requests) {
        (0, 1..) => return Err(EventsError::Requests),
        (_, 0) => {}
        (_, 1..) => out::line(format_args!("{requests} of what matches stay: {NOT_REPLAYED}")),
    }
    if changed.yes {
        out::line(format_args!("{} events {word}", operate::change_offline(&spool, &change)?));
    } else {
        out::line(format_args!("{events} events would be {word}; say --yes to do it"));
    }
    Ok(())
}

/// Asks the admin port; the number of events that it changed.
fn ask(admin: SocketAddr, method: Method, target: &str) -> Result<String, EventsError> {
    let failed = |error: &dyn std::error::Error| EventsError::Admin(error.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| failed(&error))?;
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(admin).await.map_err(|error| failed(&error))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
        let driven = tokio::spawn(connection);
        let request = Request::builder().method(method).uri(target).header("host", admin.to_string());
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| failed(&error))?;
        let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| failed(&error))?.to_bytes();
        driven.abort();
        let answer: serde_json::Value = serde_json::from_slice(&body)?;
        if status.is_success() {
            Ok(answer.get("events").map(ToString::to_string).unwrap_or_default())
        } else {
            Err(EventsError::Admin(format!(
                "{status}: {}",
                answer.get("detail").and_then(|d| d.as_str()).unwrap_or_default()
            )))
        }
    })
}
