//! Carries an upgraded connection: bytes both ways, until both sides are done or nothing moves.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// How long each side of a tunnel that is ended may take to be told.
const GOODBYE: Duration = Duration::from_secs(1);
/// Bytes on the way in each direction.
const BUFFER_BYTES: usize = 8 * 1024;

/// How a tunnel ended.
#[derive(Debug)]
pub enum TunnelEnd {
    /// Each side said that it was done, and the other was told.
    Finished,
    /// Nothing moved for too long.
    Idle,
    /// It lived as long as it may.
    Lifetime,
    /// The process ends.
    Drained,
    /// A side broke; the other was cut.
    Broken(io::Error),
}

impl TunnelEnd {
    /// The word for it in metrics.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Idle => "idle",
            Self::Lifetime => "lifetime",
            Self::Drained => "drained",
            Self::Broken(_) => "broken",
        }
    }
}

/// How long a tunnel may be.
#[derive(Clone, Copy, Debug)]
pub struct TunnelLimits {
    /// In which nothing moves. WebSocket peers ping more often.
    pub idle_timeout: Duration,
    /// In all.
    pub lifetime: Duration,
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

/// Carries bytes until the end, at the latest until `drained` ends. A side that ends its direction still gets what the
/// other has to say.
pub async fn tunnel<D, U>(
    downstream: D,
    upstream: U,
    limits: TunnelLimits,
    drained: impl Future<Output = ()>,
) -> Carried
where
    D: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let (from_caller, mut to_caller) = tokio::io::split(downstream);
    let (from_upstream, mut to_upstream) = tokio::io::split(upstream);
    let (up, down) = (Cell::new(0), Cell::new(0));
    let moved = Cell::new(Instant::now());
    let both = async {
        tokio::try_join!(
            copy(from_caller, &mut to_upstream, &up, &moved),
            copy(from_upstream, &mut to_caller, &down, &moved)
        )
    };
    let end = tokio::select! {
        ended = both => match ended {
            Ok(((), ())) => TunnelEnd::Finished,
            Err(cause) => TunnelEnd::Broken(cause),
        },
        () = stillness(&moved, limits.idle_timeout) => TunnelEnd::Idle,
        () = sleep(limits.lifetime) => TunnelEnd::Lifetime,
        () = drained => TunnelEnd::Drained,
    };

    if matches!(end, TunnelEnd::Idle | TunnelEnd::Lifetime | TunnelEnd::Drained) {
        // Both sides learn the end by a close in order, not by a reset.
        let told = async { tokio::join!(to_caller.shutdown(), to_upstream.shutdown()) };
        let _ = timeout(GOODBYE, told).await;
    }
    Carried { up: up.get(), down: down.get(), end }
}

async fn copy<R, W>(mut from: R, to: &mut W, carried: &Cell<u64>, moved: &Cell<Instant>) -> io::Result<()>
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

    fn limits(idle_ms: u64) -> TunnelLimits {
        TunnelLimits { idle_timeout: Duration::from_millis(idle_ms), lifetime: Duration::from_secs(60) }
    }

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
        let (carried, ()) = tokio::join!(tunnel(downstream, upstream, limits(5000), std::future::pending()), peers);
        assert!(matches!(carried, Carried { up: 4, down: 11, end: TunnelEnd::Finished }), "{carried:?}");
    }

    #[tokio::test]
    async fn a_tunnel_in_which_nothing_moves_is_ended() {
        let (_caller, downstream) = tokio::io::duplex(64);
        let (_server, upstream) = tokio::io::duplex(64);
        let carried = tunnel(downstream, upstream, limits(5), std::future::pending()).await;
        assert!(matches!(carried.end, TunnelEnd::Idle));
    }

    #[tokio::test]
    async fn end_of_the_drain_closes_both_sides_in_order() {
        let (mut caller, downstream) = tokio::io::duplex(64);
        let (mut server, upstream) = tokio::io::duplex(64);
        let carried = tunnel(downstream, upstream, limits(5000), std::future::ready(())).await;
        assert!(matches!(carried.end, TunnelEnd::Drained));
        for side in [&mut caller, &mut server] {
            assert_eq!(side.read(&mut [0; 8]).await.unwrap(), 0);
        }
    }

    #[tokio::test]
    async fn tunnel_ends_with_its_lifetime() {
        let (_caller, downstream) = tokio::io::duplex(64);
        let (_server, upstream) = tokio::io::duplex(64);
        let limits = TunnelLimits { idle_timeout: Duration::from_secs(5), lifetime: Duration::from_millis(5) };
        assert!(matches!(tunnel(downstream, upstream, limits, std::future::pending()).await.end, TunnelEnd::Lifetime));
    }
}
