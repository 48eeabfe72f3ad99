//! The upstream side: exchange, pools, balancing, breaker, retry.
