//! Which partitions a deliver consumes: those that prefer it among the delivers that live at once, and the others a
//! little later. The broker makes one consumer of each active, the first that is there; so a list that is wrong or late
//! costs balance, never an event.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::shards::weight;

/// How long a deliver leaves the partitions that others prefer to them, before it stands by for those too.
const STAND_BY_AFTER: Duration = Duration::from_millis(if cfg!(test) { 100 } else { 10_000 });
/// A rollout changes the list several times: it is followed when it has been the same for so long.
const SETTLED_AFTER: Duration = Duration::from_millis(if cfg!(test) { 10 } else { 2000 });

/// The names of the delivers that live.
pub type Live = watch::Receiver<Vec<Arc<str>>>;

/// The share of one deliver.
#[derive(Clone, Debug)]
pub(super) struct Share {
    /// Its own name; it lives whatever the list says.
    pub(super) own: Arc<str>,
    pub(super) live: Live,
    pub(super) partitions: u16,
}

impl Share {
    /// What prefers this deliver now.
    pub(super) fn preferred(&self) -> BTreeSet<u16> {
        share(&self.own, &self.live.borrow(), self.partitions)
    }

    /// Says which partitions to consume, whenever those are others. Ends with the last that could change the list.
    pub(super) async fn keep(mut self, assign: watch::Sender<BTreeSet<u16>>) {
        loop {
            self.live.mark_unchanged();
            assign.send_replace(self.preferred());
            let listed = tokio::time::timeout(STAND_BY_AFTER, self.live.changed()).await;
            let listed = match listed {
                Ok(changed) => changed,
                Err(_) => {
                    assign.send_replace((0..self.partitions).collect());
                    self.live.changed().await
                }
            };
            if listed.is_err() {
                tokio::time::sleep(STAND_BY_AFTER).await;
                assign.send_replace((0..self.partitions).collect());
                return;
            }
            while tokio::time::timeout(SETTLED_AFTER, self.live.changed()).await.is_ok_and(|listed| listed.is_ok()) {}
        }
    }
}

/// By rendezvous hashing: another deliver more or less moves only what it gains or leaves.
fn share(own: &Arc<str>, live: &[Arc<str>], partitions: u16) -> BTreeSet<u16> {
    let mine = |partition: &u16| {
        let ours = weight(own, *partition);
        live.iter().filter(|other| *other != own).all(|other| weight(other, *partition) < ours)
    };
    (0..partitions).filter(mine).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|&name| name.into()).collect()
    }

    #[test]
    fn every_partition_prefers_one_and_another_deliver_moves_only_what_it_gains() {
        let (two, three) = (names(&["10.0.0.1", "10.0.0.2"]), names(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]));
        let shares =
            |live: &[Arc<str>]| -> Vec<BTreeSet<u16>> { live.iter().map(|one| share(one, live, 64)).collect() };
        for all in [shares(&two), shares(&three)] {
            assert_eq!(all.iter().map(BTreeSet::len).sum::<usize>(), 64);
            assert!(all.iter().all(|one| !one.is_empty()));
        }
        for (before, after) in shares(&two).iter().zip(shares(&three)) {
            assert!(after.is_subset(before));
        }
    }

    #[test]
    fn a_deliver_that_is_not_listed_yet_has_its_share_all_the_same() {
        let listed = names(&["10.0.0.1", "10.0.0.2"]);
        let newcomer = share(&"10.0.0.3".into(), &listed, 64);
        assert_eq!(newcomer, share(&"10.0.0.3".into(), &names(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]), 64));
        assert_eq!(share(&"10.0.0.3".into(), &[], 64).len(), 64);
    }

    #[tokio::test]
    async fn a_changed_list_is_followed_and_the_rest_is_stood_by_for() {
        let (list, live) = watch::channel(names(&["a"]));
        let share = Share { own: "a".into(), live, partitions: 8 };
        let (assign, mut assigned) = watch::channel(BTreeSet::new());
        let kept = tokio::spawn(share.keep(assign));
        let mut becomes = async |all: bool| {
            // Patience, so that what never comes fails.
            let waited = assigned.wait_for(|now| (now.len() == 8) == all);
            tokio::time::timeout(Duration::from_secs(30), waited).await.unwrap().unwrap().clone()
        };
        becomes(true).await;
        list.send_replace(names(&["a", "b"]));
        assert_eq!(becomes(false).await, super::share(&"a".into(), &names(&["a", "b"]), 8));
        becomes(true).await;
        drop(list);
        kept.await.unwrap();
        assert_eq!(assigned.borrow().len(), 8, "who cannot learn of others stands by for all");
    }
}
