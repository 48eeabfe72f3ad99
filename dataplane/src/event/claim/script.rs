//! The scripts, and how one is called.

use redis::{Cmd, ErrorKind, RedisResult, Script as Hashed, ServerErrorKind, Value};

use super::link::Connection;

/// A script that Redis runs as one step.
pub(super) struct Script {
    text: &'static str,
    sha: String,
}

impl Script {
    pub(super) fn new(text: &'static str) -> Self {
        Self { text, sha: Hashed::new(text).get_hash().to_owned() }
    }
}

/// What a claim, a confirmation and a delivery run.
pub(super) struct Scripts {
    pub(super) claim: Script,
    pub(super) confirm: Script,
    pub(super) delivered: Script,
}

impl Default for Scripts {
    fn default() -> Self {
        Self {
            claim: Script::new(include_str!("claim.lua")),
            confirm: Script::new(include_str!("confirm.lua")),
            delivered: Script::new(include_str!("delivered.lua")),
        }
    }
}

/// Keys and arguments of one call. All keys are one tenant's, so that a cluster has them on one node.
#[derive(Default)]
pub(super) struct Call {
    pub(super) keys: Vec<Vec<u8>>,
    pub(super) arguments: Vec<Vec<u8>>,
}

impl Call {
    pub(super) fn number(&mut self, number: impl std::fmt::Display) {
        self.arguments.push(number.to_string().into_bytes());
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.keys.len()).arg(&self.keys).arg(&self.arguments);
        command
    }

    /// Runs the script; sends its text when Redis does not have it, as after a restart.
    pub(super) async fn run(&self, script: &Script, connection: &mut Connection) -> RedisResult<Value> {
        match connection.ask(&self.command("EVALSHA", &script.sha)).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                connection.ask(&self.command("EVAL", script.text)).await
            }
            answer => answer,
        }
    }
}
