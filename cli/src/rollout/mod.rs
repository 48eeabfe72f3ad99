//! `postern rollout`: compares the canary set of gateways with the stable one for a while, and takes it back by itself
//! when it is worse.

mod judge;
mod pods;
mod reading;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use kube::Client;
use policy::units::DurationText;

use self::judge::{Limits, Seen, Verdict, judge};
use self::pods::{Pod, Release, RolloutError};
use self::reading::{Counts, Tally};
use crate::out;
use crate::source;

/// There were too few requests to say anything.
const UNDECIDED: u8 = 3;

/// What is written after `rollout`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The context of the kubeconfig; the current one when left out, or the pod's own.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// The namespace of the installation.
    #[arg(long, value_name = "NAMESPACE", default_value = "postern-system", env = "POSTERN_NAMESPACE")]
    namespace: String,
    /// The name of the Helm release.
    #[arg(long, value_name = "NAME", default_value = "postern")]
    release: String,
    /// The Deployment of the canary set; RELEASE-gateway-canary when left out.
    #[arg(long, value_name = "NAME")]
    deployment: Option<String>,
    /// How long the canary set must be no worse.
    #[arg(long = "for", value_name = "DURATION", default_value = "5m", value_parser = duration)]
    lasts: Duration,
    /// Begins anew when that is over, for ever: for a canary set that stays, and what tenants change on it first.
    #[arg(long)]
    always: bool,
    /// How often it is looked at.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    interval: Duration,
    /// Requests that the canary set must have answered before its figures say anything.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    min_requests: u64,
    /// Percent of answers that may be 5xx.
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0, value_parser = percent)]
    max_error_rate: f64,
    /// How long 99 of 100 answers may take at most.
    #[arg(long = "max-p99", value_name = "DURATION", default_value = "2s", value_parser = duration)]
    max_p99: Duration,
}

fn duration(text: &str) -> Result<Duration, String> {
    DurationText::parse(text).map(|parsed| parsed.duration()).map_err(|error| error.to_string())
}

fn percent(text: &str) -> Result<f64, String> {
    let parsed = text.parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
    parsed.ok_or_else(|| "write a number from 0 to 100".to_owned())
}

/// Watches until it can say: 0 when the canary set is no worse, 1 when it was taken back, 3 when too few requests came.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RolloutError::Runtime);
    match runtime.and_then(|runtime| runtime.block_on(watch(args))) {
        Ok(code) => code,
        Err(error) => out::failed(&error, out::TROUBLE),
    }
}

/// What was read of a set of pods so far.
#[derive(Debug, Default)]
struct Set {
    tallies: BTreeMap<String, Tally>,
    /// At the first look, and now.
    restarts: BTreeMap<String, (i64, i64)>,
    ready: usize,
    pods: usize,
}

impl Set {
    async fn look(&mut self, client: &Client, release: &Release, pods: &[Pod], max_p99: Duration) {
        (self.pods, self.ready) = (pods.len(), pods.iter().filter(|pod| pod.ready).count());
        for pod in pods {
            self.restarts.entry(pod.uid.clone()).or_insert((pod.restarts, 0)).1 = pod.restarts;
            match release.metrics(client, pod).await {
                Ok(text) => self.tallies.entry(pod.uid.clone()).or_default().read(reading::counts(&text, max_p99)),
                Err(error) if pod.ready => {
                    out::note(format_args!("{}: its metrics could not be read: {error}", pod.name));
                }
                Err(_) => {}
            }
        }
    }

    fn seen(&self) -> Seen {
        let counts = self.tallies.values().fold(Counts::default(), |sum, tally| sum + tally.increase());
        Seen {
            counts,
            pods: self.pods,
            ready: self.ready,
            restarts: self.restarts.values().map(|(first, now)| now - first).sum(),
        }
    }
}

async fn watch(args: &Args) -> Result<ExitCode, RolloutError> {
    let client = source::client(args.context.as_deref()).await?;
    let release = Release::new(args);
    loop {
        let ended = analysis(args, &client, &release).await;
        if !args.always {
            return ended;
        }
        // Also one that could not be ended: the API server may be away for a while.
        if let Err(error) = ended {
            out::wrong(&error);
            tokio::time::sleep(args.interval).await;
        }
    }
}

/// One look at both sets, for as long as they are given.
async fn analysis(args: &Args, client: &Client, release: &Release) -> Result<ExitCode, RolloutError> {
    let limits = Limits { min_requests: args.min_requests, max_error_rate: args.max_error_rate };
    let (mut canary, mut stable) = (Set::default(), Set::default());
    let until = Instant::now() + args.lasts;
    loop {
        let over = Instant::now() >= until;
        let (of_canary, of_stable) = release.pods(client).await?;
        if of_canary.is_empty() && over {
            let (deployment, namespace) = (release.deployment.clone(), release.namespace.clone());
            return Err(RolloutError::NoCanary(deployment, namespace));
        }
        canary.look(client, release, &of_canary, args.max_p99).await;
        stable.look(client, release, &of_stable, args.max_p99).await;
        let (of_canary, of_stable) = (canary.seen(), stable.seen());
        out::line(format_args!("canary {of_canary}; stable {of_stable}"));
        match judge(&of_canary, &of_stable, &limits, over) {
            Verdict::Goes => tokio::time::sleep(args.interval).await,
            Verdict::Bad(why) => {
                release.take_back(client).await?;
                out::line(format_args!("taken back: {why}. {} has no pods now", release.deployment));
                return Ok(ExitCode::from(out::FAULT));
            }
            Verdict::Undecided => {
                out::line(format_args!(
                    "undecided: {} of {} requests; let it run longer (--for), or ask for fewer (--min-requests)",
                    of_canary.counts.requests, args.min_requests
                ));
                return Ok(ExitCode::from(UNDECIDED));
            }
            Verdict::Good => {
                let next = if args.always {
                    ""
                } else {
                    ": make its image the stable one (image.tag), and canary.enabled false"
                };
                out::line(format_args!("no worse than the stable set{next}"));
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}
