//! One connection to an endpoint.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::error::ExchangeError;
use crate::upstream::alarm::Alarm;
use crate::upstream::pool::InFlight;

/// Room for one read.
const READ_BYTES: usize = 16 * 1024;

/// A connection with what was read ahead and what waits to be written.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) read: BytesMut,
    pub(crate) write: BytesMut,
    pub(crate) alarm: Alarm,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr, deadline: Instant) -> Result<Self, ExchangeError> {
        let stream = timeout_at(deadline, TcpStream::connect(address))
            .await
            .map_err(|_| ExchangeError::ConnectTimeout)?
            .map_err(ExchangeError::Connect)?;
        stream.set_nodelay(true).map_err(ExchangeError::Connect)?;
        Ok(Self { stream, read: BytesMut::new(), write: BytesMut::new(), alarm: Alarm::default() })
    }

    /// Reads what is there; 0 means the upstream closed its side.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.read.capacity() - self.read.len() < READ_BYTES / 4 {
            self.read.reserve(READ_BYTES);
        }
        pin!(self.stream.read_buf(&mut self.read)).poll(cx)
    }

    /// Whether an idle connection is as it was left: nothing read ahead, nothing come since, not closed.
    pub(crate) fn is_quiet(&self) -> bool {
        let mut one = [0; 1];
        let came = self.stream.try_read(&mut one);
        self.read.is_empty() && matches!(came, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Gives up its buffers for the idle time: they would cost more than the connection.
    pub(crate) fn settle(&mut self) -> (BytesMut, BytesMut) {
        (std::mem::take(&mut self.read), std::mem::take(&mut self.write))
    }

    pub(crate) fn into_upgraded(self, in_flight: InFlight) -> UpgradedIo {
        UpgradedIo { stream: self.stream, ahead: self.read, _in_flight: in_flight }
    }
}

/// The upstream's side of an upgraded connection, with what came right behind the 101.
pub struct UpgradedIo {
    stream: TcpStream,
    ahead: BytesMut,
    _in_flight: InFlight,
}

impl std::fmt::Debug for UpgradedIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpgradedIo").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl AsyncRead for UpgradedIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let length = self.ahead.len().min(buf.remaining());
        buf.put_slice(self.ahead.get(..length).unwrap_or_default());
        self.ahead.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for UpgradedIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
