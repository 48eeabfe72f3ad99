//! An installation of two gateways, two delivers and two shards with a real RabbitMQ and a real Redis: things happen to
//! each of them at random while events of two tenants arrive, one of whose destinations hangs all the time; and then
//! everything is counted. Ends with 1 when something was lost, misordered, or came again under another number.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "it ends by panicking when it cannot go on, and says what it counted"
)]

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use tests::count::{Arrival, judge, settled_all};
use tests::installation::Installation;
use tests::outages::{Gate, Kind, World, held_receiver};
use tests::rabbitmq::RabbitMq;
use tests::redis::Redis;
use tests::traffic::{Acknowledged, Random, SENDERS, Traffic, shared_manifests, shared_sender};
use tests::upstream::{Reply, Upstream};

/// Kills an installation of several processes at random while events arrive, and counts.
#[derive(Parser)]
struct Arguments {
    /// How often something happens.
    #[arg(long, default_value_t = 20)]
    kills: u64,
    /// What chooses: the same again with the same number.
    #[arg(long, default_value_t = 20_261_125)]
    seed: u64,
    /// What may happen; all of it when absent.
    #[arg(long, value_delimiter = ',')]
    kinds: Vec<Kind>,
    /// Where the logs of the processes are kept when something was lost.
    #[arg(long)]
    logs: Option<PathBuf>,
}

/// How long traffic is measured with nothing away, before and after a destination hangs.
const MEASURED: Duration = Duration::from_secs(4);
/// How long what is on its way may take to be acknowledged at the end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A destination that hangs while it is told to.
fn hanging(hangs: Arc<AtomicBool>) -> Upstream {
    let reply = move || if hangs.load(Ordering::Acquire) { Reply::Hang } else { Reply::Status(200, String::new()) };
    Upstream::start(move |_| reply()).unwrap()
}

/// From when it was first sent to when its destination had it: what most of them took at most, in milliseconds.
fn p99(acknowledged: &Acknowledged, arrived: &[Arrival], (from, to): (Instant, Instant)) -> u128 {
    let mut taken: HashMap<&str, Instant> = HashMap::new();
    for one in arrived.iter().filter(|one| one.taken) {
        let Some(ended) = one.ended else { continue };
        taken.entry(&one.id).and_modify(|first| *first = ended.min(*first)).or_insert(ended);
    }
    let healthy = acknowledged.iter().filter(|(conversation, _)| conversation.starts_with("49"));
    let measured = healthy.flat_map(|(_, sent)| sent).filter(|sent| sent.first >= from && sent.acknowledged < to);
    let mut took: Vec<u128> = measured
        .filter_map(|sent| Some(taken.get(sent.id.as_str())?.saturating_duration_since(sent.first).as_millis()))
        .collect();
    took.sort_unstable();
    took.get(took.len() * 99 / 100).copied().unwrap_or_default()
}

/// What things happen to, and where its events go.
struct Scene {
    broker: RabbitMq,
    redis: Redis,
    gate: Arc<Gate>,
    hangs: Arc<AtomicBool>,
    receiver: Upstream,
    other: Upstream,
    all: Installation,
}

impl Scene {
    fn start() -> Self {
        // It loses nothing it has acknowledged when it is killed.
        let durable = ["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"];
        let (broker, redis) = (RabbitMq::start().unwrap(), Redis::start_with(&durable).unwrap());
        let (gate, hangs) = (Arc::new(Gate::default()), Arc::new(AtomicBool::new(false)));
        let (receiver, other) = (held_receiver(gate.clone()).unwrap(), hanging(hangs.clone()));
        let all = Installation::start(&shared_manifests(receiver.address, other.address), &broker, &redis).unwrap();
        // A node that is killed seconds after its first declarations may forget them; one clean restart keeps them.
        all.wait_connected();
        broker.stop();
        broker.restart().unwrap();
        all.wait_connected();
        redis.remember().unwrap();
        Self { broker, redis, gate, hangs, receiver, other, all }
    }

    /// Lets things happen while events arrive.
    fn run(&mut self, traffic: &Traffic, kinds: &[Kind], (kills, seed): (u64, u64)) -> Ran {
        let Self { broker, redis, gate, hangs, receiver: _, other: _, all } = self;
        let mut ran = Ran { instants: vec![Instant::now()], ..Ran::default() };
        std::thread::scope(|scope| {
            let addresses: Vec<_> = all.gateways.iter().map(|gateway| gateway.address).collect();
            for (number, address) in (0..SENDERS).zip(addresses.into_iter().cycle()) {
                scope.spawn(move || shared_sender(number, address, traffic));
            }
            for hang in [false, true] {
                hangs.store(hang, Ordering::Release);
                traffic.trickle(MEASURED);
                ran.instants.push(Instant::now());
            }
            let mut world = World { all, broker, redis, traffic, gate, random: Random(seed), losses: Vec::new() };
            for _ in 0..kills {
                traffic.pass_within(1 + world.random.below(40), PATIENCE);
                let kind = kinds[usize::try_from(world.random.below(kinds.len() as u64)).unwrap()];
                let from = Instant::now();
                let did = world.suffer(kind).inspect_err(|_| traffic.stop()).unwrap();
                let (since, took) = ((from - ran.instants[0]).as_millis(), from.elapsed().as_millis());
                println!("  {since} ms: {kind:?} for {took} ms");
                let counts = ran.happened.entry(kind).or_default();
                *counts = (counts.0 + 1, counts.1 + u64::from(did));
            }
            ran.losses = world.losses;
            traffic.finish(PATIENCE);
        });
        hangs.store(false, Ordering::Release);
        ran
    }

    fn keep_logs(&self, folder: &Path) {
        self.all.keep_logs(folder).unwrap();
        std::fs::copy(self.broker.path("log"), folder.join("rabbitmq.log")).unwrap();
        std::fs::write(folder.join("redis.log"), self.redis.printed()).unwrap();
    }
}

/// What happened.
#[derive(Default)]
struct Ran {
    /// How often each, and how often it came to it.
    happened: BTreeMap<Kind, (u64, u64)>,
    /// When traffic began, when a destination began to hang, and when the first thing happened.
    instants: Vec<Instant>,
    /// When Redis lost what it had.
    losses: Vec<(Instant, Instant)>,
}

impl Ran {
    fn told(&self, acknowledged: &Acknowledged, arrived: &[Arrival]) -> String {
        let words = |(kind, (times, did)): (&Kind, &(u64, u64))| {
            let reached = if times == did { String::new() } else { format!(" ({did} reached)") };
            format!("{kind:?} {times}{reached}")
        };
        let happened = self.happened.iter().map(words).collect::<Vec<_>>().join(", ");
        let took = |from: usize| p99(acknowledged, arrived, (self.instants[from], self.instants[from + 1]));
        format!(
            "happened: {happened}\np99 from sent to delivered: {} ms, while another tenant's destination hangs {} ms",
            took(0),
            took(1)
        )
    }
}

fn main() -> ExitCode {
    let Arguments { kills, seed, mut kinds, logs } = Arguments::parse();
    if kinds.is_empty() {
        kinds = Kind::value_variants().to_vec();
    }
    println!("kills {kills}, seed {seed}");
    let mut scene = Scene::start();
    if let Err(why) = &scene.all.disk
        && kinds.contains(&Kind::Disk)
    {
        println!("no disk is filled: {why}");
        kinds.retain(|kind| *kind != Kind::Disk);
    }
    let traffic = Traffic::default();
    let ran = scene.run(&traffic, &kinds, (kills, seed));
    let (ended, (sent, repeats)) = (Instant::now(), traffic.sent());
    let acknowledged = traffic.acknowledged();
    let arrived = settled_all(&[&scene.receiver, &scene.other], &acknowledged);
    let judged = judge(&acknowledged, &arrived, &ran.losses);
    println!("{}", ran.told(&acknowledged, &arrived));
    println!(
        "sent {sent}, POSTs sent again {repeats}, acknowledged {}, attempts {}, settled in {} ms, {:?}",
        acknowledged.values().map(Vec::len).sum::<usize>(),
        arrived.len(),
        ended.elapsed().as_millis(),
        judged.counted,
    );
    if judged.holds() {
        return ExitCode::SUCCESS;
    }
    let folder = logs.unwrap_or_else(|| PathBuf::from(format!("target/chaos-{seed}")));
    scene.keep_logs(&folder);
    println!("{}what the shards hold:\n{}", judged.told(&acknowledged, &arrived), scene.all.held());
    println!("the logs are in {}", folder.display());
    ExitCode::FAILURE
}
