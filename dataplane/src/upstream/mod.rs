//! The upstream side: exchange, pools, balancing, breaker, retry.
//!
//! `forward` is the whole of it for one request. `registry` keeps what must survive a swap (breakers,
//! budgets, endpoints), shared by the cores; `pool` keeps what belongs to one core (connections).

pub mod alarm;
pub mod balance;
pub mod clock;
pub mod forward;
#[cfg(test)]
mod forward_tests;
pub mod hop_by_hop;
pub mod http1;
pub mod pool;
pub mod registry;
pub mod resolve;
pub mod split;
pub mod upgrade;

pub use forward::{Attempts, Backend, ForwardError, ForwardPlan, Forwarded, forward};
pub use http1::{ExchangeError, RequestBody, RequestHead, UpgradedIo, UpstreamBody};
pub use pool::UpstreamCore;
pub use registry::{Registry, Upstream};
