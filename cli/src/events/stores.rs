//! Where events are: folders, or the shards of an installation.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use dataplane::event::replay::{Replay, Replayed};
use dataplane::event::shards::{OperateError, Operated, Operation, Remote};
use dataplane::event::spool::operate::{self, Change, Filter, Listed, Shown};
use dataplane::event::spool::outcome_log;
use serde::Serialize;

use super::admin::Port;
use super::{EventsError, Places};
use crate::{out, settings};

/// One store.
pub(super) enum Store {
    /// Of a gateway or a shard, on this machine.
    Folder(PathBuf),
    /// A shard, wherever it runs.
    Shard(String, Remote),
    /// Of a gateway, asked through its admin port.
    Admin(Port),
}

impl Store {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Folder(path) => path.display().to_string(),
            Self::Shard(name, _) => name.clone(),
            Self::Admin(port) => port.address.to_string(),
        }
    }
}

/// All that are named, and what asks them.
pub(super) struct Stores {
    pub(super) all: Vec<Store>,
    runtime: tokio::runtime::Runtime,
}

/// Where a gateway keeps its event store in its data directory.
fn spool(data: &Path) -> PathBuf {
    data.join("spool")
}

fn shards(error: impl std::error::Error + 'static) -> EventsError {
    EventsError::Shards(Box::new(error))
}

impl Stores {
    pub(super) fn open(places: &Places) -> Result<Self, EventsError> {
        let builder = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = builder.map_err(shards)?;
        if let Some(address) = places.admin {
            if places.data.len() > 1 {
                return Err(EventsError::OneFolder);
            }
            let port = Port { address, token_file: places.admin_token_file.clone() };
            return Ok(Self { all: vec![Store::Admin(port)], runtime });
        }
        let all = match &places.settings {
            None if places.data.is_empty() => vec![Store::Folder("postern-data".into())],
            None => places.data.iter().cloned().map(Store::Folder).collect(),
            Some(file) => {
                let _inside = runtime.enter();
                let (found, identity) = settings::shards(file, &places.shard)?;
                let store = |(name, address): (String, String)| {
                    let remote = Remote::new(name.as_str().into(), &address, &identity).map_err(shards)?;
                    Ok::<_, EventsError>(Store::Shard(name, remote))
                };
                found.into_iter().map(store).collect::<Result<_, _>>()?
            }
        };
        Ok(Self { all, runtime })
    }

    fn ask(&self, remote: &Remote, operation: Operation) -> Result<Operated, OperateError> {
        self.runtime.block_on(remote.operate(operation))
    }

    /// Finds the outcomes of an event id in one store.
    pub(super) fn find(&self, store: &Store, id: &str) -> Result<outcome_log::Found, EventsError> {
        match store {
            Store::Folder(path) => Ok(outcome_log::find(&spool(path), id)?),
            Store::Admin(port) => port.find(id),
            Store::Shard(_, remote) => {
                let Operated::Found(found) = self.ask(remote, Operation::Find { id: id.to_owned() })? else {
                    return Err(unlike(store));
                };
                Ok(found)
            }
        }
    }

    fn page(&self, store: &Store, filter: &Filter, after: i64) -> Result<Vec<Listed>, EventsError> {
        match store {
            Store::Folder(path) => Ok(operate::list(&spool(path), filter, after, operate::MAX_LISTED)?),
            Store::Admin(port) => port.list(filter, after),
            Store::Shard(_, remote) => {
                let Operated::Listed(page) = self.ask(remote, Operation::List { filter: filter.clone(), after })?
                else {
                    return Err(unlike(store));
                };
                Ok(page)
            }
        }
    }

    pub(super) fn show(&self, store: &Store, row: i64) -> Result<Option<Shown>, EventsError> {
        match store {
            Store::Folder(path) => Ok(operate::show(&spool(path), row)?),
            Store::Admin(port) => port.show(row),
            Store::Shard(_, remote) => {
                let Operated::Shown(shown) = self.ask(remote, Operation::Show { row })? else {
                    return Err(unlike(store));
                };
                Ok(shown.map(|shown| *shown))
            }
        }
    }

    pub(super) fn count(&self, store: &Store, change: &Change) -> Result<u64, EventsError> {
        match store {
            Store::Folder(path) => Ok(operate::count(&spool(path), change)?),
            Store::Admin(port) => port.change(change, true),
            Store::Shard(_, remote) => {
                let Operated::Counted(counted) = self.ask(remote, Operation::Count(change.clone()))? else {
                    return Err(unlike(store));
                };
                Ok(counted)
            }
        }
    }

    pub(super) fn change(&self, store: &Store, change: &Change) -> Result<u64, EventsError> {
        match store {
            Store::Folder(path) => Ok(operate::change_offline(&spool(path), change)?),
            Store::Admin(port) => port.change(change, false),
            Store::Shard(_, remote) => {
                let Operated::Changed(count) = self.ask(remote, Operation::Change(change.clone()))? else {
                    return Err(unlike(store));
                };
                Ok(count)
            }
        }
    }

    pub(super) fn replay(&self, store: &Store, ask: &Replay) -> Result<Replayed, EventsError> {
        match store {
            Store::Folder(path) => Ok(dataplane::replay::offline(path, ask)?),
            Store::Admin(port) => port.replay(ask),
            Store::Shard(_, remote) => {
                let Operated::Replayed(replayed) = self.ask(remote, Operation::Replay(ask.clone()))? else {
                    return Err(unlike(store));
                };
                Ok(*replayed)
            }
        }
    }

    /// Where they are, for a person.
    pub(super) fn names(&self) -> String {
        self.all.iter().map(Store::name).collect::<Vec<_>>().join(", ")
    }

    /// What matches in all of them, by the time at which it was accepted.
    pub(super) fn list(&self, filter: Filter) -> Listing<'_> {
        let lines = self.all.iter().map(|store| Line { store, page: VecDeque::new(), after: 0, more: true }).collect();
        Listing { stores: self, filter, lines, all: true, any: false }
    }
}

fn unlike(store: &Store) -> EventsError {
    OperateError::Failed(store.name(), "it answered something else: is it another version?".to_owned()).into()
}

/// One store's part of a listing.
struct Line<'s> {
    store: &'s Store,
    page: VecDeque<Listed>,
    after: i64,
    more: bool,
}

/// Events of several stores as one list.
pub(super) struct Listing<'s> {
    stores: &'s Stores,
    filter: Filter,
    lines: Vec<Line<'s>>,
    /// Every store was asked to its end.
    pub(super) all: bool,
    any: bool,
}

/// An event, and where it is.
#[derive(Serialize)]
pub(super) struct Found {
    shard: String,
    #[serde(flatten)]
    listed: Listed,
}

impl Listing<'_> {
    /// Returns whether nothing matched.
    pub(super) fn is_empty(&self) -> bool {
        !self.any
    }

    pub(super) fn next(&mut self) -> Option<Found> {
        for line in self.lines.iter_mut().filter(|line| line.more && line.page.is_empty()) {
            match self.stores.page(line.store, &self.filter, line.after) {
                Ok(page) => {
                    line.more = !page.is_empty();
                    line.after = page.last().map_or(line.after, |last| last.row);
                    line.page = page.into();
                }
                Err(error) => {
                    out::failed(&error, out::TROUBLE);
                    (line.more, self.all) = (false, false);
                }
            }
        }
        let next = |line: &&mut Line<'_>| line.page.front().map_or(i64::MAX, |first| first.accepted_ms);
        let line = self.lines.iter_mut().filter(|line| !line.page.is_empty()).min_by_key(next)?;
        let listed = line.page.pop_front()?;
        self.any = true;
        Some(Found { shard: line.store.name(), listed })
    }
}
