//! One core: a runtime of its own, its connections, its sweep.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::{self, Rc};
use std::sync::mpsc as std_mpsc;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use http::header::CONNECTION;
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use policy::error::chain;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};

use super::accept::Accepted;
use super::first_bytes::{self, FirstBytes, Speaks};
use super::h2::{self, Streams};
use super::{App, ListenerSettings, Serve};
use crate::http::{Answered, Connection, Gate, HttpLimits, Inbound, Slots, Ticks, TrustedHops, Watch};

/// How often the sweep looks at the connections.
const SWEEP: Duration = Duration::from_millis(250);
/// Header fields for which the parser has room on its stack; with a bound of ours it allocates for each request.
const PARSED_IN_PLACE: usize = 100;
/// A peer that speaks TLS to this port is logged at most this often by a core.
const TLS_LOGGED: Duration = Duration::from_secs(60);

pub(super) struct CoreThread {
    limits: Arc<HttpLimits>,
    hops: Arc<TrustedHops>,
    sockets: mpsc::UnboundedReceiver<Accepted>,
    drained: watch::Receiver<bool>,
    over: watch::Receiver<bool>,
    ended: std_mpsc::Sender<()>,
}

/// What the connections of one core share.
pub(super) struct Shared {
    pub(super) limits: Arc<HttpLimits>,
    hops: Arc<TrustedHops>,
    pub(super) ticks: Ticks,
    watches: RefCell<Vec<Weak<Watch>>>,
    /// The HTTP/2 connections.
    pub(super) streams: RefCell<Vec<rc::Weak<Streams>>>,
    pub(super) drained: watch::Receiver<bool>,
    /// The drain time is over.
    over: watch::Receiver<bool>,
    tls_logged: Cell<Option<Instant>>,
}

impl Shared {
    /// Logs a peer that speaks TLS: usually a client or a proxy with `https` where this port takes `http`.
    fn log_tls(&self, peer: SocketAddr) {
        if self.tls_logged.get().is_none_or(|at| at.elapsed() >= TLS_LOGGED) {
            self.tls_logged.set(Some(Instant::now()));
            tracing::warn!(%peer, "connection closed: the peer speaks TLS, and this port takes plain HTTP");
        }
    }
}

impl CoreThread {
    pub(super) fn new(
        settings: &ListenerSettings,
        sockets: mpsc::UnboundedReceiver<Accepted>,
        (drained, over): (watch::Receiver<bool>, watch::Receiver<bool>),
        ended: std_mpsc::Sender<()>,
    ) -> Self {
        let (limits, hops) = (Arc::new(settings.http.clone()), Arc::new(settings.hops.clone()));
        Self { limits, hops, sockets, drained, over, ended }
    }

    pub(super) fn drained(&self) -> watch::Receiver<bool> {
        self.drained.clone()
    }

    pub(super) fn run<A: App>(self, app: &A) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default());
        match runtime {
            Ok(runtime) => runtime.block_on(self.serve(app)),
            Err(error) => {
                tracing::error!(error = chain(&error), "a core could not start its runtime");
            }
        }
    }

    async fn serve<A: App>(self, app: &A) {
        let Self { limits, hops, mut sockets, drained, over, ended } = self;
        let ticks = Ticks::default();
        let core = app.core(ticks.clone());
        let shared = Rc::new(Shared {
            limits,
            hops,
            ticks,
            watches: RefCell::default(),
            streams: RefCell::default(),
            drained: drained.clone(),
            over,
            tls_logged: Cell::new(None),
        });
        let sweep = tokio::task::spawn_local(sweep(shared.clone(), core.clone()));
        let mut connections = tokio::task::JoinSet::new();
        let mut stop = drained;
        loop {
            tokio::select! {
                accepted = sockets.recv() => match accepted {
                    Some(accepted) => {
                        connections.spawn_local(connection(shared.clone(), core.clone(), accepted));
                    }
                    None => break,
                },
                // Ended connections are taken out as they end; a panic in one is its own end and no other's.
                Some(_) = connections.join_next() => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        drop(sockets);
        while connections.join_next().await.is_some() {}
        sweep.abort();
        drop(core);
        let _ = ended.send(());
    }
}

async fn sweep<C: Serve>(shared: Rc<Shared>, core: Rc<C>) {
    let began = Instant::now();
    let mut interval = tokio::time::interval(SWEEP);
    loop {
        interval.tick().await;
        shared.ticks.set(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
        shared.watches.borrow_mut().retain(|watch| match watch.upgrade() {
            Some(watch) => !watch.sweep(&shared.limits),
            None => false,
        });
        shared.streams.borrow_mut().retain(|streams| match streams.upgrade() {
            Some(streams) => {
                streams.sweep(&shared.limits);
                true
            }
            None => false,
        });
        core.tick();
    }
}

async fn connection<C: Serve>(shared: Rc<Shared>, core: Rc<C>, accepted: Accepted) {
    let Accepted { socket, peer, _place, _load } = accepted;
    let Ok(socket) = nonblocking(socket) else { return };
    let watch = Arc::new(Watch::new(shared.ticks.clone()));
    shared.watches.borrow_mut().push(Arc::downgrade(&watch));
    let (open, mut closed) = oneshot::channel();
    let slots = Slots { over: shared.over.clone(), _open: Rc::new(open) };
    let connection = Connection { peer, hops: shared.hops.clone(), watch, slots };
    let patience = shared.limits.head_timeout;
    let mut stop = shared.drained.clone();
    let first = tokio::select! {
        first = tokio::time::timeout(patience, first_bytes::read(socket)) => first,
        // Nothing of a request has come: there is nothing to finish.
        _ = stop.wait_for(|stop| *stop) => return,
    };
    let Ok(Ok((speaks, socket))) = first else { return };
    // How a connection ended is the caller's matter: its requests have their own lines in the log.
    let _ended = match speaks {
        Speaks::Http2 => h2::serve(&shared, core, connection, socket).await,
        Speaks::Http1 => serve_h1(&shared, core, connection, socket).await,
        Speaks::Tls => {
            shared.log_tls(peer);
            return;
        }
    };

    // A tunnel that came out of this connection has its slots until it ends: nobody sends here, all may drop.
    let _dropped = (&mut closed).await;
}

fn nonblocking(socket: std::net::TcpStream) -> io::Result<TcpStream> {
    socket.set_nonblocking(true)?;
    socket.set_nodelay(true)?;
    TcpStream::from_std(socket)
}

async fn serve_h1<C: Serve>(
    shared: &Rc<Shared>,
    core: Rc<C>,
    connection: Connection,
    socket: FirstBytes<TcpStream>,
) -> hyper::Result<()> {
    let gate = Gate::new(socket, shared.limits.clone(), connection.watch.clone());
    let heads = Cell::new(0_u64);
    let service = service_fn(|request: Request<Incoming>| {
        let head = heads.replace(heads.get() + 1);
        let refused = connection.watch.refusal_of(head);
        let unclear = refused.is_some();
        let inbound = Inbound { request, connection: connection.clone(), refused };
        let core = core.clone();
        let drained = shared.drained.clone();
        let answering = connection.watch.answer();
        let uploading = connection.watch.clone();
        async move {
            let mut response = core.answer(inbound).await.map(|body| Answered::new(body, answering));
            // The connection's own task may see the drain only after this answer is on its way.
            // Who is refused while sending a body must know that nothing after it is read.
            if unclear || *drained.borrow() || uploading.expects_body() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    // The sweep keeps the times; a timer for each request would cost more than the request's own work.
    http.header_read_timeout(None).max_buf_size(shared.limits.head_bytes.max(8192) + 8192);
    if shared.limits.header_fields > PARSED_IN_PLACE {
        http.max_headers(shared.limits.header_fields);
    }
    http.pipeline_flush(true);
    let mut serving = pin!(http.serve_connection(TokioIo::new(gate), service).with_upgrades());
    let mut stop = shared.drained.clone();
    tokio::select! {
        ended = serving.as_mut() => ended,
        _ = stop.wait_for(|stop| *stop) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    }
}
