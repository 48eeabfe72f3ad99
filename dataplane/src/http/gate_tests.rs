use std::task::Waker;

use proptest::prelude::*;

use super::super::watch::Ticks;
use super::*;

/// Gives its parts one by one, then ends.
struct Parts(Vec<Vec<u8>>);

impl AsyncRead for Parts {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.0.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut part = self.0.remove(0);
        let rest = part.split_off(part.len().min(buf.remaining()));
        buf.put_slice(&part);
        if !rest.is_empty() {
            self.0.insert(0, rest);
        }
        Poll::Ready(Ok(()))
    }
}

/// All that the parser would read, and why the gate said no.
fn read(parts: Vec<Vec<u8>>) -> (Vec<u8>, Option<Reason>, bool) {
    let watch = Arc::new(Watch::new(Ticks::default()));
    let mut gate = Gate::new(Parts(parts), Arc::new(HttpLimits::default()), watch.clone());
    let mut cx = Context::from_waker(Waker::noop());
    let mut all = Vec::new();
    let failed = loop {
        let mut space = [0; 512];
        let mut buf = ReadBuf::new(&mut space);
        match Pin::new(&mut gate).poll_read(&mut cx, &mut buf) {
            Poll::Ready(Ok(())) if buf.filled().is_empty() => break false,
            Poll::Ready(Ok(())) => all.extend_from_slice(buf.filled()),
            Poll::Ready(Err(_)) => break true,
            Poll::Pending => break false,
        }
    };
    let refused = (0..100).find_map(|head| watch.refusal_of(head)).map(|refusal| refusal.reason);
    (all, refused, failed)
}

#[test]
fn good_requests_pass_unchanged() {
    let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /y HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(read(vec![text.to_vec()]), (text.to_vec(), None, false));
}

#[test]
fn a_refused_head_is_replaced_and_nothing_after_it_is_read() {
    let good = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
    let bad = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let (passed, reason, failed) = read(vec![[&good[..], &bad[..]].concat()]);
    assert_eq!(reason, Some(Reason::MalformedRequest));
    assert!(!failed);
    assert_eq!(passed, [&good[..], REFUSED].concat());
}

#[test]
fn a_head_without_end_is_refused_at_its_limit() {
    let (passed, reason, _) = read(vec![b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'a'; 20_000]]);
    assert_eq!((passed, reason), (REFUSED.to_vec(), Some(Reason::HeadersTooLarge)));
}

#[test]
fn a_bad_chunk_ends_the_connection() {
    let text = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n";
    assert!(read(vec![text.to_vec()]).2);
}

#[test]
fn what_came_before_a_bad_chunk_passes_in_one_packet_too() {
    let good = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n".to_vec();
    let (passed, reason, failed) = read(vec![[&good[..], b"zz\r\n"].concat()]);
    assert_eq!((passed, reason, failed), (good, None, true));
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let bodies = prop_oneof![
        Just(String::new()),
        "[a-z]{1,40}".prop_map(|body| format!("Content-Length: {}\r\n\r\n{body}", body.len())),
        "[a-z]{1,15}"
            .prop_map(|body| format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len())),
        Just("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned()),
        Just("Host: b\r\n\r\n".to_owned()),
        Just("Content-Length: 2, 2\r\n\r\nab".to_owned()),
        Just("X : y\r\n\r\n".to_owned()),
    ];
    bodies.prop_map(|tail| {
        let tail = if tail.is_empty() { "\r\n".to_owned() } else { tail };
        format!("POST /path HTTP/1.1\r\nHost: a\r\n{tail}").into_bytes()
    })
}

proptest! {
    #[test]
    fn the_verdict_is_the_same_however_the_bytes_are_split(
        requests in prop::collection::vec(request(), 1..4), cuts in prop::collection::vec(1_usize..90, 1..60),
    ) {
        let bytes = requests.concat();
        let (mut parts, mut rest, mut cuts) = (Vec::new(), &bytes[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (part, later) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            parts.push(part.to_vec());
            rest = later;
        }
        prop_assert_eq!(read(parts), read(vec![bytes]));
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_gate_panic_or_judge_twice(bytes in prop::collection::vec(any::<u8>(), 0..200), size in 1_usize..9) {
        prop_assert_eq!(Gate::passed_of(&bytes, size), Gate::passed_of(&bytes, usize::MAX));
    }
}
