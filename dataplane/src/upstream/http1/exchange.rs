//! One request and the head of its answer, both directions driven at once.

use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::UPGRADE;
use http::{HeaderMap, Method};
use http_body::Body;
use tokio::time::Instant;

use super::connection::Connection;
use super::error::{BoxError, ExchangeError, Malformed, Sent};
use super::framing::{Frame, frame};
use super::head::{HeadScan, ResponseHead, take_head};
use super::send::{RestOfRequest, SendError, Sender};

/// Interim (1xx) answers before the final one.
pub const MAX_INTERIM: usize = 16;

/// The head of a request to an upstream. Host is among the fields; hop-by-hop fields are gone, except
/// Connection and Upgrade of an upgrade. Content-Length and Transfer-Encoding are written from the body.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Path and query.
    pub target: &'a str,
    /// Its fields.
    pub headers: &'a HeaderMap,
}

/// The body of a request to an upstream.
#[derive(Debug)]
pub enum RequestBody<B> {
    /// All of it, or none: can be sent again.
    Whole(Bytes),
    /// As it comes: once it has begun it cannot be sent again.
    Streaming(B),
}

/// An exchange whose answer has begun.
pub(crate) struct Begun {
    pub(crate) head: ResponseHead,
    pub(crate) frame: Frame,
    pub(crate) connection: Connection,
    /// What of the request is still to be sent.
    pub(crate) rest: Option<Box<dyn RestOfRequest>>,
}

struct Progress<'c, B> {
    connection: &'c mut Connection,
    sender: Sender<B>,
    all_sent: bool,
    /// Writing failed; an answer that came before it did still counts.
    send_failure: Option<std::io::Error>,
    scan: HeadScan,
    interim: usize,
    upgrade_asked: bool,
}

/// Sends a request and waits for the head of its final answer.
pub(crate) async fn exchange<B>(
    mut connection: Connection,
    head: &RequestHead<'_>,
    body: RequestBody<B>,
    deadline: Option<Instant>,
) -> Result<Begun, ExchangeError>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    // Whoever made the target has checked it; what splits a request is checked where it would.
    if head.target.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(ExchangeError::Target);
    }
    let sender = Sender::new(head, body, &mut connection.write);
    let mut progress = Progress {
        connection: &mut connection,
        sender,
        all_sent: false,
        send_failure: None,
        scan: HeadScan::default(),
        interim: 0,
        upgrade_asked: head.headers.contains_key(UPGRADE),
    };
    let response = poll_fn(|cx| progress.poll(cx, deadline)).await?;
    let mut frame = frame(&response, head.method)?;
    frame.keep_alive &= progress.send_failure.is_none();
    let Progress { sender, all_sent, .. } = progress;
    let rest = if all_sent { None } else { Some(Box::new(sender) as Box<dyn RestOfRequest>) };
    Ok(Begun { head: response, frame, connection, rest })
}

impl<B> Progress<'_, B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    fn poll(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<Result<ResponseHead, ExchangeError>> {
        self.send(cx)?;
        loop {
            if let Some(head) = self.final_head()? {
                return Poll::Ready(Ok(head));
            }
            match self.connection.poll_fill(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(self.closed(None))),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(cause)) => return Poll::Ready(Err(self.closed(Some(cause)))),
                Poll::Pending => break,
            }
        }
        match deadline {
            Some(deadline) if self.connection.alarm.poll(cx, deadline).is_ready() => {
                Poll::Ready(Err(ExchangeError::Timeout { sent: self.sent() }))
            }
            Some(_) | None => Poll::Pending,
        }
    }

    fn send(&mut self, cx: &mut Context<'_>) -> Result<(), ExchangeError> {
        if self.all_sent {
            return Ok(());
        }
        let Connection { stream, write, .. } = &mut *self.connection;
        match self.sender.poll(cx, stream, write) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.all_sent = true,
            Poll::Ready(Err(SendError::Io(cause))) => {
                self.all_sent = true;
                self.send_failure = Some(cause);
            }
            Poll::Ready(Err(SendError::Body(cause))) => return Err(ExchangeError::RequestBody(cause)),
            Poll::Ready(Err(SendError::Length)) => return Err(ExchangeError::RequestLength),
        }
        Ok(())
    }

    fn final_head(&mut self) -> Result<Option<ResponseHead>, Malformed> {
        while let Some(head) = take_head(&mut self.scan, &mut self.connection.read)? {
            match head.status.as_u16() {
                101 if self.upgrade_asked => return Ok(Some(head)),
                101 => return Err(Malformed::UnaskedUpgrade),
                100..200 if self.interim == MAX_INTERIM => return Err(Malformed::TooManyInterim),
                100..200 => self.interim += 1,
                _ => return Ok(Some(head)),
            }
        }
        Ok(None)
    }

    fn sent(&self) -> Sent {
        if self.sender.wrote_any { Sent::Some } else { Sent::Nothing }
    }

    fn closed(&mut self, cause: Option<std::io::Error>) -> ExchangeError {
        let answer_began = self.interim > 0 || !self.connection.read.is_empty();
        ExchangeError::Closed { sent: self.sent(), answer_began, cause: self.send_failure.take().or(cause) }
    }
}
