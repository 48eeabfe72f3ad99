//! The real gateway, real sockets: what callers, upstreams and operators see.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod addresses;
mod bounds;
mod browser;
mod callers;
mod clocks;
mod cors;
mod drain;
mod forward;
mod http;
mod identity;
mod last_good;
mod modes;
mod on_failure;
mod outcomes;
mod paths;
mod providers;
mod reload;
mod replay;
mod schema;
mod shares;
mod unready;
mod webhook;

use tests::gateway::Gateway;
use tests::manifests::{route, service, tenant};
use tests::upstream::Upstream;

/// The host of the tenant that most tests have.
pub const HOST: &str = "api.acme.example";

/// Acme with one open route to an upstream.
pub fn acme(upstream: &Upstream, rule: &str) -> String {
    tenant("acme", HOST, "") + &service("acme", "echo", 8080, upstream.address) + &route("echo", "/", rule)
}

/// A gateway with that.
pub fn start(upstream: &Upstream, rule: &str) -> Gateway {
    Gateway::start_with(&acme(upstream, rule), &["--cores", "2"]).unwrap()
}
