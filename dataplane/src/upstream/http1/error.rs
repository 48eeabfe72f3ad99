//! How an exchange fails.

use std::io;

use policy::refusal::Reason;
use policy::upstream::AddressForbidden;

/// A cause that the downstream body gives.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How much of the request had left when the exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Not a byte.
    Nothing,
    /// Some, or all of it.
    Some,
}

/// The rule that an answer breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The status line is not one of HTTP/1.0 or 1.1.
    #[error("the status line is not valid")]
    StatusLine,
    /// A line does not end with CR LF, or holds a bare CR.
    #[error("a line of the head does not end with CR LF")]
    LineEnd,
    /// A field is not `name: value`, or is folded over lines.
    #[error("a header field is not valid")]
    Field,
    /// More fields than [`super::head::MAX_FIELDS`].
    #[error("there are too many header fields")]
    TooManyFields,
    /// More bytes than [`super::head::MAX_HEAD_BYTES`].
    #[error("the head is too large")]
    HeadTooLarge,
    /// Both Content-Length and Transfer-Encoding.
    #[error("Content-Length and Transfer-Encoding exclude each other")]
    LengthAndEncoding,
    /// A Content-Length that is no number, or several that differ.
    #[error("Content-Length is not one number")]
    ContentLength,
    /// A Transfer-Encoding other than `chunked`, or one in HTTP/1.0.
    #[error("Transfer-Encoding is not chunked")]
    TransferEncoding,
    /// A chunk's size line.
    #[error("a chunk size is not valid")]
    ChunkSize,
    /// A chunk's extension is too long or holds control characters.
    #[error("a chunk extension is not valid")]
    ChunkExtension,
    /// A chunk does not end where its size says.
    #[error("a chunk does not end with CR LF")]
    ChunkEnd,
    /// The trailer section.
    #[error("the trailer section is not valid")]
    Trailer,
    /// The connection ended before the body did.
    #[error("the body ended early")]
    EarlyEnd,
    /// A 101 that nobody asked for.
    #[error("the protocol was switched without being asked")]
    UnaskedUpgrade,
    /// More interim answers than [`super::exchange::MAX_INTERIM`].
    #[error("there are too many interim answers")]
    TooManyInterim,
}

/// Why an exchange has no answer, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The address may not be connected to.
    #[error("the address of the upstream is not one that an URL may lead to")]
    Forbidden(#[from] AddressForbidden),
    /// No connection.
    #[error("could not connect")]
    Connect(#[source] io::Error),
    /// No connection in time.
    #[error("could not connect in time")]
    ConnectTimeout,
    /// The connection broke before the answer.
    #[error("the connection broke")]
    Closed {
        /// How much of the request had left.
        sent: Sent,
        /// Whether some of the answer had come.
        answer_began: bool,
        /// The cause, unless it was closed in good order.
        #[source]
        cause: Option<io::Error>,
    },
    /// No answer, or no more of it, in time.
    #[error("the upstream did not answer in time")]
    Timeout {
        /// How much of the request had left.
        sent: Sent,
    },
    /// The answer is not HTTP.
    #[error("the answer is malformed")]
    Malformed(#[from] Malformed),
    /// The path and query would end the request line and begin another request.
    #[error("the path of the request holds a space or a control character")]
    Target,
    /// The request body could not be read to its end: the caller's doing.
    #[error("the request body could not be read")]
    RequestBody(#[source] BoxError),
    /// The request body is not as long as its Content-Length said.
    #[error("the request body is not as long as announced")]
    RequestLength,
}

impl ExchangeError {
    /// Whether the upstream cannot have seen any of the request.
    #[must_use]
    pub fn sent_nothing(&self) -> bool {
        match self {
            Self::Forbidden(_) | Self::Connect(_) | Self::ConnectTimeout | Self::Target => true,
            Self::Closed { sent, .. } | Self::Timeout { sent } => *sent == Sent::Nothing,
            Self::Malformed(_) | Self::RequestBody(_) | Self::RequestLength => false,
        }
    }

    /// Whether it is the upstream's failure, and not the caller's.
    #[must_use]
    pub fn is_upstreams(&self) -> bool {
        match self {
            Self::Forbidden(_) | Self::Target | Self::RequestBody(_) | Self::RequestLength => false,
            Self::Connect(_)
            | Self::ConnectTimeout
            | Self::Closed { .. }
            | Self::Timeout { .. }
            | Self::Malformed(_) => true,
        }
    }

    /// The word for it.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Forbidden(_) => Reason::NoEndpoint,
            Self::Connect(_) | Self::Closed { .. } | Self::Malformed(Malformed::EarlyEnd) => Reason::UpstreamFailed,
            Self::ConnectTimeout | Self::Timeout { .. } => Reason::UpstreamTimeout,
            Self::Malformed(_) => Reason::UpstreamMalformed,
            Self::Target => Reason::MalformedRequest,
            Self::RequestBody(_) | Self::RequestLength => Reason::BodyIncomplete,
        }
    }
}
