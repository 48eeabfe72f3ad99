//! One WebhookSource, ready.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use policy::circuit_breaker::CircuitBreakerIr;
use policy::client_certificate::{ClientIdentity, IdentityError};
use policy::names::{Hostname, ObjectRef, TenantName};
use policy::ordering::RetrySchedule;
use policy::rate_limit::Limits;
use policy::schema::Schema;
use policy::secret::Secret;
use policy::upstream::UpstreamKey;
use policy::webhook_source::{DestinationIr, RecipeError, Verifier, WebhookSourceIr};

use super::{Addresses, Guard};
use crate::event::deliver::Destination;
use crate::outside::CountryDatabase;
use crate::upstream::Registry;

/// When a destination is given a rest: after five failures in a row, or half of twenty.
const DESTINATION_BREAKER: CircuitBreakerIr = CircuitBreakerIr {
    failure_percent: 50,
    min_requests: 20,
    window_ms: 10_000,
    consecutive_failures: 5,
    open_for_ms: 2_000,
    half_open_requests: 1,
};

/// Why a source cannot be made ready, though it was compiled.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Its recipe cannot be used.
    #[error("the recipe cannot be used")]
    Recipe(#[from] RecipeError),
    /// Its client certificate cannot be asked for.
    #[error("the client certificate cannot be used")]
    Certificate(#[from] IdentityError),
}

/// What a request to a source meets.
#[derive(Debug)]
pub struct Source {
    /// The WebhookSource.
    pub object: ObjectRef,
    /// Its name for logs.
    pub name: Arc<str>,
    /// Its hosts.
    pub hostnames: Vec<Hostname>,
    /// Its path; `None` for one behind a shared source.
    pub path: Option<Arc<str>>,
    /// What it was compiled to.
    pub ir: WebhookSourceIr,
    /// Addresses that may send.
    pub addresses: Option<Guard<Addresses>>,
    /// The certificate that senders show to the proxy in front.
    pub client_certificate: Option<Guard<ClientIdentity>>,
    /// Verifies requests; `None` without an entrance, or in mode `Off`.
    pub verifier: Option<Guard<Verifier>>,
    /// The token of the GET handshake.
    pub handshake: Option<Secret>,
    /// Its limits.
    pub limits: Limits,
    /// What its events must look like.
    pub schema: Option<Guard<Arc<Schema>>>,
    /// Where its events go.
    pub destination: Option<Arc<Destination>>,
}

impl Source {
    /// Makes a source ready.
    ///
    /// # Errors
    /// [`SourceError`]
    pub fn new(
        tenant: &TenantName,
        object: &ObjectRef,
        mut ir: WebhookSourceIr,
        (limits, countries): (Limits, Option<&Arc<CountryDatabase>>),
        upstreams: &Registry,
    ) -> Result<Self, SourceError> {
        let verifier = Guard::build(ir.verification.as_ref(), Verifier::new)?;
        let addresses = Guard::build(ir.addresses.as_ref(), |ir| Ok::<_, SourceError>(Addresses::new(ir, countries)))?;
        let client_certificate = Guard::build(ir.client_certificate.as_ref(), ClientIdentity::new)?;
        let schema = super::schema(ir.schema.as_ref(), "schema", &mut ir.broken_security);
        let destination = ir.destination.as_ref().map(|to| Arc::new(destination(tenant, to, &ir, upstreams)));
        Ok(Self {
            object: object.clone(),
            name: object.to_string().into(),
            hostnames: ir.entrance.as_ref().map(|entrance| entrance.hostnames.clone()).unwrap_or_default(),
            path: ir.entrance.as_ref().map(|entrance| entrance.path.clone()),
            handshake: ir.verification.as_ref().and_then(|attached| attached.ir.handshake.clone()),
            addresses,
            client_certificate,
            verifier,
            limits,
            schema,
            destination,
            ir,
        })
    }
}

fn destination(tenant: &TenantName, to: &DestinationIr, ir: &WebhookSourceIr, upstreams: &Registry) -> Destination {
    let host = match &to.upstream {
        UpstreamKey::Service(service) => format!("{}.{}:{}", service.name, service.namespace, service.port),
        UpstreamKey::Url { host, port, scheme: _ } => format!("{host}:{port}"),
    };
    Destination {
        upstream: upstreams.get_or_build(tenant, &to.upstream, Some(&DESTINATION_BREAKER), false),
        host: HeaderValue::try_from(host).unwrap_or(HeaderValue::from_static("destination.invalid")),
        path: to.path.clone(),
        timeout: Duration::from_millis(ir.delivery.timeout_ms),
        schedule: RetrySchedule {
            attempts: ir.delivery.attempts,
            base: Duration::from_millis(ir.delivery.backoff_base_ms),
            max: Duration::from_millis(ir.delivery.backoff_max_ms),
        },
        sign_with: ir.delivery.sign_with.clone(),
        retention: Duration::from_secs(ir.retention_secs),
        wait_for_gap: Duration::from_millis(ir.wait_for_gap_ms),
    }
}
