//! The admin port: health, readiness, metrics, the current snapshot, breaker states, events.
//!
//! Not for callers: it listens on an address of its own and shows no secret. All but probes and
//! metrics is for callers of this machine, or with the token: see [`access`].

mod access;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use policy::circuit_breaker::BreakerState;
use policy::error::chain;
use policy::names::TenantName;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};

pub use access::Access;
use access::Ends;

use crate::event::Events;
use crate::event::replay::{Replay, ReplayError, Replayed};
use crate::event::spool::operate::{self, Change, Filter};
use crate::event::spool::outcome_log;
use crate::health::Health;
use crate::runtime::Runtime;
use crate::telemetry::Metrics;
use crate::upstream::Registry;
use crate::upstream::clock::since_origin;

/// Connections at once.
const MAX_CONNECTIONS: usize = 256;
/// Requests about events at once: each reads the store.
const MAX_AT_ONCE: usize = 8;
/// How long a connection may take to send a head, from its beginning or from its last answer.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);

/// Events that one answer lists at most.
const PAGE: u32 = 200;

/// What the admin port can see.
#[derive(Clone)]
pub struct View {
    /// Metrics.
    pub metrics: Metrics,
    /// Health.
    pub health: Arc<Health>,
    /// The live runtime.
    pub live: Arc<ArcSwap<Runtime>>,
    /// The event path.
    pub events: Arc<Events>,
    /// Upstreams and their breakers.
    pub upstreams: Arc<Registry>,
    /// Who may see and change events.
    pub access: Access,
}

/// The running admin port.
#[derive(Debug)]
pub struct Admin {
    /// Where it listens.
    pub address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Admin {
    /// Binds and starts it on a thread of its own, with `beside`: other work that belongs to no core.
    ///
    /// # Errors
    /// When the address is taken, or the thread cannot be started.
    pub fn start(address: SocketAddr, view: View, beside: impl Future + Send + 'static) -> io::Result<Self> {
        let socket = TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default());
            match runtime {
                Ok(runtime) => runtime.block_on(async {
                    tokio::task::spawn_local(async move {
                        beside.await;
                    });
                    serve(socket, view, stopped).await;
                }),
                Err(error) => {
                    tracing::error!(error = chain(&error), "the admin port could not start")
                }
            }
        };
        let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(run)?;
        Ok(Self { address, stop, thread })
    }

    /// Ends it.
    pub fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.thread.join();
    }
}

async fn serve(socket: TcpListener, view: View, mut stopped: watch::Receiver<bool>) {
    let Ok(socket) = tokio::net::TcpListener::from_std(socket) else { return };
    let Ok(bound) = socket.local_addr() else { return };
    let (connections, heavy) = (Arc::new(Semaphore::new(MAX_CONNECTIONS)), Arc::new(Semaphore::new(MAX_AT_ONCE)));
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = stopped.wait_for(|stop| *stop) => return,
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        // Beyond the bound a connection is closed at once: the callers that are here are answered.
        let (Ok(place), Ok(local)) = (connections.clone().try_acquire_owned(), stream.local_addr()) else { continue };
        let (view, heavy) = (view.clone(), heavy.clone());
        tokio::task::spawn_local(async move {
            let _place = place;
            let ends = Ends { bound, local, peer };
            let service = service_fn(|request| {
                let (view, heavy) = (view.clone(), heavy.clone());
                async move { Ok::<_, Infallible>(bounded(&view, &heavy, ends, &request).await) }
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
            // How an admin connection ends matters to nobody but its caller.
            let _ended = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn reply(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn json_reply(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    reply(status, "application/json", value.to_string())
}

fn problem(status: StatusCode, detail: &str) -> Response<Full<Bytes>> {
    let body = json!({"title": status.canonical_reason(), "status": status.as_u16(), "detail": detail});
    reply(status, "application/problem+json", body.to_string())
}

/// 200 when nothing is missing, else 503 with what is.
fn probe(missing: &[String]) -> Response<Full<Bytes>> {
    let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json_reply(status, &json!({"ok": missing.is_empty(), "missing": missing}))
}

/// Answers within a time. Probes and metrics are always answered; of the others so many at once, and more are shed.
async fn bounded(view: &View, heavy: &Semaphore, ends: Ends, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let is_heavy = request.uri().path().starts_with("/events");
    let place = is_heavy.then(|| heavy.try_acquire());
    if let Some(Err(_)) = place {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "too many requests about events at once; try again");
    }
    let answered = tokio::time::timeout(REQUEST_TIMEOUT, answer(view, ends, request)).await;
    answered.unwrap_or_else(|_| problem(StatusCode::GATEWAY_TIMEOUT, "it took too long; what was done stays done"))
}

async fn answer(view: &View, ends: Ends, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if !view.access.is_granted(path, ends, request.headers()) {
        let detail = "this needs the token of --admin-token-file, or a port that is bound to loopback and a caller of this machine";
        return problem(StatusCode::FORBIDDEN, detail);
    }
    let query = request.uri().query().unwrap_or_default();
    match (request.method(), path) {
        (&Method::GET, "/healthz") => probe(&view.health.dead()),
        (&Method::GET, "/readyz") => probe(&unready(view)),
        (&Method::GET, "/metrics") => metrics(view),
        (&Method::GET, "/snapshot") => json_reply(StatusCode::OK, &snapshot(&view.live.load())),
        (&Method::GET, "/breakers") => json_reply(StatusCode::OK, &breakers(view)),
        (&Method::GET, "/events") => listed(view, query),
        (&Method::GET, "/events/find") => found(view, query),
        (&Method::POST, "/events/replay") => replayed(view, query).await,
        (&Method::POST, "/events/skip") => changed(view, query, Change::Skip).await,
        (&Method::DELETE, "/events") => changed(view, query, Change::Drop).await,
        (&Method::GET, path) if path.starts_with("/events/") => shown(view, path),
        _ => problem(StatusCode::NOT_FOUND, "see docs/openapi.yaml for what this port answers"),
    }
}

fn unready(view: &View) -> Vec<String> {
    let mut missing = view.health.unready();
    missing.extend(view.events.missing());
    missing
}

fn metrics(view: &View) -> Response<Full<Bytes>> {
    breaker_states(view);
    match view.metrics.encode() {
        Ok(text) => reply(StatusCode::OK, "text/plain; version=0.0.4", text),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &chain(&error)),
    }
}

/// Of several breakers of one upstream the one that is open furthest is shown. One that audits rests nobody, and one
/// that is gone has no state.
fn breaker_states(view: &View) {
    let now = since_origin(tokio::time::Instant::now());
    view.metrics.breaker_state.reset();
    for upstream in view.upstreams.all().iter().filter(|upstream| !upstream.breaker_audits) {
        let Some(breaker) = &upstream.breaker else { continue };
        let state = match breaker.state(now) {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open => 2,
        };
        let gauge = view.metrics.breaker_state.with_label_values(&[upstream.tenant.as_str(), &*upstream.name]);
        gauge.set(state.max(gauge.get()));
    }
}

fn snapshot(runtime: &Runtime) -> Value {
    let mut tenants: Vec<_> = runtime.tenants().collect();
    tenants.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let tenant = |tenant: &&Arc<crate::runtime::TenantRuntime>| {
        json!({
            "tenant": tenant.name.as_str(),
            "revision": tenant.revision.to_string(),
            "hostnames": tenant.base.hostnames.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "sources": tenant.sources.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>(),
            "notProgrammed": tenant.not_programmed.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    };
    json!({"tenants": tenants.iter().map(tenant).collect::<Vec<_>>()})
}

fn breakers(view: &View) -> Value {
    let now = since_origin(tokio::time::Instant::now());
    let upstreams = view.upstreams.all();
    let state = |upstream: &Arc<crate::upstream::Upstream>| {
        let breaker = upstream.breaker.as_ref()?;
        let mode = if upstream.breaker_audits { "Audit" } else { "Enforce" };
        Some(json!({
            "tenant": upstream.tenant.as_str(),
            "upstream": &*upstream.name,
            "state": breaker.state(now).word(),
            "mode": mode,
        }))
    };
    json!({"breakers": upstreams.iter().filter_map(state).collect::<Vec<_>>()})
}

/// The parameters of a query.
#[derive(Default)]
struct Asked {
    filter: Filter,
    /// After this row.
    after: i64,
    dry_run: bool,
    /// The tenant that gets what is replayed.
    to: Option<TenantName>,
}

impl Asked {
    /// Parses `tenant`, `source`, `conversation`, `id`, `state`, `from`, `before` (milliseconds), `after`, `dryRun`, `to`.
    fn parse(query: &str) -> Result<Self, String> {
        let mut asked = Self::default();
        let number = |text: &str| text.parse::<i64>().map_err(|_| format!("`{text}` is not a number"));
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = value.into_owned();
            let filter = &mut asked.filter;
            match &*name {
                "tenant" => filter.tenant = Some(value),
                "source" => filter.source = Some(value),
                "conversation" => filter.conversation = Some(value),
                "id" => filter.id = Some(value),
                "state" => filter.state = Some(value.parse()?),
                "from" => filter.from_ms = Some(number(&value)?),
                "before" => filter.before_ms = Some(number(&value)?),
                "after" => asked.after = number(&value)?,
                "dryRun" => asked.dry_run = value != "false",
                "to" => asked.to = Some(TenantName::parse(&value).map_err(|error| format!("to: {error}"))?),
                other => {
                    return Err(format!(
                        "`{other}` is not a filter; use tenant, source, conversation, id, state, from, before"
                    ));
                }
            }
        }
        Ok(asked)
    }

    /// Parses what a change asks for: a time alone is not enough.
    fn change(query: &str) -> Result<Self, String> {
        let asked = Self::parse(query)?;
        if (Filter { from_ms: None, before_ms: None, ..asked.filter.clone() }) == Filter::default() {
            return Err(
                "name a tenant, source, conversation, id or state: all events at once is never meant".to_owned()
            );
        }
        Ok(asked)
    }
}

fn no_shard() -> Response<Full<Bytes>> {
    problem(StatusCode::NOT_FOUND, "this process keeps no events; ask one with the role spool or all")
}

fn listed(view: &View, query: &str) -> Response<Full<Bytes>> {
    let Some(shard) = &view.events.shard else { return no_shard() };
    let asked = match Asked::parse(query) {
        Ok(asked) => asked,
        Err(detail) => return problem(StatusCode::BAD_REQUEST, &detail),
    };
    match operate::list(shard.directory(), &asked.filter, asked.after, PAGE) {
        Ok(events) => json_reply(StatusCode::OK, &json!({"events": events})),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &chain(&error)),
    }
}

fn found(view: &View, query: &str) -> Response<Full<Bytes>> {
    let Some(shard) = &view.events.shard else { return no_shard() };
    let id = Asked::parse(query).and_then(|asked| asked.filter.id.ok_or_else(|| "name the event: id".to_owned()));
    let id = match id {
        Ok(id) => id,
        Err(detail) => return problem(StatusCode::BAD_REQUEST, &detail),
    };
    match outcome_log::find(shard.directory(), &id).map(|found| serde_json::to_value(&found)) {
        Ok(Ok(found)) => json_reply(StatusCode::OK, &found),
        Ok(Err(error)) => problem(StatusCode::INTERNAL_SERVER_ERROR, &chain(&error)),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &chain(&error)),
    }
}

fn shown(view: &View, path: &str) -> Response<Full<Bytes>> {
    let Some(shard) = &view.events.shard else { return no_shard() };
    let Some(Ok(row)) = path.strip_prefix("/events/").map(str::parse::<i64>) else {
        return problem(StatusCode::BAD_REQUEST, "name the event by its `row`, which /events lists");
    };
    match operate::show(shard.directory(), row) {
        Ok(Some(shown)) => {
            let event = shown.cloud_event.and_then(|event| serde_json::from_slice::<Value>(&event).ok());
            json_reply(StatusCode::OK, &json!({"listed": shown.listed, "event": event, "remains": shown.remains}))
        }
        Ok(None) => problem(StatusCode::NOT_FOUND, "no event has this row: it was delivered, or dropped"),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &chain(&error)),
    }
}

async fn changed(view: &View, query: &str, change: fn(Filter) -> Change) -> Response<Full<Bytes>> {
    let Some(shard) = &view.events.shard else { return no_shard() };
    let asked = match Asked::change(query) {
        Ok(asked) => asked,
        Err(detail) => return problem(StatusCode::BAD_REQUEST, &detail),
    };
    let change = change(asked.filter);
    let done = match operate::count(shard.directory(), &change) {
        Ok(1..) if !asked.dry_run => shard.change(change).await,
        counted => counted,
    };
    match done {
        Ok(events) => json_reply(StatusCode::OK, &json!({"events": events, "dryRun": asked.dry_run})),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &chain(&error)),
    }
}

async fn replayed(view: &View, query: &str) -> Response<Full<Bytes>> {
    let Some(replays) = &view.events.replays else { return no_shard() };
    let Asked { filter, after: _, dry_run, to } = match Asked::change(query) {
        Ok(asked) => asked,
        Err(detail) => return problem(StatusCode::BAD_REQUEST, &detail),
    };
    let Replayed { events, stay, requests, decided } = match replays.run(&Replay { filter, to, dry_run }).await {
        Ok(replayed) => replayed,
        Err(error @ ReplayError::Redis(_)) => return problem(StatusCode::SERVICE_UNAVAILABLE, &chain(&error)),
        Err(error @ ReplayError::Spool(_)) => return problem(StatusCode::INTERNAL_SERVER_ERROR, &chain(&error)),
    };
    if events + stay == 0 && requests > 0 {
        return problem(StatusCode::CONFLICT, operate::NOT_REPLAYED);
    }
    let body = json!({
        "events": events, "stay": stay, "requests": requests, "dryRun": dry_run, "decided": decided
    });
    json_reply(StatusCode::OK, &body)
}
