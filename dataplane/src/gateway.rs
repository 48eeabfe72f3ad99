//! A whole dataplane in one process: cores, event path, delivery, admin port.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Response;
use ipnet::IpNet;
use policy::names::{ObjectRef, TenantName};
use policy::snapshot::{ContentHash, Revision, Snapshot};
use policy::upstream::{AddressGuard, ServicePort};
use tokio::sync::watch;
use wire::push;

use crate::admin::{Access, Admin, View};
use crate::answer::Body;
use crate::event::deliver::{Destination, Destinations};
use crate::event::spool::Settings as SpoolSettings;
use crate::event::{BrokerPath, EventPath, Events, EventsError, EventsSettings};
use crate::health::Health;
use crate::http::memory::BodyMemory;
use crate::http::{HttpLimits, Inbound, Ticks};
use crate::listener::{App, ConnectionCounts, Listener, ListenerSettings, Serve};
use crate::outside::CountryDatabase;
use crate::outside::fetch::Fetches;
use crate::pipeline::{self, Core, CoreShared};
use crate::replay::LiveJudge;
use crate::runtime::{Builder, Runtime};
use crate::snapshot::follow::{Apply, Follow, OperatorSettings};
use crate::snapshot::{Answer, Applied, Change, Keeper, Volume, VolumeError};
use crate::telemetry::{AccessLog, EventCollector, Metrics};
use crate::upstream::{Registry, UpstreamCore, resolve};

/// What a gateway needs to run.
#[derive(Clone, Debug)]
pub struct GatewaySettings {
    /// How requests are taken; none by a process that only delivers or keeps events.
    pub listener: Option<ListenerSettings>,
    /// Where the admin port listens.
    pub admin: SocketAddr,
    /// Who may see and change events there.
    pub admin_access: Access,
    /// Where events and the last good snapshot are kept.
    pub data: PathBuf,
    /// Ranges that URLs of tenants may lead to although they are inside.
    pub allowed_upstreams: Vec<IpNet>,
    /// In which country an address is; without it a block that names countries refuses.
    pub country_database: Option<Arc<CountryDatabase>>,
    /// What came of documents that were fetched, for the metrics.
    pub fetches: Option<Fetches>,
    /// The event store's bound.
    pub max_spool_bytes: u64,
    /// The broker before the event store; without, the store itself is the queue.
    pub broker: Option<BrokerPath>,
}

/// Why a gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket or thread could not be had.
    #[error("could not {step}")]
    Io {
        /// What was tried.
        step: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The event path could not be started.
    #[error("could not start the event path")]
    Events(#[from] EventsError),
    /// The volume for the last good snapshot could not be opened.
    #[error("could not open the volume of the last good snapshot")]
    Volume(#[from] VolumeError),
    /// Two metrics have one name, which is a defect.
    #[error("could not declare the metrics")]
    Metrics(#[from] prometheus::Error),
}

fn io(step: impl Into<String>) -> impl FnOnce(std::io::Error) -> StartError {
    let step = step.into();
    move |source| StartError::Io { step, source }
}

/// What every core is made of.
struct Parts {
    live: Arc<ArcSwap<Runtime>>,
    events: Arc<EventPath>,
    guard: AddressGuard,
    log: AccessLog,
    metrics: Metrics,
    health: Arc<Health>,
    limits: Arc<HttpLimits>,
    memory: Arc<BodyMemory>,
}

/// One core's share; answers by the pipeline.
struct CoreApp(Rc<Core>);

impl App for Parts {
    type Core = CoreApp;

    fn core(&self, _: Ticks) -> Rc<CoreApp> {
        let seed = uuid::Uuid::now_v7().as_u64_pair().1;
        let upstreams = UpstreamCore::new(self.guard.clone(), seed);
        let no_tenant = self.metrics.tenant(None);
        let (live, events, health) = (self.live.clone(), self.events.clone(), self.health.clone());
        let shared = CoreShared {
            live,
            events,
            health,
            limits: self.limits.clone(),
            memory: self.memory.clone(),
            metrics: self.metrics.clone(),
        };
        let core = Core::new(shared, upstreams, self.log.core(), no_tenant);
        Rc::new(CoreApp(Rc::new(core)))
    }
}

impl Serve for CoreApp {
    type Body = Body;

    async fn answer(self: Rc<Self>, inbound: Inbound) -> Response<Body> {
        pipeline::answer(&self.0, inbound).await
    }

    fn tick(&self) {
        self.0.log.flush();
        self.0.upstreams.sweep(tokio::time::Instant::now());
    }
}

/// Destinations as the live runtime has them.
struct LiveDestinations(Arc<ArcSwap<Runtime>>);

impl Destinations for LiveDestinations {
    fn get(&self, tenant: &TenantName, source: &ObjectRef) -> Option<Arc<Destination>> {
        let runtime = self.0.load();
        let source = runtime.source(tenant, source)?;
        // Outbound security that is broken parks what is accepted.
        source.destination.clone().filter(|_| source.ir.broken_outbound.is_empty())
    }
}

/// A running gateway.
pub struct Gateway {
    /// Where it takes requests, if it does.
    pub address: Option<SocketAddr>,
    /// Its admin port.
    pub admin_address: SocketAddr,
    applier: Arc<Applier>,
    follow: Option<Follow>,
    health: Arc<Health>,
    listener: Option<Listener>,
    admin: Admin,
    events: Arc<Events>,
    parts: Arc<Parts>,
}

/// Applies what a publisher says, this process's own or the operator.
struct Applier {
    keeper: Mutex<Keeper>,
    /// Who is told of the delivers that live, and the Service that they are the endpoints of.
    delivers: watch::Sender<Vec<Arc<str>>>,
    deliver_service: Option<ServicePort>,
    metrics: Metrics,
    health: Arc<Health>,
}

impl Applier {
    fn keeper(&self) -> MutexGuard<'_, Keeper> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells which delivers live, where they are not named.
    fn tell_delivers(&self, keeper: &Keeper) {
        let endpoints = self.deliver_service.as_ref().and_then(|service| keeper.endpoints(service));
        let Some(endpoints) = endpoints else { return };
        let ready = endpoints.iter().filter(|endpoint| endpoint.ready);
        let live: Vec<Arc<str>> = ready.map(|endpoint| endpoint.address.ip().to_string().into()).collect();
        self.delivers.send_if_modified(|known| std::mem::replace(known, live.clone()) != live);
    }

    fn count(&self, last_good: usize, not_programmed: usize) {
        self.metrics.snapshots_applied.inc();
        for (state, count) in [("last_good", last_good), ("not_programmed", not_programmed)] {
            self.metrics.objects.with_label_values(&[state]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

impl Apply for Applier {
    fn apply(&self, changes: Vec<Change>) -> Vec<Answer> {
        let complete = changes.iter().any(|change| matches!(change, Change::Complete));
        let mut keeper = self.keeper();
        let timer = self.metrics.snapshot_apply.start_timer();
        let answers = keeper.change(changes);
        timer.observe_duration();
        self.tell_delivers(&keeper);
        let (last_good, not_programmed) = keeper.standing();
        drop(keeper);
        self.count(last_good, not_programmed);
        if complete {
            self.health.snapshot_applied();
        }
        answers
    }

    fn hello(&self) -> (Vec<push::Tenant>, Vec<ServicePort>) {
        let mut keeper = self.keeper();
        keeper.begin();
        let tenant = |(name, revision, hash): (TenantName, Revision, ContentHash)| push::Tenant {
            name: name.to_string(),
            revision: Some(push::Revision { term: revision.term, n: revision.n }),
            hash: hash.0.to_vec().into(),
        };
        (keeper.have().into_iter().map(tenant).collect(), keeper.services())
    }
}

/// Registers the metrics of the parts that count for themselves.
fn register(metrics: &Metrics, settings: &GatewaySettings, events: &Arc<Events>) -> Result<(), StartError> {
    metrics.registry().register(Box::new(EventCollector::new(events)?))?;
    if let Some(fetches) = &settings.fetches {
        metrics.registry().register(fetches.collector())?;
    }
    for metric in settings.country_database.iter().flat_map(|database| database.metrics()) {
        metrics.registry().register(metric)?;
    }
    Ok(())
}

fn connection_counts(metrics: &Metrics) -> ConnectionCounts {
    ConnectionCounts {
        open: metrics.connections_open.clone(),
        accepted: metrics.connections_accepted.clone(),
        refused: metrics.connections_refused.clone(),
    }
}

impl Gateway {
    /// Starts everything; answers 404 and is not ready until a snapshot is applied.
    ///
    /// # Errors
    /// [`StartError`]
    pub fn start(settings: &GatewaySettings, log: impl Write + Send + 'static) -> Result<Self, StartError> {
        let metrics = Metrics::new()?;
        let health = Arc::new(Health::default());
        let registry = Arc::new(Registry::default());
        let live = Arc::new(ArcSwap::from_pointee(Runtime::default()));
        let guard = AddressGuard::new(settings.allowed_upstreams.clone());
        let volume = Volume::open(&settings.data.join("last-good"), metrics.last_good_unwritten.clone())?;
        let builder = Builder::new(metrics.clone(), registry.clone()).with_countries(settings.country_database.clone());
        let keeper = Keeper::new(builder, live.clone(), Some(volume));
        if settings.broker.is_some() {
            keeper.begins_anew();
        }
        let judge = Arc::new(LiveJudge::new(live.clone(), keeper.holders()));
        let live_destinations: Arc<dyn Destinations> = Arc::new(LiveDestinations(live.clone()));
        let spool = SpoolSettings::new(settings.data.join("spool"));
        let (delivers, live_delivers) = watch::channel(Vec::new());
        let events = Arc::new(Events::start(EventsSettings {
            spool: SpoolSettings { max_bytes: settings.max_spool_bytes, ..spool },
            broker: settings.broker.clone(),
            destinations: live_destinations,
            judge,
            guard: guard.clone(),
            health: health.clone(),
            live: live_delivers,
        })?);
        register(&metrics, settings, &events)?;

        let view = View {
            metrics: metrics.clone(),
            health: health.clone(),
            live: live.clone(),
            events: events.clone(),
            upstreams: registry.clone(),
            access: settings.admin_access.clone(),
        };
        let admin = Admin::start(settings.admin, view, resolve::keep_resolved(registry));
        let admin = admin.map_err(io(format!("listen on the admin address {}", settings.admin)))?;
        let log = AccessLog::start(log, metrics.access_log_dropped.clone()).map_err(io("start the access log"))?;
        let (path, told) = (events.path.clone(), health.clone());
        let limits = settings.listener.as_ref().map(|listener| listener.http.clone()).unwrap_or_default();
        let (held, refused) = (metrics.body_memory.clone(), metrics.body_memory_refused.clone());
        let parts = Arc::new(Parts {
            live,
            events: path,
            guard,
            log,
            metrics: metrics.clone(),
            health: told,
            memory: Arc::new(BodyMemory::new(limits.body_memory, held, refused)),
            limits: Arc::new(limits),
        });
        let counts = connection_counts(&metrics);
        let start = |taking: &ListenerSettings| {
            let listener = Listener::start(taking, &parts, &health, counts);
            listener.map_err(io(format!("listen on {}", taking.address)))
        };
        let listener = settings.listener.as_ref().map(start).transpose()?;
        let (address, admin_address) = (listener.as_ref().map(|listener| listener.address), admin.address);
        let deliver_service = settings.broker.as_ref().and_then(BrokerPath::deliver_service).cloned();
        let (keeper, told) = (Mutex::new(keeper), health.clone());
        let applier = Arc::new(Applier { keeper, delivers, deliver_service, metrics, health: told });
        Ok(Self { address, admin_address, applier, follow: None, health, listener, admin, events, parts })
    }

    /// The term that a publisher in this process begins above.
    #[must_use]
    pub fn highest_term(&self) -> u64 {
        self.applier.keeper().highest_term()
    }

    /// What the volume kept, for a publisher in this process.
    #[must_use]
    pub fn in_force(&self) -> Snapshot {
        self.applier.keeper().in_force()
    }

    /// Applies a complete set; live when this returns.
    pub fn apply(&self, snapshot: &Snapshot) -> Applied {
        let mut keeper = self.applier.keeper();
        let timer = self.applier.metrics.snapshot_apply.start_timer();
        let applied = keeper.apply(snapshot);
        timer.observe_duration();
        drop(keeper);
        self.applier.count(applied.last_good.len(), applied.not_programmed.len());
        self.health.snapshot_applied();
        applied
    }

    /// Follows the operator from here on. What the volume kept is served at once, and if it was a complete set
    /// nothing is missing for readiness.
    ///
    /// # Errors
    /// [`StartError::Io`]
    pub fn follow(&mut self, settings: OperatorSettings) -> Result<(), StartError> {
        let keeper = self.applier.keeper();
        self.applier.tell_delivers(&keeper);
        if keeper.is_complete() {
            self.health.snapshot_applied();
        }
        drop(keeper);
        let apply: Arc<dyn Apply> = self.applier.clone();
        let follow = Follow::start(settings, apply, self.health.clone());
        self.follow = Some(follow.map_err(io("start to follow the operator"))?);
        Ok(())
    }

    /// Whether something that must run has ended.
    #[must_use]
    pub fn dead(&self) -> Vec<String> {
        self.health.dead()
    }

    /// Takes no more, finishes what is in flight, and ends. Blocks; how many connections were cut.
    #[must_use]
    pub fn drain(self, patience: Duration) -> usize {
        let Self { health, listener, admin, events, parts, follow, .. } = self;
        health.draining();
        if let Some(follow) = follow {
            follow.stop();
        }
        let cut = listener.map_or(0, |listener| listener.drain(patience));
        admin.stop();
        drop(parts);
        // Connections that were cut may still hold the event path; what is on disk is safe at any instant.
        if let Some(events) = Arc::into_inner(events) {
            events.stop();
        }
        cut
    }
}
