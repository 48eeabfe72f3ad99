//! The second stage of a close (RFC 9112, 9.6): what the caller still sends is read and dropped, so that the response
//! that it has not read yet is not lost by a reset.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// The longest pause of a caller that is worth waiting for.
const PAUSE: Duration = Duration::from_secs(2);
/// How long a caller may go on sending.
const WHOLE: Duration = Duration::from_secs(10);

/// The wait for the caller's close.
#[derive(Debug)]
pub(super) struct Linger {
    until: Instant,
    alarm: Pin<Box<Sleep>>,
}

impl Linger {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { until: now + WHOLE, alarm: Box::pin(sleep_until(now + PAUSE)) }
    }

    /// Reads until the caller closes, pauses for too long, or has had its time.
    pub(super) fn poll<Io: AsyncRead + Unpin>(&mut self, cx: &mut Context<'_>, io: &mut Io) -> Poll<()> {
        let mut moved = false;
        loop {
            let mut space = [0; 8192];
            let mut read = ReadBuf::new(&mut space);
            match Pin::new(&mut *io).poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) if !read.filled().is_empty() => moved = true,
                Poll::Ready(Ok(()) | Err(_)) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }

        if moved {
            self.alarm.as_mut().reset(self.until.min(Instant::now() + PAUSE));
        }
        self.alarm.as_mut().poll(cx)
    }
}
