//! Which client certificate a proxy must tell of.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// How a proxy writes a certificate's subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum CertificateHeaderFormat {
    /// A distinguished name (RFC 4514): `CN=client.example,O=Example`, as nginx, HAProxy and AWS load balancers do.
    Subject,
    /// Envoy's `x-forwarded-client-cert`, with one element.
    XForwardedClientCert,
}

/// What the proxy must tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCertificateIr {
    /// The header field, lower case.
    pub header: Arc<str>,
    /// How it is written.
    pub format: CertificateHeaderFormat,
    /// The subject's common name.
    pub common_name: Arc<str>,
}
