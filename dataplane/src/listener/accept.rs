//! The acceptor: every new socket goes to the core that has the fewest.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use policy::error::chain;
use tokio::sync::{mpsc, watch};

use super::budget::{Budget, Place};

/// Pause after an accept failed: out of file descriptors, most likely, and trying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A socket on its way to a core, with its place in the budget.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) socket: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) _place: Place,
    /// The core's count; falls when the connection ends.
    pub(super) _load: Load,
}

/// One connection in a core's count.
#[derive(Debug)]
pub(super) struct Load(Arc<AtomicUsize>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

pub(super) struct Acceptor {
    pub(super) socket: TcpListener,
    pub(super) cores: Vec<mpsc::UnboundedSender<Accepted>>,
    pub(super) budget: Arc<Budget>,
    pub(super) drained: watch::Receiver<bool>,
}

impl Acceptor {
    pub(super) fn run(self) {
        let loads: Vec<Arc<AtomicUsize>> = self.cores.iter().map(|_| Arc::default()).collect();
        loop {
            let accepted = self.socket.accept();
            if *self.drained.borrow() {
                return;
            }
            match accepted {
                Ok((socket, peer)) => self.hand_over(socket, peer, &loads),
                Err(error) => {
                    tracing::warn!(error = chain(&error), "a connection could not be accepted");
                    std::thread::sleep(ACCEPT_PAUSE);
                }
            }
        }
    }

    fn hand_over(&self, socket: TcpStream, peer: SocketAddr, loads: &[Arc<AtomicUsize>]) {
        // Past the budget the socket is dropped, which closes it: no memory, no task, no bytes for it.
        let Some(place) = self.budget.take(peer.ip()) else { return };
        let least = self.cores.iter().zip(loads).min_by_key(|(_, load)| load.load(Ordering::Acquire));
        let Some((core, load)) = least else { return };
        load.fetch_add(1, Ordering::AcqRel);
        let accepted = Accepted { socket, peer, _place: place, _load: Load(load.clone()) };
        // A core that is gone has been reported by its own watch; the socket closes.
        let _ = core.send(accepted);
    }
}
