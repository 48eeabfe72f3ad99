//! What a user writes to what the proxy must tell.

use http::HeaderName;

use super::{CERTIFICATE_FIELDS, ClientCertificateIr, ClientCertificateSpec};
use crate::problem::Problems;

/// The block, or `None` when a problem was recorded.
pub fn compile(spec: &ClientCertificateSpec, mut problems: Problems<'_>) -> Option<ClientCertificateIr> {
    let ClientCertificateSpec { from_header, format, subject_common_name, mode: _ } = spec;
    let before = problems.errors();
    match HeaderName::from_bytes(from_header.as_bytes()) {
        Ok(name) if is_certificate_field(name.as_str()) => {}
        Ok(_) => {
            let help = format!("have your proxy set one that begins with one of {}", CERTIFICATE_FIELDS.join(", "));
            problems.at("fromHeader").invalid(format!("{from_header} is a field that every caller may send"), help);
        }
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

/// With `_` in it even a trusted proxy is not believed: it may have let a caller's own pass.
fn is_certificate_field(name: &str) -> bool {
    CERTIFICATE_FIELDS.iter().any(|start| name.starts_with(start)) && !name.contains('_')
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
