//! One connection of the load.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{Shape, content_length};
use crate::histogram::Histogram;
use crate::scenario::Requests;

/// Pause after a connection broke.
const RECONNECT_AFTER: Duration = Duration::from_millis(10);
/// An answer that takes longer breaks the connection.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// When to send and when to count.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub(super) to: SocketAddr,
    pub(super) begin: Instant,
    pub(super) end: Instant,
    pub(super) shape: Shape,
}

/// What one connection saw while it counted.
pub(super) struct Seen {
    pub(super) latencies: Histogram,
    pub(super) refused: u64,
    pub(super) last_refusal: Option<u16>,
    pub(super) broken: u64,
}

/// Sends requests until the end, over a new connection whenever one breaks.
pub(super) async fn drive(plan: Plan, index: u32, requests: Rc<Requests>) -> Seen {
    let mut seen = Seen { latencies: Histogram::new(), refused: 0, last_refusal: None, broken: 0 };
    let mut schedule = Schedule::new(plan, index);
    while Instant::now() < plan.end {
        let lived = tokio::time::timeout_at(plan.end + ANSWER_TIMEOUT, one(plan, &requests, &mut schedule, &mut seen));
        if !matches!(lived.await, Ok(Ok(()))) {
            seen.broken += 1;
            tokio::time::sleep(RECONNECT_AFTER).await;
        }
    }
    seen
}

/// Which request is next, and when it is due.
struct Schedule {
    number: u64,
    step: u64,
    due: Instant,
    every: Option<Duration>,
}

impl Schedule {
    fn new(plan: Plan, index: u32) -> Self {
        let connections = plan.shape.connections.max(1);
        let every =
            (plan.shape.rate > 0).then(|| Duration::from_secs_f64(f64::from(connections) / f64::from(plan.shape.rate)));
        let offset = every.unwrap_or_default() * index / connections;
        Self { number: u64::from(index), step: u64::from(connections), due: Instant::now() + offset, every }
    }

    /// The next request's number and the instant from which its latency counts: when it was due, not when
    /// a slow answer let it go, so that a stall is charged to every request that it delayed.
    async fn next(&mut self) -> (u64, Instant) {
        let number = self.number;
        self.number += self.step;
        let Some(every) = self.every else { return (number, Instant::now()) };
        let due = self.due;
        self.due += every;
        tokio::time::sleep_until(due).await;
        (number, due)
    }
}

async fn one(plan: Plan, requests: &Requests, schedule: &mut Schedule, seen: &mut Seen) -> io::Result<()> {
    let mut stream = TcpStream::connect(plan.to).await?;
    stream.set_nodelay(true)?;
    let mut out = Vec::with_capacity(4096);
    let mut buffer = BytesMut::with_capacity(8192);
    loop {
        let (number, from) = schedule.next().await;
        if Instant::now() >= plan.end {
            return Ok(());
        }
        requests.write(number, &mut out);
        stream.write_all(&out).await?;
        let answer = answer(&mut stream, &mut buffer).await?;
        let now = Instant::now();
        if now >= plan.begin && now < plan.end {
            if (200..300).contains(&answer.status) {
                seen.latencies.record(now - from);
            } else {
                seen.refused += 1;
                seen.last_refusal = Some(answer.status);
            }
        }
        if answer.last {
            return Ok(());
        }
    }
}

struct Answer {
    status: u16,
    /// The server closes after it.
    last: bool,
}

async fn answer(stream: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<Answer> {
    loop {
        if let Some((length, answer)) = parse(buffer)?
            && buffer.len() >= length
        {
            buffer.advance(length);
            return Ok(answer);
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Length of head and body, once the head is complete.
fn parse(buffer: &[u8]) -> io::Result<Option<(usize, Answer)>> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(head) = response.parse(buffer).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let status = response.code.unwrap_or(0);
    let length = match content_length(response.headers)? {
        Some(length) => length,
        None if status == 204 => 0,
        None => return Err(io::Error::other("an answer without content-length")),
    };
    let last = response
        .headers
        .iter()
        .any(|field| field.name.eq_ignore_ascii_case("connection") && field.value.eq_ignore_ascii_case(b"close"));
    Ok(Some((head + length, Answer { status, last })))
}
