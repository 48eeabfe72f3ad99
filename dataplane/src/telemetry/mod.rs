//! Access log, metrics.
