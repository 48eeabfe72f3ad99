//! The operator at work: one task keeps the world, the others feed it and tell of it. When one of them ends, all do,
//! and the process with them: a replica that is half alive helps nobody.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Client;
use policy::error::chain;
use policy::installation::Installation;
use policy::upstream::ServicePort;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use wire::push::push_server::PushServer;

use crate::admit::{self, Question};
use crate::authority::{self, Authority, AuthorityError};
use crate::gather::fetch::{Fetched, Fetches};
use crate::gather::lists::{Lists, Statuses};
use crate::gather::watch::{self as watches, Seen, Watches};
use crate::lease::{self, Candidate, Elector, Leadership};
use crate::listen::{Connections, listen};
use crate::metrics::Metrics;
use crate::publish::{Account, Board, Heard, MAX_MESSAGE_BYTES, PushService, Reviewer};
use crate::reconcile::{Place, World};
use crate::status::{Judge, LOOK, Writer};

/// What is looked at before what follows from it is said.
const BATCH: usize = 4096;
/// Between two tries to read the authority: the first pause, doubled each time, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Objects that wait to be admitted.
const QUESTIONS: usize = 256;
/// A connection that says nothing is asked whether it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// How an operator runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where dataplanes connect.
    pub listen: SocketAddr,
    /// Where the API server asks for admission, if it does.
    pub admission: Option<SocketAddr>,
    /// The ValidatingWebhookConfiguration by which it does: told whom to trust.
    pub webhook: Option<String>,
    /// The prefix of the Secrets with certificates for spool shards and who asks them, when they are made here.
    pub shards: Option<String>,
    /// Ports of Services whose endpoints are delivers: dataplanes are told who lives.
    pub delivers: Vec<ServicePort>,
    /// What is provided beside the objects; nothing is published before that is known.
    pub installation: watch::Receiver<Option<Installation>>,
    /// Names that the certificate is for.
    pub names: Vec<String>,
    /// The ServiceAccounts of dataplanes.
    pub accounts: Vec<Account>,
    /// The Lease that decides who publishes.
    pub candidate: Candidate,
}

/// Why an operator does not run, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The authority.
    #[error("could not open the operator's authority")]
    Authority(#[from] AuthorityError),
    /// A socket.
    #[error("could not listen on {0}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// A task.
    #[error("{0} has ended, and must not")]
    Ended(&'static str),
}

/// Whether it may be asked, for the admin port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// What is missing; empty means ready.
    pub missing: Vec<String>,
}

/// Runs until it is told to stop, or something that must run has ended.
///
/// # Errors
/// [`RunError`]
pub async fn run(
    client: Client,
    settings: Settings,
    (readiness, metrics): (watch::Sender<Readiness>, Metrics),
    stop: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let mut stop = std::pin::pin!(stop);
    let opened = open(&client, &settings, &readiness);
    let authority = tokio::select! { authority = opened => authority?, () = &mut stop => return Ok(()) };
    let listening = listen(settings.listen, authority.shown(), &[b"h2"]).await;
    let (address, connections) = listening.map_err(|error| RunError::Listen(settings.listen, error))?;
    tracing::info!(%address, identity = settings.candidate.identity, "the operator listens for dataplanes");
    let (questions, asked) = mpsc::channel(QUESTIONS);
    let admission = match settings.admission {
        None => None,
        Some(address) => {
            let listening = listen(address, authority.shown(), &[b"http/1.1"]).await;
            Some(listening.map_err(|error| RunError::Listen(address, error))?.1)
        }
    };
    let (heard, hears) = mpsc::channel(watches::QUEUE);
    let board = Arc::new(Board::new(heard, settings.delivers.clone(), metrics.clone()));
    let (elector, leadership) = Elector::new(client.clone(), settings.candidate.clone());
    let reviewer = Reviewer::new(client.clone(), settings.accounts.clone());
    let writer = Arc::new(Writer::new(client.clone(), &settings.candidate.identity, metrics.clone()));
    let judge = Judge::new(Arc::clone(&board), Arc::clone(&writer));
    let world = World::new(settings.delivers.clone());
    let keeper = Keeper::new(client.clone(), world, (Arc::clone(&board), judge), (readiness, metrics));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        writer.run().await;
        "the writer of statuses"
    });
    tasks.spawn(async move {
        keeper.run((leadership, settings.installation), hears, asked).await;
        "the keeper of the world"
    });
    // Without a port nobody asks; who keeps the world still hears.
    let unasked = questions.clone();
    tasks.spawn(async move {
        match admission {
            Some(connections) => admit::serve(connections, questions).await,
            None => unasked.closed().await,
        }
        "admission"
    });
    tasks.spawn(async move {
        elector.run().await;
        "the Lease"
    });
    tasks.spawn(async move {
        serve(connections, board, reviewer).await;
        "the push to dataplanes"
    });
    tasks.spawn(async move {
        refresh(&authority).await;
        "the authority"
    });
    let ended = tokio::select! {
        () = &mut stop => None,
        ended = tasks.join_next() => Some(ended.and_then(Result::ok).unwrap_or("a task")),
    };
    tasks.shutdown().await;
    lease::release(client, &settings.candidate).await;
    ended.map_or(Ok(()), |task| Err(RunError::Ended(task)))
}

/// The authority, as soon as the API server gives it: one that is away, or has not granted the rights yet, is waited for.
async fn open(
    client: &Client,
    settings: &Settings,
    readiness: &watch::Sender<Readiness>,
) -> Result<Authority, AuthorityError> {
    let mut pause = FIRST_PAUSE;
    loop {
        let (namespace, names) = (&settings.candidate.namespace, settings.names.clone());
        let told = (settings.webhook.clone(), settings.shards.clone());
        let opened = Authority::open(client.clone(), namespace, names, told).await;
        let Err(error @ AuthorityError::Api(..)) = opened else { return opened };
        tracing::warn!(error = chain(&error), "the API server is asked again");
        readiness.send_replace(Readiness { missing: vec![chain(&error)] });
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
    }
}

async fn refresh(authority: &Authority) {
    let mut renewed = Instant::now();
    loop {
        let renew = renewed.elapsed() >= authority::RENEW;
        let rest = match authority.refresh(renew).await {
            Ok(()) => {
                renewed = if renew { Instant::now() } else { renewed };
                authority::LOOK
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "the certificate stays as it was");
                LONGEST_PAUSE
            }
        };
        tokio::time::sleep(rest).await;
    }
}

async fn serve(connections: Connections, board: Arc<Board>, reviewer: Reviewer) {
    let service = PushServer::new(PushService::new(board, reviewer))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let served = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .http2_adaptive_window(Some(true))
        .add_service(service)
        .serve_with_incoming(connections)
        .await;
    if let Err(error) = served {
        tracing::error!(error = chain(&error), "dataplanes are served no more");
    }
}

/// Keeps the world, and says what is different.
struct Keeper {
    board: Arc<Board>,
    judge: Judge,
    readiness: watch::Sender<Readiness>,
    metrics: Metrics,
    watches: Watches,
    seen: mpsc::Receiver<Seen>,
    lists: Lists,
    world: World,
    statuses: Statuses,
    places: BTreeSet<Place>,
    /// Whether it is known what is provided beside the objects.
    provided: bool,
    fetches: Fetches,
    fetched: mpsc::Receiver<Fetched>,
    /// The term in which this replica will publish, once everything is listed afresh.
    begins: Option<u64>,
    publishes: bool,
}

impl Keeper {
    fn new(
        client: Client,
        world: World,
        (board, judge): (Arc<Board>, Judge),
        (readiness, metrics): (watch::Sender<Readiness>, Metrics),
    ) -> Self {
        let (watches, seen) = Watches::new(client.clone());
        let (fetches, fetched) = Fetches::new(client);
        Self {
            board,
            judge,
            readiness,
            metrics,
            watches,
            seen,
            lists: Lists::default(),
            world,
            statuses: Statuses::default(),
            places: BTreeSet::new(),
            provided: false,
            fetches,
            fetched,
            begins: None,
            publishes: false,
        }
    }

    async fn run(
        mut self,
        (mut leadership, mut provided): (watch::Receiver<Leadership>, watch::Receiver<Option<Installation>>),
        mut hears: mpsc::Receiver<Heard>,
        mut asked: mpsc::Receiver<Question>,
    ) {
        self.provide(&provided.borrow_and_update());
        self.lists.begin(self.watches.restart());
        let mut batch = Vec::with_capacity(BATCH);
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                count = self.seen.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    for seen in batch.drain(..) {
                        self.lists.take(seen, &mut self.world, &mut self.statuses);
                    }
                }
                changed = leadership.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let now = leadership.borrow_and_update().clone();
                    self.led_by(now);
                }
                changed = provided.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.provide(&provided.borrow_and_update());
                }
                Some(fetched) = self.fetched.recv() => {
                    if let Some(raw) = self.fetches.take(fetched) {
                        self.world.apply_fetched(raw);
                    }
                }
                Some(heard) = hears.recv() => self.hear(heard),
                Some(Question { raw, answer }) = asked.recv() => {
                    // Before everything is listed nothing can be said.
                    let problems = if self.lists.all_complete() { self.world.would(raw) } else { Vec::new() };
                    let _ = answer.send(problems);
                    continue;
                }
                _ = look.tick(), if self.judge.waits() => self.judge.look(&self.world, &mut self.statuses),
            }
            if self.watches.any_ended() {
                return;
            }
            self.step();
        }
    }

    fn provide(&mut self, installation: &Option<Installation>) {
        if let Some(installation) = installation {
            self.provided = true;
            self.world.provide(installation.clone());
        }
    }

    fn led_by(&mut self, leadership: Leadership) {
        match leadership {
            Leadership::Held(term) => {
                // Nothing is published of what might have been missed.
                self.lists.begin(self.watches.restart());
                (self.begins, self.publishes) = (Some(term), false);
            }
            Leadership::Elsewhere(address) => {
                (self.begins, self.publishes) = (None, false);
                self.judge.clear();
                self.board.yield_to(address);
            }
        }
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Came { needs, first } => {
                self.world.remember(needs);
                // It may run what nobody ran; of what others run it says itself how it fares.
                if self.publishes && first {
                    self.judge.mark(&self.world.everything(), &self.world, &mut self.statuses);
                }
            }
            Heard::Said(tenant) if self.publishes => self.judge.heard(&tenant, &self.world, &mut self.statuses),
            Heard::Said(_) => {}
        }
    }

    /// Says what follows from what was seen.
    fn step(&mut self) {
        let mut missing: Vec<_> = self.lists.missing().map(|kind| format!("{kind}s are not listed")).collect();
        if !self.provided {
            missing.push("ranges of providers were not fetched yet".to_owned());
        }
        if !missing.is_empty() {
            return self.ready(missing);
        }
        let settled = Instant::now();
        let delta = self.world.settle();
        for object in &delta.fetch {
            self.fetches.ask(object);
        }
        if !delta.judged.is_empty() || !delta.removed.is_empty() {
            self.follow_places();
        }
        if self.publishes {
            self.board.publish(&delta, true);
            if !delta.judged.is_empty() {
                self.metrics.settle.observe(settled.elapsed().as_secs_f64());
            }
            self.judge.mark(&delta, &self.world, &mut self.statuses);
        } else if let Some(term) = self.begins
            && self.lists.settled(&self.places)
            && self.fetches.settled()
        {
            self.board.begin(term);
            let everything = self.world.everything();
            self.board.publish(&everything, true);
            self.judge.mark(&everything, &self.world, &mut self.statuses);
            (self.begins, self.publishes) = (None, true);
            tracing::info!(term, "this replica publishes");
        }
        self.ready(Vec::new());
    }

    fn follow_places(&mut self) {
        let places = self.world.places();
        if places == self.places {
            return;
        }
        for place in self.watches.follow(&places) {
            self.lists.forget(place.0, &place.1);
            self.fetches.forget(&place);
            self.world.forget(&place);
        }
        self.places = places;
    }

    fn ready(&self, missing: Vec<String>) {
        self.readiness.send_if_modified(|known| {
            let different = known.missing != missing;
            if different {
                known.missing = missing;
            }
            different
        });
    }
}
