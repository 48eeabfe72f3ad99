//! The table: medians, and each proxy against nginx or, where nginx cannot, against HAProxy.

use std::fmt::Write as _;
use std::time::Duration;

use crate::peers::Peer;
use crate::scenario::Scenario;

/// One measurement.
pub(crate) struct Sample {
    pub(crate) peer: Peer,
    pub(crate) scenario: Scenario,
    pub(crate) per_sec: f64,
    pub(crate) cpu_micros: f64,
    pub(crate) p99: Duration,
    pub(crate) resident_kib: u64,
}

/// The table in Markdown.
pub(crate) fn table(samples: &[Sample], rounds: u32) -> String {
    let mut text = format!(
        "\nMedians of {rounds} interleaved rounds; one core for the proxy, one for load and origin.\n\
         CPU is user and kernel time of the proxy; p99 at a fixed rate, counted from when each request was due.\n\n\
         | scenario | proxy | CPU us/request | requests/s | p99 ms | resident MiB | CPU against |\n|---|---|--:|--:|--:|--:|---|\n"
    );
    for &scenario in Scenario::ALL {
        for &peer in Peer::ALL {
            let of_pair: Vec<&Sample> =
                samples.iter().filter(|sample| sample.peer == peer && sample.scenario == scenario).collect();
            if of_pair.is_empty() {
                continue;
            }
            let cpu = median(&of_pair, |sample| sample.cpu_micros);
            let _ = writeln!(
                text,
                "| {} | {} | {cpu:.1} | {:.0} | {:.2} | {:.1} | {} |",
                scenario.title(),
                peer.title(),
                median(&of_pair, |sample| sample.per_sec),
                median(&of_pair, |sample| sample.p99.as_secs_f64() * 1000.0),
                median(&of_pair, |sample| sample.resident_kib as f64 / 1024.0),
                against(samples, peer, scenario, cpu),
            );
        }
    }
    text
}

/// The ratio that says something: to nginx as a plain proxy, or to the peer that does the same check.
fn against(samples: &[Sample], peer: Peer, scenario: Scenario, cpu: f64) -> String {
    let (other, theirs) = match scenario {
        Scenario::Get | Scenario::Post => (Peer::Nginx, scenario),
        Scenario::Typical => (Peer::Nginx, Scenario::Get),
        Scenario::Jwt | Scenario::Hmac => (Peer::Haproxy, scenario),
        Scenario::Events => return String::new(),
    };
    let of_other: Vec<&Sample> =
        samples.iter().filter(|sample| sample.peer == other && sample.scenario == theirs).collect();
    if of_other.is_empty() || (peer, scenario) == (other, theirs) {
        return String::new();
    }
    format!("{:.2} x {}", cpu / median(&of_other, |sample| sample.cpu_micros), other.title())
}

fn median(samples: &[&Sample], value: impl Fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(|sample| value(sample)).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(peer: Peer, cpu_micros: f64) -> Sample {
        let p99 = Duration::from_millis(1);
        Sample { peer, scenario: Scenario::Get, per_sec: 1.0, cpu_micros, p99, resident_kib: 1024 }
    }

    #[test]
    fn the_median_forgets_the_outlier() {
        let samples = [1.0, 100.0, 2.0].map(|cpu| sample(Peer::Nginx, cpu));
        assert!(table(&samples, 3).contains("| nginx | 2.0 |"));
    }

    #[test]
    fn a_proxy_is_compared_with_the_peer_that_does_the_same() {
        let samples = [sample(Peer::Nginx, 10.0), sample(Peer::Postern, 9.0)];
        assert!(table(&samples, 1).contains("0.90 x nginx"));
    }
}
