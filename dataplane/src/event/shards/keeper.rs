//! What a gateway gives a shard to keep: many POSTs in one call, because a call costs more than an event.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot};

use super::remote::Calls;
use crate::event::spool::Numbered;
use crate::event::{AcceptError, Accepted};

/// POSTs that wait for a call at most; more wait where they came from.
const WAITING: usize = 4096;
/// POSTs in one call at most, and bytes of events after which no more are added.
const POSTS_AT_ONCE: usize = 256;
const BYTES_AT_ONCE: usize = 4 << 20;
/// Calls under way at once: while one is written to disk the next is on its way.
const CALLS_AT_ONCE: usize = 4;

pub(super) type Kept = Result<Vec<Accepted>, AcceptError>;

/// The events of one POST, kept together or not at all.
struct Post {
    events: Vec<Numbered>,
    answer: oneshot::Sender<Kept>,
}

impl Post {
    fn bytes(&self) -> usize {
        self.events.iter().map(|numbered| numbered.new.event.data.len()).sum()
    }
}

/// Gathers POSTs into calls; a shard that is quick gets each at once.
#[derive(Clone, Debug)]
pub(super) struct Keeper(mpsc::Sender<Post>);

impl Keeper {
    /// Its task ends with the last handle.
    pub(super) fn start(calls: Calls) -> Self {
        let (posts, waiting) = mpsc::channel(WAITING);
        tokio::spawn(gather(calls, waiting));
        Self(posts)
    }

    /// Keeps the events of one POST, all or none.
    pub(super) async fn keep(&self, events: Vec<Numbered>) -> Kept {
        let (answer, answered) = oneshot::channel();
        // A call that is given up counts as not answered: what it has kept nevertheless is a repeat.
        let sent = self.0.send(Post { events, answer }).await.is_ok();
        let kept = if sent { answered.await.ok() } else { None };
        kept.unwrap_or(Err(AcceptError::NotDurable { cause: None }))
    }
}

async fn gather(calls: Calls, mut waiting: mpsc::Receiver<Post>) {
    let under_way = Arc::new(Semaphore::new(CALLS_AT_ONCE));
    while let Some(first) = waiting.recv().await {
        // Nobody closes it.
        let Ok(place) = Arc::clone(&under_way).acquire_owned().await else { return };
        let mut bytes = first.bytes();
        let mut posts = vec![first];
        while posts.len() < POSTS_AT_ONCE
            && bytes < BYTES_AT_ONCE
            && let Ok(post) = waiting.try_recv()
        {
            bytes += post.bytes();
            posts.push(post);
        }
        let calls = calls.clone();
        tokio::spawn(async move {
            call(&calls, posts).await;
            drop(place);
        });
    }
}

async fn call(calls: &Calls, posts: Vec<Post>) {
    let (events, answers): (Vec<_>, Vec<_>) = posts.into_iter().map(|post| (post.events, post.answer)).unzip();
    let mut kept = calls.keep(&events).await.unwrap_or_default().into_iter();
    for answer in answers {
        // Without an answer the next shard is asked.
        let _ = answer.send(kept.next().unwrap_or(Err(AcceptError::NotDurable { cause: None })));
    }
}
