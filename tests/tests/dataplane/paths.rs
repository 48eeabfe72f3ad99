//! Ambiguous paths: refused, unless the rule allows the form and every reading leads to the same rule.

use tests::client::{both, get};
use tests::gateway::Gateway;
use tests::manifests::route;
use tests::upstream::Upstream;

use super::{HOST, acme};

const ALL: &str = "      paths: {allow: [Semicolon, EncodedSlash, DoubleSlash]}";

#[test]
fn an_ambiguous_path_passes_only_where_its_rule_allows_the_form() {
    both(|protocol| {
        let upstream = Upstream::echo().unwrap();
        let semicolon = route("matrix", "/matrix", "      paths: {allow: [Semicolon]}");
        let manifests = acme(&upstream, "") + &route("files", "/files", ALL) + &semicolon;
        let gateway = Gateway::start(&manifests).unwrap();
        let refused = ["/a;x", "/a%3Bx", "/a%2Fb", "/a//b", "//a", "/matrix/a%2Fb", "/matrix//a"];
        let unsafe_everywhere =
            ["/files/..;/a", "/files/a%2F..%2Fb", "/files/%2e%2e%2fa", "/files/a%5Cb", "/files/..%3B/a"];
        for path in refused.into_iter().chain(unsafe_everywhere) {
            let answer = get(HOST, path).send(gateway.address).unwrap();
            assert_eq!((answer.status, answer.reason().as_str()), (400, "ambiguous_path"), "{protocol:?} {path}");
        }
        assert_eq!(upstream.received().len(), 0);
        for path in [
            "/matrix/a;x=1/b",
            "/matrix/a%3Bx",
            "/files/group%2Fproject",
            "/files/a//b",
            "/files//",
            "/files/a;b//c%2Fd",
        ] {
            let answer = get(HOST, path).send(gateway.address).unwrap();
            assert_eq!((answer.status, answer.text()), (200, format!("GET {path} HTTP/1.1")), "{protocol:?}");
        }
    });
}

#[test]
fn no_reading_of_an_allowed_path_leads_past_the_rule_that_protects_it() {
    both(|protocol| {
        let upstream = Upstream::echo().unwrap();
        let admin = route("admin", "/admin", "      addresses: {allow: [198.51.100.7/32]}");
        let gateway = Gateway::start(&(acme(&upstream, ALL) + &admin)).unwrap();
        for path in [
            "/admin;x",
            "/admin%3Bx/y",
            "//admin",
            "/%2Fadmin",
            "/admin;x%2Fy",
            "//admin;x",
            "/;x/admin",
            "/a;b%2F..%2Fadmin",
        ] {
            let answer = get(HOST, path).send(gateway.address).unwrap();
            assert_eq!((answer.status, answer.reason().as_str()), (400, "ambiguous_path"), "{protocol:?} {path}");
        }
        assert_eq!(get(HOST, "/admin").send(gateway.address).unwrap().status, 403);
        assert_eq!(get(HOST, "/other;x").send(gateway.address).unwrap().status, 200);
        assert_eq!(upstream.received().len(), 1);
    });
}
