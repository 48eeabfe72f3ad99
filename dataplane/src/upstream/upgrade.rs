//! Carries an upgraded connection: bytes both ways, until both sides are done or nothing moves.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until};

/// A tunnel in which nothing moved for this long is ended. WebSocket peers ping more often.
pub const TUNNEL_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Bytes on the way in each direction.
const BUFFER_BYTES: usize = 8 * 1024;

/// How a tunnel ended.
#[derive(Debug)]
pub enum TunnelEnd {
    /// Each side said that it was done, and the other was told.
    Finished,
    /// Nothing moved for too long.
    Idle,
    /// A side broke; the other was cut.
    Broken(io::Error),
}

/// What a tunnel carried.
#[derive(Debug)]
pub struct Carried {
    /// Bytes to the upstream.
    pub up: u64,
    /// Bytes to the caller.
    pub down: u64,
    /// How it ended.
    pub end: TunnelEnd,
}

/// Carries bytes until the end. A side that ends its direction still gets what the other has to say.
pub async fn tunnel<D, U>(downstream: D, upstream: U, idle_timeout: Duration) -> Carried
where
    D: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let (from_caller, to_caller) = tokio::io::split(downstream);
    let (from_upstream, to_upstream) = tokio::io::split(upstream);
    let (up, down) = (Cell::new(0), Cell::new(0));
    let moved = Cell::new(Instant::now());
    let both = async {
        tokio::try_join!(copy(from_caller, to_upstream, &up, &moved), copy(from_upstream, to_caller, &down, &moved))
    };
    let end = tokio::select! {
        ended = both => match ended {
            Ok(((), ())) => TunnelEnd::Finished,
            Err(cause) => TunnelEnd::Broken(cause),
        },
        () = stillness(&moved, idle_timeout) => TunnelEnd::Idle,
    };
    Carried { up: up.get(), down: down.get(), end }
}

async fn copy<R, W>(mut from: R, mut to: W, carried: &Cell<u64>, moved: &Cell<Instant>) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let n = from.read(&mut buffer).await?;
        if n == 0 {
            return to.shutdown().await;
        }
        to.write_all(buffer.get(..n).unwrap_or_default()).await?;
        to.flush().await?;
        carried.set(carried.get() + n as u64);
        moved.set(Instant::now());
    }
}

async fn stillness(moved: &Cell<Instant>, idle_timeout: Duration) {
    loop {
        let until = moved.get() + idle_timeout;
        if Instant::now() >= until {
            return;
        }
        sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_side_that_is_done_still_hears_the_other() {
        let (mut caller, downstream) = tokio::io::duplex(64);
        let (mut server, upstream) = tokio::io::duplex(64);
        let peers = async {
            caller.write_all(b"ping").await.unwrap();
            caller.shutdown().await.unwrap();
            let mut heard = Vec::new();
            server.read_to_end(&mut heard).await.unwrap();
            assert_eq!(heard, b"ping");
            server.write_all(b"late answer").await.unwrap();
            server.shutdown().await.unwrap();
            let mut heard = Vec::new();
            caller.read_to_end(&mut heard).await.unwrap();
            assert_eq!(heard, b"late answer");
        };
        let (carried, ()) = tokio::join!(tunnel(downstream, upstream, Duration::from_secs(5)), peers);
        assert!(matches!(carried, Carried { up: 4, down: 11, end: TunnelEnd::Finished }), "{carried:?}");
    }

    #[tokio::test]
    async fn a_tunnel_in_which_nothing_moves_is_ended() {
        let (_caller, downstream) = tokio::io::duplex(64);
        let (_server, upstream) = tokio::io::duplex(64);
        let carried = tunnel(downstream, upstream, Duration::from_millis(5)).await;
        assert!(matches!(carried.end, TunnelEnd::Idle));
    }
}
