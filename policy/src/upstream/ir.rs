//! What requests and events are sent to.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Names one upstream within a tenant; also the key of its breaker, pool and metrics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum UpstreamKey {
    /// A port of a Service.
    Service(ServicePort),
    /// An URL's origin.
    Url {
        /// `http` now; `https` with the TLS that comes with it.
        scheme: Arc<str>,
        /// Host name or address.
        host: Arc<str>,
        /// Port.
        port: u16,
    },
}

impl std::fmt::Display for UpstreamKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Service(ServicePort { namespace, name, port }) => write!(f, "{namespace}/{name}:{port}"),
            Self::Url { scheme, host, port } => write!(f, "{scheme}://{host}:{port}"),
        }
    }
}

/// One port of one Service. Its endpoints travel apart from the tenants that name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServicePort {
    /// The Service's namespace.
    pub namespace: Arc<str>,
    /// The Service's name.
    pub name: Arc<str>,
    /// The Service's port number.
    pub port: u16,
}

/// One address of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EndpointIr {
    /// Where it listens.
    pub address: SocketAddr,
    /// Ready for new requests. One that is not, but serves while it terminates, is used when none is ready.
    pub ready: bool,
}

/// The endpoints of one Service port; an empty list is a known, empty set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceEndpoints {
    /// Whose.
    pub service: ServicePort,
    /// Which.
    pub endpoints: Vec<EndpointIr>,
}
