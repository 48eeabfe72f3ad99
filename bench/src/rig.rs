//! Runs every scenario through every proxy, in interleaved rounds.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;
use std::{env, fs};

use tokio::net::TcpStream;

use crate::load::{self, Outcome, Shape};
use crate::peers::{Peer, Running, Site};
use crate::report::{self, Sample};
use crate::scenario::{Requests, Scenario};
use crate::token::Issuer;
use bench::process;

/// How long a proxy may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(15);
const START_POLL: Duration = Duration::from_millis(50);
/// After which a started gateway's memory is read.
const SETTLE: Duration = Duration::from_secs(2);

/// What to run.
#[derive(clap::Args)]
pub(crate) struct RunArgs {
    /// Rounds; the table holds their medians.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Keep-alive connections.
    #[arg(long, default_value_t = 64)]
    connections: u32,
    /// Requests a second while latency is measured, below what any of them can do.
    #[arg(long, default_value_t = 5000)]
    rate: u32,
    /// Only these proxies.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Peer>,
    /// Only these scenarios.
    #[arg(long, value_enum, value_delimiter = ',')]
    scenarios: Vec<Scenario>,
    /// The folder that `fetch-peers` printed.
    #[arg(long)]
    peers: PathBuf,
    /// The binary of Postern.
    #[arg(long, default_value = "target/release/postern")]
    postern: PathBuf,
    /// Where configurations, logs and Postern's store are put.
    #[arg(long, default_value = "target/bench")]
    scratch: PathBuf,
    /// The first of three ports.
    #[arg(long, default_value_t = 18080)]
    port: u16,
    /// The core of the proxies; load and origin belong on another.
    #[arg(long, default_value_t = 0)]
    core: u32,
}

/// Runs it and prints the table.
pub(crate) async fn run(args: &RunArgs) -> io::Result<()> {
    let local = |offset: u16| SocketAddr::from(([127, 0, 0, 1], args.port.saturating_add(offset)));
    fs::create_dir_all(&args.scratch)?;
    let site = Site {
        sources: PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"))),
        cache: args.peers.clone(),
        postern: args.postern.clone(),
        scratch: args.scratch.canonicalize()?,
        listen: local(0),
        origin: local(1),
        admin: local(2),
        cores: args.core.to_string(),
    };
    let _origin = start_origin(&site).await?;
    let issuer = Issuer::new()?;
    let mut samples = Vec::new();
    for round in 1..=args.rounds {
        for &scenario in chosen(&args.scenarios, Scenario::ALL) {
            for &peer in chosen(&args.only, Peer::ALL) {
                if !peer.can(scenario) || site.binary(peer).is_none() {
                    continue;
                }
                say(&format!("round {round}: {} through {}", scenario.title(), peer.title()))?;
                match measure(args, &site, peer, scenario, &issuer).await {
                    Ok(sample) => samples.push(sample),
                    Err(error) => say(&format!("  left out: {error}"))?,
                }
            }
        }
    }
    let mut out = io::stdout().lock();
    out.write_all(report::table(&samples, args.rounds).as_bytes())?;
    if chosen(&args.only, Peer::ALL).contains(&Peer::Postern) && site.binary(Peer::Postern).is_some() {
        match resident_on_examples(&site).await {
            Ok(kib) => writeln!(out, "\nPostern on the examples, idle: {:.1} MiB resident.", f64::from(kib) / 1024.0)?,
            Err(error) => say(&format!("memory on the examples: {error}"))?,
        }
    }
    Ok(())
}

/// Memory of a gateway that has the examples in force and nothing to do.
async fn resident_on_examples(site: &Site) -> io::Result<u32> {
    let mut gateway = site.start_examples()?;
    await_listening(site.listen, &mut gateway).await?;
    tokio::time::sleep(SETTLE).await;
    u32::try_from(process::usage(gateway.pid())?.resident_kib).map_err(io::Error::other)
}

fn chosen<'a, T>(asked: &'a [T], all: &'a [T]) -> &'a [T] {
    if asked.is_empty() { all } else { asked }
}

pub(crate) fn say(line: &str) -> io::Result<()> {
    writeln!(io::stderr().lock(), "{line}")
}

/// One proxy, one scenario: as fast as it goes, then at a fixed rate.
async fn measure(args: &RunArgs, site: &Site, peer: Peer, scenario: Scenario, issuer: &Issuer) -> io::Result<Sample> {
    let mut proxy = site.start(peer, scenario, issuer)?;
    await_listening(site.listen, &mut proxy).await?;
    let shape = Shape { connections: args.connections, seconds: args.seconds, warm_seconds: 1, rate: 0 };
    let pid = proxy.pid();
    let load = async |shape: Shape| {
        let requests = Rc::new(Requests::new(scenario, issuer, load::run_id())?);
        load::run(site.listen, requests, shape, Some(pid)).await
    };
    let flat_out = load(shape).await?;
    all_answered(&flat_out)?;
    let paced = load(Shape { rate: args.rate, ..shape }).await?;
    all_answered(&paced)?;
    if let Some(why) = proxy.ended() {
        return Err(io::Error::other(why));
    }
    Ok(Sample {
        peer,
        scenario,
        per_sec: flat_out.per_sec(),
        cpu_micros: flat_out.cpu_micros(),
        p99: paced.latencies.quantile(990),
        resident_kib: flat_out.resident_kib.max(paced.resident_kib),
    })
}

/// A benchmark of refusals is none.
pub(crate) fn all_answered(outcome: &Outcome) -> io::Result<()> {
    if outcome.refused > 0 || outcome.latencies.total() == 0 {
        return Err(io::Error::other(format!(
            "{} answered, {} refused (last {:?}), {} connections broke",
            outcome.latencies.total(),
            outcome.refused,
            outcome.last_refusal,
            outcome.broken
        )));
    }
    Ok(())
}

/// The origin is this program again, on the core that this process is pinned to.
pub(crate) async fn start_origin(site: &Site) -> io::Result<Running> {
    let log = site.scratch.join("origin.log");
    let child = Command::new(env::current_exe()?)
        .args(["origin", "--listen", &site.origin.to_string()])
        .stdin(Stdio::null())
        .stderr(fs::File::create(&log)?)
        .spawn()?;
    let mut running = Running::new(child, log);
    await_listening(site.origin, &mut running).await?;
    Ok(running)
}

pub(crate) async fn await_listening(at: SocketAddr, process: &mut Running) -> io::Result<()> {
    let connected = async {
        while TcpStream::connect(at).await.is_err() {
            if let Some(why) = process.ended() {
                return Err(io::Error::other(why));
            }
            tokio::time::sleep(START_POLL).await;
        }
        Ok(())
    };
    tokio::time::timeout(START_TIMEOUT, connected)
        .await
        .unwrap_or_else(|_| Err(io::Error::other(format!("nothing listens on {at} after {START_TIMEOUT:?}"))))
}
