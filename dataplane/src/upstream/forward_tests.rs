//! Forwarding against upstreams on loopback that answer by script, mostly badly.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::{BodyExt, Full};
use policy::circuit_breaker::CircuitBreakerIr;
use policy::names::TenantName;
use policy::refusal::Reason;
use policy::retry::RetryIr;
use policy::route::TimeoutsIr;
use policy::upstream::{AddressGuard, EndpointIr, ServiceEndpoints, ServicePort, UpstreamKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

enum Act {
    Say(&'static str),
    Hang,
    Close,
}
use Act::{Close, Hang, Say};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const BUSY: &str = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n";

struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Answers request `r` of connection `c` as the script says.
    async fn start(script: fn(usize, usize) -> Vec<Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let server = Self { address, connections: Arc::clone(&connections), requests: Arc::clone(&requests) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let c = connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, c, script, Arc::clone(&requests)));
            }
        });
        server
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    c: usize,
    script: fn(usize, usize) -> Vec<Act>,
    requests: Arc<Mutex<Vec<String>>>,
) {
    for r in 0.. {
        let mut request = String::new();
        while !is_whole(&request) {
            let mut buffer = [0; 4096];
            match stream.read(&mut buffer).await {
                Ok(n) if n > 0 => request.push_str(&String::from_utf8_lossy(&buffer[..n])),
                _ => return,
            }
        }
        requests.lock().unwrap().push(request);
        for act in script(c, r) {
            match act {
                Say(text) => stream.write_all(text.as_bytes()).await.unwrap_or_default(),
                Hang => std::future::pending().await,
                Close => return,
            }
        }
    }
}

fn is_whole(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
    if head.contains("/early") {
        return true;
    }
    match head.split_once("content-length: ") {
        Some((_, rest)) => body.len() >= rest.lines().next().unwrap().parse::<usize>().unwrap(),
        None if head.contains("chunked") => body.ends_with("0\r\n\r\n"),
        None => true,
    }
}

struct Gateway {
    core: UpstreamCore,
    registry: Registry,
    tenant: TenantName,
    timeouts: TimeoutsIr,
    retry: Option<RetryIr>,
    backends: Vec<Backend>,
}

type Answer = Result<(u16, String), Reason>;

impl Gateway {
    fn to(endpoints: &[SocketAddr], breaker: Option<&CircuitBreakerIr>) -> Self {
        let registry = Registry::default();
        let tenant = TenantName::parse("acme").unwrap();
        let service = ServicePort { namespace: "acme".into(), name: "a".into(), port: 80 };
        let endpoints = endpoints.iter().map(|address| EndpointIr { address: *address, ready: true }).collect();
        registry.set_services(&[ServiceEndpoints { service: service.clone(), endpoints }]);
        let upstream = registry.get_or_build(&tenant, &UpstreamKey::Service(service), breaker, false);
        Self {
            core: UpstreamCore::new(AddressGuard::default(), 1),
            registry,
            tenant,
            timeouts: TimeoutsIr { request_ms: 10_000, ..TimeoutsIr::default() },
            retry: None,
            backends: vec![Backend { upstream, weight: 1 }],
        }
    }

    fn retrying(mut self) -> Self {
        self.retry = Some(RetryIr {
            attempts: 2,
            codes: vec![503],
            backoff_base_ms: 1,
            backoff_max_ms: 1,
            budget_percent: 100,
            budget_min_per_sec: 10,
        });
        self
    }

    async fn raw<B>(&self, method: Method, target: &str, body: RequestBody<B>) -> Result<Forwarded, ForwardError>
    where
        B: http_body::Body<Data = Bytes> + Unpin + 'static,
        B::Error: Into<http1::error::BoxError>,
    {
        let mut headers = HeaderMap::new();
        headers.insert("host", "a.example".parse().unwrap());
        if target == "/ws" {
            headers.insert("connection", "upgrade".parse().unwrap());
            headers.insert("upgrade", "websocket".parse().unwrap());
        }
        let Self { tenant, timeouts, retry, backends, .. } = self;
        let (retry, began) = (retry.as_ref(), tokio::time::Instant::now());
        let plan = ForwardPlan { tenant, timeouts, began, retry, audited_retry: None, backends };
        let head = RequestHead { method: &method, target, headers: &headers };
        forward(&self.core, &plan, &head, body, &mut Attempts::default()).await
    }

    async fn send(&self, method: Method, body: &'static str) -> Answer {
        let body = RequestBody::<Full<Bytes>>::Whole(Bytes::from_static(body.as_bytes()));
        read(self.raw(method, "/x", body).await).await
    }

    async fn get(&self) -> Answer {
        self.send(Method::GET, "").await
    }
}

async fn read(forwarded: Result<Forwarded, ForwardError>) -> Answer {
    let (parts, body) = forwarded.map_err(|error| error.reason)?.response.into_parts();
    let body = body.collect().await.map_err(|error| error.reason())?.to_bytes();
    Ok((parts.status.as_u16(), String::from_utf8(body.to_vec()).unwrap()))
}

fn ok() -> Answer {
    Ok((200, "ok".to_owned()))
}

/// An address at which nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_target_that_would_split_the_request_is_not_sent() {
    let server = Server::start(|_, _| vec![Say(OK)]).await;
    let gateway = Gateway::to(&[server.address], None);
    for target in ["/x HTTP/1.1\r\nhost: other\r\n\r\nGET /admin", "/a b", "/a\tb", "/a\u{7f}"] {
        let sent = gateway.raw(Method::GET, target, RequestBody::<Full<Bytes>>::Whole(Bytes::new())).await;
        assert_eq!(read(sent).await, Err(Reason::MalformedRequest), "{target:?}");
    }
    assert_eq!(server.requests().len(), 0);
    assert_eq!(gateway.get().await, ok());
}

#[tokio::test]
async fn a_connection_is_used_again_once_its_body_was_taken() {
    let server = Server::start(|_, _| vec![Say(OK)]).await;
    let gateway = Gateway::to(&[server.address], None);
    for _ in 0..5 {
        assert_eq!(gateway.get().await, ok());
    }
    assert_eq!((server.connections(), gateway.core.idle()), (1, 1));
    drop(gateway.raw(Method::GET, "/x", RequestBody::<Full<Bytes>>::Whole(Bytes::new())).await.unwrap());
    assert_eq!(gateway.core.idle(), 0, "a body that was left is not waited for");
    assert!(server.requests()[0].starts_with("GET /x HTTP/1.1\r\nhost: a.example\r\n\r\n"));
}

#[tokio::test]
async fn bodies_end_where_their_framing_says() {
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\nx-sum: 1\r\n\r\n", "ok"),
        ("HTTP/1.1 200 OK\r\n\r\nok", "ok"),
        ("HTTP/1.0 200 OK\r\n\r\nok", "ok"),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            "ok",
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok", "ok"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", ""),
    ] {
        let gateway = Gateway::to(&[raw_server(answer).await], None);
        assert_eq!(gateway.get().await, Ok((200, expected.to_owned())), "{answer}");
    }
}

/// Says one thing on each connection and closes it.
async fn raw_server(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

#[tokio::test]
async fn what_is_not_one_unambiguous_answer_is_refused() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, gzip\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\nx: y\n\n",
        "HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx : a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\rb\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n",
        "HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 99 Low\r\n\r\n",
        "HTTP/1.1 600 High\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0x2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n 2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2 ;x\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;\x01\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n11111111111111112\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nokk\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nbad\r\n\r\n",
    ] {
        let gateway = Gateway::to(&[raw_server(answer).await], None);
        let said = gateway.get().await;
        // A connection that breaks off within a well-formed answer is the upstream's failure, not bad HTTP.
        let breaks_off = ["SSH-2.0-OpenSSH_9.2\r\n", "OK\r\ncontent-length: 3\r\n\r\nok", "chunked\r\n\r\n2\r\nok\r\n"];
        let broke = breaks_off.iter().any(|end| answer.ends_with(end));
        let expected = if broke { Reason::UpstreamFailed } else { Reason::UpstreamMalformed };
        assert_eq!(said, Err(expected), "{answer:?}");
        assert_eq!(gateway.core.idle(), 0);
    }
}

#[tokio::test]
async fn heads_without_end_are_cut() {
    let many: &'static str = Box::leak(format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(200)).into_boxed_str());
    let long: &'static str = Box::leak(format!("HTTP/1.1 200 OK\r\na: {}", "x".repeat(100_000)).into_boxed_str());
    let interim: &'static str = Box::leak("HTTP/1.1 100 Continue\r\n\r\n".repeat(20).into_boxed_str());
    for answer in [many, long, interim] {
        let gateway = Gateway::to(&[raw_server(answer).await], None);
        assert_eq!(gateway.get().await, Err(Reason::UpstreamMalformed));
    }
}

#[tokio::test]
async fn an_idle_connection_that_was_closed_costs_no_attempt() {
    let server = Server::start(|_, _| vec![Say(OK), Close]).await;
    let gateway = Gateway::to(&[server.address], None);
    for _ in 0..3 {
        assert_eq!(gateway.get().await, ok());
    }
    // A connection that closes on the second request, after it has taken it: idempotent ones go again.
    let server = Server::start(|c, r| if c == 0 && r == 1 { vec![Close] } else { vec![Say(OK)] }).await;
    let gateway = Gateway::to(&[server.address], None);
    assert_eq!(gateway.get().await, ok());
    assert_eq!(gateway.get().await, ok());
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn what_an_upstream_may_have_done_is_not_repeated() {
    let server = Server::start(|c, r| if c == 0 && r == 1 { vec![Close] } else { vec![Say(OK)] }).await;
    let gateway = Gateway::to(&[server.address], None).retrying();
    assert_eq!(gateway.send(Method::POST, "a").await, ok());
    assert_eq!(gateway.send(Method::POST, "a").await, Err(Reason::UpstreamFailed));
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_retry_goes_to_an_endpoint_that_was_not_tried() {
    let good = Server::start(|_, _| vec![Say(OK)]).await;
    let bad = Server::start(|_, _| vec![Say(BUSY)]).await;
    for _ in 0..10 {
        let gateway = Gateway::to(&[nobody().await, bad.address, good.address], None).retrying();
        assert_eq!(gateway.get().await, ok());
    }
    let gateway = Gateway::to(&[nobody().await, good.address], None).retrying();
    assert_eq!(gateway.send(Method::POST, "a").await, ok(), "unsent: safe whatever the method");
}

#[tokio::test]
async fn the_last_answer_stands_when_attempts_are_spent() {
    let bad = Server::start(|_, _| vec![Say(BUSY)]).await;
    let gateway = Gateway::to(&[bad.address], None).retrying();
    assert_eq!(gateway.get().await, Ok((503, String::new())));
    assert_eq!(bad.requests().len(), 3);
}

#[tokio::test]
async fn silence_ends_with_the_deadline() {
    let head = Server::start(|_, _| vec![Hang]).await;
    let mut gateway = Gateway::to(&[head.address], None);
    gateway.timeouts = TimeoutsIr { request_ms: 0, backend_request_ms: 20, stream_ms: 0 };
    assert_eq!(gateway.get().await, Err(Reason::UpstreamTimeout));
    let body = Server::start(|_, _| vec![Say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no"), Hang]).await;
    let mut gateway = Gateway::to(&[body.address], None);
    gateway.timeouts = TimeoutsIr { request_ms: 10, backend_request_ms: 0, stream_ms: 20 };
    assert_eq!(gateway.get().await, Err(Reason::UpstreamTimeout));
}

#[tokio::test]
async fn a_failing_upstream_is_given_a_rest() {
    let bad = Server::start(|_, _| vec![Say(BUSY)]).await;
    let breaker = CircuitBreakerIr {
        failure_percent: 50,
        min_requests: 100,
        window_ms: 10_000,
        consecutive_failures: 3,
        open_for_ms: 60_000,
        half_open_requests: 1,
    };
    let gateway = Gateway::to(&[bad.address], Some(&breaker));
    for _ in 0..3 {
        assert_eq!(gateway.get().await, Ok((503, String::new())));
    }
    assert_eq!(gateway.get().await, Err(Reason::BreakerOpen));
    assert_eq!(bad.requests().len(), 3);
}

#[tokio::test]
async fn without_an_endpoint_there_is_no_attempt() {
    assert_eq!(Gateway::to(&[], None).get().await, Err(Reason::NoEndpoint));
    assert_eq!(Gateway::to(&[nobody().await], None).get().await, Err(Reason::UpstreamFailed));
}

#[tokio::test]
async fn an_url_does_not_lead_to_an_address_that_is_not_public() {
    let server = Server::start(|_, _| vec![Say(OK)]).await;
    for (host, allowed) in [("127.0.0.1", false), ("::ffff:127.0.0.1", false), ("127.0.0.1", true)] {
        let key = UpstreamKey::Url { scheme: "http".into(), host: host.into(), port: server.address.port() };
        let mut gateway = Gateway::to(&[], None);
        gateway.backends[0].upstream = gateway.registry.get_or_build(&gateway.tenant, &key, None, false);
        if allowed {
            let guard = AddressGuard::new(vec!["127.0.0.0/8".parse().unwrap()]);
            gateway.core = UpstreamCore::new(guard, 1);
        }
        let expected = if allowed { ok() } else { Err(Reason::NoEndpoint) };
        assert_eq!(gateway.get().await, expected, "{host}");
    }
}

#[tokio::test]
async fn a_name_is_looked_up_before_its_first_request_goes() {
    let server = Server::start(|_, _| vec![Say(OK)]).await;
    let registry = Arc::new(Registry::default());
    let resolver = tokio::spawn(resolve::keep_resolved(Arc::clone(&registry)));
    let mut gateway = Gateway::to(&[], None);
    gateway.core = UpstreamCore::new(AddressGuard::new(vec!["127.0.0.0/8".parse().unwrap()]), 1);
    let key = UpstreamKey::Url { scheme: "http".into(), host: "localhost".into(), port: server.address.port() };
    gateway.backends[0].upstream = registry.get_or_build(&gateway.tenant, &key, None, false);
    gateway.backends[0].upstream.known().await;
    let v4 = EndpointIr { address: server.address, ready: true };
    assert!(gateway.backends[0].upstream.endpoints().unwrap().contains(&v4));
    gateway.backends[0].upstream.set_endpoints(vec![v4]);
    assert_eq!(gateway.get().await, ok());
    resolver.abort();
}

/// Gives its pieces one by one, then hangs or ends.
struct Pieces {
    pieces: Vec<&'static str>,
    hangs: bool,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        if self.pieces.is_empty() {
            cx.waker().wake_by_ref();
            return if self.hangs { Poll::Pending } else { Poll::Ready(None) };
        }
        let piece = self.pieces.remove(0);
        Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from_static(piece.as_bytes())))))
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_is_sent_in_chunks() {
    let server = Server::start(|_, _| vec![Say(OK)]).await;
    let gateway = Gateway::to(&[server.address], None);
    for _ in 0..2 {
        let body = RequestBody::Streaming(Pieces { pieces: vec!["abc", "", "0123456789abcdef!"], hangs: false });
        assert_eq!(read(gateway.raw(Method::POST, "/x", body).await).await, ok());
    }
    let (_, body) = server.requests()[1].split_once("\r\n\r\n").map(|(h, b)| (h.to_owned(), b.to_owned())).unwrap();
    assert_eq!(body, "3\r\nabc\r\n11\r\n0123456789abcdef!\r\n0\r\n\r\n");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_large_body_arrives_whole() {
    let server = Server::start(|_, _| vec![Say(OK)]).await;
    let gateway = Gateway::to(&[server.address], None);
    let large = Bytes::from(vec![b'x'; 3_000_000]);
    let whole = RequestBody::<Full<Bytes>>::Whole(large.clone());
    assert_eq!(read(gateway.raw(Method::POST, "/x", whole).await).await, ok());
    let streamed = RequestBody::Streaming(Full::new(large));
    assert_eq!(read(gateway.raw(Method::POST, "/x", streamed).await).await, ok());
    let lengths: Vec<_> = server.requests().iter().map(|r| r.split_once("\r\n\r\n").unwrap().1.len()).collect();
    assert_eq!(lengths, [3_000_000, 3_000_000]);
}

#[tokio::test]
async fn an_answer_before_the_request_is_all_sent_is_heard() {
    let server = Server::start(|_, _| vec![Say("HTTP/1.1 413 Large\r\ncontent-length: 2\r\n\r\nno")]).await;
    let gateway = Gateway::to(&[server.address], None);
    let body = RequestBody::Streaming(Pieces { pieces: vec!["abc"], hangs: true });
    let said = read(gateway.raw(Method::POST, "/early", body).await).await;
    assert_eq!(said, Ok((413, "no".to_owned())));
    assert_eq!(gateway.core.idle(), 0, "a half-sent request leaves no connection to use again");
}

#[tokio::test]
async fn an_upgrade_hands_over_the_connection_with_what_came_early() {
    const UPGRADE: &str = "HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello";
    let server = Server::start(|_, _| vec![Say(UPGRADE), Hang]).await;
    let gateway = Gateway::to(&[server.address], None);
    let body = RequestBody::<Full<Bytes>>::Whole(Bytes::new());
    let forwarded = gateway.raw(Method::GET, "/ws", body).await.unwrap();
    assert_eq!(forwarded.response.headers()["upgrade"], "websocket");
    let mut hello = [0; 5];
    let mut io = forwarded.upgraded.unwrap();
    tokio::time::timeout(Duration::from_secs(5), io.read_exact(&mut hello)).await.unwrap().unwrap();
    assert_eq!(&hello, b"hello");
}

#[tokio::test]
async fn hop_by_hop_fields_end_here() {
    let server = Server::start(|_, _| {
        vec![Say("HTTP/1.1 200 OK\r\nconnection: x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\nx-end: 2\r\ncontent-length: 0\r\n\r\n")]
    })
    .await;
    let gateway = Gateway::to(&[server.address], None);
    let body = RequestBody::<Full<Bytes>>::Whole(Bytes::new());
    let forwarded = gateway.raw(Method::GET, "/x", body).await.unwrap();
    let names: Vec<_> = forwarded.response.headers().keys().map(http::HeaderName::as_str).collect();
    assert_eq!(names, ["x-end", "content-length"]);
}

#[tokio::test]
async fn tenants_share_no_connection() {
    let server = Server::start(|_, _| vec![Say(OK)]).await;
    let mut gateway = Gateway::to(&[server.address], None);
    assert_eq!(gateway.get().await, ok());
    gateway.tenant = TenantName::parse("other").unwrap();
    assert_eq!(gateway.get().await, ok());
    assert_eq!(server.connections(), 2);
}
