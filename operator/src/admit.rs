//! Admission: what compile would say of an object, said while it is applied. Holds no rule of its own.
//!
//! What an object itself gets wrong is refused. What it names and is not there yet, and what its Tenant does not allow
//! yet, is only a warning: objects come in any order, and a Tenant that was applied a moment ago may not have been
//! seen here. A claim that another Tenant holds is looked at twice for the same reason. When nobody answers the object
//! is let in, since compile harms nobody with it later.

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
/// What is given to a watch to bring what was stored before the question: a holder that gave up its claim, say.
const CATCH_UP: Duration = Duration::from_millis(300);
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
    let mut problems = ask(raw.clone(), questions).await;
    if problems.iter().any(|problem| problem.kind == ProblemKind::Conflict) {
        tokio::time::sleep(CATCH_UP).await;
        problems = ask(raw, questions).await;
    }
    decided(allowed, &problems)
}

/// Nothing is wrong while nobody answers.
async fn ask(raw: Raw, questions: &mpsc::Sender<Question>) -> Vec<Problem> {
    let (sender, hears) = oneshot::channel();
    match questions.send(Question { raw, answer: sender }).await {
        Ok(()) => hears.await.unwrap_or_default(),
        Err(_) => Vec::new(),
    }
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

#[cfg(test)]
mod tests {
    use policy::names::ObjectRef;
    use serde_json::json;

    use super::*;

    fn problem(kind: ProblemKind) -> Problem {
        let object = ObjectRef::new(Kind::Tenant, "", "acme");
        let (field, message, help) = ("spec.hostnames[0]".to_owned(), "is wrong".to_owned(), "write it".to_owned());
        Problem { object, field, message, help, severity: Severity::Error, kind }
    }

    /// What is said of an object of which these answers are given, one a question.
    fn said(answers: &[Option<ProblemKind>]) -> AdmissionResponse {
        let object =
            json!({"apiVersion": "postern.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": "acme"}, "spec": {}});
        let kind = json!({"group": "postern.dev", "version": "v1alpha1", "kind": "Tenant"});
        let resource = json!({"group": "postern.dev", "version": "v1alpha1", "resource": "tenants"});
        let request = json!({"uid": "u", "kind": kind, "resource": resource, "name": "acme", "operation": "CREATE",
            "userInfo": {}, "object": object, "dryRun": false});
        let review: AdmissionReview<DynamicObject> = serde_json::from_value(
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}),
        )
        .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (questions, mut asked) = mpsc::channel::<Question>(1);
            let request = review.try_into().unwrap();
            let answered = async {
                for answer in answers {
                    let question = asked.recv().await.unwrap();
                    question.answer.send(answer.map(problem).into_iter().collect()).unwrap();
                }
                drop(asked);
            };
            tokio::join!(judged(&request, &questions), answered).0
        })
    }

    #[test]
    fn only_what_no_other_object_can_mend_is_refused() {
        for kind in [ProblemKind::Invalid, ProblemKind::NotEnforced] {
            assert!(!said(&[Some(kind)]).allowed, "{kind:?}");
        }
        for kind in [ProblemKind::UnresolvedRef, ProblemKind::NotAllowed] {
            let said = said(&[Some(kind)]);
            assert!(said.allowed, "{kind:?}");
            assert_eq!(said.warnings.unwrap(), ["spec.hostnames[0]: is wrong; write it"]);
        }
        assert!(said(&[]).allowed, "nobody answers");
    }

    #[test]
    fn a_claim_that_its_holder_gave_up_a_moment_ago_is_free() {
        assert!(said(&[Some(ProblemKind::Conflict), None]).allowed);
        assert!(!said(&[Some(ProblemKind::Conflict), Some(ProblemKind::Conflict)]).allowed);
    }
}
