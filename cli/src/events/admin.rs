//! The admin port of a gateway, asked for a change.

use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use policy::error::chain;

use super::EventsError;

/// The number of events that it changed.
pub(super) fn ask(
    admin: SocketAddr,
    token_file: Option<&Path>,
    method: Method,
    target: &str,
) -> Result<String, EventsError> {
    let failed = |error: &dyn std::error::Error| EventsError::Admin(chain(error));
    let mut request = Request::builder().method(method).uri(target).header(HOST, admin.to_string());
    if let Some(path) = token_file {
        let token = std::fs::read_to_string(path).map_err(|cause| EventsError::Token(path.to_owned(), cause))?;
        request = request.header(AUTHORIZATION, format!("Bearer {}", token.trim()));
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| failed(&error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| failed(&error))?;
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(admin).await.map_err(|error| failed(&error))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
        let driven = tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| failed(&error))?.to_bytes();
        driven.abort();
        let answer: serde_json::Value = serde_json::from_slice(&body)?;
        if status.is_success() {
            return Ok(answer.get("events").map(ToString::to_string).unwrap_or_default());
        }
        let detail = answer.get("detail").and_then(|detail| detail.as_str()).unwrap_or_default();
        Err(EventsError::Admin(format!("{status}: {detail}")))
    })
}
