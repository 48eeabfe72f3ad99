//! Whatever a proxy tells of a certificate, it is read in one way or refused; nobody but a trusted proxy is believed.
//! Run with `cargo +nightly fuzz run client_certificate`.
#![no_main]

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use policy::client_certificate::{CertificateHeaderFormat, ClientCertificateIr, ClientIdentity};

fuzz_target!(|bytes: &[u8]| {
    let Ok(told) = HeaderValue::from_bytes(bytes) else { return };
    let headers = HeaderMap::from_iter([(http::HeaderName::from_static("x-client-subject"), told)]);
    for format in [CertificateHeaderFormat::Subject, CertificateHeaderFormat::XForwardedClientCert] {
        let named = |name: &str| {
            let ir = ClientCertificateIr { header: "x-client-subject".into(), format, common_name: name.into() };
            ClientIdentity::new(&ir).unwrap()
        };
        assert!(named("a").check(&headers, false).is_err());
        // One text has one common name.
        assert!(!(named("a").check(&headers, true).is_ok() && named("b").check(&headers, true).is_ok()));
    }
});
