//! Admission: what compile would say of an object, said while it is applied. Holds no rule of its own.
//!
//! What an object itself gets wrong is refused. What it names and is not there yet, and what its Tenant does not allow
//! yet, is only a warning: objects come in any order, and a Tenant that was applied a moment ago may not have been
//! seen here. When nobody answers the object is let in, since compile harms nobody with it later.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview, Operation};
use policy::names::Kind;
use policy::problem::{Problem, ProblemKind, Severity};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::gather::Raw;
use crate::gather::observed::Observed;
use crate::listen::Connections;

/// The largest review; the API server's own bound on an object is below it.
const MAX_REVIEW_BYTES: usize = 8 << 20;
/// How long a caller may take to say what it wants.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections at once.
const MAX_CONNECTIONS: usize = 256;
/// Warnings that the API server shows, and how long one may be.
const MAX_WARNINGS: usize = 16;
const MAX_WARNING: usize = 250;

/// A question to who keeps the world.
#[derive(Debug)]
pub struct Question {
    /// The object, as it would be.
    pub raw: Raw,
    /// Who wants to know.
    pub answer: oneshot::Sender<Vec<Problem>>,
}

/// Answers reviews, for ever.
pub async fn serve(mut connections: Connections, questions: mpsc::Sender<Question>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Some(stream) = connections.next().await {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let questions = questions.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let questions = questions.clone();
                async move { Ok::<_, Infallible>(answer(request, &questions).await) }
            });
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            drop(place);
        });
    }
}

async fn answer(request: Request<Incoming>, questions: &mpsc::Sender<Question>) -> Response<Full<Bytes>> {
    let said = |status: StatusCode, body: Vec<u8>| {
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        response
    };
    if request.method() != Method::POST || request.uri().path() != "/admit" {
        return said(StatusCode::NOT_FOUND, b"reviews are posted to /admit\n".to_vec());
    }
    let Ok(body) = Limited::new(request.into_body(), MAX_REVIEW_BYTES).collect().await else {
        return said(StatusCode::PAYLOAD_TOO_LARGE, b"the review is too large, or was cut\n".to_vec());
    };
    let review = serde_json::from_slice::<AdmissionReview<DynamicObject>>(&body.to_bytes());
    let review: Option<AdmissionRequest<DynamicObject>> = review.ok().and_then(|review| review.try_into().ok());
    let Some(review) = review else { return said(StatusCode::BAD_REQUEST, b"this is no review\n".to_vec()) };
    let response = judged(&review, questions).await.into_review();
    said(StatusCode::OK, serde_json::to_vec(&response).unwrap_or_default())
}

async fn judged(review: &AdmissionRequest<DynamicObject>, questions: &mpsc::Sender<Question>) -> AdmissionResponse {
    let allowed = AdmissionResponse::from(review);
    let kinds = [Kind::Tenant, Kind::Route, Kind::RateLimitPolicy, Kind::WebhookSource];
    let kind = kinds.into_iter().find(|kind| kind.to_string() == review.kind.kind);
    let (Some(kind), Some(object)) = (kind, &review.object) else { return allowed };
    // What goes may always go, and so may what only loses its finalizers.
    if review.operation == Operation::Delete || object.metadata.deletion_timestamp.is_some() {
        return allowed;
    }
    let observed = serde_json::to_value(object).and_then(serde_json::from_value::<Observed>);
    let Ok((raw, _)) = observed.map(|observed| observed.parts(kind)) else { return allowed };
    let (sender, hears) = oneshot::channel();
    let asked = questions.send(Question { raw, answer: sender }).await;
    let Some(problems) = (if asked.is_ok() { hears.await.ok() } else { None }) else { return allowed };
    decided(allowed, &problems)
}

fn decided(mut allowed: AdmissionResponse, problems: &[Problem]) -> AdmissionResponse {
    let wrong: Vec<String> = problems.iter().filter(|problem| refuses(problem)).map(told).collect();
    if !wrong.is_empty() {
        return allowed.deny(wrong.join("\n"));
    }
    let warnings: Vec<String> = problems.iter().take(MAX_WARNINGS).map(told).collect();
    let short = |text: String| text.chars().take(MAX_WARNING).collect();
    allowed.warnings = (!warnings.is_empty()).then(|| warnings.into_iter().map(short).collect());
    allowed
}

/// Whether the object itself is wrong, whatever else is applied with it.
fn refuses(problem: &Problem) -> bool {
    problem.severity == Severity::Error
        && match problem.kind {
            ProblemKind::Invalid | ProblemKind::NotEnforced | ProblemKind::Conflict => true,
            ProblemKind::UnresolvedRef | ProblemKind::NotAllowed => false,
        }
}

fn told(Problem { field, message, help, .. }: &Problem) -> String {
    format!("{field}: {message}; {help}")
}
