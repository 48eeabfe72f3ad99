//! Events through a real broker and a real Redis while things die; then everything is counted.
//!
//! What must hold: an event that got its 2xx is delivered (lost = 0), in the order of its conversation
//! (misordered = 0; events that were numbered without Redis are excepted), and a repeat carries the same
//! event id and number.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and says what it counted")]

mod chaos;
mod full;
mod outcomes;
mod path;
mod roles;

use tests::gateway::Gateway;

/// Waits until a process is connected to its broker and Redis.
fn connected(gateway: &Gateway) {
    gateway.wait_connected(&["broker_publisher", "broker_consumer", "redis"]);
}
