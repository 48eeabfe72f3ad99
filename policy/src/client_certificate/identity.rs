//! Whether the proxy tells of the certificate that is wanted.

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use super::subject::{self, MAX_BYTES};
use super::{CertificateHeaderFormat, ClientCertificateIr};
use crate::refusal::{Reason, Refusal};

/// Why a block cannot be used, though it was compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no header field")]
pub struct IdentityError(Arc<str>);

/// A wanted certificate, ready to be asked for.
#[derive(Clone, Debug)]
pub struct ClientIdentity {
    header: HeaderName,
    format: CertificateHeaderFormat,
    common_name: Arc<str>,
}

fn refused(detail: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(Reason::ClientCertificateRefused, detail)
}

impl ClientIdentity {
    /// Makes a block ready.
    ///
    /// # Errors
    /// [`IdentityError`]
    pub fn new(ir: &ClientCertificateIr) -> Result<Self, IdentityError> {
        let ClientCertificateIr { header, format, common_name } = ir;
        let name = HeaderName::from_bytes(header.as_bytes()).map_err(|_| IdentityError(header.clone()))?;
        Ok(Self { header: name, format: *format, common_name: common_name.clone() })
    }

    /// Whether the wanted certificate was shown. `trusted` is whether the connected peer is a trusted proxy: the
    /// word of anybody else counts for nothing.
    ///
    /// # Errors
    /// [`Reason::ClientCertificateRefused`]
    pub fn check(&self, headers: &HeaderMap, trusted: bool) -> Result<(), Refusal> {
        if !trusted {
            return Err(refused("only a trusted proxy can say which client certificate was shown, and this is none"));
        }
        let header = &self.header;
        let mut fields = headers.get_all(header).iter();
        let field = fields.next().ok_or_else(|| refused(format!("the proxy tells no certificate in `{header}`")))?;
        if fields.next().is_some() {
            return Err(refused(format!("`{header}` is there more than once, so one of them is forged")));
        }
        let text = std::str::from_utf8(field.as_bytes()).ok().filter(|text| text.len() <= MAX_BYTES);
        let name = text.and_then(|text| match self.format {
            CertificateHeaderFormat::Subject => subject::common_name(text),
            CertificateHeaderFormat::XForwardedClientCert => {
                subject::forwarded_subject(text).and_then(|subject| subject::common_name(&subject))
            }
        });
        match name {
            Some(name) if name.eq_ignore_ascii_case(&self.common_name) => Ok(()),
            Some(_) => Err(refused("the client certificate is another's")),
            None => Err(refused(format!("`{header}` does not tell exactly one certificate with one common name"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "x-amzn-mtls-clientcert-subject";

    fn check(format: CertificateHeaderFormat, told: &[&str], trusted: bool) -> bool {
        let ir = ClientCertificateIr { header: HEADER.into(), format, common_name: "Client.Example".into() };
        let mut headers = HeaderMap::new();
        for value in told {
            headers.append(HEADER, value.parse().unwrap());
        }
        ClientIdentity::new(&ir).unwrap().check(&headers, trusted).is_ok()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        use CertificateHeaderFormat::{Subject, XForwardedClientCert};
        assert!(check(Subject, &["CN=client.example,O=x"], true));
        assert!(!check(Subject, &["CN=client.example,O=x"], false));
        assert!(check(XForwardedClientCert, &["Hash=1;Subject=\"CN=client.example\""], true));
        assert!(!check(XForwardedClientCert, &["Hash=1;Subject=\"CN=client.example\""], false));
    }

    #[test]
    fn nothing_less_than_one_certificate_of_the_name_will_do() {
        use CertificateHeaderFormat::{Subject, XForwardedClientCert};
        for told in [&[][..], &[""], &["CN=other"], &["O=client.example"], &["CN=client.example", "CN=client.example"]]
        {
            assert!(!check(Subject, told, true), "{told:?}");
        }
        assert!(!check(Subject, &[&format!("CN=client.example,O={}", "x".repeat(MAX_BYTES))], true));
        assert!(!check(XForwardedClientCert, &["CN=client.example"], true));
        assert!(!check(Subject, &["Subject=\"CN=client.example\""], true));
    }
}
