//! What a user writes to what the proxy must tell.

use http::HeaderName;

use super::{ClientCertificateIr, ClientCertificateSpec};
use crate::problem::Problems;

/// Header fields that say something else, or that callers of every kind send.
const TAKEN: [&str; 6] = ["authorization", "cookie", "forwarded", "host", "x-forwarded-for", "user-agent"];

/// The block, or `None` when a problem was recorded.
pub fn compile(spec: &ClientCertificateSpec, mut problems: Problems<'_>) -> Option<ClientCertificateIr> {
    let ClientCertificateSpec { from_header, format, subject_common_name, mode: _ } = spec;
    let before = problems.errors();
    match HeaderName::from_bytes(from_header.as_bytes()) {
        Ok(name) if !TAKEN.contains(&name.as_str()) && !from_header.contains('_') => {}
        Ok(_) => problems.at("fromHeader").invalid(
            format!("{from_header} is no field that a proxy tells a certificate in"),
            "name the field that your proxy sets, such as X-Amzn-Mtls-Clientcert-Subject",
        ),
        Err(_) => {
            problems.at("fromHeader").invalid(format!("{from_header:?} is no header field"), "write a field's name");
        }
    }
    let name = subject_common_name.trim();
    if name.is_empty() || name != subject_common_name || name.contains(['*', ',', '=']) {
        problems.at("subjectCommonName").invalid(
            format!("{subject_common_name:?} is no common name"),
            "write it exactly and without CN=, such as client.webhooks.fbclientcerts.com",
        );
    }
    (problems.errors() == before).then(|| ClientCertificateIr {
        header: from_header.to_ascii_lowercase().into(),
        format: *format,
        common_name: name.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn golden_files_hold_and_the_page_compiles() {
        golden::check("client_certificate", |spec: &ClientCertificateSpec, _, problems| compile(spec, problems));
        golden::check_page("client_certificate", "/clientCertificate", |spec: &ClientCertificateSpec, _, problems| {
            compile(spec, problems)
        });
    }
}
