//! Security is always the current one; last good is for traffic only.

use ring::hmac;
use tests::client::{Answer, get, post};
use tests::gateway::Gateway;
use tests::manifests::{grant, secret, service, tenant};
use tests::upstream::Upstream;

use super::HOST;

const OLD: &str = "old-secret-of-the-sender-1111";
const NEW: &str = "new-secret-of-the-sender-2222";
/// A traffic setting that does not compile.
const TRAFFIC_BROKEN: &str = "      timeouts: {request: 1s, backendRequest: 5s}\n";
/// Traffic settings that cannot even be read.
const TRAFFIC_UNREADABLE: [&str; 3] =
    ["      timeouts: {request: soon}\n", "      maxBodySize: 4 MB\n", "      retry: {attemps: 3}\n"];

/// A Route of acme with one open rule.
fn route(rule: &str) -> String {
    let head = "---\napiVersion: postern.dev/v1alpha1\nkind: Route\nmetadata: {name: echo, namespace: acme}\nspec:\n  rules:\n";
    format!("{head}{rule}")
}

fn open(matches: &str, more: &str) -> String {
    format!(
        "    - matches: [{matches}]
      authentication: {{type: None}}
      backendRefs: [{{name: echo, port: 8080}}]
{more}"
    )
}

fn all(upstream: &Upstream, objects: &str) -> String {
    tenant("acme", HOST, "") + &service("acme", "echo", 8080, upstream.address) + objects
}

fn edit(gateway: &Gateway, upstream: &Upstream, objects: &str) {
    let applied = gateway.snapshots_applied();
    gateway.edit("manifests.yaml", &all(upstream, objects)).unwrap();
    gateway.wait_until(|| gateway.snapshots_applied() > applied);
}

fn call(gateway: &Gateway, path: &str) -> (u16, String) {
    let answer = get(HOST, path).send(gateway.address).unwrap();
    (answer.status, answer.reason())
}

const PREFIX: &str = "{path: {type: PathPrefix, value: /}}";

#[test]
fn narrowed_addresses_hold_although_a_traffic_setting_of_the_rule_is_broken() {
    let upstream = Upstream::echo().unwrap();
    let mut gateway = Gateway::start(&all(&upstream, &route(&open(PREFIX, "")))).unwrap();
    assert_eq!(call(&gateway, "/").0, 200);
    let narrowed = "      addresses: {allow: [192.0.2.0/24]}\n";
    for broken in TRAFFIC_UNREADABLE.into_iter().chain([TRAFFIC_BROKEN]) {
        edit(&gateway, &upstream, &route(&open(PREFIX, broken)));
        assert_eq!(call(&gateway, "/").0, 200, "traffic uses its last good: {broken} {}", gateway.printed());
        edit(&gateway, &upstream, &route(&open(PREFIX, &format!("{broken}{narrowed}"))));
        let refused = (403, "address_denied".to_owned());
        assert_eq!(call(&gateway, "/"), refused, "security is current: {broken} {}", gateway.printed());
    }
    gateway.restart().unwrap();
    assert_eq!(call(&gateway, "/").0, 403, "after a restart too");
    edit(&gateway, &upstream, &route(&open(PREFIX, TRAFFIC_BROKEN)));
    assert_eq!(call(&gateway, "/").0, 200, "the last good outlives a restart: {}", gateway.printed());
}

#[test]
fn a_rule_whose_traffic_part_is_broken_uses_that_of_equal_matches_only() {
    let upstream = Upstream::echo().unwrap();
    let (first, second) = ("{path: {type: PathPrefix, value: /a}}", "{path: {type: PathPrefix, value: /b}}");
    let gateway = Gateway::start(&all(&upstream, &route(&open(first, "")))).unwrap();
    edit(&gateway, &upstream, &route(&open(second, TRAFFIC_BROKEN)));
    assert_eq!(call(&gateway, "/b"), (503, "not_programmed".to_owned()), "same index, other matches");
    assert_eq!(call(&gateway, "/a").0, 404, "requests are matched by the current rules");
    let denied = format!("{TRAFFIC_BROKEN}      addresses: {{allow: [192.0.2.0/24]}}\n");
    edit(&gateway, &upstream, &route(&open(second, &denied)));
    assert_eq!(call(&gateway, "/b"), (403, "address_denied".to_owned()), "security comes first");
}

#[test]
fn a_rule_whose_matches_are_broken_refuses_on_the_matches_of_the_last_good() {
    let upstream = Upstream::echo().unwrap();
    let admin = |path: &str| format!("{}{}", open("{path: {value: /public}}", ""), open(path, ""));
    let good = admin("{path: {value: /admin}}");
    let mut gateway = Gateway::start(&all(&upstream, &route(&good))).unwrap();
    assert_eq!((call(&gateway, "/admin").0, call(&gateway, "/public").0), (200, 200));
    let wide = open("{path: {value: /}}", "");
    let broken = admin("{path: {type: RegularExpression, value: '/admin('}}") + &wide;
    edit(&gateway, &upstream, &route(&broken));
    let check = |gateway: &Gateway| {
        assert_eq!(call(gateway, "/admin").0, 503, "the open rule on / does not take it: {}", gateway.printed());
        assert_eq!((call(gateway, "/public").0, call(gateway, "/other").0), (200, 200));
    };
    check(&gateway);
    gateway.restart().unwrap();
    check(&gateway);
    edit(&gateway, &upstream, &route(&admin("{path: 5}")));
    check_unreadable(&gateway);
}

fn check_unreadable(gateway: &Gateway) {
    assert_eq!((call(gateway, "/admin").0, call(gateway, "/public").0), (503, 200), "{}", gateway.printed());
}

#[test]
fn an_unknown_field_refuses_for_it_may_be_a_misspelt_policy() {
    let upstream = Upstream::echo().unwrap();
    let gateway = Gateway::start(&all(&upstream, &route(&open(PREFIX, "")))).unwrap();
    edit(&gateway, &upstream, &route(&open(PREFIX, "      adresses: {allow: [192.0.2.0/24]}\n")));
    assert_eq!(call(&gateway, "/"), (503, "policy_broken".to_owned()));
}

#[test]
fn a_withdrawn_grant_stays_withdrawn_when_last_good_led_there() {
    let upstream = Upstream::echo().unwrap();
    let other = service("platform", "shared", 8080, upstream.address);
    let rule = |backend: &str, more: &str| {
        let open = open(PREFIX, more).replace("{name: echo, port: 8080}", backend);
        route(&open)
    };
    let foreign = "{name: shared, namespace: platform, port: 8080}";
    let granted = other.clone() + &grant("acme", "platform");
    let gateway = Gateway::start(&all(&upstream, &(rule(foreign, "") + &granted))).unwrap();
    assert_eq!(call(&gateway, "/").0, 200);
    edit(&gateway, &upstream, &(rule(foreign, TRAFFIC_BROKEN) + &granted));
    assert_eq!(call(&gateway, "/").0, 200, "granted as before: {}", gateway.printed());
    edit(&gateway, &upstream, &(rule("{name: echo, port: 8080}", TRAFFIC_BROKEN) + &other));
    assert_eq!(call(&gateway, "/").0, 503, "the last good leads where nothing is granted: {}", gateway.printed());
}

fn source(more: &str) -> String {
    format!(
        "---
apiVersion: postern.dev/v1alpha1
kind: WebhookSource
metadata: {{name: meta, namespace: acme}}
spec:
  provider: WhatsApp
  match: {{path: /hook}}
  verification: {{secretRefs: [{{name: meta, key: app-secret}}]}}
  destination: {{backendRef: {{name: echo, port: 8080}}, path: /events}}
{more}"
    )
}

fn signed(gateway: &Gateway, key: &str) -> Answer {
    let body = r#"{"object": "whatsapp_business_account", "entry": []}"#.to_owned();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), body.as_bytes());
    let signature = tag.as_ref().iter().fold("sha256=".to_owned(), |text, byte| format!("{text}{byte:02x}"));
    post(HOST, "/hook", body).header("x-hub-signature-256", &signature).send(gateway.address).unwrap()
}

#[test]
fn a_rotated_secret_and_narrowed_addresses_hold_although_something_else_in_the_source_is_broken() {
    let upstream = Upstream::echo().unwrap();
    let secret = |value: &str| secret("acme", "meta", "app-secret", value);
    let gateway = Gateway::start(&all(&upstream, &(source("") + &secret(OLD)))).unwrap();
    assert_eq!(signed(&gateway, OLD).status, 200);
    let broken = [
        "  delivery: {retry: {backoff: {base: 10s, max: 1s}}}\n",
        "  delivery: {timeout: soon}\n",
        "  deadLetter: {retention: 1ms}\n",
        "  sanitise: {maxDepth: 1}\n",
        "  ordering: {per: Conversation, waitForGap: 1h}\n",
    ];
    for more in broken {
        edit(&gateway, &upstream, &(source("") + &secret(OLD)));
        assert_eq!(signed(&gateway, OLD).status, 200);
        edit(&gateway, &upstream, &(source(more) + &secret(NEW)));
        let statuses = (signed(&gateway, OLD).status, signed(&gateway, NEW).status);
        assert!([401, 403].contains(&statuses.0), "{more}: the old secret is withdrawn: {}", gateway.printed());
        assert_eq!(statuses.1, 200, "{more}: the new secret is in force: {}", gateway.printed());
        let narrowed = format!("{more}  sourceAddresses: {{allow: [192.0.2.0/24]}}\n");
        edit(&gateway, &upstream, &(source(&narrowed) + &secret(NEW)));
        assert_eq!(signed(&gateway, NEW).reason(), "address_denied", "{more}");
    }
}

#[test]
fn a_source_uses_no_last_good_of_another_match_and_one_that_cannot_be_read_refuses() {
    let upstream = Upstream::echo().unwrap();
    let broken = "  deadLetter: {retention: 1ms}\n";
    let gateway = Gateway::start(&all(&upstream, &(source("") + &secret("acme", "meta", "app-secret", OLD)))).unwrap();
    let moved = source(broken).replace("match: {path: /hook}", "match: {path: /hook/2}");
    edit(&gateway, &upstream, &(moved + &secret("acme", "meta", "app-secret", OLD)));
    assert_eq!(signed(&gateway, OLD).status, 404, "requests are matched as now");
    edit(&gateway, &upstream, &(source("") + &secret("acme", "meta", "app-secret", OLD)));
    assert_eq!(signed(&gateway, OLD).status, 200);
    let unreadable = source("").replace("match: {path: /hook}", "match: {path: 5}");
    edit(&gateway, &upstream, &(unreadable + &secret("acme", "meta", "app-secret", NEW)));
    assert_eq!((signed(&gateway, OLD).status, signed(&gateway, NEW).status), (503, 503), "{}", gateway.printed());
}

#[test]
fn what_signs_deliveries_parks_them_when_it_is_broken_and_never_refuses_the_intake() {
    let upstream = Upstream::echo().unwrap();
    let secret = secret("acme", "meta", "app-secret", OLD);
    let gateway = Gateway::start(&all(&upstream, &(source("") + &secret))).unwrap();
    edit(&gateway, &upstream, &(source("  delivery: {signWith: {secretRef: {name: none, key: key}}}\n") + &secret));
    assert_eq!(signed(&gateway, OLD).status, 200, "{}", gateway.printed());
}

#[test]
fn a_limit_that_is_broken_refuses_what_it_limits_and_one_whose_rule_is_missing_counts_for_the_route() {
    let upstream = Upstream::echo().unwrap();
    let limit = |name: &str, section: &str, requests: &str| {
        format!(
            "---
apiVersion: postern.dev/v1alpha1
kind: RateLimitPolicy
metadata: {{name: few, namespace: acme}}
spec:
  targetRefs: [{{kind: Route, name: echo{section}}}]
  limits: [{{name: {name}, per: Tenant, requests: {requests}, window: 1h}}]
"
        )
    };
    let with = |limit: String| route(&open(PREFIX, "")) + &limit;
    let gateway = Gateway::start(&all(&upstream, &with(limit("all", "", "1000")))).unwrap();
    assert_eq!(call(&gateway, "/").0, 200);
    edit(&gateway, &upstream, &with(limit("all", "", "0")));
    assert_eq!(call(&gateway, "/"), (503, "policy_broken".to_owned()), "{}", gateway.printed());
    edit(&gateway, &upstream, &with(limit("one", ", sectionName: nowhere", "1")));
    let limited = [call(&gateway, "/").0, call(&gateway, "/").0];
    assert_eq!(limited, [200, 429], "a missing rule means the whole Route: {}", gateway.printed());
}
