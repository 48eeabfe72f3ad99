//! Puts the event path of a process together, by its role.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use policy::upstream::{AddressGuard, ServicePort};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

use super::broker::{BrokerError, BrokerSettings, Consumer, Publisher, State};
use super::claim::{Claims, ClaimsError, ClaimsState, RedisSettings};
use super::deliver::{Beside, Deliver, Destinations, PartitionDeliver, PartitionSettings};
use super::replay::{Judge, Replays};
use super::shards::{
    Depths, Identity, NamedShard, Reach, Remote, RemoteError, Role, ServeError, Server, Shards, Watched,
};
use super::share::{Live, Share};
use super::spool::{self, Shard, SpoolError, StoreId};
use super::{Brokered, Counters, EventPath};
use crate::health::Health;

/// A shard of the installation.
#[derive(Clone, Debug)]
pub struct ShardPlace {
    /// Its name, the same for ever: it stands in drained copies.
    pub name: Arc<str>,
    /// `https://HOST:PORT`; none for the one in this process.
    pub address: Option<String>,
}

/// What an event path with a broker needs.
#[derive(Clone, Debug)]
pub struct BrokerPath {
    /// What this process does.
    pub role: Role,
    /// The broker.
    pub broker: BrokerSettings,
    /// Claims and numbers; without, every event is degraded.
    pub redis: Option<RedisSettings>,
    /// Every shard; the order does not matter.
    pub shards: Vec<ShardPlace>,
    /// The shard that this process holds, when its role holds one.
    pub shard: Arc<str>,
    /// Where that shard answers other processes; nowhere when absent.
    pub listen: Option<SocketAddr>,
    /// The certificate that is shown to shards, and by one.
    pub identity: Option<Identity>,
    /// This deliver's name among `delivers`: each has its share of the partitions.
    pub deliver: Arc<str>,
    /// All of them.
    pub delivers: Delivers,
}

impl BrokerPath {
    /// The Service that the delivers are the endpoints of, where they are not named.
    #[must_use]
    pub fn deliver_service(&self) -> Option<&ServicePort> {
        match &self.delivers {
            Delivers::Named(_) => None,
            Delivers::Live(service) => Some(service),
        }
    }
}

/// The delivers of an installation.
#[derive(Clone, Debug)]
pub enum Delivers {
    /// Those with these names.
    Named(Vec<Arc<str>>),
    /// The endpoints of a Service that are ready, as the operator tells them: known by their addresses.
    Live(ServicePort),
}

/// Why an event path could not start.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    /// The spool.
    #[error("the event store")]
    Spool(#[from] SpoolError),
    /// The broker's settings.
    #[error("the broker")]
    Broker(#[from] BrokerError),
    /// Redis' settings.
    #[error("Redis")]
    Redis(#[from] ClaimsError),
    /// Another shard's address or certificate.
    #[error("the shards")]
    Remote(#[from] RemoteError),
    /// This shard's own port.
    #[error("the shard's port")]
    Serve(#[from] ServeError),
    /// A shard in another process needs a certificate to be asked with.
    #[error("shard {0} is in another process, so spool.tls must name a certificate to ask it with")]
    NoIdentity(Arc<str>),
    /// The role holds a shard, and its name is none of the installation's.
    #[error("this process holds shard {0}, which spool.shards does not name")]
    UnknownShard(Arc<str>),
    /// A thread could not be had.
    #[error("a thread of the event path")]
    Thread(#[source] std::io::Error),
}

/// What an event path is started with.
pub struct EventsSettings {
    /// Where events are kept, when this process keeps any.
    pub spool: spool::Settings,
    /// The broker and what belongs to it; without, the spool itself is the queue.
    pub broker: Option<BrokerPath>,
    /// What is configured now.
    pub destinations: Arc<dyn Destinations>,
    /// Decides where dead letters go that are replayed.
    pub judge: Arc<dyn Judge>,
    /// Which addresses tenants may name.
    pub guard: AddressGuard,
    /// Told when something ends by itself.
    pub health: Arc<Health>,
    /// The delivers that live, where they are not named.
    pub live: Live,
}

/// Everything of a process that has to do with events.
pub struct Events {
    /// What the pipeline accepts with.
    pub path: Arc<EventPath>,
    /// Returns the counters.
    pub counters: Arc<Counters>,
    /// The shard, when this process holds one.
    pub shard: Option<Arc<Shard>>,
    /// Replays the dead letters of that shard.
    pub replays: Option<Arc<Replays>>,
    /// Claims and numbers.
    pub claims: Option<Claims>,
    /// To the broker.
    pub publisher: Option<Arc<Publisher>>,
    /// All shards, as this process knows them; none without a broker.
    pub shards: Option<Shards>,
    consumer: Option<Consuming>,
    partitions: Option<PartitionDeliver>,
    deliver: Option<Deliver>,
    server: Option<Server>,
    remote: Option<Runtime>,
}

/// The connections that accepting, storing and delivering beside a broker share.
struct Linked {
    shards: Shards,
    claims: Option<Claims>,
    publisher: Arc<Publisher>,
    counters: Arc<Counters>,
}

impl Linked {
    fn beside(&self, name: Arc<str>, store: StoreId, partitions: NonZeroU16) -> Beside {
        Beside {
            name,
            store,
            shards: self.shards.clone(),
            claims: self.claims.clone(),
            publisher: self.publisher.clone(),
            partitions,
            counters: self.counters.clone(),
        }
    }

    fn partition_settings(
        &self,
        destinations: Arc<dyn Destinations>,
        guard: AddressGuard,
        health: Arc<Health>,
    ) -> PartitionSettings {
        PartitionSettings {
            destinations,
            shards: self.shards.clone(),
            claims: self.claims.clone(),
            guard,
            counters: self.counters.clone(),
            health,
            publisher: self.publisher.clone(),
            preferred: Box::new(BTreeSet::new),
        }
    }
}

impl Events {
    /// Starts what the role asks for.
    ///
    /// # Errors
    /// [`EventsError`]
    pub fn start(settings: EventsSettings) -> Result<Self, EventsError> {
        match settings.broker.clone() {
            None => Self::on_spool(settings),
            Some(broker) => Self::on_broker(settings, broker),
        }
    }

    fn on_spool(settings: EventsSettings) -> Result<Self, EventsError> {
        let EventsSettings { spool, broker: _, destinations, judge, guard, health, live: _ } = settings;
        let shard = Arc::new(Shard::open(spool)?);
        let deliver = Deliver::start(shard.queue()?, destinations, guard, None, health);
        Ok(Self {
            path: Arc::new(EventPath::Spool(shard.clone())),
            counters: shard.counters().clone(),
            replays: Some(Arc::new(Replays::new(shard.clone(), judge))),
            shard: Some(shard),
            claims: None,
            publisher: None,
            shards: None,
            consumer: None,
            partitions: None,
            deliver: Some(deliver.map_err(EventsError::Thread)?),
            server: None,
            remote: None,
        })
    }

    fn on_broker(settings: EventsSettings, from: BrokerPath) -> Result<Self, EventsError> {
        let EventsSettings { spool, broker: _, destinations, judge, guard, health, live } = settings;
        let role = from.role;
        let spool = spool::Settings { beside_broker: true, name: Some(from.shard.clone()), ..spool };
        let patience = spool.patience;
        let shard = role.keeps().then(|| Shard::open(spool)).transpose()?.map(Arc::new);
        let counters = shard.as_ref().map(|shard| shard.counters().clone()).unwrap_or_default();
        let watched = from.identity.as_ref().map(Watched::new);
        let (shards, remote) = shards(&from, shard.as_ref())?;
        let claims = from.redis.clone().map(Claims::start).transpose()?;
        let publisher = Arc::new(Publisher::start(from.broker.clone())?);
        let partitions = from.broker.partitions;
        let linked = Linked {
            shards: shards.clone(),
            claims: claims.clone(),
            publisher: publisher.clone(),
            counters: counters.clone(),
        };

        let start = |shard: &Arc<Shard>| {
            let beside = linked.beside(from.shard.clone(), shard.store(), partitions);
            let queue = shard.queue()?;
            let started = Deliver::start(queue, destinations.clone(), guard.clone(), Some(beside), health.clone());
            started.map_err(EventsError::Thread)
        };
        let deliver = shard.as_ref().map(start).transpose()?;
        let replays = |shard: &Arc<Shard>| Arc::new(Replays::beside_broker(shard.clone(), judge, claims.clone()));
        let replays = shard.as_ref().map(replays);
        let server = serve(&from, shard.as_ref().zip(replays.as_ref()), &health)?;

        let settings = linked.partition_settings(destinations.clone(), guard.clone(), health.clone());
        let consuming = role.delivers().then(|| consume(&from, live, settings)).transpose()?;
        let (consumer, delivering) = consuming.unzip();

        let depths = keep_in_touch(remote.as_ref(), (&shards, watched), &counters, role);
        let brokered = Brokered {
            claims: claims.clone(),
            publisher: publisher.clone(),
            shards: shards.clone(),
            depths,
            partitions,
            patience,
            counters: counters.clone(),
            last_degraded: AtomicI64::new(0),
        };
        let path = Arc::new(EventPath::Broker(Box::new(brokered)));
        let (publisher, shards, partitions) = (Some(publisher), Some(shards), delivering);
        Ok(Self {
            path,
            counters,
            shard,
            replays,
            claims,
            publisher,
            shards,
            consumer,
            partitions,
            deliver,
            server,
            remote,
        })
    }

    /// What keeps this process from being ready; a broker or Redis that is away is no reason.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let ran = [
            ("the event store", self.shard.as_ref().is_some_and(|shard| !shard.healthy())),
            ("the connection to Redis", self.claims.as_ref().is_some_and(|claims| !claims.healthy())),
            ("publishing to the broker", self.publisher.as_ref().is_some_and(|publisher| !publisher.healthy())),
            ("consuming from the broker", self.consumer.as_ref().is_some_and(|it| !it.consumer.healthy())),
        ];
        ran.into_iter().filter(|(_, ended)| *ended).map(|(what, _)| format!("{what} has stopped")).collect()
    }

    /// How many partitions this process has among the delivers that it knows to live.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.consumer.as_ref().map_or(0, |it| it.share.preferred().len())
    }

    /// What the event path depends on, and whether it is connected to it now.
    #[must_use]
    pub fn dependencies(&self) -> Vec<(&'static str, bool)> {
        let publisher = self.publisher.as_ref().map(|it| ("broker_publisher", it.state() == State::Connected));
        let consumer = self.consumer.as_ref().map(|it| ("broker_consumer", it.consumer.state() == State::Connected));
        let redis = self.claims.as_ref().map(|it| ("redis", it.state() == ClaimsState::Connected));
        [publisher, consumer, redis].into_iter().flatten().collect()
    }

    /// Finishes what is in flight and ends, in the order in which one needs the other. Blocks.
    pub fn stop(self) {
        let Self {
            path,
            counters: _,
            shard,
            replays,
            claims,
            publisher,
            shards,
            consumer,
            partitions,
            deliver,
            server,
            remote,
        } = self;
        if let Some(partitions) = &partitions {
            partitions.may_end();
        }
        // The consumer ends when what is in flight is acknowledged, so the attempts go on until then.
        if let Some(Consuming { consumer, assigned, share: _ }) = consumer {
            consumer.stop();
            drop(assigned);
        }
        if let Some(partitions) = partitions {
            partitions.stop();
        }
        if let Some(deliver) = deliver {
            deliver.stop();
        }
        if let Some(server) = server {
            server.stop();
        }
        drop((path, shards, replays));
        drop(publisher);
        if let Some(claims) = claims {
            claims.shutdown();
        }
        // Connections that were cut may still hold the shard; its file is safe at any instant.
        if let Some(shard) = shard.and_then(Arc::into_inner) {
            shard.shutdown();
        }
        if let Some(remote) = remote {
            remote.shutdown_background();
        }
    }
}

/// Every shard as this process reaches it, and the runtime that holds the connections to those far away.
fn shards(from: &BrokerPath, own: Option<&Arc<Shard>>) -> Result<(Shards, Option<Runtime>), EventsError> {
    let is_own = |place: &ShardPlace| own.is_some() && place.name == from.shard;
    if own.is_some() && !from.shards.iter().any(is_own) {
        return Err(EventsError::UnknownShard(from.shard.clone()));
    }
    let runtime = if from.shards.iter().all(is_own) {
        None
    } else {
        let builder = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Some(builder.map_err(EventsError::Thread)?)
    };
    let _inside = runtime.as_ref().map(Runtime::enter);
    let reach = |place: &ShardPlace| {
        let reach = match (own, &place.address, &from.identity) {
            (Some(shard), ..) if is_own(place) => Reach::Here(shard.clone()),
            (_, Some(address), Some(identity)) => Reach::Far(Remote::new(place.name.clone(), address, identity)?),
            (_, _, _) => return Err(EventsError::NoIdentity(place.name.clone())),
        };
        Ok(NamedShard::new(place.name.clone(), reach))
    };
    let all = from.shards.iter().map(reach).collect::<Result<Vec<_>, _>>()?;
    drop(_inside);
    Ok((Shards::new(all), runtime))
}

/// Answers other processes, where this one holds a shard that they may ask.
fn serve(
    from: &BrokerPath,
    held: Option<(&Arc<Shard>, &Arc<Replays>)>,
    health: &Arc<Health>,
) -> Result<Option<Server>, ServeError> {
    let (Some((shard, replays)), Some(address), Some(identity)) = (held, from.listen, &from.identity) else {
        return Ok(None);
    };
    Server::start(address, identity, (shard.clone(), replays.clone()), health.clone()).map(Some)
}

/// What goes on beside the questions that shards far away are asked: certificates are taken up, and who accepts hears
/// what tenants have there.
fn keep_in_touch(
    remote: Option<&Runtime>,
    (shards, watched): (&Shards, Option<Watched>),
    counters: &Arc<Counters>,
    role: Role,
) -> Depths {
    let depths = Depths::default();
    let Some(remote) = remote else { return depths };
    if let Some(watched) = watched {
        remote.spawn(shards.clone().keep_certificate(watched, counters.clone()));
    }
    remote.spawn(shards.clone().keep_outcomes(counters.clone()));
    if role.accepts() {
        remote.spawn(depths.clone().keep(shards.clone()));
    }
    depths
}

/// What a deliver takes from the broker with.
struct Consuming {
    consumer: Consumer,
    /// Held, because the consumer ends with the last that could change its partitions.
    assigned: watch::Sender<BTreeSet<u16>>,
    share: Share,
}

/// Consumes this deliver's share of the partitions.
fn consume(
    from: &BrokerPath,
    live: Live,
    settings: PartitionSettings,
) -> Result<(Consuming, PartitionDeliver), EventsError> {
    let live = match &from.delivers {
        Delivers::Live(_) => live,
        Delivers::Named(names) => watch::channel(names.clone()).1,
    };
    let share = Share { own: from.deliver.clone(), live, partitions: from.broker.partitions.get() };
    let (assigned, partitions) = watch::channel(share.preferred());
    let held = usize::from(from.broker.prefetch.get()) * usize::from(share.partitions);
    let (deliveries, taken) = mpsc::channel(held.max(1));
    let (dead, given_up) = mpsc::channel(1);
    let consumer = Consumer::start(from.broker.clone(), partitions, deliveries, Some(dead))?;
    let keep = share.clone().keep(assigned.clone());
    let preferring = share.clone();
    let settings = PartitionSettings { preferred: Box::new(move || preferring.preferred()), ..settings };
    let delivering = PartitionDeliver::start(settings, (taken, given_up), keep).map_err(EventsError::Thread)?;
    Ok((Consuming { consumer, assigned, share }, delivering))
}
