//! Writes one request.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method};
use http_body::Body;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

use super::error::BoxError;
use super::exchange::{RequestBody, RequestHead};

/// A body up to this is copied behind the head; a larger one is written from where it lies.
const INLINE_BODY_BYTES: usize = 4 * 1024;

#[derive(Debug)]
pub(crate) enum SendError {
    Io(io::Error),
    Body(BoxError),
    Length,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
}

/// What is left of a request to write, besides the connection's own write buffer.
#[derive(Debug)]
pub(crate) struct Sender<B> {
    data: Bytes,
    body: Option<B>,
    framing: Framing,
    /// A chunk was written whose CR LF is still owed.
    owes_line_end: bool,
    pub(crate) wrote_any: bool,
}

/// A [`Sender`] whose body type nobody needs to know: the response came before the request was all sent.
pub(crate) trait RestOfRequest {
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut TcpStream,
        write: &mut BytesMut,
    ) -> Poll<Result<(), SendError>>;
}

impl<B> Sender<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Puts the head in the write buffer.
    pub(crate) fn new(head: &RequestHead<'_>, body: RequestBody<B>, write: &mut BytesMut) -> Self {
        write.reserve(1024);
        for part in [head.method.as_str(), " ", head.target, " HTTP/1.1\r\n"] {
            write.extend_from_slice(part.as_bytes());
        }
        write_fields(head.headers, write);
        match body {
            RequestBody::Whole(bytes) => Self::whole(head.method, bytes, write),
            RequestBody::Streaming(body) => Self::streaming(head.method, body, write),
        }
    }

    fn whole(method: &Method, bytes: Bytes, write: &mut BytesMut) -> Self {
        let expects_body = [Method::POST, Method::PUT, Method::PATCH].contains(method);
        if !bytes.is_empty() || expects_body {
            write_length(bytes.len() as u64, write);
        }
        write.extend_from_slice(b"\r\n");
        let mut data = bytes;
        if data.len() <= INLINE_BODY_BYTES {
            write.extend_from_slice(&data);
            data = Bytes::new();
        }
        Self { data, body: None, framing: Framing::Length(0), owes_line_end: false, wrote_any: false }
    }

    fn streaming(method: &Method, body: B, write: &mut BytesMut) -> Self {
        if body.is_end_stream() {
            return Self::whole(method, Bytes::new(), write);
        }
        let framing = match body.size_hint().exact() {
            Some(length) => {
                write_length(length, write);
                Framing::Length(length)
            }
            None => {
                write.extend_from_slice(b"transfer-encoding: chunked\r\n");
                Framing::Chunked
            }
        };
        write.extend_from_slice(b"\r\n");
        Self { data: Bytes::new(), body: Some(body), framing, owes_line_end: false, wrote_any: false }
    }

    /// Writes until all is sent, the socket is full, or the body has nothing yet. What the body has at once
    /// leaves together with the head.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut TcpStream,
        write: &mut BytesMut,
    ) -> Poll<Result<(), SendError>> {
        loop {
            let pulled = if self.data.is_empty() { self.poll_pull(cx, write) } else { Poll::Ready(Ok(())) };
            if let Poll::Ready(Err(error)) = pulled {
                return Poll::Ready(Err(error));
            }
            while self.data.has_remaining() || write.has_remaining() {
                let slices = [IoSlice::new(write), IoSlice::new(&self.data)];
                let n = ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &slices)).map_err(SendError::Io)?;
                if n == 0 {
                    return Poll::Ready(Err(SendError::Io(io::ErrorKind::WriteZero.into())));
                }
                self.wrote_any = true;
                let from_buffer = n.min(write.len());
                write.advance(from_buffer);
                self.data.advance(n - from_buffer);
            }
            if self.body.is_none() {
                return Poll::Ready(Ok(()));
            }
            if pulled.is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Takes one frame off the body.
    fn poll_pull(&mut self, cx: &mut Context<'_>, write: &mut BytesMut) -> Poll<Result<(), SendError>> {
        let Some(body) = &mut self.body else { return Poll::Ready(Ok(())) };
        match ready!(Pin::new(body).poll_frame(cx)) {
            Some(Err(error)) => return Poll::Ready(Err(SendError::Body(error.into()))),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => return Poll::Ready(self.queue(data, write)),
                Err(frame) => self.finish(frame.into_trailers().ok().as_ref(), write),
            },
            None => self.finish(None, write),
        }
        Poll::Ready(if matches!(self.framing, Framing::Length(1..)) { Err(SendError::Length) } else { Ok(()) })
    }

    fn queue(&mut self, data: Bytes, write: &mut BytesMut) -> Result<(), SendError> {
        if data.is_empty() {
            return Ok(());
        }
        match &mut self.framing {
            Framing::Length(left) => *left = left.checked_sub(data.len() as u64).ok_or(SendError::Length)?,
            Framing::Chunked => {
                let line_end = if self.owes_line_end { "\r\n" } else { "" };
                write.extend_from_slice(format!("{line_end}{:x}\r\n", data.len()).as_bytes());
                self.owes_line_end = true;
            }
        }
        self.data = data;
        // Known to be the last: what it has sent is all there is, without asking once more.
        if self.framing == Framing::Length(0) && self.body.as_ref().is_some_and(B::is_end_stream) {
            self.body = None;
        }
        Ok(())
    }

    fn finish(&mut self, trailers: Option<&HeaderMap>, write: &mut BytesMut) {
        self.body = None;
        if self.framing == Framing::Chunked {
            write.extend_from_slice(if self.owes_line_end { b"\r\n0\r\n" } else { b"0\r\n" });
            if let Some(trailers) = trailers {
                write_fields(trailers, write);
            }
            write.extend_from_slice(b"\r\n");
        }
    }
}

impl<B> RestOfRequest for Sender<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut TcpStream,
        write: &mut BytesMut,
    ) -> Poll<Result<(), SendError>> {
        self.poll(cx, stream, write)
    }
}

/// All but the framing, which is ours to say.
fn write_fields(headers: &HeaderMap, write: &mut BytesMut) {
    for (name, value) in headers {
        if name == CONTENT_LENGTH || name == TRANSFER_ENCODING {
            continue;
        }
        write.extend_from_slice(name.as_str().as_bytes());
        write.extend_from_slice(b": ");
        write.extend_from_slice(value.as_bytes());
        write.extend_from_slice(b"\r\n");
    }
}

fn write_length(length: u64, write: &mut BytesMut) {
    write.extend_from_slice(format!("content-length: {length}\r\n").as_bytes());
}
