//! The upstream HTTP/1.1 exchange, driven inside the request's own task: no task, channel or lock between.
//!
//! `head` and `framing` read a response head strictly, `chunked` and `decode` its body; none of them does
//! I/O. `send` writes a request, `exchange` drives both directions at once, `body` hands the response body
//! on as it comes.

pub mod body;
pub(crate) mod chunked;
pub(crate) mod connection;
pub mod decode;
#[cfg(test)]
mod differential;
pub mod error;
pub mod exchange;
pub(crate) mod framing;
pub mod head;
pub(crate) mod send;

pub use body::UpstreamBody;
pub use connection::UpgradedIo;
pub use error::{ExchangeError, Malformed, Sent};
pub use exchange::{RequestBody, RequestHead};
