//! Steady load on an installation while the broker, Redis or a shard is away for a while; then everything must have been
//! delivered, in order. Prints how long answers took before, meanwhile and after, and how long it took until nothing of
//! the outage was owed any more. Ends with 1 when something was lost or misordered.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "it ends by panicking when it cannot go on, and says what it measured"
)]

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use tests::count::{Arrival, judge, settled_all};
use tests::installation::Installation;
use tests::rabbitmq::RabbitMq;
use tests::redis::Redis;
use tests::steady::{Answered, Steady};
use tests::traffic::manifests;
use tests::upstream::Upstream;

/// Takes something away from an installation under steady load.
#[derive(Parser)]
struct Arguments {
    /// What is away.
    #[arg(long)]
    outage: Away,
    /// For how long.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// Events a second.
    #[arg(long, default_value_t = 500)]
    rate: u32,
    /// Where the logs of the processes are kept when something was lost.
    #[arg(long)]
    logs: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Away {
    Broker,
    Redis,
    Shard,
}

/// How long before the outage, and after it.
const AROUND: Duration = Duration::from_secs(10);

impl Away {
    fn kill(self, all: &mut Installation, broker: &RabbitMq, redis: &mut Redis) {
        match self {
            Self::Broker => broker.kill(),
            Self::Redis => redis.kill(),
            Self::Shard => all.spools.iter_mut().take(1).for_each(|shard| shard.kill()),
        }
    }

    fn restart(self, all: &mut Installation, broker: &RabbitMq, redis: &mut Redis) {
        match self {
            Self::Broker => broker.restart().unwrap(),
            Self::Redis => redis.restart().unwrap(),
            Self::Shard => all.spools.iter_mut().take(1).for_each(|shard| shard.restart().unwrap()),
        }
    }
}

/// A line on the answers to what was due in a time.
fn line(what: &str, answers: &[Answered], (from, to): (Instant, Instant)) -> String {
    let during: Vec<_> = answers.iter().filter(|one| (from..to).contains(&one.due)).collect();
    let mut took: Vec<_> = during.iter().filter(|one| one.refused.is_none()).map(|one| one.took).collect();
    took.sort_unstable();
    let at = |part: usize| took.get(took.len() * part / 100).copied().unwrap_or_default();
    let mut refused: BTreeMap<&str, usize> = BTreeMap::new();
    for why in during.iter().filter_map(|one| one.refused.as_deref()) {
        *refused.entry(why).or_default() += 1;
    }
    format!("{what}: accepted {}, refused {refused:?}, p50 {:.1?}, p99 {:.1?}", took.len(), at(50), at(99))
}

/// When the last of what was accepted before an instant was delivered.
fn drained(steady: &Steady, arrived: &[Arrival], before: Instant) -> Duration {
    let mut taken: HashMap<&str, Instant> = HashMap::new();
    for one in arrived.iter().filter(|one| one.taken) {
        if let Some(ended) = one.ended {
            taken.entry(&one.id).or_insert(ended);
        }
    }
    let acknowledged = steady.acknowledged();
    let owed = acknowledged.values().flatten().filter(|sent| sent.acknowledged < before);
    let last = owed.filter_map(|sent| taken.get(sent.id.as_str())).max();
    last.map_or(Duration::ZERO, |last| last.saturating_duration_since(before))
}

fn main() -> ExitCode {
    let Arguments { outage, seconds, rate, logs } = Arguments::parse();
    println!("{outage:?} away for {seconds} s at {rate} events a second");
    let durable = ["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"];
    let (broker, mut redis) = (RabbitMq::start().unwrap(), Redis::start_with(&durable).unwrap());
    let receiver = Upstream::echo().unwrap();
    let mut all = Installation::start(&manifests(receiver.address), &broker, &redis).unwrap();
    all.wait_connected();
    broker.stop();
    broker.restart().unwrap();
    all.wait_connected();
    let gateways: Vec<_> = all.gateways.iter().map(|gateway| gateway.address).collect();
    let (steady, over) = (Steady::default(), AtomicBool::new(false));
    let instants = std::thread::scope(|scope| {
        scope.spawn(|| steady.send(&gateways, rate, &|| over.load(Ordering::Acquire)));
        let begin = Instant::now();
        std::thread::sleep(AROUND);
        let away = Instant::now();
        outage.kill(&mut all, &broker, &mut redis);
        std::thread::sleep(Duration::from_secs(seconds));
        outage.restart(&mut all, &broker, &mut redis);
        let back = Instant::now();
        std::thread::sleep(AROUND);
        over.store(true, Ordering::Release);
        [begin, away, back, Instant::now()]
    });
    let arrived = settled_all(&[&receiver], &steady.acknowledged());
    let answers = steady.answers();
    for (what, pair) in ["before", "meanwhile", "after"].into_iter().zip(instants.windows(2)) {
        if let [from, to] = *pair {
            println!("{}", line(what, &answers, (from, to)));
        }
    }
    println!("nothing of the outage was owed after {:.1?}", drained(&steady, &arrived, instants[2]));
    let acknowledged = steady.acknowledged();
    let judged = judge(&acknowledged, &arrived, &[]);
    println!(
        "acknowledged {}, attempts {}, {:?}",
        acknowledged.values().map(Vec::len).sum::<usize>(),
        arrived.len(),
        judged.counted
    );
    if judged.holds() {
        return ExitCode::SUCCESS;
    }
    let folder = logs.unwrap_or_else(|| PathBuf::from(format!("target/outage-{outage:?}")));
    all.keep_logs(&folder).unwrap();
    println!("{}the logs are in {}", judged.told(&acknowledged, &arrived), folder.display());
    ExitCode::FAILURE
}
