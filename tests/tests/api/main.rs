//! A real API server: what users apply, what dataplanes serve, and what the objects say of it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod server;
