//! A network between two processes that can be cut: bytes stop, connections end, or nobody is let in.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What a network does with bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// It carries them.
    #[default]
    Whole,
    /// It carries nothing and says nothing, as one that drops packets; what was on its way goes on later.
    BlackHole,
    /// Connections end, and a new one ends at once.
    Refuses,
}

#[derive(Debug, Default)]
struct State {
    network: Network,
    /// Both ends of each connection, by number.
    connections: HashMap<u64, [TcpStream; 2]>,
    made: u64,
    over: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while the network is a black hole.
    fn wait(&self) {
        let hole = |state: &mut State| state.network == Network::BlackHole && !state.over;
        drop(self.changed.wait_while(self.lock(), hole).unwrap_or_else(PoisonError::into_inner));
    }

    fn join(&self, ends: &[TcpStream; 2]) -> io::Result<Option<u64>> {
        let [near, far] = ends;
        let ends = [near.try_clone()?, far.try_clone()?];
        let mut state = self.lock();
        if state.network == Network::Refuses || state.over {
            return Ok(None);
        }
        let number = state.made;
        state.made += 1;
        state.connections.insert(number, ends);
        Ok(Some(number))
    }

    fn end(&self, number: u64) {
        end(self.lock().connections.remove(&number));
    }
}

/// Ends connections in both directions.
fn end(connections: impl IntoIterator<Item = [TcpStream; 2]>) {
    for stream in connections.into_iter().flatten() {
        // Who reads it learns it so.
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// A port that leads to another one, for one process to be told instead of it.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Leads to an address, where nobody need listen yet.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared: Arc<Shared> = Arc::default();
        let accepting = shared.clone();
        std::thread::spawn(move || {
            for near in listener.incoming() {
                if accepting.lock().over {
                    break;
                }
                let Ok(near) = near else { continue };
                let shared = accepting.clone();
                std::thread::spawn(move || drop(lead(near, target, &shared)));
            }
        });
        Ok(Self { address, shared })
    }

    /// Makes the network so, from now on.
    pub fn set(&self, network: Network) {
        let mut state = self.shared.lock();
        state.network = network;
        if network == Network::Refuses {
            end(state.connections.drain().map(|(_, ends)| ends));
        }
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.over = true;
        end(state.connections.drain().map(|(_, ends)| ends));
        self.shared.changed.notify_all();
        drop(state);
        // Wakes the accepting thread, which then ends.
        let _ = TcpStream::connect(self.address);
    }
}

/// One connection, until either side or the network ends it.
fn lead(near: TcpStream, target: SocketAddr, shared: &Arc<Shared>) -> io::Result<()> {
    shared.wait();
    let ends = [near, TcpStream::connect(target)?];
    let Some(number) = shared.join(&ends)? else { return Ok(()) };
    let [near, far] = ends;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (back_from, back_to, back_shared) = (far.try_clone()?, near.try_clone()?, shared.clone());
    let back = std::thread::spawn(move || carry(back_from, back_to, &back_shared));
    carry(near, far, shared);
    // Half of a connection is of no use to anybody here.
    shared.end(number);
    let _ = back.join();
    Ok(())
}

fn carry(mut from: TcpStream, mut to: TcpStream, shared: &Shared) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        shared.wait();
        if bytes.get(..count).is_none_or(|bytes| to.write_all(bytes).is_err()) {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn pair() -> (Proxy, TcpStream, TcpStream) {
        let target = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::start(target.local_addr().unwrap()).unwrap();
        let near = TcpStream::connect(proxy.address).unwrap();
        let (far, _) = target.accept().unwrap();
        (proxy, near, far)
    }

    #[test]
    fn a_black_hole_keeps_what_it_was_given_until_it_is_none() {
        let (proxy, mut near, mut far) = pair();
        let mut byte = [0];
        near.write_all(b"a").unwrap();
        far.read_exact(&mut byte).unwrap();
        proxy.set(Network::BlackHole);
        near.write_all(b"b").unwrap();
        far.set_nonblocking(true).unwrap();
        assert_eq!(far.read(&mut byte).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        far.set_nonblocking(false).unwrap();
        proxy.set(Network::Whole);
        far.read_exact(&mut byte).unwrap();
        assert_eq!(byte, *b"b");
    }

    #[test]
    fn a_network_that_refuses_ends_what_there_is_and_lets_nobody_in() {
        let (proxy, mut near, mut far) = pair();
        proxy.set(Network::Refuses);
        let mut byte = [0];
        assert_eq!(near.read(&mut byte).unwrap_or(0) + far.read(&mut byte).unwrap_or(0), 0);
        let mut late = TcpStream::connect(proxy.address).unwrap();
        assert_eq!(late.read(&mut byte).unwrap_or(0), 0);
    }
}
