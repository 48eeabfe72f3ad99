//! What the gateway says of itself: metrics, and one access-log line a request.

pub mod access_log;
mod events;
pub mod metrics;

pub use access_log::{AccessLog, CoreLog, Line};
pub use events::EventCollector;
pub use metrics::{Metrics, TenantMetrics, Traffic};

/// An error with its causes, in one line: `could not decode the IR: invalid type`.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
