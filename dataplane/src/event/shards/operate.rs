//! What an operator asks of a shard: the same as of a store in a folder.

use policy::error::chain;
use serde::{Deserialize, Serialize};

use crate::event::replay::{Replay, Replayed, Replays};
use crate::event::spool::operate::{self, Change, Filter, Listed, Shown};
use crate::event::spool::outcome_log::{self, Found};
use crate::event::spool::{Shard, SpoolError};

/// One question.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Operation {
    /// See [`operate::list`].
    List {
        /// Which.
        filter: Filter,
        /// After this row.
        after: i64,
    },
    /// See [`operate::show`].
    Show {
        /// Its row.
        row: i64,
    },
    /// See [`outcome_log::find`].
    Find {
        /// The event's id.
        id: String,
    },
    /// See [`operate::count`].
    Count(Change),
    /// See [`Shard::change`].
    Change(Change),
    /// See [`Replays::run`].
    Replay(Replay),
}

/// One answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Operated {
    /// A page.
    Listed(Vec<Listed>),
    /// One event, if it is there.
    Shown(Option<Box<Shown>>),
    /// The outcomes of an event.
    Found(Found),
    /// How many a change would concern.
    Counted(u64),
    /// The result of a replay, or of its dry run.
    Replayed(Box<Replayed>),
    /// How many it changed.
    Changed(u64),
    /// The store said no, in words.
    Failed(String),
}

/// Why a shard gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// It is away, or knows no such role.
    #[error("shard {0} did not answer: is it there, and has the certificate the role `operate`?")]
    Away(String),
    /// Its store said no.
    #[error("shard {0}: {1}")]
    Failed(String, String),
}

/// What a shard answers.
pub(super) async fn operated(shard: &Shard, replays: &Replays, operation: Operation) -> Operated {
    let directory = shard.directory().to_owned();
    // Reading is work for a disk: not on the thread that answers gateways.
    let read = |reading: Box<dyn FnOnce() -> Result<Operated, SpoolError> + Send>| async {
        tokio::task::spawn_blocking(reading).await.unwrap_or(Err(SpoolError::Stopped))
    };
    let answer = match operation {
        Operation::List { filter, after } => {
            read(Box::new(move || {
                Ok(Operated::Listed(operate::list(&directory, &filter, after, operate::MAX_LISTED)?))
            }))
            .await
        }
        Operation::Show { row } => {
            read(Box::new(move || Ok(Operated::Shown(operate::show(&directory, row)?.map(Box::new))))).await
        }
        Operation::Find { id } => {
            read(Box::new(move || Ok(Operated::Found(outcome_log::find(&directory, &id)?)))).await
        }
        Operation::Count(change) => {
            read(Box::new(move || Ok(Operated::Counted(operate::count(&directory, &change)?)))).await
        }
        Operation::Replay(ask) => {
            let replayed = replays.run(&ask).await.map(|replayed| Operated::Replayed(Box::new(replayed)));
            return replayed.unwrap_or_else(|error| Operated::Failed(chain(&error)));
        }
        Operation::Change(change) => {
            tracing::warn!(?change, "an operator changes events");
            shard.change(change).await.map(Operated::Changed)
        }
    };
    answer.unwrap_or_else(|error| Operated::Failed(chain(&error)))
}
