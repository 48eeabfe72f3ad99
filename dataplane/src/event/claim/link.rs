//! The connection to Redis: made, watched and made again, for as long as the process runs.
//!
//! One task does it, on the thread of [`super::Claims`]. A connection manager of the library would connect on
//! the runtime of whoever met the break, and stop after some attempts until somebody asks again.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use policy::error::chain;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{Arg, AsyncConnectionConfig, Client, Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::layout::Layout;
use super::script::{Call, Script};
use super::settings::{ClaimsError, RedisSettings};
use crate::event::counters::add;

/// Requests that wait for their answers on one connection; more wait their turn, until their timeout.
const MAX_IN_FLIGHT: usize = 4096;
/// Requests that wait to be written.
const MAX_QUEUED: usize = 1024;
/// How often a connection that nobody complains about is tried.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// How long a trial may take at least; longer than a request, so that a slow moment costs no connection.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long what a trial writes is kept.
const PROBE_KEPT: Duration = Duration::from_secs(60);
/// The first pause between two connects is at most this, each next one twice as long ...
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// ... up to this.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// A Redis, or a cluster of them.
#[derive(Clone)]
enum Reached {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// The way to it, what goes there and back, and since when it has lost nothing that it answered.
#[derive(Clone)]
pub(super) struct Connection {
    reached: Reached,
    /// In microseconds, by its own clock. 0 where that is not known: of a cluster, and of a server that may not say.
    pub(super) since_us: i64,
    traffic: Arc<RedisTraffic>,
}

/// What is asked of Redis, since start.
#[derive(Debug, Default)]
pub struct RedisTraffic {
    /// Questions, each with its answer or without.
    pub round_trips: AtomicU64,
    /// Bytes of what was asked, without the protocol's own.
    pub sent_bytes: AtomicU64,
    /// Bytes of the answers, without the protocol's own.
    pub received_bytes: AtomicU64,
    /// Questions that it refused because its memory is full.
    pub full: AtomicU64,
}

impl Connection {
    pub(super) async fn ask(&mut self, command: &Cmd) -> RedisResult<Value> {
        let sent = command.args_iter().map(|arg| if let Arg::Simple(bytes) = arg { bytes.len() } else { 0 });
        add(&self.traffic.round_trips, 1);
        add(&self.traffic.sent_bytes, sent.sum::<usize>() as u64);
        let answer = match &mut self.reached {
            Reached::Single(connection) => connection.req_packed_command(command).await,
            Reached::Cluster(connection) => connection.req_packed_command(command).await,
        };
        let answer = answer.and_then(Value::extract_error);
        match &answer {
            Ok(value) => add(&self.traffic.received_bytes, size(value)),
            Err(error) => add(&self.traffic.full, u64::from(error.code() == Some("OOM"))),
        }
        answer
    }
}

/// Bytes that an answer of the scripts, or of a read, holds.
fn size(value: &Value) -> u64 {
    if let Value::Array(values) = value {
        values.iter().map(size).sum()
    } else if let Value::BulkString(bytes) = value {
        bytes.len() as u64
    } else {
        // A number, or a word.
        8
    }
}

/// What Redis does when its memory is full. Only `noeviction` keeps claims and ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Eviction {
    /// Not known: never connected, or Redis would not say.
    #[default]
    Unknown,
    /// It refuses writes, as it must.
    No,
    /// It drops keys, by this policy.
    Yes(String),
}

impl Eviction {
    /// From `INFO memory` of one server, or of each of a cluster's: one wrong policy is wrong.
    fn read(info: &Value) -> Self {
        let mut found = Self::Unknown;
        let mut texts = Vec::new();
        collect(info, &mut texts);
        for policy in texts.iter().flat_map(|text| text.lines()).filter_map(|l| l.strip_prefix("maxmemory_policy:")) {
            match policy.trim() {
                "noeviction" if found == Self::Unknown => found = Self::No,
                "noeviction" => {}
                other => found = Self::Yes(other.to_owned()),
            }
        }
        found
    }
}

fn collect(value: &Value, texts: &mut Vec<String>) {
    if let Some(entries) = value.as_map_iter().filter(|_| matches!(value, Value::Map(_))) {
        entries.for_each(|(_, info)| collect(info, texts));
    } else if let Ok(text) = redis::from_redis_value_ref::<String>(value) {
        texts.push(text);
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Settings(#[from] ClaimsError),
    // The log shows no cause beside it.
    #[error("Redis refuses, or the connection broke: {0}")]
    Redis(#[from] RedisError),
    #[error("Redis does not answer")]
    Silent,
}

/// The connection as everybody sees it.
pub(super) struct Link {
    settings: RedisSettings,
    probe: Cmd,
    run: (Script, String),
    current: watch::Sender<Option<Connection>>,
    suspected: Notify,
    eviction: Mutex<Eviction>,
    traffic: Arc<RedisTraffic>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Link {
    pub(super) fn new(settings: RedisSettings, layout: &Layout) -> Self {
        let mut probe = redis::cmd("SET");
        probe.arg(layout.probe()).arg(1).arg("PX").arg(PROBE_KEPT.as_millis().to_string());
        Self {
            settings,
            probe,
            run: (Script::new(include_str!("run.lua")), layout.run()),
            current: watch::Sender::new(None),
            suspected: Notify::new(),
            eviction: Mutex::default(),
            traffic: Arc::default(),
        }
    }

    pub(super) fn connection(&self) -> Option<Connection> {
        self.current.borrow().clone()
    }

    /// Waits until there is one.
    pub(super) async fn connected(&self) -> Option<Connection> {
        let mut current = self.current.subscribe();
        current.wait_for(Option::is_some).await.ok()?.clone()
    }

    /// Somebody had no answer: try it now.
    pub(super) fn suspect(&self) {
        self.suspected.notify_one();
    }

    /// Nothing is connected any more: the thread ends.
    pub(super) fn close(&self) {
        self.current.send_replace(None);
    }

    pub(super) fn eviction(&self) -> Eviction {
        self.lock().clone()
    }

    pub(super) fn traffic(&self) -> &RedisTraffic {
        &self.traffic
    }

    fn patience(&self) -> Duration {
        PROBE_TIMEOUT.max(self.settings.timeout)
    }

    fn lock(&self) -> MutexGuard<'_, Eviction> {
        self.eviction.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects, watches and connects again. Never ends by itself.
    pub(super) async fn keep(&self) {
        let mut attempt = 0;
        loop {
            let why = match self.connect(attempt as usize).await {
                Ok(connection) => {
                    tracing::info!("Redis is connected");
                    attempt = 0;
                    self.current.send_replace(Some(connection.clone()));
                    let why = self.watch(connection).await;
                    self.current.send_replace(None);
                    why
                }
                Err(why) => why,
            };
            // Said once, not at every attempt.
            if attempt == 0 {
                tracing::warn!(error = chain(&why), "Redis is away; connecting again");
            }
            sleep(pause(attempt)).await;
            attempt = attempt.saturating_add(1);
        }
    }

    /// Files are read anew each time, so that a changed password or authority is taken up.
    async fn connect(&self, attempt: usize) -> Result<Connection, Broken> {
        let nodes = self.settings.nodes()?;
        let certificates = self.settings.certificates()?;
        let limit = self.settings.connect_timeout;
        let reached = if self.settings.cluster {
            let mut builder = ClusterClient::builder(nodes)
                .connection_timeout(limit)
                .response_timeout(self.patience())
                .connection_concurrency_limit(MAX_IN_FLIGHT);
            if let Some(certificates) = certificates {
                builder = builder.certs(certificates);
            }
            Reached::Cluster(timed(limit, builder.build()?.get_async_connection()).await?)
        } else {
            let node = nodes.get(attempt % nodes.len().max(1)).ok_or(ClaimsError::NoAddress)?.clone();
            let client = match certificates {
                Some(certificates) => Client::build_with_tls(node, certificates)?,
                None => Client::open(node)?,
            };
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(limit))
                .set_response_timeout(Some(self.patience()))
                .set_pipeline_buffer_size(MAX_QUEUED)
                .set_concurrency_limit(MAX_IN_FLIGHT);
            let connecting = client.get_multiplexed_async_connection_with_config(&config);
            Reached::Single(timed(limit, connecting).await?)
        };
        let mut connection = Connection { reached, since_us: 0, traffic: self.traffic.clone() };
        self.probe(&mut connection).await?;
        self.look_at_eviction(&mut connection).await;
        if !self.settings.cluster {
            connection.since_us = match timed(self.patience(), self.since(&mut connection)).await {
                Ok(since_us) => since_us,
                // It is full: what it knows of numbers is not believed.
                Err(Broken::Redis(error)) if is_refusal(&error) => i64::MAX,
                Err(why) => return Err(why),
            };
        }
        Ok(connection)
    }

    /// Since when this server runs, as all who asked it have seen it.
    async fn since(&self, connection: &mut Connection) -> RedisResult<i64> {
        let mut info = redis::cmd("INFO");
        info.arg("server");
        // One that may not say is taken to be the same for ever.
        let Ok(info) = connection.ask(&info).await else { return Ok(0) };
        let info: String = redis::from_redis_value(info)?;
        let Some(run) = info.lines().find_map(|line| line.strip_prefix("run_id:")) else { return Ok(0) };
        let (script, key) = &self.run;
        let call = Call { keys: vec![key.clone().into_bytes()], arguments: vec![run.trim().as_bytes().to_vec()] };
        redis::from_redis_value(call.run(script, connection).await?).map_err(RedisError::from)
    }

    async fn look_at_eviction(&self, connection: &mut Connection) {
        let mut info = redis::cmd("INFO");
        info.arg("memory");
        // One that may not say its policy, as some hosts forbid it, is not away.
        let found = match timed(self.patience(), connection.ask(&info)).await {
            Ok(info) => Eviction::read(&info),
            Err(_) => Eviction::Unknown,
        };
        match &found {
            Eviction::No => {}
            Eviction::Yes(policy) => tracing::error!(
                policy,
                "Redis drops keys when it is full: set maxmemory-policy to noeviction, or events are delivered twice"
            ),
            Eviction::Unknown => tracing::warn!("Redis does not say its maxmemory-policy; it must be noeviction"),
        }
        *self.lock() = found;
    }

    /// Ends when the connection is of no more use.
    async fn watch(&self, mut connection: Connection) -> Broken {
        loop {
            tokio::select! {
                () = sleep(PROBE_EVERY) => {}
                () = self.suspected.notified() => {}
            }
            if let Err(why) = self.probe(&mut connection).await {
                return why;
            }
        }
    }

    /// Writes, because what cannot be written to is a replica or still loading. One that refuses for want of
    /// memory or disk stays connected: it still knows the ids that it has.
    async fn probe(&self, connection: &mut Connection) -> Result<(), Broken> {
        match timed(self.patience(), connection.ask(&self.probe)).await {
            Ok(_) => Ok(()),
            Err(Broken::Redis(error)) if is_refusal(&error) => Ok(()),
            Err(why) => Err(why),
        }
    }
}

fn is_refusal(error: &RedisError) -> bool {
    use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, ReadOnly};
    let kind = error.kind();
    let of_no_use = matches!(kind, ErrorKind::Server(BusyLoading | ClusterDown | MasterDown | ReadOnly));
    // Redis says OOM and MISCONF in words that the library has no kind for.
    let said = matches!(kind, ErrorKind::Server(_) | ErrorKind::Extension);
    said && !of_no_use && !error.is_unrecoverable_error()
}

async fn timed<T>(limit: Duration, asked: impl Future<Output = RedisResult<T>>) -> Result<T, Broken> {
    Ok(timeout(limit, asked).await.map_err(|_| Broken::Silent)??)
}

/// Somewhere between nothing and twice the pause before, so that gateways do not come back as one.
pub(super) fn pause(attempt: u32) -> Duration {
    let most = FIRST_PAUSE.saturating_mul(1 << attempt.min(16)).min(MAX_PAUSE);
    let mut random = [0_u8; 4];
    // Without randomness the longest pause is as good.
    let share = SystemRandom::new().fill(&mut random).map_or(u32::MAX, |()| u32::from_be_bytes(random));
    most.mul_f64(f64::from(share) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(policy: &str) -> Value {
        Value::BulkString(format!("# Memory\r\nused_memory:1\r\nmaxmemory_policy:{policy}\r\n").into_bytes())
    }

    #[test]
    fn one_server_that_evicts_makes_the_cluster_one_that_does() {
        let cluster = |one, two| Value::Map(vec![(Value::Okay, info(one)), (Value::Okay, info(two))]);
        assert_eq!(Eviction::read(&info("noeviction")), Eviction::No);
        assert_eq!(Eviction::read(&info("allkeys-lru")), Eviction::Yes("allkeys-lru".into()));
        assert_eq!(Eviction::read(&cluster("noeviction", "noeviction")), Eviction::No);
        assert_eq!(Eviction::read(&cluster("volatile-ttl", "noeviction")), Eviction::Yes("volatile-ttl".into()));
        assert_eq!(Eviction::read(&Value::Nil), Eviction::Unknown);
    }

    #[test]
    fn the_pause_between_two_connects_is_bounded() {
        assert!(pause(0) <= FIRST_PAUSE);
        assert!(pause(u32::MAX) <= MAX_PAUSE);
    }
}
