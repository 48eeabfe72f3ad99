//! The first bytes of a connection: read once, they say which protocol the peer speaks, and are read again by it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// The first bytes of an HTTP/2 connection (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of the preface that no HTTP/1.1 request starts with: `PRI` alone could still become another method.
const TELLING: usize = 4;
/// The content type of a TLS record with a ClientHello (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 22;
/// Bytes that are read ahead: most first requests fit, so their head is parsed in one piece.
const READ_AHEAD: usize = 4096;

/// The protocol of a connection's peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    Http1,
    Http2,
    /// TLS, which this port does not.
    Tls,
}

/// Returns the protocol that a connection starts with; `None` when more bytes have to come.
fn speaks(bytes: &[u8]) -> Option<Speaks> {
    let start = bytes.get(..bytes.len().min(PREFACE.len()))?;
    match bytes.first()? {
        &TLS_HANDSHAKE => Some(Speaks::Tls),
        _ if !PREFACE.starts_with(start) => Some(Speaks::Http1),
        _ if bytes.len() >= TELLING => Some(Speaks::Http2),
        _ => None,
    }
}

/// Reads until the protocol is known.
///
/// # Errors
/// When the connection ends or breaks first.
pub(super) async fn read<Io: AsyncRead + Unpin>(mut io: Io) -> io::Result<(Speaks, FirstBytes<Io>)> {
    let mut ahead = Vec::with_capacity(READ_AHEAD);
    loop {
        if io.read_buf(&mut ahead).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(speaks) = speaks(&ahead) {
            return Ok((speaks, FirstBytes { ahead, passed: 0, io }));
        }
    }
}

/// A connection whose first bytes have been read, and come again.
#[derive(Debug)]
pub(super) struct FirstBytes<Io> {
    ahead: Vec<u8>,
    passed: usize,
    io: Io,
}

impl<Io: AsyncRead + Unpin> AsyncRead for FirstBytes<Io> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let left = this.ahead.get(this.passed..).unwrap_or_default();
        if left.is_empty() {
            return Pin::new(&mut this.io).poll_read(cx, buf);
        }
        let now = left.get(..left.len().min(buf.remaining())).unwrap_or_default();
        buf.put_slice(now);
        this.passed += now.len();
        if this.passed == this.ahead.len() {
            (this.ahead, this.passed) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for FirstBytes<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_is_known_from_its_first_telling_byte() {
        for (bytes, known) in [
            (&b"P"[..], None),
            (b"PRI", None),
            (b"PRI ", Some(Speaks::Http2)),
            (PREFACE, Some(Speaks::Http2)),
            (b"PRO", Some(Speaks::Http1)),
            (b"PRIVATE /", Some(Speaks::Http1)),
            (b"G", Some(Speaks::Http1)),
            (b"\x16\x03\x01", Some(Speaks::Tls)),
            (b"\x16", Some(Speaks::Tls)),
        ] {
            assert_eq!(speaks(bytes), known, "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn what_was_read_ahead_comes_again_and_then_the_rest() {
        let (client, server) = tokio::io::duplex(1024);
        let (_, mut sending) = tokio::io::split(client);
        let sent = tokio::spawn(async move {
            for part in ["P", "R", "OPFIND / ", "HTTP/1.1"] {
                tokio::io::AsyncWriteExt::write_all(&mut sending, part.as_bytes()).await.unwrap();
            }
            tokio::io::AsyncWriteExt::shutdown(&mut sending).await.unwrap();
        });
        let (speaks, mut first) = read(server).await.unwrap();
        let mut all = String::new();
        first.read_to_string(&mut all).await.unwrap();
        sent.await.unwrap();
        assert_eq!((speaks, all.as_str()), (Speaks::Http1, "PROPFIND / HTTP/1.1"));
    }
}
