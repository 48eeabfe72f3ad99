//! The bounds of requests, as flags: `run` and `dataplane` have the same.

use std::time::Duration;

use dataplane::http::HttpLimits;

use crate::run::{duration, size};

/// Bounds of one connection, one body and one tunnel.
#[derive(Debug, clap::Args)]
pub(crate) struct BoundArgs {
    /// How long a connection may be idle between two requests.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    idle_timeout: Duration,
    /// How long a body may make no progress, and how long a caller may take nothing of a response.
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = duration)]
    stall_timeout: Duration,
    /// How long a body that the gateway collects (webhooks, rules with requestSchema) may take to arrive.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    body_timeout: Duration,
    /// Bytes a second that a collected body must bring, 10 seconds after its first pause.
    #[arg(long, value_name = "SIZE", default_value = "1Ki", value_parser = size)]
    body_rate: u64,
    /// Bytes of request bodies that the process holds at once; a quarter of its memory is a good value.
    #[arg(long, value_name = "SIZE", default_value = "128Mi", value_parser = size)]
    body_memory: u64,
    /// How long nothing may move in a WebSocket tunnel.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    tunnel_idle_timeout: Duration,
    /// How long a WebSocket tunnel may live.
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration)]
    tunnel_lifetime: Duration,
}

impl BoundArgs {
    /// The limits of a listener with these bounds.
    pub(crate) fn limits(&self) -> HttpLimits {
        let Self {
            idle_timeout,
            stall_timeout,
            body_timeout,
            body_rate,
            body_memory,
            tunnel_idle_timeout,
            tunnel_lifetime,
        } = *self;
        HttpLimits {
            idle_timeout,
            stall_timeout,
            body_timeout,
            body_bytes_per_second: body_rate,
            body_memory,
            tunnel_idle_timeout,
            tunnel_lifetime,
            ..HttpLimits::default()
        }
    }
}
