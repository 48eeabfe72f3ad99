//! Which client certificate a proxy must tell of.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// How the fields begin in which proxies, and RFC 9440, tell which client certificate was shown. The gateway removes
/// them from everybody who is no trusted proxy, so a block may name no other: what is never removed can be forged.
pub const CERTIFICATE_FIELDS: [&str; 9] = [
    "cf-client-cert-",
    "client-cert",
    "ssl-client-",
    "x-amzn-mtls-",
    "x-client-cert",
    "x-client-subject",
    "x-forwarded-client-cert",
    "x-forwarded-tls-client-cert",
    "x-ssl-client-",
];

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
