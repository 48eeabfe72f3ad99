//! Whether the gateway lives, and whether it should get requests.
//!
//! Ready means: a complete snapshot is applied, nothing that must run has ended, and the gateway is not
//! draining. Connected to a publisher is no part of it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// What keeps a gateway from being ready, in words for the probe's answer.
#[derive(Debug, Default)]
pub struct Health {
    snapshot_applied: AtomicBool,
    draining: AtomicBool,
    ended: Mutex<Vec<String>>,
}

impl Health {
    /// A complete snapshot is applied.
    pub fn snapshot_applied(&self) {
        self.snapshot_applied.store(true, Ordering::Release);
    }

    /// Whether a complete snapshot was ever applied: what it has no word of does not exist.
    #[must_use]
    pub fn knows_all(&self) -> bool {
        self.snapshot_applied.load(Ordering::Acquire)
    }

    /// The gateway finishes what it has and takes no more.
    pub fn draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// A task that must run has ended; it takes readiness and liveness with it.
    pub fn ended(&self, task: &str) {
        tracing::error!(task, "a task that must run has ended");
        if let Ok(mut ended) = self.ended.lock() {
            ended.push(task.to_owned());
        }
    }

    /// What is dead; empty means alive. A restart helps, and nothing else does.
    #[must_use]
    pub fn dead(&self) -> Vec<String> {
        // A poisoned lock means that a thread died in here: that is worth a restart too.
        self.ended.lock().map_or_else(|_| vec!["health".to_owned()], |ended| ended.clone())
    }

    /// What is missing for readiness; empty means ready.
    #[must_use]
    pub fn unready(&self) -> Vec<String> {
        let mut missing: Vec<String> = self.dead().iter().map(|task| format!("{task} has ended")).collect();
        if !self.knows_all() {
            missing.push("no complete snapshot is applied".to_owned());
        }
        if self.draining.load(Ordering::Acquire) {
            missing.push("draining".to_owned());
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_needs_a_snapshot_and_every_task() {
        let health = Health::default();
        assert_eq!(health.unready(), ["no complete snapshot is applied"]);
        health.snapshot_applied();
        assert!(health.unready().is_empty());
        health.ended("deliver");
        assert_eq!(health.unready(), ["deliver has ended"]);
        assert_eq!(health.dead(), ["deliver"]);
    }
}
