//! The services behind the gateway: an API, a broken one, and adapters that receive events.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::DemoError;

/// The ports that the examples name.
pub(super) const WRITTEN_PORTS: [u16; 5] = [19101, 19102, 19103, 19104, 19105];
/// Deliveries that are kept for the story; later ones are answered and forgotten.
const MAX_DELIVERIES: usize = 1000;

/// A port of the examples and the one that was free instead.
#[derive(Clone, Copy)]
pub(super) struct Port {
    pub(super) written: u16,
    pub(super) real: u16,
}

/// An event as an adapter received it.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) adapter: &'static str,
    pub(super) id: String,
    pub(super) conversation: String,
    pub(super) sequence: String,
    pub(super) signed: bool,
}

#[derive(Clone, Copy)]
enum Role {
    Api(&'static str),
    /// Hangs up on every request.
    Broken,
    Adapter(&'static str),
}

const ROLES: [Role; 5] = [
    Role::Api("state-manager"),
    Role::Api("state-manager-next"),
    Role::Broken,
    Role::Adapter("acme"),
    Role::Adapter("globex"),
];

#[derive(Default)]
struct Received {
    deliveries: RefCell<Vec<Delivery>>,
    more: Notify,
}

/// The running upstreams.
pub(super) struct Upstreams {
    ports: Vec<Port>,
    received: Rc<Received>,
}

impl Upstreams {
    /// Listens on the ports that the examples name, or on free ones where those are taken.
    pub(super) async fn start() -> Result<Self, DemoError> {
        let received = Rc::new(Received::default());
        let mut ports = Vec::new();
        for (written, role) in WRITTEN_PORTS.into_iter().zip(ROLES) {
            let listener = match TcpListener::bind(("127.0.0.1", written)).await {
                Ok(listener) => Ok(listener),
                Err(_) => TcpListener::bind(("127.0.0.1", 0)).await,
            };
            let listener = listener.map_err(DemoError::io("listening for an upstream"))?;
            let address = listener.local_addr().map_err(DemoError::io("listening for an upstream"))?;
            ports.push(Port { written, real: address.port() });
            tokio::task::spawn_local(serve(listener, role, Rc::clone(&received)));
        }
        Ok(Self { ports, received })
    }

    pub(super) fn ports(&self) -> &[Port] {
        &self.ports
    }

    /// Waits until the adapters have received `count` events in all, or for ten seconds.
    pub(super) async fn await_deliveries(&self, count: usize) -> Vec<Delivery> {
        let enough = async {
            while self.received.deliveries.borrow().len() < count {
                self.received.more.notified().await;
            }
        };
        // Too few is an answer as well; the story tells it.
        let _ = tokio::time::timeout(Duration::from_secs(10), enough).await;
        self.received.deliveries.borrow().clone()
    }
}

async fn serve(listener: TcpListener, role: Role, received: Rc<Received>) {
    while let Ok((stream, _)) = listener.accept().await {
        let received = Rc::clone(&received);
        tokio::task::spawn_local(connection(stream, role, received));
    }
}

async fn connection(stream: TcpStream, role: Role, received: Rc<Received>) {
    if matches!(role, Role::Broken) {
        // Read something, so that the gateway sees a request that was sent and not answered.
        let _ = stream.readable().await;
        return;
    }
    let service = service_fn(move |request| {
        let received = Rc::clone(&received);
        async move { Ok::<_, Infallible>(answer(request, role, &received).await) }
    });
    // A connection that the gateway closes is its normal end.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: Request<Incoming>, role: Role, received: &Received) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let field = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
    let answer = match role {
        Role::Api(name) => {
            json!({"served_by": name, "path": head.uri.path(), "user": field("x-user-id"), "items": []})
        }
        Role::Broken => Value::Null,
        Role::Adapter(adapter) => {
            let delivery = delivery(adapter, &head.headers, &body);
            let mut deliveries = received.deliveries.borrow_mut();
            if deliveries.len() < MAX_DELIVERIES {
                deliveries.push(delivery);
            }
            received.more.notify_one();
            json!({"received": true})
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

/// Reads a CloudEvent, whether its attributes are in the body (structured) or in header fields (binary).
fn delivery(adapter: &'static str, fields: &http::HeaderMap, body: &[u8]) -> Delivery {
    let event: Value = serde_json::from_slice(body).unwrap_or_default();
    let attribute = |name: &str| match fields.get(format!("ce-{name}")).map(http::HeaderValue::to_str) {
        Some(Ok(text)) => text.to_owned(),
        Some(Err(_)) | None => match event.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        },
    };
    Delivery {
        adapter,
        id: attribute("id"),
        conversation: attribute("subject"),
        sequence: attribute("sequence"),
        signed: fields.contains_key("webhook-signature"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_in_both_bindings() {
        let body = br#"{"id": "1", "subject": "a:b", "sequence": 7}"#;
        let structured = delivery("acme", &http::HeaderMap::new(), body);
        let mut fields = http::HeaderMap::new();
        for (name, value) in
            [("ce-id", "1"), ("ce-subject", "a:b"), ("ce-sequence", "7"), ("webhook-signature", "v1,x")]
        {
            fields.insert(name, http::HeaderValue::from_static(value));
        }
        let binary = delivery("acme", &fields, br#"{"id": "of the message"}"#);
        assert_eq!((&structured.id, &structured.sequence), (&binary.id, &binary.sequence));
        assert!(binary.signed && !structured.signed);
    }

    #[tokio::test]
    async fn the_broken_upstream_answers_nobody() {
        let tasks = tokio::task::LocalSet::new();
        tasks
            .run_until(async {
                let upstreams = Upstreams::start().await.unwrap();
                let at = |index: usize| std::net::SocketAddr::from(([127, 0, 0, 1], upstreams.ports()[index].real));
                let ask = |index: usize| async move {
                    let client = super::super::client::Client { gateway: at(index), admin: at(index) };
                    client.admin("/x").await
                };
                assert_eq!(ask(0).await.unwrap().member("served_by"), "state-manager");
                assert!(ask(2).await.is_err());
                ask(4).await.unwrap();
                assert_eq!(upstreams.await_deliveries(1).await[0].adapter, "globex");
            })
            .await;
    }
}
