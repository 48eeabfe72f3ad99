//! The body of a request, under its limit.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use policy::refusal::{Reason, Refusal};

/// Why a body could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    /// It is larger than the rule takes.
    #[error("the body has more than {0} bytes")]
    TooLarge(u64),
    /// It ended early, made no progress, or its framing is malformed.
    #[error("the body ended early")]
    Incomplete(#[from] hyper::Error),
}

impl RequestBodyError {
    /// The answer to it.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::TooLarge(limit) => Refusal::new(
                Reason::BodyTooLarge,
                format!("the body has more than the {limit} bytes that are taken here"),
            ),
            Self::Incomplete(cause) => match bad_chunk(cause) {
                Some(why) => Refusal::new(Reason::MalformedRequest, format!("the body is malformed: {why}")),
                None => Refusal::new(Reason::BodyIncomplete, "the body did not arrive to its end, or too slowly"),
            },
        }
    }
}

/// What the gate found wrong with a chunk, when that ended the body.
fn bad_chunk(error: &hyper::Error) -> Option<String> {
    let cause = std::error::Error::source(error)?.downcast_ref::<std::io::Error>()?;
    (cause.kind() == std::io::ErrorKind::InvalidData).then(|| cause.to_string())
}

/// Bytes as they come from the caller; never more than the limit.
#[derive(Debug)]
pub struct RequestBody {
    incoming: Incoming,
    limit: u64,
    read: u64,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming) -> Self {
        Self { incoming, limit: u64::MAX, read: 0 }
    }

    /// Sets the limit. A length that was announced is held against it before a byte is read.
    ///
    /// # Errors
    /// [`RequestBodyError::TooLarge`]
    pub fn limit(&mut self, bytes: u64) -> Result<(), RequestBodyError> {
        self.limit = bytes;
        if self.incoming.size_hint().lower() > bytes { Err(RequestBodyError::TooLarge(bytes)) } else { Ok(()) }
    }

    /// Reads to the end. A body that comes in one piece is not copied.
    ///
    /// # Errors
    /// [`RequestBodyError`]
    pub async fn read_all(&mut self) -> Result<Bytes, RequestBodyError> {
        let mut first: Option<Bytes> = None;
        let mut more = BytesMut::new();
        while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await {
            let Ok(data) = frame?.into_data() else { continue };
            match first.take() {
                None if more.is_empty() => first = Some(data),
                None => more.extend_from_slice(&data),
                Some(before) => {
                    let announced = usize::try_from(self.incoming.size_hint().lower()).unwrap_or_default();
                    more.reserve(before.len() + data.len() + announced.min(1024 * 1024));
                    more.extend_from_slice(&before);
                    more.extend_from_slice(&data);
                }
            }
        }
        Ok(first.unwrap_or_else(|| more.freeze()))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        loop {
            let Some(frame) = ready!(Pin::new(&mut self.incoming).poll_frame(cx)) else { return Poll::Ready(None) };
            let frame = frame?;
            // Trailers of a request end here: nothing behind the gateway expects them, and some would merge them.
            let Ok(data) = frame.into_data() else { continue };
            self.read += data.len() as u64;
            if self.read > self.limit {
                return Poll::Ready(Some(Err(RequestBodyError::TooLarge(self.limit))));
            }
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
