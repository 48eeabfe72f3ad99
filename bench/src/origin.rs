//! An origin that costs as little as one can: it finds the end of each request and writes the same bytes.

use std::io;
use std::net::SocketAddr;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const BODY_LEN: usize = 1024;
/// Longest request head that the origin reads.
const MAX_HEAD: usize = 64 * 1024;

pub(crate) async fn serve(listen: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::task::spawn_local(async move {
            // A proxy that hangs up is the normal end of a connection.
            let _ = connection(stream).await;
        });
    }
}

async fn connection(mut stream: TcpStream) -> io::Result<()> {
    let answer = answer();
    let mut buffer = BytesMut::with_capacity(16 * 1024);
    loop {
        while let Some(length) = request_length(&buffer)? {
            if buffer.len() < length {
                break;
            }
            buffer.advance(length);
            stream.write_all(&answer).await?;
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

fn answer() -> Vec<u8> {
    let mut answer =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {BODY_LEN}\r\n\r\n").into_bytes();
    answer.push(b'"');
    answer.resize(answer.len() + BODY_LEN - 2, b'x');
    answer.push(b'"');
    answer
}

/// Length of the first request in the buffer, head and body, once its head is complete.
fn request_length(buffer: &[u8]) -> io::Result<Option<usize>> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(buffer).map_err(io::Error::other)? {
        httparse::Status::Partial if buffer.len() > MAX_HEAD => Err(io::Error::other("the head is too long")),
        httparse::Status::Partial => Ok(None),
        httparse::Status::Complete(head) => Ok(Some(head + crate::load::content_length(request.headers)?.unwrap_or(0))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_as_long_as_it_says() {
        let answer = answer();
        let head = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        assert_eq!(answer.len() - head, BODY_LEN);
    }

    #[test]
    fn a_request_ends_where_its_length_says() {
        let request = b"POST / HTTP/1.1\r\nhost: a\r\nContent-Length: 3\r\n\r\nabcGET";
        assert_eq!(request_length(request).unwrap(), Some(request.len() - 3));
        assert_eq!(request_length(b"GET / HTTP/1.1\r\nhost").unwrap(), None);
    }
}
