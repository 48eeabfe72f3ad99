//! The load: keep-alive connections that send as fast as they are answered, or at a fixed rate.

mod connection;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::histogram::Histogram;
use crate::scenario::{Requests, Scenario};
use crate::token::Issuer;
use bench::process::{self, Usage};

/// What to send, where, and for how long.
#[derive(clap::Args)]
pub(crate) struct LoadArgs {
    /// Where to send it.
    #[arg(long, default_value = "127.0.0.1:18080")]
    to: SocketAddr,
    /// What to send; tokens are of a key made for this run, so `jwt` and `typical` only work within `run`.
    #[arg(long, value_enum, default_value = "get")]
    scenario: Scenario,
    #[command(flatten)]
    shape: Shape,
    /// The process whose CPU and memory are counted, with its children.
    #[arg(long)]
    pid: Option<u32>,
}

/// How the load is shaped.
#[derive(Clone, Copy, clap::Args)]
pub(crate) struct Shape {
    /// Keep-alive connections.
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: u32,
    /// Seconds that are counted.
    #[arg(long, default_value_t = 5)]
    pub(crate) seconds: u64,
    /// Seconds before them that are not.
    #[arg(long, default_value_t = 1)]
    pub(crate) warm_seconds: u64,
    /// Requests a second over all connections; 0 sends the next one when the last is answered.
    #[arg(long, default_value_t = 0)]
    pub(crate) rate: u32,
}

/// What one run saw, in its counted seconds.
pub(crate) struct Outcome {
    pub(crate) latencies: Histogram,
    /// Answers with another status than 2xx, with the last one seen.
    pub(crate) refused: u64,
    pub(crate) last_refusal: Option<u16>,
    /// Connections that broke.
    pub(crate) broken: u64,
    pub(crate) elapsed: Duration,
    pub(crate) cpu: Duration,
    pub(crate) resident_kib: u64,
}

impl Outcome {
    pub(crate) fn per_sec(&self) -> f64 {
        self.latencies.total() as f64 / self.elapsed.as_secs_f64()
    }

    pub(crate) fn cpu_micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / (self.latencies.total() as f64).max(1.0)
    }
}

/// Runs the load and waits for its end.
pub(crate) async fn run(to: SocketAddr, requests: Rc<Requests>, shape: Shape, pid: Option<u32>) -> io::Result<Outcome> {
    let begin = Instant::now() + Duration::from_secs(shape.warm_seconds);
    let plan = connection::Plan { to, begin, end: begin + Duration::from_secs(shape.seconds), shape };
    let mut tasks = JoinSet::new();
    for index in 0..shape.connections {
        tasks.spawn_local(connection::drive(plan, index, Rc::clone(&requests)));
    }
    tokio::time::sleep_until(plan.begin).await;
    let (first, first_at) = (sample(pid)?, Instant::now());
    tokio::time::sleep_until(plan.end).await;
    let (last, last_at) = (sample(pid)?, Instant::now());

    let mut outcome = Outcome {
        latencies: Histogram::new(),
        refused: 0,
        last_refusal: None,
        broken: 0,
        elapsed: last_at - first_at,
        cpu: last.cpu.saturating_sub(first.cpu),
        resident_kib: last.resident_kib,
    };
    while let Some(seen) = tasks.join_next().await {
        let seen = seen.map_err(io::Error::other)?;
        outcome.latencies.merge(&seen.latencies);
        outcome.refused += seen.refused;
        outcome.last_refusal = seen.last_refusal.or(outcome.last_refusal);
        outcome.broken += seen.broken;
    }
    Ok(outcome)
}

fn sample(pid: Option<u32>) -> io::Result<Usage> {
    pid.map_or_else(|| Ok(Usage::default()), process::usage)
}

/// A number that no other run has.
pub(crate) fn run_id() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos())
}

pub(crate) async fn command(args: &LoadArgs) -> io::Result<()> {
    let requests = Requests::new(args.scenario, &Issuer::new()?, run_id())?;
    let outcome = run(args.to, Rc::new(requests), args.shape, args.pid).await?;
    let mut out = io::stdout().lock();
    writeln!(out, "answered       {:.0}/s", outcome.per_sec())?;
    writeln!(
        out,
        "p50 p99 p99.9  {:?} {:?} {:?}",
        outcome.latencies.quantile(500),
        outcome.latencies.quantile(990),
        outcome.latencies.quantile(999)
    )?;
    writeln!(
        out,
        "not 2xx        {} (last {:?}), broken connections {}",
        outcome.refused, outcome.last_refusal, outcome.broken
    )?;
    if args.pid.is_some() {
        writeln!(
            out,
            "cpu            {:.1} us a request, resident {} KiB",
            outcome.cpu_micros(),
            outcome.resident_kib
        )?;
    }
    Ok(())
}

/// The declared length of a body.
pub(crate) fn content_length(fields: &[httparse::Header<'_>]) -> io::Result<Option<usize>> {
    let Some(field) = fields.iter().find(|field| field.name.eq_ignore_ascii_case("content-length")) else {
        return Ok(None);
    };
    let text = std::str::from_utf8(field.value).map_err(io::Error::other)?;
    text.parse().map(Some).map_err(io::Error::other)
}
