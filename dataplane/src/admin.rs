//! The admin port: health, readiness, metrics, the current snapshot, breaker states.
