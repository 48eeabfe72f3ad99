//! The only place that makes a response of our own.
