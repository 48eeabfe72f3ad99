//! The event path: accept, claim, spool, deliver, dead letter.
