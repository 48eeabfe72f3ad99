//! What a user writes for the certificate that a sender shows to the proxy in front.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::CertificateHeaderFormat;
use crate::mode::Mode;

fn subject() -> CertificateHeaderFormat {
    CertificateHeaderFormat::Subject
}

/// The certificate that a sender must have shown to the trusted proxy that ended its TLS connection. The proxy
/// checks the certificate against the provider's authority, and sets or removes the header field on every request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientCertificateSpec {
    /// The header field in which the proxy tells the certificate's subject; believed of trusted proxies only.
    #[schemars(length(min = 1, max = 128))]
    pub from_header: String,
    /// How the proxy writes it; Subject when left out.
    #[serde(default = "subject")]
    pub format: CertificateHeaderFormat,
    /// The common name that the subject must have.
    #[schemars(length(min = 1, max = 255))]
    pub subject_common_name: String,
    /// Whether it enforces, audits or rests.
    #[serde(default)]
    pub mode: Mode,
}
