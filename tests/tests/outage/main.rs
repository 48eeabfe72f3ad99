//! Events through a real broker and a real Redis while things die; then everything is counted.
//!
//! What must hold: an event that got its 2xx is delivered (lost = 0), in the order of its conversation
//! (misordered = 0; events that were numbered without Redis are excepted), and a repeat carries the same
//! event id and number.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and says what it counted")]

mod chaos;
mod path;

use tests::gateway::Gateway;

/// A metric of a process, or nothing.
fn metric(gateway: &Gateway, name: &str) -> u64 {
    let answer = tests::client::get("localhost", "/metrics").send(gateway.admin);
    let text = answer.map(|answer| answer.text()).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim().parse().unwrap_or_default()
}

fn outcome(gateway: &Gateway, outcome: &str) -> u64 {
    metric(gateway, &format!("postern_events_total{{outcome=\"{outcome}\"}}"))
}

/// Waits until a process is connected to its broker and Redis.
fn connected(gateway: &Gateway) {
    let up = |name: &str| metric(gateway, &format!("postern_dependency_up{{dependency=\"{name}\"}}")) == 1;
    gateway.wait_until(|| ["broker_publisher", "broker_consumer", "redis"].into_iter().all(up));
}
