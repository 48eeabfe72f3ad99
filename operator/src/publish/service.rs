//! The gRPC service: lets a dataplane in, hears what it has, and sends what it lacks.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use policy::error::chain;
use policy::names::{Kind, ObjectRef, TenantName};
use policy::problem::Severity;
use policy::snapshot::{ContentHash, IR_VERSION, Revision, understand};
use policy::upstream::ServicePort;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};
use wire::push::from_dataplane::Message as FromThere;
use wire::push::push_server::Push;
use wire::push::{Answer, FromDataplane, FromOperator, Hello, Nack};

use super::board::{Applied, Board, Publisher};
use super::follower::{Follower, Have, Set};
use super::reviewer::{ReviewError, Reviewer};
use super::selects::SelectsError;

/// The largest message: one tenant with all its objects; as much as a dataplane reads back from its volume.
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;
/// Messages on their way to one dataplane; what is not taken waits as a name.
const ON_THE_WAY: usize = 4;
/// How long a dataplane may take to say who it is.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Objects that one answer may name.
const MAX_NACKS: usize = 10_000;
/// Where a replica that does not publish names the one that does.
const PUBLISHER: &str = "postern-publisher";

/// The service.
pub struct PushService {
    board: Arc<Board>,
    reviewer: Reviewer,
}

impl PushService {
    /// Serves a board to who passes the reviewer.
    #[must_use]
    pub fn new(board: Arc<Board>, reviewer: Reviewer) -> Self {
        Self { board, reviewer }
    }

    fn refuse(publisher: &Publisher) -> Status {
        let mut status = Status::unavailable("this replica does not publish");
        if let Publisher::Elsewhere(Some(address)) = publisher
            && let Ok(address) = address.parse()
        {
            status.metadata_mut().insert(PUBLISHER, address);
        }
        status
    }
}

/// What is sent to one dataplane.
pub struct Sent(mpsc::Receiver<Result<FromOperator, Status>>);

impl Stream for Sent {
    type Item = Result<FromOperator, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}

#[tonic::async_trait]
impl Push for PushService {
    type FollowStream = Sent;

    async fn follow(&self, request: Request<Streaming<FromDataplane>>) -> Result<Response<Sent>, Status> {
        let publisher = self.board.publisher();
        if !matches!(publisher, Publisher::Here(_)) {
            return Err(Self::refuse(&publisher));
        }
        let authorization = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        self.reviewer.review(authorization).await.map_err(|error| refused(&error))?;
        let mut said = request.into_inner();
        let first = tokio::time::timeout(HELLO_TIMEOUT, said.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no hello in time"))??;
        let Some(FromThere::Hello(hello)) = first.and_then(|first| first.message) else {
            return Err(Status::invalid_argument("the first message must be a hello"));
        };
        if !understand(hello.ir_version, IR_VERSION) {
            let theirs = hello.ir_version;
            let said =
                format!("this operator writes IR {IR_VERSION} and the dataplane {theirs}: upgrade one at a time");
            return Err(Status::failed_precondition(said));
        }
        let needs = hello.services.iter().filter_map(service_port).collect();
        let tenants =
            hello.selects.parse().map_err(|error: SelectsError| Status::invalid_argument(error.to_string()))?;
        let set = Set { canary: hello.canary, tenants };
        let joined = self.board.join(&hello.name, set, have(&hello), needs);
        let follower = joined.map_err(|publisher| Self::refuse(&publisher))?;
        tracing::info!(dataplane = hello.name, version = hello.version, "a dataplane follows");
        let (sender, sent) = mpsc::channel(ON_THE_WAY);
        tokio::spawn(follow(Arc::clone(&self.board), follower, said, sender));
        Ok(Response::new(Sent(sent)))
    }
}

fn refused(error: &ReviewError) -> Status {
    match error {
        ReviewError::Missing | ReviewError::Invalid => Status::unauthenticated(error.to_string()),
        ReviewError::Foreign(_) => Status::permission_denied(error.to_string()),
        ReviewError::Unasked(cause) => {
            tracing::warn!(error = chain(&**cause), "a dataplane's token could not be reviewed");
            Status::unavailable(error.to_string())
        }
    }
}

/// Until either side ends.
async fn follow(
    board: Arc<Board>,
    follower: Arc<Follower>,
    mut said: Streaming<FromDataplane>,
    sender: mpsc::Sender<Result<FromOperator, Status>>,
) {
    let sending = async {
        while let Some(message) = follower.next(&board).await {
            if sender.send(Ok(FromOperator { message: Some(message) })).await.is_err() {
                return;
            }
        }
        let _ = sender.send(Err(PushService::refuse(&board.publisher()))).await;
    };
    let hearing = async {
        while let Ok(Some(message)) = said.message().await {
            if let Some(FromThere::Answer(answer)) = message.message {
                hear(&board, &follower, answer);
            }
        }
    };
    tokio::select! { () = sending => {}, () = hearing => {} }
    board.leave(&follower);
    tracing::info!(dataplane = &*follower.name, "a dataplane follows no more");
}

fn hear(board: &Board, follower: &Follower, answer: Answer) {
    let Answer { tenant, revision, nacks } = answer;
    let Ok(tenant) = TenantName::parse(&tenant) else { return };
    let nacks: Vec<_> = nacks.into_iter().take(MAX_NACKS).filter_map(nack).collect();
    for (object, _, reason) in &nacks {
        tracing::warn!(dataplane = &*follower.name, %object, reason, "not applied as sent");
    }
    let revision = revision.map(|revision| Revision { term: revision.term, n: revision.n }).unwrap_or_default();
    board.heard(follower, tenant, Applied { revision, hash: None, nacks });
}

fn nack(nack: Nack) -> Option<(ObjectRef, Severity, String)> {
    let Nack { kind, namespace, name, warning, reason } = nack;
    let kinds = [Kind::Tenant, Kind::Route, Kind::RateLimitPolicy, Kind::WebhookSource];
    let kind = kinds.into_iter().find(|known| known.to_string() == kind)?;
    let severity = if warning { Severity::Warning } else { Severity::Error };
    Some((ObjectRef::new(kind, namespace, name), severity, reason))
}

fn have(hello: &Hello) -> Have {
    let one = |tenant: &wire::push::Tenant| {
        let name = TenantName::parse(&tenant.name).ok()?;
        let revision = tenant.revision.as_ref()?;
        let hash = ContentHash(tenant.hash.as_ref().try_into().ok()?);
        Some((name, (Revision { term: revision.term, n: revision.n }, hash)))
    };
    hello.tenants.iter().filter_map(one).collect()
}

fn service_port(service: &wire::push::ServicePort) -> Option<ServicePort> {
    let port = u16::try_from(service.port).ok()?;
    Some(ServicePort { namespace: service.namespace.as_str().into(), name: service.name.as_str().into(), port })
}
