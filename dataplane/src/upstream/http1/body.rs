//! A response body, handed on as it comes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::connection::Connection;
use super::decode::{Decoder, Step};
use super::error::{ExchangeError, Malformed, Sent};
use super::exchange::Begun;
use super::framing::Framing;
use super::send::{RestOfRequest, SendError};
use crate::upstream::pool::InFlight;

/// The longest pause between two pieces of a response body.
pub const BODY_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The body of an upstream's answer. Its connection goes back to the pool when all of it was taken;
/// dropped before that, the connection is closed.
pub struct UpstreamBody {
    live: Option<Live>,
    size: SizeHint,
}

struct Live {
    connection: Connection,
    decoder: Decoder,
    rest: Option<Box<dyn RestOfRequest>>,
    keep_alive: bool,
    /// For the end of the response.
    deadline: Option<Instant>,
    /// Set when it first has to wait for the next piece.
    idle_until: Option<Instant>,
    in_flight: InFlight,
}

impl std::fmt::Debug for UpstreamBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamBody").field("size", &self.size).finish_non_exhaustive()
    }
}

impl UpstreamBody {
    /// A body without a byte.
    #[must_use]
    pub fn empty() -> Self {
        Self { live: None, size: SizeHint::with_exact(0) }
    }

    pub(crate) fn new(begun: Begun, deadline: Option<Instant>, in_flight: InFlight) -> (http::response::Parts, Self) {
        let Begun { head, frame, connection, rest } = begun;
        let size = match frame.framing {
            Framing::None => SizeHint::with_exact(0),
            Framing::Length(n) => SizeHint::with_exact(n),
            Framing::Chunked | Framing::UntilClose => SizeHint::new(),
        };
        let decoder = Decoder::new(frame.framing);
        let keep_alive = frame.keep_alive;
        let live = Live { connection, decoder, rest, keep_alive, deadline, idle_until: None, in_flight };
        let mut body = Self { live: Some(live), size };
        if frame.framing == Framing::None {
            body.finish();
        }
        let (mut parts, ()) = http::Response::new(()).into_parts();
        parts.status = head.status;
        parts.headers = head.headers;
        (parts, body)
    }

    fn finish(&mut self) {
        if let Some(Live { connection, rest: None, keep_alive: true, in_flight, .. }) = self.live.take() {
            in_flight.give_back(connection);
        }
    }

    fn fail(&mut self, error: ExchangeError) -> Poll<Option<Result<Frame<Bytes>, ExchangeError>>> {
        self.live = None;
        Poll::Ready(Some(Err(error)))
    }
}

impl Live {
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Result<Step, ExchangeError>> {
        if let Some(rest) = &mut self.rest {
            let Connection { stream, write, .. } = &mut self.connection;
            match rest.poll_send(cx, stream, write) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.rest = None,
                // The answer is already on its way and tells the caller more than this would.
                Poll::Ready(Err(SendError::Io(_) | SendError::Body(_) | SendError::Length)) => {
                    self.rest = None;
                    self.keep_alive = false;
                }
            }
        }
        loop {
            match self.decoder.step(&mut self.connection.read)? {
                Step::More => {}
                step @ (Step::Data(_) | Step::Trailers(_) | Step::End) => {
                    self.idle_until = None;
                    return Poll::Ready(Ok(step));
                }
            }
            match self.connection.poll_fill(cx) {
                Poll::Ready(Ok(0)) if self.decoder.may_close() => return Poll::Ready(Ok(Step::End)),
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(Malformed::EarlyEnd.into())),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(cause)) => {
                    let closed = ExchangeError::Closed { sent: Sent::Some, answer_began: true, cause: Some(cause) };
                    return Poll::Ready(Err(closed));
                }
                Poll::Pending => {
                    let idle_until = *self.idle_until.get_or_insert_with(|| Instant::now() + BODY_IDLE_TIMEOUT);
                    let until = self.deadline.map_or(idle_until, |deadline| deadline.min(idle_until));
                    ready!(self.connection.alarm.poll(cx, until));
                    return Poll::Ready(Err(ExchangeError::Timeout { sent: Sent::Some }));
                }
            }
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = ExchangeError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ExchangeError>>> {
        let Some(live) = &mut self.live else { return Poll::Ready(None) };
        let step = match ready!(live.poll_step(cx)) {
            Ok(step) => step,
            Err(error) => return self.fail(error),
        };
        let ended = live.decoder.is_end();
        match step {
            Step::Data(data) => {
                if let Some(exact) = self.size.exact() {
                    self.size.set_exact(exact.saturating_sub(data.len() as u64));
                }
                if ended {
                    self.finish();
                }
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Step::Trailers(trailers) => {
                self.finish();
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            Step::End | Step::More => {
                self.finish();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.live.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.size
    }
}
