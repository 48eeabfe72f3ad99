//! What browsers are told, seen through a socket: a grant that is decided must also arrive.

use tests::client::{Answer, Request, both, get, request};
use tests::gateway::Gateway;
use tests::manifests::{route, secret, service, tenant};
use tests::upstream::{Reply, Upstream};

use super::HOST;

const ORIGIN: &str = "https://app.acme.example";

const CORS: &str = "  cors:
    allowOrigins: ['https://app.acme.example']
    allowMethods: [GET, PUT]
    allowHeaders: [authorization, content-type]
    exposeHeaders: [x-request-id]
    maxAge: 600
    credentials: Allow
  authentication:
    jwt:
      - {name: idp, issuer: 'https://idp.example', audiences: [api], algorithms: [HS256], keys: {secretRef: {name: jwt, namespace: acme, key: secret}}}
";

/// `/v1` wants a token and takes GET and PUT; `/open` is open; `/own` has a `cors` of its own.
fn manifests(upstream: &Upstream) -> String {
    let protected = "---
apiVersion: postern.dev/v1alpha1
kind: Route
metadata: {name: protected, namespace: acme}
spec:
  rules:
    - name: v1
      matches: [{path: {type: PathPrefix, value: /v1}, methods: [GET, PUT]}]
      backendRefs: [{name: echo, port: 8080}]
";
    [
        tenant("acme", HOST, CORS),
        service("acme", "echo", 8080, upstream.address),
        secret("acme", "jwt", "secret", &"s".repeat(40)),
        protected.to_owned(),
        route("open", "/open", ""),
        route("own", "/own", "      cors: {allowOrigins: ['https://other.example'], maxAge: 5}"),
    ]
    .concat()
}

fn preflight(path: &str, origin: &str, method: &str) -> Request {
    request("OPTIONS", HOST, path)
        .header("origin", origin)
        .header("access-control-request-method", method)
        .header("access-control-request-headers", "authorization,content-type")
}

fn allowed_origin(answer: &Answer) -> Option<&str> {
    answer.header("access-control-allow-origin")
}

#[test]
fn a_preflight_grant_arrives_with_all_its_fields() {
    both(|protocol| {
        let upstream = Upstream::echo().unwrap();
        let gateway = Gateway::start(&manifests(&upstream)).unwrap();
        for path in ["/v1/agents", "/open"] {
            let answer = preflight(path, ORIGIN, "PUT").send(gateway.address).unwrap();
            assert_eq!(answer.status, 204, "{protocol:?} {path}: {}", answer.text());
            for (name, value) in [
                ("access-control-allow-origin", ORIGIN),
                ("access-control-allow-credentials", "true"),
                ("access-control-allow-methods", "GET, PUT"),
                ("access-control-allow-headers", "authorization, content-type"),
                ("access-control-max-age", "600"),
                ("vary", "origin, access-control-request-method, access-control-request-headers"),
            ] {
                assert_eq!(answer.header(name), Some(value), "{protocol:?} {path} {name}");
            }
            assert_eq!(answer.header("access-control-allow-private-network"), None);
        }
        let own = preflight("/own", "https://other.example", "POST").send(gateway.address).unwrap();
        assert_eq!(own.header("access-control-allow-methods"), Some("GET, HEAD, POST"));
        assert_eq!(own.header("access-control-max-age"), Some("5"));
        assert_eq!(upstream.received().len(), 0);
    });
}

#[test]
fn a_preflight_of_another_origin_is_refused_with_its_reason() {
    both(|_| {
        let upstream = Upstream::echo().unwrap();
        let gateway = Gateway::start(&manifests(&upstream)).unwrap();
        for origin in ["https://evil.example", "null", "http://app.acme.example", "https://app.acme.example:8443"] {
            let answer = preflight("/v1", origin, "GET").send(gateway.address).unwrap();
            assert_eq!((answer.status, answer.reason().as_str()), (403, "origin_denied"), "{origin}");
            assert_eq!(allowed_origin(&answer), None, "{origin}");
        }
    });
}

#[test]
fn a_page_of_an_allowed_origin_can_read_every_refusal_and_no_other_page_can() {
    both(|protocol| {
        let upstream = Upstream::echo().unwrap();
        let gateway = Gateway::start(&manifests(&upstream)).unwrap();
        for (request, status) in [
            (get(HOST, "/v1"), 401),
            (get(HOST, "/v1").header("authorization", "Bearer e30.e30.e30"), 401),
            (get(HOST, "/none"), 404),
            (request("DELETE", HOST, "/v1"), 405),
        ] {
            let refused = request.clone().header("origin", ORIGIN).send(gateway.address).unwrap();
            assert_eq!(refused.status, status, "{protocol:?}: {}", refused.text());
            assert_eq!(allowed_origin(&refused), Some(ORIGIN), "{protocol:?} {status}");
            assert_eq!(refused.header("access-control-expose-headers"), Some("x-request-id"));
            assert_eq!(refused.header("vary"), Some("origin"));
            let other = request.header("origin", "https://evil.example").send(gateway.address).unwrap();
            assert_eq!((other.status, allowed_origin(&other)), (status, None), "{protocol:?}");
        }
    });
}

#[test]
fn fields_of_the_upstream_are_replaced() {
    both(|_| {
        let says = b"HTTP/1.1 200 OK\r\naccess-control-allow-origin: *\r\naccess-control-allow-methods: DELETE\r\ncontent-length: 2\r\n\r\nok";
        let upstream = Upstream::start(move |_| Reply::Raw(says.to_vec())).unwrap();
        let gateway = Gateway::start(&manifests(&upstream)).unwrap();
        let answer = get(HOST, "/open").header("origin", ORIGIN).send(gateway.address).unwrap();
        assert_eq!((answer.status, allowed_origin(&answer)), (200, Some(ORIGIN)));
        assert_eq!(answer.header("access-control-allow-methods"), None);
    });
}
