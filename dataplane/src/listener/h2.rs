//! One HTTP/2 connection, and the clocks that its streams have.
//!
//! The sweep of the core looks at every connection a few times a second. A stream whose caller takes nothing of its
//! response is ended alone (RST_STREAM). A connection without streams is ended after the idle time (GOAWAY), and cut
//! when it does not end by itself then: the responses that its caller never took go with it.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::Serve;
use super::core::Shared;
use super::first_bytes::FirstBytes;
use crate::http::{Connection, Gate, HttpLimits, Inbound, Ticks};

/// The state of one HTTP/2 connection, as the sweep sees it.
#[derive(Debug)]
pub(super) struct Streams {
    ticks: Ticks,
    open: RefCell<Vec<Weak<Stream>>>,
    /// Since when there is no stream.
    idle_since: Cell<u64>,
    idle: Notify,
    /// The stream whose task runs now.
    current: RefCell<Option<Rc<Stream>>>,
}

/// The state of one stream, as the sweep sees it.
#[derive(Debug)]
struct Stream {
    /// Since when its caller has to take what there is of the response.
    offered_since: Cell<Option<u64>>,
    cut: Cell<bool>,
    task: RefCell<Option<Waker>>,
}

fn over(now_ms: u64, since_ms: u64, limit: Duration) -> bool {
    u128::from(now_ms.saturating_sub(since_ms)) > limit.as_millis()
}

impl Streams {
    fn new(ticks: Ticks) -> Self {
        let idle_since = Cell::new(ticks.now());
        Self { ticks, open: RefCell::default(), idle_since, idle: Notify::new(), current: RefCell::default() }
    }

    /// Ends what waits for its caller for too long.
    pub(super) fn sweep(&self, limits: &HttpLimits) {
        let now = self.ticks.now();
        let mut open = self.open.borrow_mut();
        open.retain(|stream| stream.strong_count() > 0);
        if !open.is_empty() {
            self.idle_since.set(now);
        } else if over(now, self.idle_since.get(), limits.idle_timeout) {
            self.idle.notify_one();
        }

        let stalled = |stream: &Rc<Stream>| {
            stream.offered_since.get().is_some_and(|since| over(now, since, limits.stall_timeout))
        };
        for stream in open.iter().filter_map(Weak::upgrade).filter(stalled) {
            stream.cut.set(true);
            if let Some(task) = stream.task.take() {
                task.wake();
            }
        }
    }
}

/// The task of one stream; it ends early when its stream is cut, and hyper resets the stream then.
struct Task<F> {
    future: Pin<Box<F>>,
    stream: Rc<Stream>,
    streams: Rc<Streams>,
}

impl<F: Future> Future for Task<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.stream.cut.get() {
            return Poll::Ready(());
        }
        let known = self.stream.task.borrow().as_ref().is_some_and(|task| task.will_wake(cx.waker()));
        if !known {
            self.stream.task.replace(Some(cx.waker().clone()));
        }
        self.streams.current.replace(Some(self.stream.clone()));
        let polled = self.future.as_mut().poll(cx);
        self.streams.current.replace(None);
        polled.map(drop)
    }
}

/// Runs the tasks of a connection's streams on this core.
#[derive(Clone, Debug)]
struct Local(Rc<Streams>);

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        let Self(streams) = self;
        let stream =
            Rc::new(Stream { offered_since: Cell::new(None), cut: Cell::new(false), task: RefCell::default() });
        streams.open.borrow_mut().push(Rc::downgrade(&stream));
        tokio::task::spawn_local(Task { future: Box::pin(future), stream, streams: streams.clone() });
    }
}

/// A response's body, which notes when its caller has to take something.
#[derive(Debug)]
struct Offered<B> {
    body: B,
    stream: Option<Rc<Stream>>,
    ticks: Ticks,
}

impl<B> Offered<B> {
    fn new(body: B, streams: &Streams) -> Self {
        let stream = streams.current.borrow().clone();
        let offered = Self { body, stream, ticks: streams.ticks.clone() };
        offered.offer(Some(offered.ticks.now()));
        offered
    }

    fn offer(&self, since: Option<u64>) {
        if let Some(stream) = &self.stream {
            stream.offered_since.set(since);
        }
    }
}

impl<B: Body + Unpin> Body for Offered<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        // It is asked for the next piece only when the caller has room for it.
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.offer(polled.is_ready().then(|| self.ticks.now()));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Serves one connection to its end.
pub(super) async fn serve<C: Serve>(
    shared: &Rc<Shared>,
    core: Rc<C>,
    connection: Connection,
    socket: FirstBytes<TcpStream>,
) -> hyper::Result<()>
where
    C::Body: Body<Data = Bytes>,
{
    connection.watch.upgrade();
    let gate = Gate::new(socket, shared.limits.clone(), connection.watch.clone());
    let streams = Rc::new(Streams::new(shared.ticks.clone()));
    shared.streams.borrow_mut().push(Rc::downgrade(&streams));
    let service = service_fn(|request: Request<Incoming>| {
        let refused = crate::http::check_h2(&request, &shared.limits).err();
        let inbound = Inbound { request, connection: connection.clone(), refused };
        let (core, streams) = (core.clone(), streams.clone());
        async move { Ok::<_, Infallible>(core.answer(inbound).await.map(|body| Offered::new(body, &streams))) }
    });

    let limits = &shared.limits;
    let mut http = hyper::server::conn::http2::Builder::new(Local(streams.clone()));
    http.timer(TokioTimer::new())
        .max_concurrent_streams(limits.h2_streams)
        .initial_stream_window_size(limits.h2_window_bytes)
        .initial_connection_window_size(limits.h2_window_bytes)
        // A head up to twice the limit is read, so that its refusal has a reason and a log line.
        .max_header_list_size(u32::try_from(limits.head_bytes.saturating_mul(2)).unwrap_or(u32::MAX))
        .max_send_buf_size(64 * 1024)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(64)
        .keep_alive_interval(limits.stall_timeout)
        .keep_alive_timeout(limits.stall_timeout);

    let mut serving = pin!(http.serve_connection(TokioIo::new(gate), service));
    let mut stop = shared.drained.clone();
    tokio::select! {
        ended = serving.as_mut() => return ended,
        _ = stop.wait_for(|stop| *stop) => {
            serving.as_mut().graceful_shutdown();
            return serving.await;
        }
        () = streams.idle.notified() => serving.as_mut().graceful_shutdown(),
    }

    // Who does not take the GOAWAY, or what is left of a response, is cut.
    tokio::time::timeout(limits.stall_timeout, serving).await.unwrap_or(Ok(()))
}
