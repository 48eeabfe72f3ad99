//! Snapshot to ready routes and filters; carries limiter, breaker and pool state over a swap.
