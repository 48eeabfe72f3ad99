//! The way of events, part by part: each phase leaves what the next one takes.
//!
//! Broker and Redis are the children of the process that started this one (`servers`), so their CPU is what that has
//! used without us. Everything shares the cores that this process may use.

use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use crate::load::{self, Outcome, Shape};
use crate::peers::{Running, Site};
use crate::rig::{all_answered, await_listening, say, start_origin};
use crate::scenario::{Requests, Scenario};
use crate::scrape;
use crate::token::Issuer;
use bench::process;

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How long nothing may move before a phase counts as stuck.
const STUCK_AFTER: Duration = Duration::from_secs(20);
/// Nobody listens there.
const NOWHERE: &str = "amqp://127.0.0.1:1";

/// What to run.
#[derive(clap::Args)]
pub(crate) struct EventsArgs {
    /// The folder that `servers` has written its settings files into.
    #[arg(long)]
    settings: PathBuf,
    /// Seconds of each load.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Keep-alive connections.
    #[arg(long, default_value_t = 64)]
    connections: u32,
    /// Events a second while latency is measured.
    #[arg(long, default_value_t = 5000)]
    rate: u32,
    /// The binary of Postern.
    #[arg(long, default_value = "target/release/postern")]
    postern: PathBuf,
    /// Where configurations, logs and stores are put.
    #[arg(long, default_value = "target/bench")]
    scratch: PathBuf,
    /// The first of five ports.
    #[arg(long, default_value_t = 18080)]
    port: u16,
    /// The cores of all that is measured, as taskset wants them.
    #[arg(long, default_value = "0,1")]
    cores: String,
}

/// What is measured, and where its parts are.
struct Bench<'a> {
    args: &'a EventsArgs,
    site: Site,
    gateway: SocketAddr,
    deliver: SocketAddr,
    spool: SocketAddr,
    redis: SocketAddr,
    /// Never the same event twice.
    issuer: Issuer,
}

/// CPU of a phase, by who used it.
#[derive(Default)]
struct Cost {
    gateway: Duration,
    deliver: Duration,
    spool: Duration,
    others: Duration,
}

/// Runs all phases and prints the table.
pub(crate) async fn run(args: &EventsArgs) -> io::Result<()> {
    let local = |offset: u16| SocketAddr::from(([127, 0, 0, 1], args.port.saturating_add(offset)));
    let scratch = args.scratch.join("events");
    if scratch.exists() {
        fs::remove_dir_all(&scratch)?;
    }
    fs::create_dir_all(&scratch)?;
    let site = Site {
        sources: PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"))),
        cache: scratch.clone(),
        postern: args.postern.clone(),
        scratch: scratch.canonicalize()?,
        listen: local(0),
        origin: local(1),
        admin: local(2),
        cores: args.cores.clone(),
    };
    let _origin = start_origin(&site).await?;
    let (gateway, deliver, spool) = (local(2), local(3), local(4));
    let redis = redis_of(&args.settings.join("settings.yaml"))?;
    let bench = Bench { args, site, gateway, deliver, spool, redis, issuer: Issuer::new()? };
    line("| what | events/s | p50 ms | p99 ms | CPU us/event: gateway | deliver | spool | broker and Redis |")?;
    line("|---|--:|--:|--:|--:|--:|--:|--:|")?;
    let mut keeping = bench.start("spool", bench.spool, "spool/settings.yaml").await?;
    let mut accepting = bench.start("gateway", bench.gateway, "gateway/settings.yaml").await?;
    bench.connected(bench.gateway).await?;
    bench.accept("accepted through the broker", &accepting, &keeping).await?;
    let mut delivering = bench.start("deliver", bench.deliver, "deliver/settings.yaml").await?;
    bench.delivered(&delivering, &keeping).await?;
    for process in [&mut accepting, &mut delivering, &mut keeping] {
        alive(process)?;
    }
    drop((accepting, delivering, keeping));
    let keeping = bench.start("spool", bench.spool, &bench.without_broker("spool")?).await?;
    let accepting = bench.start("gateway", bench.gateway, &bench.without_broker("gateway")?).await?;
    bench.accept("accepted without the broker", &accepting, &keeping).await?;
    let kept = scrape::events(bench.spool, "spooled").await?;
    drop((accepting, keeping));
    bench.drained(kept).await
}

impl Bench<'_> {
    /// Starts a role and waits until its admin port answers.
    async fn start(&self, role: &str, admin: SocketAddr, settings: &str) -> io::Result<Running> {
        let mut running = self.site.start_role(role, &self.args.settings.join(settings).canonicalize()?, admin)?;
        await_listening(admin, &mut running).await?;
        Ok(running)
    }

    /// Waits until a process has its broker.
    async fn connected(&self, admin: SocketAddr) -> io::Result<()> {
        let up = async || scrape::metric(admin, "postern_dependency_up{dependency=\"broker_publisher\"}").await;
        moving(|| async { Ok((up().await?, up().await? == 1)) }).await.map(drop)
    }

    /// The settings of a role whose broker is away.
    fn without_broker(&self, role: &str) -> io::Result<String> {
        let text = fs::read_to_string(self.args.settings.join(role).join("settings.yaml"))?;
        let (before, rest) = text.split_once("amqp://").ok_or_else(|| io::Error::other("no broker in the settings"))?;
        let (_, after) = rest.split_once('\'').ok_or_else(|| io::Error::other("no broker in the settings"))?;
        let away = format!("{role}/away.yaml");
        fs::write(self.args.settings.join(&away), format!("{before}{NOWHERE}'{after}"))?;
        Ok(away)
    }

    fn cost(&self, gateway: Option<&Running>, deliver: Option<&Running>, spool: Option<&Running>) -> io::Result<Cost> {
        let of = |running: Option<&Running>| -> io::Result<Duration> {
            running.map_or(Ok(Duration::ZERO), |running| Ok(process::usage(running.pid())?.cpu))
        };
        let around = process::usage(std::os::unix::process::parent_id())?.cpu;
        let ours = process::usage(std::process::id())?.cpu;
        Ok(Cost {
            gateway: of(gateway)?,
            deliver: of(deliver)?,
            spool: of(spool)?,
            others: around.saturating_sub(ours),
        })
    }

    /// As fast as it goes, then at the rate.
    async fn accept(&self, title: &str, gateway: &Running, spool: &Running) -> io::Result<()> {
        let shape = Shape { connections: self.args.connections, seconds: self.args.seconds, warm_seconds: 1, rate: 0 };
        for rate in [0, self.args.rate] {
            say(&format!("{title}, {}", if rate == 0 { "flat out".to_owned() } else { format!("{rate}/s") }))?;
            let requests = Rc::new(Requests::new(Scenario::Events, &self.issuer, load::run_id())?);
            let (before, served) = (self.cost(Some(gateway), None, Some(spool))?, scrape::redis(self.redis).await?);
            let seen = load::run(self.site.listen, requests, Shape { rate, ..shape }, None).await?;
            let (after, serving) = (self.cost(Some(gateway), None, Some(spool))?, scrape::redis(self.redis).await?);
            all_answered(&seen)?;
            // The second before the counted ones costs too.
            let all = seen.latencies.total() as f64 * (self.args.seconds + 1) as f64 / self.args.seconds as f64;
            row(title, &seen, all, &before, &after)?;
            let (scripts, bytes) = (serving.scripts - served.scripts, serving.bytes - served.bytes);
            say(&format!("  Redis: {:.2} scripts, {:.0} bytes an event", scripts as f64 / all, bytes as f64 / all))?;
        }
        Ok(())
    }

    /// What the broker holds goes to the origin.
    async fn delivered(&self, deliver: &Running, spool: &Running) -> io::Result<()> {
        say("delivered from the broker")?;
        let accepted = scrape::events(self.gateway, "published").await?;
        let before = self.cost(None, Some(deliver), Some(spool))?;
        let (took, count) = moving(|| async {
            // What a deliver has parked, the shard delivers.
            let parked = scrape::events(self.spool, "delivered").await?;
            let delivered = scrape::events(self.deliver, "delivered").await? + parked;
            Ok((delivered, delivered >= accepted))
        })
        .await?;
        let after = self.cost(None, Some(deliver), Some(spool))?;
        rate("delivered", took, count, &before, &after)
    }

    /// What a shard holds goes to the broker.
    async fn drained(&self, kept: u64) -> io::Result<()> {
        say("drained into the broker")?;
        let keeping = self.start("spool", self.spool, "spool/settings.yaml").await?;
        let before = self.cost(None, None, Some(&keeping))?;
        let (took, count) = moving(|| async {
            let drained = scrape::events(self.spool, "drained").await?;
            Ok((drained, drained >= kept))
        })
        .await?;
        let after = self.cost(None, None, Some(&keeping))?;
        rate("drained", took, count, &before, &after)
    }
}

/// Looks until it is done: from the first that moved to the last, and how many moved.
async fn moving<F: Future<Output = io::Result<(u64, bool)>>>(look: impl Fn() -> F) -> io::Result<(Duration, u64)> {
    let (from, _) = look().await?;
    let (mut began, mut last, mut moved) = (Instant::now(), from, Instant::now());
    loop {
        let (now, done) = look().await?;
        if now > last {
            (last, moved) = (now, Instant::now());
        }
        if done {
            return Ok((moved.saturating_duration_since(began), last - from));
        }
        if last == from {
            began = Instant::now();
        }
        if moved.elapsed() > STUCK_AFTER {
            return Err(io::Error::other(format!("nothing moves since {last}")));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn alive(process: &mut Running) -> io::Result<()> {
    process.ended().map_or(Ok(()), |why| Err(io::Error::other(why)))
}

/// Where Redis is, from the settings that `servers` wrote.
fn redis_of(settings: &Path) -> io::Result<SocketAddr> {
    let text = fs::read_to_string(settings)?;
    let address = text.split_once("redis://").and_then(|(_, rest)| rest.split('\'').next());
    address.and_then(|address| address.parse().ok()).ok_or_else(|| io::Error::other("no Redis in the settings"))
}

fn line(text: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

fn millis(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64() * 1000.0)
}

fn row(title: &str, seen: &Outcome, all: f64, before: &Cost, after: &Cost) -> io::Result<()> {
    let quantile = |thousandth| millis(seen.latencies.quantile(thousandth));
    let cpu = cpu(all, before, after);
    line(&format!("| {title} | {:.0} | {} | {} | {cpu} |", seen.per_sec(), quantile(500), quantile(990)))
}

fn rate(title: &str, took: Duration, count: u64, before: &Cost, after: &Cost) -> io::Result<()> {
    let cpu = cpu(count as f64, before, after);
    line(&format!("| {title} | {:.0} | | | {cpu} |", count as f64 / took.as_secs_f64().max(0.001)))
}

fn cpu(events: f64, before: &Cost, after: &Cost) -> String {
    let each = |of: fn(&Cost) -> Duration| of(after).saturating_sub(of(before)).as_secs_f64() * 1e6 / events.max(1.0);
    let all = [each(|cost| cost.gateway), each(|cost| cost.deliver), each(|cost| cost.spool), each(|cost| cost.others)];
    all.map(|micros| format!("{micros:.1}")).join(" | ")
}
