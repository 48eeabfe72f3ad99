//! Sockets: one acceptor hands them to the cores evenly, under connection budgets.

mod accept;
mod budget;
mod core;
mod first_bytes;
mod h2;

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use tokio::sync::{mpsc, watch};

use crate::health::Health;
use crate::http::{HttpLimits, Inbound, Ticks, TrustedHops};
use budget::Budget;

/// How long tunnels may take to close after the drain time.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// How connections are taken.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Where to listen.
    pub address: SocketAddr,
    /// Cores, each with a runtime of its own.
    pub cores: usize,
    /// Connections at once.
    pub max_connections: usize,
    /// Connections at once from one address.
    pub max_connections_per_address: u32,
    /// What one connection may cost.
    pub http: HttpLimits,
    /// Which hops in front are believed.
    pub hops: TrustedHops,
}

/// What answers requests; makes the part that each core has for itself.
pub trait App: Send + Sync + 'static {
    /// The part of one core; never leaves it.
    type Core: Serve;

    /// Called on the core's own thread.
    fn core(&self, ticks: Ticks) -> Rc<Self::Core>;
}

/// One core of an app.
pub trait Serve: 'static {
    /// The body of its answers.
    type Body: http_body::Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Unpin + 'static;

    /// Answers one request.
    fn answer(self: Rc<Self>, inbound: Inbound) -> impl Future<Output = Response<Self::Body>>;

    /// Called a few times a second.
    fn tick(&self);
}

/// Counts of connections.
#[derive(Clone, Debug)]
pub struct ConnectionCounts {
    /// Open now.
    pub open: prometheus::IntGauge,
    /// Accepted ever.
    pub accepted: prometheus::IntCounter,
    /// Closed at once because a budget was spent.
    pub refused: prometheus::IntCounter,
}

/// A running listener.
#[derive(Debug)]
pub struct Listener {
    /// Where it listens.
    pub address: SocketAddr,
    budget: Arc<Budget>,
    drain: watch::Sender<bool>,
    over: watch::Sender<bool>,
    ended: std_mpsc::Receiver<()>,
    threads: Vec<JoinHandle<()>>,
}

impl Listener {
    /// Binds and starts the acceptor and the cores.
    ///
    /// # Errors
    /// When the address is taken, or a thread cannot be started.
    pub fn start<A: App>(
        settings: &ListenerSettings,
        app: &Arc<A>,
        health: &Arc<Health>,
        counts: ConnectionCounts,
    ) -> io::Result<Self> {
        let socket = bind(settings.address)?;
        let address = socket.local_addr()?;
        let (drain, drained) = watch::channel(false);
        let (over, is_over) = watch::channel(false);
        let (ended_sender, ended) = std_mpsc::channel();
        let budget = Arc::new(Budget::new(settings, counts));
        let (mut threads, mut cores) = (Vec::new(), Vec::new());
        for index in 0..settings.cores.max(1) {
            let (sender, sockets) = mpsc::unbounded_channel();
            cores.push(sender);
            let core =
                core::CoreThread::new(settings, sockets, (drained.clone(), is_over.clone()), ended_sender.clone());
            let (app, health) = (app.clone(), health.clone());
            let name = format!("core-{index}");
            let run = move || {
                let _watched = EndWatch { health, name: format!("core {index}"), drained: core.drained() };
                core.run(&*app);
            };
            threads.push(std::thread::Builder::new().name(name).spawn(run)?);
        }
        let acceptor = accept::Acceptor { socket, cores, budget: budget.clone(), drained: drained.clone() };
        let watched = EndWatch { health: health.clone(), name: "acceptor".to_owned(), drained };
        let run = move || {
            let _watched = watched;
            acceptor.run();
        };
        threads.push(std::thread::Builder::new().name("acceptor".to_owned()).spawn(run)?);
        Ok(Self { address, budget, drain, over, ended, threads })
    }

    /// Stops accepting, finishes what is in flight, closes what rests; cuts the rest after `patience`. How many
    /// connections were cut.
    #[must_use]
    pub fn drain(self, patience: Duration) -> usize {
        let Self { address, budget, drain, over, ended, threads } = self;
        let _ = drain.send(true);
        // Wakes the acceptor out of its wait.
        let _ = std::net::TcpStream::connect(address);
        let cores = threads.len().saturating_sub(1);
        let mut left = cores - wait(&ended, cores, patience);
        let cut = budget.open();

        if left > 0 {
            // Tunnels have no end of their own: they are closed in order, and what still hangs is cut.
            let _ = over.send(true);
            left -= wait(&ended, left, CLOSE_PATIENCE);
        }
        if left == 0 {
            for thread in threads {
                let _ = thread.join();
            }
        }
        cut
    }
}

/// Waits until so many cores have ended, at most for `patience`. How many have.
fn wait(ended: &std_mpsc::Receiver<()>, cores: usize, patience: Duration) -> usize {
    let until = std::time::Instant::now() + patience;
    let left = || until.saturating_duration_since(std::time::Instant::now());
    (0..cores).take_while(|_| ended.recv_timeout(left()).is_ok()).count()
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

/// Says so when a thread ends that should not, a panic included.
struct EndWatch {
    health: Arc<Health>,
    name: String,
    drained: watch::Receiver<bool>,
}

impl Drop for EndWatch {
    fn drop(&mut self) {
        if !*self.drained.borrow() {
            self.health.ended(&self.name);
        }
    }
}

#[cfg(test)]
#[path = "rest_tests.rs"]
mod rest_tests;
