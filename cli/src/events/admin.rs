//! The admin port of a gateway, asked for its events.

use std::net::SocketAddr;
use std::path::PathBuf;

use bytes::Bytes;
use dataplane::event::replay::{Decided, Replay, Replayed};
use dataplane::event::spool::operate::{Change, Filter, Listed, Shown};
use dataplane::event::spool::outcome_log::Found;
use http::header::{AUTHORIZATION, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use policy::error::chain;
use serde::Deserialize;
use serde_json::Value;

use super::EventsError;

/// The port, and the file with its token.
pub(super) struct Port {
    pub(super) address: SocketAddr,
    pub(super) token_file: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Page {
    events: Vec<Listed>,
}

#[derive(Deserialize)]
struct Count {
    events: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    events: u64,
    stay: u64,
    requests: u64,
    decided: Vec<Decided>,
}

#[derive(Deserialize)]
struct One {
    listed: Listed,
    event: Option<Value>,
    remains: Option<String>,
}

fn failed(error: &dyn std::error::Error) -> EventsError {
    EventsError::Admin(chain(error))
}

/// The filter as a query of the port.
fn query(filter: &Filter, more: &[(&str, &str)]) -> String {
    let Filter { tenant, source, conversation, id, state, from_ms, before_ms } = filter;
    let mut query = form_urlencoded::Serializer::new(String::new());
    let values = [
        ("tenant", tenant.clone()),
        ("source", source.clone()),
        ("conversation", conversation.clone()),
        ("id", id.clone()),
        ("state", state.map(|state| format!("{state:?}").to_lowercase())),
        ("from", from_ms.map(|n| n.to_string())),
        ("before", before_ms.map(|n| n.to_string())),
    ];
    for (name, value) in values {
        if let Some(value) = value {
            query.append_pair(name, &value);
        }
    }
    query.extend_pairs(more).finish()
}

fn dry(dry_run: bool) -> (&'static str, &'static str) {
    ("dryRun", if dry_run { "true" } else { "false" })
}

impl Port {
    pub(super) fn list(&self, filter: &Filter, after: i64) -> Result<Vec<Listed>, EventsError> {
        let target = format!("/events?{}", query(filter, &[("after", &after.to_string())]));
        let page: Page = serde_json::from_value(self.ask(Method::GET, &target)?)?;
        Ok(page.events)
    }

    pub(super) fn show(&self, row: i64) -> Result<Option<Shown>, EventsError> {
        let (status, answer) = self.exchange(Method::GET, &format!("/events/{row}"))?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let One { listed, event, remains } = serde_json::from_value(success(status, answer)?)?;
        let cloud_event = event.map(|event| Bytes::from(event.to_string()));
        Ok(Some(Shown { listed, cloud_event, remains }))
    }

    pub(super) fn find(&self, id: &str) -> Result<Found, EventsError> {
        let filter = Filter { id: Some(id.to_owned()), ..Filter::default() };
        Ok(serde_json::from_value(self.ask(Method::GET, &format!("/events/find?{}", query(&filter, &[])))?)?)
    }

    /// How many events a change concerns, or with `dry_run` would.
    pub(super) fn change(&self, change: &Change, dry_run: bool) -> Result<u64, EventsError> {
        let (method, path, filter) = match change {
            Change::Drop(filter) => (Method::DELETE, "/events", filter),
            Change::Skip(filter) => (Method::POST, "/events/skip", filter),
        };
        let count: Count =
            serde_json::from_value(self.ask(method, &format!("{path}?{}", query(filter, &[dry(dry_run)])))?)?;
        Ok(count.events)
    }

    pub(super) fn replay(&self, ask: &Replay) -> Result<Replayed, EventsError> {
        let mut more = vec![dry(ask.dry_run)];
        more.extend(ask.to.as_ref().map(|to| ("to", to.as_str())));
        let target = format!("/events/replay?{}", query(&ask.filter, &more));
        let (status, answer) = self.exchange(Method::POST, &target)?;
        if status == StatusCode::CONFLICT {
            return Err(EventsError::Requests);
        }
        let Report { events, stay, requests, decided } = serde_json::from_value(success(status, answer)?)?;
        Ok(Replayed { events, stay, requests, decided })
    }

    fn ask(&self, method: Method, target: &str) -> Result<Value, EventsError> {
        let (status, answer) = self.exchange(method, target)?;
        success(status, answer)
    }

    fn exchange(&self, method: Method, target: &str) -> Result<(StatusCode, Value), EventsError> {
        let mut request = Request::builder().method(method).uri(target).header(HOST, self.address.to_string());
        if let Some(path) = &self.token_file {
            let token = std::fs::read_to_string(path).map_err(|cause| EventsError::Token(path.clone(), cause))?;
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.trim()));
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| failed(&error))?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| failed(&error))?;
        runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(self.address).await.map_err(|error| failed(&error))?;
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
            let driven = tokio::spawn(connection);
            let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
            let status = response.status();
            let body = response.into_body().collect().await.map_err(|error| failed(&error))?.to_bytes();
            driven.abort();
            Ok((status, serde_json::from_slice(&body)?))
        })
    }
}

fn success(status: StatusCode, answer: Value) -> Result<Value, EventsError> {
    if status.is_success() {
        return Ok(answer);
    }
    let detail = answer.get("detail").and_then(Value::as_str).unwrap_or_default();
    Err(EventsError::Admin(format!("{status}: {detail}")))
}
