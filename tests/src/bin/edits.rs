//! How long an edit takes until callers see it, on a real API server with many tenants and a real operator and dataplane:
//! from the moment it is sent, and from the moment it is stored, to the first answer that shows it. Also what the two cost.
//! Other routes are edited meanwhile. Prints a table; asserts nothing by clock.
//!
//! To compare with gateway-api-bench's probe of routes: that starts its clock when the API server has the object, and
//! asks the gateway until it answers as the object says.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "it ends by panicking when it cannot go on, and prints")]

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bench::process::{Usage, usage};
use clap::Parser;
use tests::client::{Client, get};
use tests::fleet::{Fleet, Watched, host, path};
use tests::gateway::Gateway;
use tests::hang::Hang;
use tests::kubernetes::Kubernetes;
use tests::operator::{Operator, dataplane};

/// Edits routes and looks when that shows.
#[derive(Parser)]
struct Arguments {
    /// Routes in all.
    #[arg(long, default_value_t = 3000)]
    routes: u32,
    /// Routes of one tenant.
    #[arg(long, default_value_t = 50)]
    each: u32,
    /// Edits that are timed.
    #[arg(long, default_value_t = 300)]
    edits: u32,
    /// Edits of other routes a second, meanwhile.
    #[arg(long, default_value_t = 10)]
    churn: u32,
}

impl Arguments {
    fn tenants(&self) -> u32 {
        (self.routes / self.each).max(1)
    }
}

/// Edits that are told one by one.
const SLOWEST: usize = 5;
/// Between two edits that are timed: their statuses are written apart.
const BETWEEN: Duration = Duration::from_millis(50);
/// How often callers look.
const LOOK: Duration = Duration::from_micros(300);
/// How long nobody does anything, to see what that costs.
const IDLE: Duration = Duration::from_secs(10);
/// Statuses are written when no write was counted for so long.
const QUIET: Duration = Duration::from_secs(3);

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn cost(of: &impl Hang) -> Usage {
    usage(of.pid().unwrap()).unwrap()
}

/// Writes of routes' statuses, as the API server counts them.
fn status_writes(kubernetes: &Kubernetes) -> u64 {
    let metrics = kubernetes.kubectl(&["get", "--raw", "/metrics"]).unwrap();
    let counts = metrics.lines().filter(|line| {
        line.starts_with("apiserver_request_total{")
            && line.contains("resource=\"routes\"")
            && line.contains("subresource=\"status\"")
    });
    counts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
}

fn wait_quiet(kubernetes: &Kubernetes) {
    let mut before = status_writes(kubernetes);
    loop {
        std::thread::sleep(QUIET);
        let now = status_writes(kubernetes);
        if now == before {
            return;
        }
        before = now;
    }
}

/// One edit, and when it was where.
struct Edit {
    text: String,
    sent: Instant,
    stored: Instant,
    seen: Instant,
}

/// Edits and looks.
async fn edits(fleet: &Fleet, tenants: u32, count: u32, dataplane: &Gateway) -> Vec<Edit> {
    let mut edits = Vec::new();
    let mut caller = Client::connect(dataplane.address).unwrap();
    for edit in 0..count {
        let (tenant, text) = (edit % tenants, format!("edit {edit}"));
        let sent = Instant::now();
        fleet.edit(tenant, 0, &text).await.unwrap();
        let stored = Instant::now();
        let ask = get(&host(tenant), &path(0));
        while ask.send_on(&mut caller).unwrap().text() != text {
            std::thread::sleep(LOOK);
        }
        edits.push(Edit { text, sent, stored, seen: Instant::now() });
        std::thread::sleep(BETWEEN);
    }
    edits
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn row(what: &str, took: impl Iterator<Item = Duration>) {
    let mut took: Vec<Duration> = took.collect();
    took.sort_unstable();
    let at = |part: usize| took.get((took.len() * part / 100).min(took.len() - 1)).copied().map_or(0.0, millis);
    let mean = millis(took.iter().sum::<Duration>()) / took.len() as f64;
    println!("{what}: mean {mean:.1} ms, p50 {:.1}, p99 {:.1}, max {:.1}", at(50), at(99), at(100));
}

/// How long edits took, and how much of that the API server: another client's watch sees an edit no sooner.
fn tell(mut edits: Vec<Edit>, watched: &Watched) {
    let watched =
        |edit: &Edit| watched.at(&edit.text).map_or(Duration::ZERO, |at| at.saturating_duration_since(edit.stored));
    row("from sent to seen", edits.iter().map(|edit| edit.seen - edit.sent));
    row("from stored to seen", edits.iter().map(|edit| edit.seen - edit.stored));
    row("from stored to seen by another watch of the API server", edits.iter().map(watched));
    edits.sort_by_key(|edit| std::cmp::Reverse(edit.seen - edit.stored));
    for edit in edits.iter().take(SLOWEST) {
        let (seen, watched) = (millis(edit.seen - edit.stored), millis(watched(edit)));
        println!("  {}: {seen:.1} ms, the other watch {watched:.1} ms", edit.text);
    }
}

/// A histogram's bounds, each with how often it or a lower one was met.
fn buckets(text: &str, name: &str) -> Vec<(String, u64)> {
    let bucket = |line: &str| {
        let (le, count) = line.strip_prefix(name)?.strip_prefix("_bucket{le=\"")?.split_once("\"} ")?;
        Some((le.to_owned(), count.parse::<u64>().ok()?))
    };
    text.lines().filter_map(bucket).collect()
}

/// Where the time went, as the two count it themselves: how often each bucket was met since an earlier look, without those
/// that were not.
fn tell_counted(name: &str, before: &str, after: &str) {
    let (before, after) = (buckets(before, name), buckets(after, name));
    let mut below = 0;
    let counted = after.iter().zip(&before).filter_map(|((le, after), (_, before))| {
        let own = (after - before) - std::mem::replace(&mut below, after - before);
        (own > 0).then(|| format!("{own} within {le} s"))
    });
    println!("{name}: {}", counted.collect::<Vec<_>>().join(", "));
}

/// Edits while others are edited too, and a watch beside the operator's notes what it sees. With how many others.
fn under_churn(kubernetes: &Kubernetes, how: &Arguments, dataplane: &Gateway, watched: &Watched) -> (Vec<Edit>, u32) {
    let Arguments { each, edits: count, churn, .. } = *how;
    let tenants = how.tenants();
    // Its connections live as long as the runtime that it is used in.
    let fleet = async || Fleet::new(&kubernetes.kubeconfig(), tenants, each).await.unwrap();
    let (over, churned) = (AtomicBool::new(false), AtomicU32::new(0));
    let until = async || {
        while !over.load(Ordering::Acquire) {
            tokio::time::sleep(BETWEEN).await;
        }
    };
    let edited = std::thread::scope(|scope| {
        scope.spawn(|| {
            block_on(async {
                let fleet = fleet().await;
                tokio::select! { ended = fleet.watch(watched) => ended.unwrap(), () = until() => {} }
            });
        });
        scope.spawn(|| {
            block_on(async {
                let fleet = fleet().await;
                while churn > 0 && !over.load(Ordering::Acquire) {
                    let number = churned.fetch_add(1, Ordering::AcqRel);
                    fleet.edit(number * 7 % tenants, 1 + number % (each - 1), &format!("{number}")).await.unwrap();
                    std::thread::sleep(Duration::from_secs(1) / churn);
                }
            });
        });
        let edited = block_on(async { edits(&fleet().await, tenants, count, dataplane).await });
        over.store(true, Ordering::Release);
        edited
    });
    (edited, churned.into_inner())
}

fn main() {
    let how = Arguments::parse();
    let (tenants, each, count) = (how.tenants(), how.each, how.edits);
    let kubernetes = Kubernetes::start().unwrap();
    let began = Instant::now();
    let fleet = async { Fleet::new(&kubernetes.kubeconfig(), tenants, each).await?.make().await };
    block_on(fleet).unwrap();
    println!("{} routes of {tenants} tenants made in {:.0?}", tenants * each, began.elapsed());
    let began = Instant::now();
    let operator = Operator::start(&kubernetes, "first").unwrap();
    println!("the operator has read everything after {:.1?}", began.elapsed());
    let began = Instant::now();
    let gateway = dataplane(&kubernetes, &[&operator]).unwrap();
    println!("the dataplane is ready after {:.1?}", began.elapsed());
    // One each at least, and the first may be long in coming.
    while status_writes(&kubernetes) < u64::from(tenants * each) {
        std::thread::sleep(QUIET);
    }
    wait_quiet(&kubernetes);
    println!("{} statuses written after {:.0?}", status_writes(&kubernetes), began.elapsed());
    let began = Instant::now();
    let second = dataplane(&kubernetes, &[&operator]).unwrap();
    println!("a second dataplane is ready after {:.1?}", began.elapsed());
    drop(second);
    wait_quiet(&kubernetes);
    let before = (cost(&operator), cost(&gateway));
    std::thread::sleep(IDLE);
    let idle = (cost(&operator), cost(&gateway));
    let percent = |before: Usage, after: Usage| (after.cpu - before.cpu).as_secs_f64() / IDLE.as_secs_f64() * 100.0;
    for (what, before, after) in [("operator", before.0, idle.0), ("dataplane", before.1, idle.1)] {
        println!("{what}: {} MiB, idle {:.1} % of a core", after.resident_kib / 1024, percent(before, after));
    }
    let writes = status_writes(&kubernetes);
    let counted = (operator.metrics(), gateway.metrics());
    let watched = Watched::default();
    let (edited, churned) = under_churn(&kubernetes, &how, &gateway, &watched);
    tell(edited, &watched);
    tell_counted("postern_operator_settle_seconds", &counted.0, &operator.metrics());
    tell_counted("postern_operator_ack_seconds", &counted.0, &operator.metrics());
    tell_counted("postern_snapshot_apply_seconds", &counted.1, &gateway.metrics());
    wait_quiet(&kubernetes);
    let all = f64::from(count + churned);
    println!("{:.2} writes of a status an edit", (status_writes(&kubernetes) - writes) as f64 / all);
    let spent = |before: Usage, after: Usage| (after.cpu - before.cpu).as_secs_f64() * 1e3 / all;
    let after = (cost(&operator), cost(&gateway));
    println!("CPU an edit: operator {:.2} ms, dataplane {:.2} ms", spent(idle.0, after.0), spent(idle.1, after.1));
}
