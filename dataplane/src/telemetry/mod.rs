//! What the gateway says of itself: metrics, and one access-log line a request.

pub mod access_log;
pub mod attempts;
mod events;
pub mod metrics;

pub use access_log::{AccessLog, CoreLog, Line};
pub use attempts::{AttemptCounters, Outcome, RouteAttempts};
pub use events::EventCollector;
pub use metrics::{Metrics, TenantMetrics, Traffic};
