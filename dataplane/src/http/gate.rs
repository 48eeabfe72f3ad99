//! Stands between a socket and the HTTP/1 parser, and lets only unambiguous requests through.
//!
//! It follows the framing of the byte stream and hands a head on only when all of it is there and
//! [`super::head::check`] has passed it. A head that does not pass is replaced by a minimal request, which
//! the service answers with the refusal, in its order behind earlier answers; nothing after it is read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use policy::refusal::{Reason, Refusal};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::chunks::Chunks;
use super::head::{self, Framing};
use super::limits::HttpLimits;
use super::linger::Linger;
use super::watch::{Phase, Watch};

/// What the parser reads in place of a head that was refused.
const REFUSED: &[u8] = b"- / HTTP/1.1\r\nhost: refused.invalid\r\nconnection: close\r\n\r\n";

#[derive(Debug)]
enum State {
    Head,
    Length(u64),
    Chunked(Chunks),
    /// The connection speaks something else now (an accepted upgrade).
    Through,
    /// A head was refused: the replacement, as far as it has not been read.
    Refused(&'static [u8]),
    /// A chunk was refused: the body ends with this error behind what has passed.
    BadChunk(&'static str),
}

/// A socket whose requests are checked.
#[derive(Debug)]
pub struct Gate<Io> {
    io: Io,
    state: State,
    limits: Arc<HttpLimits>,
    watch: Arc<Watch>,
    /// Bytes that were read and not handed on: a head in parts, or what came behind it.
    held: Vec<u8>,
    /// How many of them may be handed on.
    passed: usize,
    /// Up to where an incomplete head has been searched for its end.
    searched: usize,
    /// Heads that were handed on.
    heads: u64,
    linger: Option<Linger>,
}

impl<Io> Gate<Io> {
    /// A gate before a connection's first byte.
    pub fn new(io: Io, limits: Arc<HttpLimits>, watch: Arc<Watch>) -> Self {
        Self { io, state: State::Head, limits, watch, held: Vec::new(), passed: 0, searched: 0, heads: 0, linger: None }
    }

    /// Follows what was read; how many bytes may be handed on. What follows them waits.
    fn follow(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match &mut self.state {
                State::Through => return bytes.len(),
                State::Refused(_) | State::BadChunk(_) => break,
                State::Length(left) => {
                    let here = u64::try_from(rest.len()).unwrap_or(u64::MAX).min(*left);
                    *left -= here;
                    at += usize::try_from(here).unwrap_or(usize::MAX);
                    if *left == 0 {
                        self.state = State::Head;
                    }
                }
                State::Chunked(chunks) => {
                    at += chunks.follow(rest);
                    if let Some(why) = chunks.error() {
                        self.state = State::BadChunk(why);
                    } else if chunks.done() {
                        self.state = State::Head;
                    }
                }
                State::Head => match self.head(rest) {
                    Some(length) => at += length,
                    None => break,
                },
            }
        }
        at
    }

    /// Passes the head at the start of `bytes`, if all of it is there.
    fn head(&mut self, bytes: &[u8]) -> Option<usize> {
        let from = self.searched.saturating_sub(3).min(bytes.len());
        let end = bytes.get(from..)?.windows(4).position(|four| four == b"\r\n\r\n").map(|at| from + at + 4);
        let too_long = end.unwrap_or(bytes.len()) > self.limits.head_bytes;
        // A head that ends in bare line feeds has no end that this would find; its first line tells it apart.
        let bare = end.is_none() && first_line_is_bare(bytes);
        let verdict = match end {
            _ if too_long => Err(too_large(&self.limits)),
            None if bare => {
                Err(Refusal::new(Reason::MalformedRequest, "a line ends with a bare LF; lines end with CR LF"))
            }
            None => {
                self.searched = bytes.len();
                return None;
            }
            Some(end) => head::check(bytes.get(..end)?, &self.limits),
        };
        self.searched = 0;
        match verdict {
            Ok(framing) => {
                self.heads += 1;
                self.state = match framing {
                    Framing::Length(0) => State::Head,
                    Framing::Length(length) => State::Length(length),
                    Framing::Chunked => State::Chunked(Chunks::default()),
                };
                end
            }
            Err(refusal) => {
                self.watch.refuse(self.heads, refusal);
                self.state = State::Refused(REFUSED);
                None
            }
        }
    }

    /// Tells the watch what the connection waits for now.
    fn note_phase(&self) {
        let phase = match &self.state {
            State::Head if self.held.len() > self.passed => Phase::Head,
            State::Head => Phase::Idle,
            State::Length(_) | State::Chunked(_) => Phase::Body,
            State::Through | State::Refused(_) | State::BadChunk(_) => Phase::Busy,
        };
        self.watch.enter(phase);
        if phase == Phase::Body {
            self.watch.progress();
        }
    }

    /// Hands on what was held and has passed. Whether there was any.
    fn hand_on(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let count = self.passed.min(buf.remaining());
        if let Some(bytes) = self.held.get(..count).filter(|bytes| !bytes.is_empty()) {
            buf.put_slice(bytes);
            self.held.drain(..count);
            self.passed -= count;
        }
        count > 0
    }
}

fn first_line_is_bare(bytes: &[u8]) -> bool {
    let line = bytes.iter().position(|byte| *byte == b'\n');
    line.is_some_and(|at| at == 0 || bytes.get(at - 1) != Some(&b'\r'))
}

fn too_large(limits: &HttpLimits) -> Refusal {
    let detail =
        format!("the request head has more than {} bytes; send fewer or shorter header fields", limits.head_bytes);
    Refusal::new(Reason::HeadersTooLarge, detail)
}

impl<Io: AsyncRead + Unpin> Gate<Io> {
    /// Reads straight into the parser's buffer: a head that comes in one read is not copied.
    fn read_through(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<Fed>> {
        let start = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let end = buf.filled().len();
        if end == start {
            return Poll::Ready(Ok(Fed::End));
        }
        let bytes = buf.filled().get(start..).unwrap_or_default();
        let passed = self.follow(bytes);
        if matches!(self.state, State::Head) {
            self.held.extend_from_slice(bytes.get(passed..).unwrap_or_default());
        }
        buf.set_filled(start + passed);
        Poll::Ready(Ok(if passed > 0 { Fed::Some } else { Fed::Nothing }))
    }

    /// Reads behind what is held: the rest of a head.
    fn read_behind(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Fed>> {
        let mut space = [0; 2048];
        let mut more = ReadBuf::new(&mut space);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut more))?;
        if more.filled().is_empty() {
            return Poll::Ready(Ok(Fed::End));
        }
        self.held.extend_from_slice(more.filled());
        let held = std::mem::take(&mut self.held);
        self.passed = self.follow(&held);
        self.held = held;
        Poll::Ready(Ok(Fed::Nothing))
    }
}

/// What a read brought to the parser.
enum Fed {
    Some,
    Nothing,
    End,
}

impl<Io: AsyncRead + Unpin> AsyncRead for Gate<Io> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.watch.is_cut() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            if this.watch.is_upgraded() && !matches!(this.state, State::Through) {
                // Whatever comes now is not HTTP, and what was held back as the start of a head is not either.
                this.state = State::Through;
                this.passed = this.held.len();
            }
            if buf.remaining() == 0 || this.hand_on(buf) {
                return Poll::Ready(Ok(()));
            }
            if let State::BadChunk(why) = this.state {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
            }
            if let State::Refused(left) = &mut this.state {
                if left.is_empty() {
                    // Not the end of the stream: that would make the parser give up the answer it is writing.
                    this.watch.wait_to_read(cx.waker());
                    return Poll::Pending;
                }
                let count = left.len().min(buf.remaining());
                let (now, later) = left.split_at_checked(count).unwrap_or_default();
                buf.put_slice(now);
                *left = later;
                return Poll::Ready(Ok(()));
            }
            let fed = if this.held.is_empty() { this.read_through(cx, buf) } else { this.read_behind(cx) };
            this.note_phase();
            match fed {
                Poll::Ready(Ok(Fed::Some | Fed::End)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(Fed::Nothing)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    this.watch.wait_to_read(cx.waker());
                    return Poll::Pending;
                }
            }
        }
    }
}

impl<Io: AsyncWrite + Unpin> Gate<Io> {
    fn written<T>(&self, cx: &Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.watch.writing(polled.is_pending());
        if polled.is_pending() {
            if self.watch.is_cut() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.watch.wait_to_write(cx.waker());
        }
        polled
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gate<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.written(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, parts);
        self.written(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(cx);
        self.written(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
        match &this.state {
            State::Head | State::Through => Poll::Ready(Ok(())),
            // The caller is still sending. Closing now would reset the connection and take the response with it.
            State::Length(_) | State::Chunked(_) | State::BadChunk(_) | State::Refused(_) => {
                if this.watch.is_cut() {
                    return Poll::Ready(Ok(()));
                }
                this.linger.get_or_insert_with(Linger::new).poll(cx, &mut this.io).map(Ok)
            }
        }
    }
}

/// Gives bytes in pieces of one size, then ends.
struct Pieces<'b> {
    rest: &'b [u8],
    size: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let count = self.rest.len().min(self.size).min(buf.remaining());
        let (now, later) = self.rest.split_at_checked(count).unwrap_or_default();
        buf.put_slice(now);
        self.rest = later;
        Poll::Ready(Ok(()))
    }
}

impl Gate<()> {
    /// What a parser would read of a connection whose bytes come in pieces of `size`, and whether the
    /// connection was ended: for tests and fuzzing.
    #[must_use]
    pub fn passed_of(bytes: &[u8], size: usize) -> (Vec<u8>, bool) {
        let watch = Arc::new(Watch::new(super::watch::Ticks::default()));
        let pieces = Pieces { rest: bytes, size: size.max(1) };
        let mut gate = Gate::new(pieces, Arc::new(HttpLimits::default()), watch);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut passed = Vec::new();
        loop {
            let mut space = [0; 4096];
            let mut buf = ReadBuf::new(&mut space);
            match Pin::new(&mut gate).poll_read(&mut cx, &mut buf) {
                Poll::Ready(Ok(())) if buf.filled().is_empty() => return (passed, false),
                Poll::Ready(Ok(())) => passed.extend_from_slice(buf.filled()),
                Poll::Pending => return (passed, false),
                Poll::Ready(Err(_)) => return (passed, true),
            }
        }
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
