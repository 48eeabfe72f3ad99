//! `ordering`: what a delivery's outcome means for its event, and when the next attempt is due.
//!
//! - Attaches to: the destination of a WebhookSource.
//! - Runs at: delivery, after the caller got its answer.
//! - Says no with: nothing; an event that ran out of attempts becomes a dead letter with a reason.
//! - When it cannot decide: the event stays parked, and its conversation with it.

mod retry_schedule;

pub use retry_schedule::*;
