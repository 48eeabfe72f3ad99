//! What the gateway says of itself: metrics, and one access-log line a request.

pub mod access_log;
mod events;
pub mod metrics;

pub use access_log::{AccessLog, CoreLog, Line};
pub use events::EventCollector;
pub use metrics::{Metrics, TenantMetrics, Traffic};
