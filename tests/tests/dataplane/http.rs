//! One unambiguous request, or none.

use tests::client::{Answer, Client, Protocol, both, get, post, request};
use tests::gateway::Gateway;
use tests::manifests::route;
use tests::upstream::Upstream;

use super::{HOST, acme, start};

/// The answer is a problem document, and the access log says the same.
fn assert_malformed(name: &str, answer: &Answer, gateway: &Gateway) {
    assert_eq!(answer.status, 400, "{name}: {}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{name}");
    assert!(["malformed_request", "ambiguous_path"].contains(&answer.reason().as_str()), "{name}: {}", answer.text());
    assert!(!answer.json()["detail"].as_str().unwrap_or_default().is_empty(), "{name}");
    let id = answer.header("x-request-id").unwrap_or_default();
    let line: serde_json::Value = serde_json::from_str(&gateway.wait_printed(id)).unwrap();
    assert_eq!((line["status"].as_u64(), line["reason"].as_str()), (Some(400), Some(&*answer.reason())), "{name}");
}

#[test]
fn what_two_parties_could_read_in_two_ways_reaches_no_upstream() {
    let upstream = Upstream::echo().unwrap();
    let gateway = start(&upstream, "");
    let host = "Host: api.acme.example\r\n";
    let chunked = format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n");
    let cases = [
        ("no host", "GET / HTTP/1.1\r\n\r\n".to_owned()),
        ("two hosts", format!("GET / HTTP/1.1\r\n{host}{host}\r\n")),
        ("lengths", format!("POST / HTTP/1.1\r\n{host}Content-Length: 1\r\nContent-Length: 1\r\n\r\nx")),
        (
            "CL.TE",
            format!(
                "POST / HTTP/1.1\r\n{host}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n{host}\r\n"
            ),
        ),
        ("TE list", format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")),
        ("folding", format!("GET / HTTP/1.1\r\n{host}X: a\r\n b\r\n\r\n")),
        ("bare LF", "GET / HTTP/1.1\nHost: api.acme.example\n\n".to_owned()),
        ("star", format!("GET * HTTP/1.1\r\n{host}\r\n")),
        ("space before colon", "GET / HTTP/1.1\r\nHost : api.acme.example\r\n\r\n".to_owned()),
        ("other authority", format!("GET http://evil.example/ HTTP/1.1\r\n{host}\r\n")),
        ("encoded slash", format!("GET /a%2fb HTTP/1.1\r\n{host}\r\n")),
        ("dots", format!("GET /a/../b HTTP/1.1\r\n{host}\r\n")),
        ("encoded dots", format!("GET /a/%2e%2e/b HTTP/1.1\r\n{host}\r\n")),
        ("empty segment", format!("GET //a HTTP/1.1\r\n{host}\r\n")),
        ("backslash", format!("GET /a\\b HTTP/1.1\r\n{host}\r\n")),
        ("semicolon", format!("GET /a;x HTTP/1.1\r\n{host}\r\n")),
        ("encoded semicolon", format!("GET /a%3bx HTTP/1.1\r\n{host}\r\n")),
        ("NUL", format!("GET /a%00 HTTP/1.1\r\n{host}\r\n")),
        ("angle brackets", format!("GET /a<b> HTTP/1.1\r\n{host}\r\n")),
        ("angle brackets in the query", format!("GET /?a=<b> HTTP/1.1\r\n{host}\r\n")),
        ("quotation marks in the query", format!("GET /?a={{\"b\":1}} HTTP/1.1\r\n{host}\r\n")),
        ("backtick", format!("GET /a`b HTTP/1.1\r\n{host}\r\n")),
        ("fragment", format!("GET /a#/../admin HTTP/1.1\r\n{host}\r\n")),
        ("fragment behind a query", format!("GET /a?x=#y HTTP/1.1\r\n{host}\r\n")),
        ("empty fragment", format!("GET /a# HTTP/1.1\r\n{host}\r\n")),
        ("space behind a chunk's size", format!("{chunked}5 \r\nhello\r\n0\r\n\r\n")),
        ("chunk without a size", format!("{chunked}zz\r\nhello\r\n0\r\n\r\n")),
        ("bad second chunk", format!("{chunked}5\r\nhello\r\nzz\r\n\r\n")),
        ("chunk extension without a name", format!("{chunked}5;\r\nhello\r\n0\r\n\r\n")),
    ];
    for (name, bytes) in &cases {
        let mut client = Client::connect(gateway.address).unwrap();
        client.send(bytes.as_bytes()).unwrap();
        let answer = client.answer(false).unwrap_or_else(|error| panic!("{name}: {error}\n{}", gateway.printed()));
        assert_malformed(name, &answer, &gateway);
    }
    let of = |reason| {
        let labels = |tenant: &str| format!("postern_refusals_total{{reason=\"{reason}\",tenant=\"{tenant}\"}}");
        gateway.metric(&labels("")) + gateway.metric(&labels("acme"))
    };
    assert_eq!(of("malformed_request") + of("ambiguous_path"), cases.len() as u64, "{}", gateway.metrics());
    assert_eq!(upstream.received().len(), 0);
}

#[test]
fn a_bad_chunk_gets_the_same_answer_in_one_packet_and_in_two() {
    let upstream = Upstream::echo().unwrap();
    let gateway = start(&upstream, "");
    let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    for parts in [vec![head.clone() + "zz\r\n\r\n"], vec![head, "zz\r\n\r\n".to_owned()]] {
        let mut client = Client::connect(gateway.address).unwrap();
        for part in &parts {
            client.send(part.as_bytes()).unwrap();
        }
        let answer = client.answer(false).unwrap();
        assert_eq!((answer.status, answer.reason().as_str()), (400, "malformed_request"), "{parts:?}");
    }
}

#[test]
fn a_bad_request_behind_a_good_one_is_refused_in_its_order() {
    let upstream = Upstream::echo().unwrap();
    let gateway = start(&upstream, "");
    let mut client = Client::connect(gateway.address).unwrap();
    let good = get(HOST, "/good").bytes();
    client.send(&[&good[..], b"GET /bad HTTP/1.1\r\n\r\n", &good[..]].concat()).unwrap();
    assert_eq!(client.answer(false).unwrap().text(), "GET /good HTTP/1.1");
    let refused = client.answer(false).unwrap();
    assert_eq!((refused.status, refused.header("connection")), (400, Some("close")));
    assert!(client.closed(), "nothing after it is read");
    assert_eq!(upstream.received().len(), 1);
}

#[test]
fn identity_and_hop_by_hop_fields_do_not_pass() {
    both(|protocol| {
        let upstream = Upstream::echo().unwrap();
        let gateway = start(&upstream, "");
        let answer = get(HOST, "/a?b=c")
            .header("x-user-id", "root")
            .header("X_User_Id", "root")
            .header("x-postern-tenant", "globex")
            .header("x-forwarded-for", "10.0.0.1")
            .header("connection", "keep-alive, x-hop")
            .header("x-hop", "1")
            .header("x-kept", "1")
            .send(gateway.address)
            .unwrap();
        assert_eq!(answer.text(), "GET /a?b=c HTTP/1.1");
        assert!(answer.header("x-request-id").is_some());
        let received = &upstream.received()[0];
        for name in ["x-user-id", "x_user_id", "connection"] {
            assert_eq!(received.header(name), None, "{name}");
        }
        assert_eq!(received.header("x-postern-tenant"), Some("acme"));
        // HTTP/2 has no Connection field, so its clients leave the field out.
        if protocol == Protocol::Http1 {
            assert_eq!(received.header("x-hop"), None);
        }
        assert_eq!(received.header("x-kept"), Some("1"));
        assert_eq!(received.header("host"), Some(HOST));
        assert_eq!(received.header("x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(received.header("traceparent"), None);
    });
}

#[test]
fn an_upstream_gets_one_host_and_one_cookie_line_over_either_protocol() {
    both(|protocol| {
        let upstream = Upstream::echo().unwrap();
        let gateway = start(&upstream, "");
        let with_port = format!("{HOST}:8443");
        for host in [HOST, &with_port] {
            let answer = get(host, "/")
                .header("cookie", "a=1")
                .header("cookie", "b=2; c=3")
                .header("cookie", "d=4")
                .send(gateway.address);
            assert_eq!(answer.unwrap().status, 200, "{protocol:?}");
            let received = upstream.received().pop().unwrap();
            assert_eq!(received.all("host"), [host], "{protocol:?}");
            assert_eq!(received.all("cookie"), ["a=1; b=2; c=3; d=4"], "{protocol:?}");
        }
    });
}

#[test]
fn forged_fields_of_every_family_stop_at_the_gateway() {
    let forged = [
        "x-user-id",
        "x-forwarded-user",
        "x-forwarded-groups",
        "x-forwarded-preferred-username",
        "x-forwarded-access-token",
        "x-auth-request-email",
        "x-remote-group",
        "remote-user",
        "x-webauth-user",
        "x-consumer-id",
        "cf-access-jwt-assertion",
        "x-amzn-oidc-identity",
        "x-ms-client-principal-id",
        "impersonate-user",
        "x-original-url",
        "x-original-uri",
        "x-rewrite-url",
        "x-goog-authenticated-user-email",
        "user",
        "roles",
        "proxy",
        "x-http-method-override",
        "x-real-ip",
        "true-client-ip",
        "x-forwarded-port",
        "x-forwarded-prefix",
        "x-forwarded-scheme",
        "x-forwarded-ssl",
        "forwarded",
        "x-ssl-client-cn",
        "client-cert",
        "x_user_id",
        "x_forwarded_for",
        "any_name",
    ];
    both(|protocol| {
        let upstream = Upstream::echo().unwrap();
        let gateway = start(&upstream, "");
        let request =
            forged.iter().fold(get(HOST, "/").header("x-kept", "1"), |request, name| request.header(name, "forged"));
        assert_eq!(request.send(gateway.address).unwrap().status, 200);
        let received = upstream.received().pop().unwrap();
        let through: Vec<_> = received.headers.iter().filter(|(_, value)| value == "forged").collect();
        assert!(through.is_empty(), "{protocol:?}: {through:?}");
        assert_eq!(received.header("x-kept"), Some("1"));
    });
}

#[test]
fn a_trusted_proxy_sets_the_fields_that_the_installation_names() {
    both(|protocol| {
        let upstream = Upstream::echo().unwrap();
        let named =
            ["--trusted-header", "x-auth-request-user", "--keep-header", "any_name", "--remove-header", "x-internal-*"];
        for (trusted, arguments) in [(false, &[][..]), (true, &["--trusted-proxy", "127.0.0.0/8"])] {
            let all = [&["--cores", "1"], &named[..], arguments].concat();
            let gateway = Gateway::start_with(&acme(&upstream, ""), &all).unwrap();
            let sent = [
                "x-auth-request-user",
                "x-auth-request-email",
                "any_name",
                "other_name",
                "x-internal-zone",
                "x-real-ip",
            ];
            let request = sent.iter().fold(get(HOST, "/"), |request, name| request.header(name, "1"));
            assert_eq!(request.send(gateway.address).unwrap().status, 200);
            let received = upstream.received().pop().unwrap();
            let through = sent.iter().copied().filter(|name| received.header(name).is_some()).collect::<Vec<_>>();
            let wanted = if trusted { &["x-auth-request-user", "any_name", "x-real-ip"][..] } else { &["any_name"] };
            assert_eq!(through, wanted, "{protocol:?} {trusted}");
        }
    });
}

#[test]
fn connection_takes_no_forwarding_field_away() {
    let upstream = Upstream::echo().unwrap();
    let gateway = Gateway::start_with(&acme(&upstream, ""), &["--trusted-proxy", "127.0.0.0/8"]).unwrap();
    let answer = get(HOST, "/")
        .header("connection", "x-forwarded-for, x-real-ip, x-hop")
        .header("x-forwarded-for", "198.51.100.7")
        .header("x-real-ip", "198.51.100.7")
        .header("x-hop", "1")
        .send(gateway.address)
        .unwrap();
    assert_eq!(answer.status, 200);
    let received = upstream.received().pop().unwrap();
    assert_eq!(received.all("x-forwarded-for"), ["198.51.100.7, 127.0.0.1"]);
    assert_eq!((received.header("x-real-ip"), received.header("x-hop")), (Some("198.51.100.7"), None));
}

#[test]
fn unusual_methods_pass_only_where_a_route_lists_them() {
    both(|protocol| {
        let upstream = Upstream::echo().unwrap();
        let listed = route("dav", "/dav", "").replace("value: /dav}", "value: /dav}, methods: [PROPFIND, TRACE, get]");
        let gateway = Gateway::start(&(acme(&upstream, "") + &listed)).unwrap();
        for method in ["TRACE", "PROPFIND", "get"] {
            let refused = request(method, HOST, "/x").send(gateway.address).unwrap();
            assert_eq!(
                (refused.status, refused.reason().as_str()),
                (405, "method_not_allowed"),
                "{protocol:?} {method}"
            );
            let answer = request(method, HOST, "/dav").send(gateway.address).unwrap();
            assert_eq!((answer.status, answer.text()), (200, format!("{method} /dav HTTP/1.1")), "{protocol:?}");
        }
    });
}

#[test]
fn a_head_over_the_limit_is_refused_with_its_reason() {
    both(|protocol| {
        let upstream = Upstream::echo().unwrap();
        let gateway = start(&upstream, "");
        let refused = get(HOST, "/").header("x-long", &"a".repeat(17_000)).send(gateway.address).unwrap();
        assert_eq!((refused.status, refused.reason().as_str()), (431, "headers_too_large"), "{protocol:?}");
        assert!(gateway.wait_printed("headers_too_large").contains("431"));
    });
}

#[test]
fn a_trace_context_passes_unchanged_and_none_is_added() {
    both(|protocol| {
        let upstream = Upstream::echo().unwrap();
        let gateway = start(&upstream, "");
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let traced = get(HOST, "/").header("traceparent", parent).header("tracestate", "a=b");
        let answer = traced.send(gateway.address).unwrap();
        let received = upstream.received().pop().unwrap();
        assert_eq!(
            (received.all("traceparent"), received.all("tracestate")),
            (vec![parent], vec!["a=b"]),
            "{protocol:?}"
        );
        let line = gateway.wait_printed(answer.header("x-request-id").unwrap());
        assert!(line.contains(r#""trace_id":"0af7651916cd43dd8448eb211c80319c""#), "{line}");

        get(HOST, "/").send(gateway.address).unwrap();
        let received = upstream.received().pop().unwrap();
        assert_eq!((received.all("traceparent"), received.all("tracestate")), (vec![], vec![]), "{protocol:?}");
    });
}

#[test]
fn bodies_pass_both_ways_and_stop_at_their_limit() {
    let upstream = Upstream::start(|received| {
        tests::upstream::Reply::Status(200, String::from_utf8_lossy(&received.body).into_owned())
    })
    .unwrap();
    let gateway = start(&upstream, "      maxBodySize: 64Ki");
    let mut client = Client::connect(gateway.address).unwrap();
    let body = "x".repeat(60_000);
    assert_eq!(post(HOST, "/", body.as_str()).send_on(&mut client).unwrap().text(), body);
    let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(format!("{head}3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(client.answer(false).unwrap().text(), "abcde");
    let refused = post(HOST, "/", "x".repeat(70_000)).send(gateway.address).unwrap();
    assert_eq!((refused.status, refused.reason().as_str()), (413, "body_too_large"));
    assert_eq!(request("HEAD", HOST, "/").send(gateway.address).unwrap().status, 200);
}

#[test]
fn who_asks_for_nothing_that_is_there_is_told_so() {
    both(|_| {
        let upstream = Upstream::echo().unwrap();
        let gateway = start(&upstream, "");
        let unknown = get("nobody.example", "/").send(gateway.address).unwrap();
        assert_eq!((unknown.status, unknown.reason().as_str()), (404, "unknown_host"));
        let line = gateway.wait_printed("unknown_host");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((line["status"].as_u64(), line["host"].as_str()), (Some(404), Some("nobody.example")));
    });
}
