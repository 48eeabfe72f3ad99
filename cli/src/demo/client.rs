//! A caller: one request, one connection, everything read.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use policy::error::chain;
use serde_json::Value;
use tokio::net::TcpStream;

use super::DemoError;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Where the gateway is.
#[derive(Clone, Copy)]
pub(super) struct Client {
    pub(super) gateway: SocketAddr,
    pub(super) admin: SocketAddr,
}

/// An answer, read to its end.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<String>,
    pub(super) body: String,
}

impl Answer {
    /// One member of a JSON answer, as text.
    pub(super) fn member(&self, name: &str) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        match body.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        }
    }
}

impl Client {
    /// Asks the gateway.
    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, DemoError> {
        exchange(self.gateway, request).await
    }

    /// Asks the admin port.
    pub(super) async fn admin(&self, path: &str) -> Result<Answer, DemoError> {
        let request = Request::get(path).header("host", self.admin.to_string()).body(Full::default());
        let request = request.map_err(|why| DemoError::Exchange { request: path.to_owned(), why: why.to_string() })?;
        exchange(self.admin, request).await
    }
}

async fn exchange(to: SocketAddr, request: Request<Full<Bytes>>) -> Result<Answer, DemoError> {
    let name = format!("{} {}", request.method(), request.uri());
    let failed = |why: String| DemoError::Exchange { request: name.clone(), why };
    let asked = async {
        let stream = TcpStream::connect(to).await.map_err(|why| failed(chain(&why)))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|why| failed(chain(&why)))?;
        let driver = tokio::task::spawn_local(connection);
        let response = sender.send_request(request).await.map_err(|why| failed(chain(&why)))?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|why| failed(chain(&why)))?.to_bytes();
        driver.abort();
        let retry_after = head.headers.get("retry-after").and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Answer { status: head.status, retry_after, body: String::from_utf8_lossy(&body).into_owned() })
    };
    tokio::time::timeout(TIMEOUT, asked).await.unwrap_or_else(|_| Err(failed(format!("no answer in {TIMEOUT:?}"))))
}
