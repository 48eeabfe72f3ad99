//! Our reading of answers, held against hyper's client on the same bytes: what we take, it takes alike.
//! Ours may refuse more.

use bytes::Bytes;
use http::Method;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::decode::decode_answer;

type Read = Option<(u16, Vec<(String, Vec<u8>)>, Vec<u8>)>;

fn ours(method: &Method, bytes: &[u8], piece: usize) -> Read {
    let answer = decode_answer(method, bytes, piece).ok()?;
    let fields = answer.head.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    Some((answer.head.status.as_u16(), fields.collect(), answer.body))
}

fn hypers(method: &Method, bytes: &[u8]) -> Read {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (near, mut far) = tokio::io::duplex(256 * 1024);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await.ok()?;
        let server = async {
            let mut request = [0; 4096];
            let _ = far.read(&mut request).await;
            let _ = far.write_all(bytes).await;
            drop(far);
        };
        let request = http::Request::builder().method(method).uri("/").body(Empty::<Bytes>::new()).ok()?;
        let client = async {
            let (parts, body) = sender.send_request(request).await.ok()?.into_parts();
            let body = body.collect().await.ok()?.to_bytes().to_vec();
            let fields = parts.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
            Some((parts.status.as_u16(), fields.collect(), body))
        };
        let (read, _, ()) = tokio::join!(client, connection, server);
        read
    })
}

fn check(method: &Method, bytes: &[u8]) -> Result<bool, TestCaseError> {
    let read = ours(method, bytes, usize::MAX);
    for piece in [1, 7] {
        prop_assert_eq!(&ours(method, bytes, piece), &read, "in pieces of {}: {}", piece, bytes.escape_ascii());
    }
    if read.is_some() {
        prop_assert_eq!(&read, &hypers(method, bytes), "{}", bytes.escape_ascii());
    }
    Ok(read.is_some())
}

fn answer() -> impl Strategy<Value = Vec<u8>> {
    let line = prop::sample::select(vec![
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 404\r\n",
        "HTTP/1.1 204 No Content\r\n",
        "HTTP/1.1 304 Not Modified\r\n",
        "HTTP/1.0 200 OK\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n",
    ]);
    let field = prop::sample::select(vec![
        "content-length: 5\r\n",
        "Content-Length: 05\r\n",
        "content-length: 6\r\n",
        "transfer-encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "connection: close\r\n",
        "x-a: b\r\n",
        "x-a:\t c \r\n",
        "x-empty:\r\n",
        "x-high: \u{e9}\r\n",
    ]);
    let body = prop::sample::select(vec![
        "",
        "hello",
        "hello, world",
        "5\r\nhello\r\n0\r\n\r\n",
        "5;a=b\r\nhello\r\n0\r\nx-t: 1\r\n\r\n",
        "000005\r\nhello\r\n00\r\n\r\nrest",
        "A\r\nhello",
        "5\r\nhello0\r\n\r\n",
    ]);
    let flips = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..2);
    (line, prop::collection::vec(field, 0..4), body, flips).prop_map(|(line, fields, body, flips)| {
        let mut bytes = format!("{line}{}\r\n{body}", fields.concat()).into_bytes();
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_we_take_hyper_takes_alike(bytes in answer(), head in any::<bool>()) {
        check(&if head { Method::HEAD } else { Method::GET }, &bytes)?;
    }

    #[test]
    fn no_bytes_at_all_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        check(&Method::GET, &bytes)?;
    }
}

#[test]
fn ordinary_answers_are_taken_by_both() {
    for bytes in [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nx-t: 1\r\n\r\n",
        "HTTP/1.1 404\r\n\r\nuntil the end",
        "HTTP/1.1 204 No Content\r\nx-high: \u{e9}\r\n\r\n",
    ] {
        assert!(check(&Method::GET, bytes.as_bytes()).unwrap(), "{bytes}");
    }
}
