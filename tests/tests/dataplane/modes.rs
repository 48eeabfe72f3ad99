//! Every mode of every policy on every kind of target: what the caller sees, and what is recorded.

use std::fmt::Write;

use serde_json::{Value, json};
use tests::client::{Answer, Request, both, get, post, request};
use tests::gateway::Gateway;
use tests::manifests::{config_map, secret, service, tenant};
use tests::upstream::{Received, Reply, Upstream};

const MODES: [&str; 3] = ["Enforce", "Audit", "Off"];

/// Where a policy is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Rule,
    Route,
    Tenant,
    /// By a RateLimitPolicy with a reference to it.
    PolicyOnTenant,
    PolicyOnRoute,
    PolicyOnRule,
    PolicyOnSource,
    Source,
}
use Target::{PolicyOnRoute, PolicyOnRule, PolicyOnSource, PolicyOnTenant, Route, Rule, Source, Tenant};

/// One policy: the block, the requests, and what is seen of the last response in each mode.
struct Case {
    name: &'static str,
    targets: &'static [Target],
    block: &'static str,
    requests: fn(&str) -> Vec<Request>,
    seen: fn(&Answer) -> String,
    /// With `Enforce`, and with `Audit` and `Off`, which let through alike.
    enforced: &'static str,
    otherwise: &'static str,
    /// The member of the access log's line and what is in it, with `Audit`.
    recorded: (&'static str, &'static str),
}

const LEVELS: &[Target] = &[Rule, Route, Tenant];

fn status(answer: &Answer) -> String {
    format!("{} {}", answer.status, answer.reason()).trim().to_owned()
}

fn one(host: &str) -> Vec<Request> {
    vec![get(host, "/echo")]
}

fn twice(host: &str) -> Vec<Request> {
    vec![get(host, "/echo"), get(host, "/echo")]
}

fn closed_twice(host: &str) -> Vec<Request> {
    vec![get(host, "/close"), get(host, "/close")]
}

fn event(host: &str) -> Request {
    let channel = json!({"id": "integration", "messageId": host, "to": {"id": "49"}, "time": "2026-01-01T00:00:00Z"});
    let body =
        json!({"id": host, "channel": channel, "type": "Text", "text": "hi", "direction": "Outbound"}).to_string();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag = ring::hmac::sign(&key, body.as_bytes());
    let signature = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, tag);
    post(host, "/hook", body).header("x-hub-signature-256", &format!("sha256={signature}"))
}

const SECRET: &str = "canary-genesys-token";

fn cases() -> Vec<Case> {
    let mut cases = inbound();
    cases.extend(cross_origin());
    cases.extend(outbound());
    cases.extend(of_sources());
    cases
}

fn inbound() -> Vec<Case> {
    let base = Case {
        name: "authentication",
        targets: &[Rule, Route],
        block: "authentication: {type: AnyOf, methods: [partners], mode: MODE}",
        requests: one,
        seen: status,
        enforced: "401 credentials_missing",
        otherwise: "200",
        recorded: ("would_refuse", "authentication:credentials_missing"),
    };
    vec![
        Case {
            name: "authorization",
            targets: &[Rule, Route],
            block: "authorization: [{roles: [admin]}]\nauthorizationMode: MODE",
            enforced: "403 not_authorized",
            recorded: ("would_refuse", "authorization:not_authorized"),
            ..base
        },
        Case {
            name: "addresses",
            targets: LEVELS,
            block: "addresses: {allow: [192.0.2.0/24], mode: MODE}",
            enforced: "403 address_denied",
            recorded: ("would_refuse", "addresses:address_denied"),
            ..base
        },
        Case {
            name: "requestSchema",
            targets: &[Rule],
            block: "requestSchema: {configMapRef: {name: schemas, key: any.json}, mode: MODE}",
            requests: |host| vec![post(host, "/echo", "{}").header("content-type", "application/json")],
            enforced: "422 schema_invalid",
            recorded: ("would_refuse", "schema:schema_invalid"),
            ..base
        },
        Case {
            name: "RateLimitPolicy",
            targets: &[PolicyOnTenant, PolicyOnRoute, PolicyOnRule],
            block: "",
            requests: twice,
            enforced: "429 rate_limited",
            recorded: ("would_refuse", "rate_limit:rate_limited"),
            ..base
        },
        base,
    ]
}

fn preflight(host: &str, origin: &str) -> Request {
    request("OPTIONS", host, "/echo").header("origin", origin).header("access-control-request-method", "GET")
}

fn cross_origin() -> Vec<Case> {
    let base = Case {
        name: "cors of an origin that may not call",
        targets: LEVELS,
        block: "cors: {allowOrigins: [\"https://app.example\"], allowMethods: [GET], mode: MODE}",
        requests: |host| vec![preflight(host, "https://other.example")],
        seen: status,
        enforced: "403 origin_denied",
        otherwise: "200",
        recorded: ("would_refuse", "cors:origin_denied"),
    };
    vec![
        Case {
            name: "cors of a preflight",
            requests: |host| vec![preflight(host, "https://app.example")],
            enforced: "204",
            recorded: ("would_act", "cors"),
            ..base
        },
        Case {
            name: "cors of a call",
            requests: |host| vec![get(host, "/echo").header("origin", "https://app.example")],
            seen: |answer| answer.header("access-control-allow-origin").unwrap_or("none").to_owned(),
            enforced: "https://app.example",
            otherwise: "none",
            recorded: ("would_act", "cors"),
            ..base
        },
        base,
    ]
}

fn outbound() -> Vec<Case> {
    let base = Case {
        name: "circuitBreaker",
        targets: LEVELS,
        block: "circuitBreaker: {consecutiveFailures: 1, openFor: 600s, mode: MODE}",
        requests: closed_twice,
        seen: status,
        enforced: "503 breaker_open",
        otherwise: "502 upstream_failed",
        recorded: ("would_refuse", "circuit_breaker:breaker_open"),
    };
    vec![
        Case {
            name: "retry",
            block: "retry: {attempts: 1, codes: [503], backoff: {base: 1ms, max: 2ms}, mode: MODE}",
            requests: |host| vec![get(host, "/first-fails")],
            enforced: "200",
            otherwise: "503",
            recorded: ("would_act", "retry:upstream_failed"),
            ..base
        },
        Case {
            name: "fallback",
            block: "fallback: {status: 203, contentType: text/plain, body: instead, mode: MODE}",
            requests: |host| vec![get(host, "/close")],
            enforced: "203",
            recorded: ("would_act", "fallback:upstream_failed"),
            ..base
        },
        Case {
            name: "onFailure",
            block: "onFailure: {type: DeadLetter, mode: MODE}",
            requests: |host| vec![post(host, "/close", "x")],
            seen: |answer| answer.header("postern-dead-letter").unwrap_or("none").to_owned(),
            enforced: "kept",
            otherwise: "none",
            recorded: ("would_act", "on_failure:upstream_failed"),
            ..base
        },
        Case {
            name: "securityHeaders",
            block: "securityHeaders: {preset: Strict, mode: MODE}",
            requests: one,
            seen: |answer| answer.header("x-frame-options").unwrap_or("none").to_owned(),
            enforced: "SAMEORIGIN",
            otherwise: "none",
            recorded: ("would_act", "response_headers"),
            ..base
        },
        base,
    ]
}

fn of_sources() -> Vec<Case> {
    let base = Case {
        name: "verification",
        targets: &[Source],
        block: "verification: {secretRefs: [{name: genesys, key: token}], mode: MODE}",
        requests: |host| vec![event(host).header("x-hub-signature-256", "sha256=AAAA")],
        seen: status,
        enforced: "signature",
        otherwise: "200",
        recorded: ("would_refuse", "authentication:signature"),
    };
    vec![
        Case {
            name: "sourceAddresses",
            block: "sourceAddresses: {allow: [192.0.2.0/24], mode: MODE}",
            requests: |host| vec![event(host)],
            enforced: "403 address_denied",
            recorded: ("would_refuse", "addresses:address_denied"),
            ..base
        },
        Case {
            name: "clientCertificate",
            block: "clientCertificate: {fromHeader: X-Client-Subject, subjectCommonName: a.example, mode: MODE}",
            requests: |host| vec![event(host)],
            enforced: "403 client_certificate_refused",
            recorded: ("would_refuse", "client_certificate:client_certificate_refused"),
            ..base
        },
        Case {
            name: "schema",
            block: "schema: {configMapRef: {name: schemas, key: any.json}, mode: MODE}",
            requests: |host| vec![event(host)],
            // The sender is answered alike: the event that does not fit becomes a dead letter.
            enforced: "200",
            recorded: ("would_refuse", "schema:schema_invalid"),
            ..base
        },
        Case {
            name: "RateLimitPolicy of a source",
            targets: &[PolicyOnSource],
            block: "",
            requests: |host| vec![event(host), event(host)],
            enforced: "429 rate_limited",
            recorded: ("would_refuse", "rate_limit:rate_limited"),
            ..base
        },
        base,
    ]
}

/// One tenant for one policy in one mode on one target.
struct Row {
    case: Case,
    target: Target,
    mode: &'static str,
    host: String,
}

impl Row {
    fn label(&self) -> String {
        format!("{} on {:?} in mode {}", self.case.name, self.target, self.mode)
    }

    /// The block, when it is written on this target.
    fn block(&self, target: Target, indent: usize) -> String {
        let mut text = String::new();
        if self.target == target {
            for line in self.case.block.replace("MODE", &format!("\"{}\"", self.mode)).lines() {
                writeln!(text, "{:indent$}{line}", "").unwrap();
            }
        }
        text
    }

    fn manifests(&self, name: &str, upstream: &Upstream) -> String {
        let methods = format!(
            "  authentication:
    apiKeys:
      - {{name: partners, header: X-API-Key, secretSelector: {{namespace: {name}, matchLabels: {{a: b}}}}}}
"
        );
        let mut text = tenant(name, &self.host, &format!("{methods}{}", self.block(Tenant, 2)));
        text += &service(name, "echo", 8080, upstream.address);
        text += &secret(name, "genesys", "token", SECRET);
        text += &key(name);
        text += &config_map(name, "schemas", "any.json", r#"{"type": "object", "required": ["never"]}"#);
        let rule = self.block(Rule, 6);
        let open = if self.case.name == "authentication" { "" } else { "      authentication: {type: None}\n" };
        let route = self.block(Route, 2);
        write!(
            text,
            "---
apiVersion: postern.dev/v1alpha1
kind: Route
metadata: {{name: echo, namespace: {name}}}
spec:
{route}  rules:
    - name: only
      matches: [{{path: {{type: PathPrefix, value: /}}}}]
      backendRefs: [{{name: echo, port: 8080}}]
{open}{rule}---
apiVersion: postern.dev/v1alpha1
kind: WebhookSource
metadata: {{name: genesys, namespace: {name}}}
spec:
  provider: GenesysOpenMessaging
  match: {{path: /hook}}
  destination: {{backendRef: {{name: echo, port: 8080}}, path: /events}}
{verified}{}",
            self.block(Source, 2),
            verified = match self.case.name {
                "verification" => "",
                _ => "  verification: {secretRefs: [{name: genesys, key: token}]}\n",
            },
        )
        .unwrap();
        text + &self.limits(name)
    }

    fn limits(&self, name: &str) -> String {
        let (reference, more) = match self.target {
            PolicyOnTenant => (format!("{{kind: Tenant, name: {name}}}"), ""),
            PolicyOnRoute => ("{kind: Route, name: echo}".to_owned(), ""),
            PolicyOnRule => ("{kind: Route, name: echo, sectionName: only}".to_owned(), ""),
            PolicyOnSource => ("{kind: WebhookSource, name: genesys}".to_owned(), "  onExceeded: Refuse\n"),
            Rule | Route | Tenant | Source => return String::new(),
        };
        let mode = self.mode;
        format!(
            "---
apiVersion: postern.dev/v1alpha1
kind: RateLimitPolicy
metadata: {{name: one, namespace: {name}}}
spec:
  targetRefs: [{reference}]
  limits: [{{name: one, per: Tenant, requests: 1, window: 1h}}]
  mode: \"{mode}\"
{more}"
        )
    }
}

fn key(namespace: &str) -> String {
    format!(
        "---
apiVersion: v1
kind: Secret
metadata: {{name: initech, namespace: {namespace}, labels: {{a: b}}}}
type: postern.dev/api-key
stringData:
  id: initech
  prefix: pk_live_4f7a
  sha256: 9b0c6d6b0c6e9d0e2a4f4b6a1d7e0c3f5a8b9c0d1e2f3a4b5c6d7e8f9a0b1c2d
"
    )
}

fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for mode in MODES {
        for case in cases() {
            for &target in case.targets {
                let host = format!("h{}.example", rows.len());
                rows.push(Row { case: Case { ..case }, target, mode, host });
            }
        }
    }
    rows
}

/// Fails as its path says; `/first-fails` once a host.
fn upstream() -> Upstream {
    let failed = std::sync::Mutex::new(std::collections::HashSet::new());
    Upstream::start(move |received: &Received| match received.line.split(' ').nth(1) {
        Some("/close") => Reply::Close,
        Some("/first-fails") if failed.lock().unwrap().insert(received.header("host").map(str::to_owned)) => {
            Reply::Status(503, String::new())
        }
        _ => Reply::Status(200, "ok".to_owned()),
    })
    .unwrap()
}

/// The lines of the access log for a host, once there are so many.
fn lines(gateway: &Gateway, host: &str, count: usize) -> Vec<Value> {
    let find = || -> Vec<Value> {
        let printed = gateway.printed();
        let lines = printed.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line.get("host").and_then(Value::as_str) == Some(host)).collect()
    };
    gateway.wait_until(|| find().len() >= count);
    find()
}

fn recorded(lines: &[Value], member: &str) -> Vec<String> {
    let members = lines.iter().filter_map(|line| line.get(member)?.as_array());
    members.flatten().filter_map(|value| value.as_str().map(str::to_owned)).collect()
}

#[test]
fn every_mode_of_every_policy_on_every_target_does_what_its_page_says() {
    both(|_| {
        let upstream = upstream();
        let rows = rows();
        let manifests: Vec<String> =
            rows.iter().enumerate().map(|(n, row)| row.manifests(&format!("t{n}"), &upstream)).collect();
        let gateway =
            Gateway::start_with(&manifests.concat(), &["--cores", "1", "--trusted-proxy", "127.0.0.0/8"]).unwrap();
        let mut wrong = Vec::new();
        for row in &rows {
            let requests = (row.case.requests)(&row.host);
            let answers: Vec<Answer> = requests.iter().map(|request| request.send(gateway.address).unwrap()).collect();
            let seen = (row.case.seen)(answers.last().unwrap());
            let expected = if row.mode == "Enforce" { row.case.enforced } else { row.case.otherwise };
            if !(seen == expected || seen.contains(expected)) {
                wrong.push(format!("{}: {seen} instead of {expected}", row.label()));
            }

            let lines = lines(&gateway, &row.host, requests.len());
            let (member, entry) = row.case.recorded;
            let found = ["would_refuse", "would_act"].map(|member| recorded(&lines, member));
            let all = found.concat();
            let right = match row.mode {
                "Audit" => recorded(&lines, member).iter().any(|one| one.starts_with(entry)),
                _ => all.is_empty(),
            };
            if !right {
                wrong.push(format!("{}: records {all:?}", row.label()));
            }
        }
        assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    });
}
