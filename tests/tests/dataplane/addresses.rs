//! Who may call by where they call from: ranges, what providers publish, countries, certificates, and old events.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use dataplane::outside::CountryDatabase;
use ring::hmac;
use serde_json::json;
use tests::client::{Answer, both, get, post};
use tests::documents::Documents;
use tests::gateway::Gateway;
use tests::manifests::{secret, service, tenant};
use tests::mmdb;
use tests::upstream::Upstream;

use super::{HOST, acme};

const SECRET: &str = "canary-genesys-token";
/// The gateway believes these tests as it would a load balancer that appends to `X-Forwarded-For`.
const BEHIND_A_PROXY: [&str; 4] = ["--cores", "1", "--trusted-proxy", "127.0.0.0/8"];

fn source(upstream: &Upstream, more: &str) -> String {
    let source = format!(
        "---
apiVersion: postern.dev/v1alpha1
kind: WebhookSource
metadata: {{name: genesys, namespace: acme}}
spec:
  provider: GenesysOpenMessaging
  match: {{path: /hook}}
  verification: {{secretRefs: [{{name: genesys, key: token}}]}}
  destination: {{backendRef: {{name: echo, port: 8080}}, path: /events}}
{more}
"
    );
    [
        tenant("acme", HOST, ""),
        service("acme", "echo", 8080, upstream.address),
        secret("acme", "genesys", "token", SECRET),
        source,
    ]
    .concat()
}

/// So many seconds ago.
fn ago(secs: i64) -> jiff::Timestamp {
    jiff::Timestamp::now() - jiff::SignedDuration::from_secs(secs)
}

/// An event that happened so many seconds ago.
fn event(id: &str, ago_secs: i64) -> String {
    let channel = json!({"id": "integration", "messageId": id, "to": {"id": "49"}, "time": ago(ago_secs).to_string()});
    json!({"id": id, "channel": channel, "type": "Text", "text": "hi", "direction": "Outbound"}).to_string()
}

fn send(gateway: &Gateway, from: &str, body: &str, headers: &[(&str, &str)]) -> Answer {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), body.as_bytes());
    let signature = format!("sha256={}", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, tag));
    let request = post(HOST, "/hook", body).header("x-hub-signature-256", &signature).header("x-forwarded-for", from);
    headers.iter().fold(request, |request, (name, value)| request.header(name, value)).send(gateway.address).unwrap()
}

fn told(answer: &Answer) -> (u16, String) {
    (answer.status, answer.reason())
}

fn list(age_days: i64, ranges: &str) -> String {
    let date = ago(age_days * 86_400);
    format!("{{version: 1, provider: Genesys, source: a test, date: \"{date}\", ranges: {ranges}}}\n")
}

/// Replaces a file in one step.
fn replace(path: &Path, bytes: impl AsRef<[u8]>) {
    let beside = path.with_extension("new");
    fs::write(&beside, bytes).unwrap();
    fs::rename(beside, path).unwrap();
}

fn started_with(manifests: &str, more: &[(&str, &Path)]) -> Gateway {
    let mut arguments = BEHIND_A_PROXY.to_vec();
    for (name, path) in more {
        arguments.extend([name, path.to_str().unwrap()]);
    }
    Gateway::start_with(manifests, &arguments).unwrap()
}

#[test]
fn a_spoofed_left_most_address_never_grants_whatever_hops_are_trusted() {
    both(|_| {
        let upstream = Upstream::echo().unwrap();
        let rule = "      addresses: {allow: [198.51.100.7/32]}";
        for (arguments, granted) in [
            (&["--trusted-hops", "0"][..], &[][..]),
            (&["--trusted-hops", "1"], &["198.51.100.7", "203.0.113.1, ::ffff:198.51.100.7", "198.51.100.7:4711"]),
            (&["--trusted-hops", "2"], &["198.51.100.7, 203.0.113.1", "203.0.113.9, 198.51.100.7, 203.0.113.1"]),
            (&["--trusted-proxy", "127.0.0.0/8"], &["198.51.100.7", "203.0.113.1,198.51.100.7"]),
        ] {
            let gateway =
                Gateway::start_with(&acme(&upstream, rule), &[&["--cores", "1"], arguments].concat()).unwrap();
            let status =
                |from: &str| get(HOST, "/").header("x-forwarded-for", from).send(gateway.address).unwrap().status;
            for from in granted {
                assert_eq!(status(from), 200, "{arguments:?} {from}");
            }
            for spoofed in [
                "198.51.100.7, 192.0.2.1, 203.0.113.1, 203.0.113.2",
                "198.51.100.7%eth0",
                "198.51.100.7, , 203.0.113.2, 203.0.113.3",
                "0198.51.100.7",
            ] {
                assert_eq!(status(spoofed), 403, "{arguments:?} {spoofed}");
            }
            assert_eq!(get(HOST, "/").send(gateway.address).unwrap().status, 403, "{arguments:?} without a field");
        }
    });
}

#[test]
fn ranges_of_a_provider_are_in_force_at_once_and_a_bad_list_changes_nothing() {
    both(|_| {
        let (upstream, folder) = (Upstream::echo().unwrap(), tempfile::tempdir().unwrap());
        let file = folder.path().join("genesys.yaml");
        replace(&file, list(0, "[192.0.2.0/24]"));
        let manifests = source(&upstream, "  sourceAddresses: {providers: [Genesys]}");
        let gateway = started_with(&manifests, &[("--provider-ranges", &file)]);
        let from = |address: &str| told(&send(&gateway, address, &event(address, 0), &[])).0;
        assert_eq!((from("192.0.2.1"), from("203.0.113.1"), from("::ffff:192.0.2.2")), (200, 403, 200));
        replace(&file, list(0, "[203.0.113.0/24]"));
        gateway.wait_until(|| from("203.0.113.1") == 200);
        assert_eq!((from("192.0.2.1"), from("203.0.113.1")), (403, 200));
        let mut applied = gateway.snapshots_applied();
        for bad in [list(0, "[]"), list(0, "[0.0.0.0/0]"), list(0, "[52.129.96.0/20]"), "ranges: [".to_owned()] {
            replace(&file, &bad);
            gateway.wait_until(|| gateway.snapshots_applied() > applied);
            applied = gateway.snapshots_applied();
            assert_eq!((from("192.0.2.1"), from("203.0.113.1"), from("52.129.96.1")), (403, 200, 403), "{bad}");
        }
        assert!(gateway.printed().contains("an empty list is never taken over"), "{}", gateway.printed());
        let metrics = gateway.metrics();
        assert!(metrics.contains("postern_provider_ranges_timestamp_seconds{provider=\"Genesys\"}"), "{metrics}");
    });
}

#[test]
fn ranges_from_an_url_are_followed_and_neither_a_bad_answer_nor_none_changes_anything() {
    both(|_| {
        let (upstream, lists) = (Upstream::echo().unwrap(), Documents::start(&list(0, "[192.0.2.0/24]")).unwrap());
        let manifests = source(&upstream, "  sourceAddresses: {providers: [Genesys]}");
        let gateway = started_with(
            &manifests,
            &[
                ("--provider-ranges-url", Path::new(&lists.url)),
                ("--provider-ranges-ca-file", &lists.ca_file()),
                ("--provider-ranges-refresh", Path::new("1s")),
                ("--allow-upstream", Path::new("127.0.0.0/8")),
                ("--allow-upstream", Path::new("::1/128")),
            ],
        );
        let from = |address: &str| told(&send(&gateway, address, &event(address, 0), &[])).0;
        let fetches = |outcome: &str| {
            gateway.metric(&format!("postern_fetches_total{{document=\"provider_ranges\",outcome=\"{outcome}\"}}"))
        };
        assert_eq!((from("192.0.2.1"), from("203.0.113.1")), (200, 403), "it is there from the first request on");
        gateway.wait_until(|| fetches("unchanged") > 0);
        for bad in [Some(list(0, "[]")), Some(list(0, "[0.0.0.0/0]")), Some("<html>sign in</html>".to_owned()), None] {
            let (fetched, failed) = (fetches("fetched"), fetches("failed"));
            lists.publish(bad.as_deref());
            gateway.wait_until(|| {
                fetches(if bad.is_some() { "fetched" } else { "failed" }) > if bad.is_some() { fetched } else { failed }
            });
            assert_eq!((from("192.0.2.1"), from("203.0.113.1")), (200, 403), "{bad:?}");
        }
        lists.publish(Some(&list(0, "[203.0.113.0/24]")));
        gateway.wait_until(|| from("203.0.113.1") == 200);
        assert_eq!(from("192.0.2.1"), 403);
        let printed = gateway.printed();
        assert!(
            printed.contains("an empty list is never taken over") && printed.contains("ranges were not fetched"),
            "{printed}"
        );
    });
}

#[test]
fn an_url_that_leads_inside_or_is_none_is_told_and_never_an_empty_list() {
    both(|_| {
        let (upstream, lists) = (Upstream::echo().unwrap(), Documents::start(&list(0, "[192.0.2.0/24]")).unwrap());
        let manifests = source(&upstream, "  sourceAddresses: {providers: [Genesys]}");
        let more = [("--provider-ranges-url", Path::new(&lists.url)), ("--provider-ranges-ca-file", &lists.ca_file())];
        let gateway = started_with(&manifests, &more);
        let answer = send(&gateway, "192.0.2.1", &event("a", 0), &[]);
        assert_eq!(told(&answer), (503, "policy_broken".to_owned()));
        assert!(gateway.printed().contains("--allow-upstream"), "{}", gateway.printed());
        let mut postern = Command::new(tests::gateway::binary().unwrap());
        let folder = tempfile::tempdir().unwrap();
        postern.args(["check", "--provider-ranges-url", "https://user:secret@lists.example/"]).arg(folder.path());
        let output = postern.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("https://HOST/PATH") && !said.contains("secret"), "{said}");
    });
}

#[test]
fn old_ranges_refuse_in_a_way_that_the_provider_sends_again_unless_they_are_to_be_kept() {
    both(|_| {
        let (upstream, folder) = (Upstream::echo().unwrap(), tempfile::tempdir().unwrap());
        let file = folder.path().join("genesys.yaml");
        replace(&file, list(40, "[192.0.2.0/24]"));
        let manifests = source(&upstream, "  sourceAddresses: {providers: [Genesys], allow: [198.51.100.7/32]}");
        for (setting, answer) in [("refuse", (503, "policy_broken")), ("keep", (200, ""))] {
            let more = [("--provider-ranges", file.as_path()), ("--old-provider-ranges", Path::new(setting))];
            let gateway = started_with(&manifests, &more);
            let from = |address: &str| told(&send(&gateway, address, &event(address, 0), &[]));
            assert_eq!(from("192.0.2.1"), (answer.0, answer.1.to_owned()), "{setting}");
            assert_eq!((from("203.0.113.1").0, from("198.51.100.7").0), (403, 200), "{setting}");
            assert!(gateway.printed().contains("past their maximum age"), "{}", gateway.printed());
        }
    });
}

#[test]
fn a_provider_without_ranges_and_a_country_without_a_database_refuse_and_say_the_way_out() {
    both(|_| {
        let upstream = Upstream::echo().unwrap();
        for (block, way_out) in [
            ("{providers: [Meta]}", "--provider-ranges"),
            ("{providers: [Genesys], allow: [192.0.2.0/24]}", "--provider-ranges"),
            ("{countries: {deny: [KP]}}", "--country-database"),
        ] {
            let gateway = started_with(&source(&upstream, &format!("  sourceAddresses: {block}")), &[]);
            let answer = send(&gateway, "192.0.2.1", &event("a", 0), &[]);
            assert_eq!(told(&answer), (503, "policy_broken".to_owned()), "{block}");
            assert!(gateway.printed().contains(way_out), "{block}: {}", gateway.printed());
        }
    });
}

#[test]
fn a_config_map_provides_ranges_too() {
    both(|_| {
        let upstream = Upstream::echo().unwrap();
        let map = |ranges: &str| {
            let list = list(0, ranges);
            format!(
                "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: ranges, namespace: system}}\ndata:\n  g: |\n    {list}"
            )
        };
        let manifests = source(&upstream, "  sourceAddresses: {providers: [Genesys]}");
        let named = [("--provider-ranges-config-map", Path::new("system/ranges"))];
        let gateway = started_with(&(manifests.clone() + &map("[192.0.2.0/24]")), &named);
        let from = |address: &str| told(&send(&gateway, address, &event(address, 0), &[])).0;
        assert_eq!((from("192.0.2.1"), from("203.0.113.1")), (200, 403));
        gateway.edit("manifests.yaml", &(manifests.clone() + &map("[203.0.113.0/24]"))).unwrap();
        gateway.wait_until(|| from("203.0.113.1") == 200);
        assert_eq!(from("192.0.2.1"), 403);
        gateway.edit("manifests.yaml", &manifests).unwrap();
        gateway.wait_until(|| from("203.0.113.1") == 503);
        assert_eq!(from("203.0.113.1"), 503, "a ConfigMap that is gone is no empty list");
    });
}

fn network(text: &str, bits: u8, code: &'static str) -> (IpAddr, u8, &'static str) {
    (text.parse().unwrap(), bits, code)
}

fn countries() -> mmdb::CountryDatabase {
    mmdb::CountryDatabase::new(&[
        network("192.0.2.0", 24, "DE"),
        network("203.0.113.0", 24, "KP"),
        network("2001:db8:1::", 48, "KP"),
        network("198.18.0.0", 15, "EU"),
    ])
}

#[test]
fn a_country_decides_besides_the_ranges_and_another_database_is_in_force_at_once() {
    both(|_| {
        let (upstream, folder) = (Upstream::echo().unwrap(), tempfile::tempdir().unwrap());
        let file = folder.path().join("countries.mmdb");
        replace(&file, countries().bytes());
        let denying = acme(&upstream, "      addresses: {deny: [192.0.2.9/32], countries: {deny: [KP]}}");
        let gateway = started_with(&denying, &[("--country-database", &file)]);
        let from =
            |address: &str| get(HOST, "/").header("x-forwarded-for", address).send(gateway.address).unwrap().status;
        assert_eq!((from("192.0.2.1"), from("192.0.2.9"), from("203.0.113.1")), (200, 403, 403));
        assert_eq!((from("2001:db8:1::1"), from("::ffff:203.0.113.1")), (403, 403));
        assert_eq!((from("8.8.8.8"), from("2001:db8:2::1"), from("198.18.0.1")), (200, 200, 200), "in no country");
        let mut applied = gateway.snapshots_applied();
        for bad in [b"".to_vec(), countries().bytes()[..200].to_vec(), countries().of_one_family().bytes()] {
            replace(&file, bad);
            gateway.wait_until(|| gateway.snapshots_applied() > applied);
            applied = gateway.snapshots_applied();
            assert_eq!((from("192.0.2.1"), from("203.0.113.1")), (200, 403), "the last good stays");
        }
        let metrics = gateway.metrics();
        assert!(metrics.contains("postern_country_database_refused_total 3"), "{metrics}");
        replace(&file, mmdb::CountryDatabase::new(&[network("192.0.2.0", 24, "KP")]).bytes());
        gateway.wait_until(|| from("192.0.2.1") == 403);
        assert_eq!((from("192.0.2.1"), from("203.0.113.1")), (403, 200));
        gateway.edit("manifests.yaml", &acme(&upstream, "      addresses: {countries: {allow: [KP]}}")).unwrap();
        gateway.wait_until(|| from("8.8.8.8") == 403);
        assert_eq!((from("8.8.8.8"), from("192.0.2.1")), (403, 200), "in no country is in none of the allowed");
    });
}

#[test]
fn a_file_that_would_put_every_address_in_no_country_is_no_country_database() {
    both(|_| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("countries.mmdb");
        let open = |bytes: Vec<u8>| {
            fs::write(&file, bytes).unwrap();
            CountryDatabase::open(&file).map(drop).map_err(|error| error.to_string())
        };
        let good = countries().bytes();
        assert_eq!(open(good.clone()), Ok(()));
        assert_eq!(open(countries().in_field("registered_country").bytes()), Ok(()));
        for (bytes, word) in [
            (countries().in_field("autonomous_system").bytes(), "no country.iso_code"),
            (mmdb::CountryDatabase::new(&[]).bytes(), "no country.iso_code"),
            (mmdb::CountryDatabase::new(&[network("192.0.2.0", 24, "DE")]).of_one_family().bytes(), "IPv4 only"),
            (good[..good.len() / 2].to_vec(), "no intact file"),
            (Vec::new(), "no intact file"),
        ] {
            assert!(open(bytes).is_err_and(|error| error.contains(word)), "{word}");
        }
        assert!(CountryDatabase::open(&PathBuf::from("nowhere.mmdb")).is_err());
    });
}

#[test]
fn a_certificate_counts_only_as_a_trusted_proxy_tells_it() {
    both(|_| {
        const FIELD: &str = "X-Amzn-Mtls-Clientcert-Subject";
        let upstream = Upstream::echo().unwrap();
        let manifests = source(
            &upstream,
            "  clientCertificate: {fromHeader: X-Amzn-Mtls-Clientcert-Subject, subjectCommonName: client.example}",
        );
        let wanted = (FIELD, "CN=client.example,O=Meta");
        let refused = (403, "client_certificate_refused".to_owned());
        let gateway = started_with(&manifests, &[]);
        let shown = |headers: &[(&str, &str)]| told(&send(&gateway, "192.0.2.1", &event("a", 0), headers));
        assert_eq!(shown(&[wanted]), (200, String::new()));
        for wrong in [
            &[][..],
            &[(FIELD, "CN=other,O=client.example")],
            &[wanted, wanted],
            &[("x_amzn_mtls_clientcert_subject", wanted.1)],
        ] {
            assert_eq!(shown(wrong), refused, "{wrong:?}");
        }
        let open = Gateway::start_with(&manifests, &["--cores", "1"]).unwrap();
        assert_eq!(told(&send(&open, "192.0.2.1", &event("a", 0), &[wanted])), refused, "anybody could write it");
    });
}

#[test]
fn an_upstream_hears_of_certificates_from_trusted_proxies_only() {
    both(|_| {
        let upstream = Upstream::echo().unwrap();
        for (arguments, heard) in [(&["--cores", "1"][..], false), (&BEHIND_A_PROXY, true)] {
            let gateway = Gateway::start_with(&acme(&upstream, ""), arguments).unwrap();
            let request =
                get(HOST, "/").header("X-Forwarded-Client-Cert", "Subject=\"CN=a\"").header("x_ssl_client_cert", "a");
            assert_eq!(request.send(gateway.address).unwrap().status, 200);
            let received = upstream.received();
            let received = received.last().unwrap();
            assert_eq!(received.header("x-forwarded-client-cert").is_some(), heard);
            assert_eq!(received.header("x_ssl_client_cert"), None);
        }
    });
}

#[test]
fn an_event_outside_its_window_is_a_dead_letter_and_one_inside_is_delivered_once() {
    both(|_| {
        let upstream = Upstream::echo().unwrap();
        let gateway = started_with(&source(&upstream, "  replay: {window: 5m}"), &[]);
        let repeated = event("now", 0);
        for body in [&event("old", 360), &event("future", -360), &repeated, &repeated, &event("last", 240)] {
            assert_eq!(told(&send(&gateway, "192.0.2.1", body, &[])), (200, String::new()), "{body}");
        }
        let delivered = |id: &str| upstream.received().iter().filter(|got| got.json().to_string().contains(id)).count();
        gateway.wait_until(|| delivered("\"now\"") > 0 && delivered("\"last\"") > 0);
        assert_eq!((delivered("\"now\""), delivered("\"last\"")), (1, 1));
        assert_eq!((delivered("\"old\""), delivered("\"future\"")), (0, 0));
        let dead = get("localhost", "/events?state=dead").send_http1(gateway.admin).unwrap().text();
        assert_eq!(dead.matches("timestamp_outside_window").count(), 2, "{dead}");
    });
}

#[test]
fn explain_says_which_ranges_which_country_and_which_certificate_it_went_by() {
    let (upstream, folder) = (Upstream::echo().unwrap(), tempfile::tempdir().unwrap());
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("config")).unwrap();
    let blocks = "  sourceAddresses: {providers: [Genesys], countries: {deny: [KP]}}
  clientCertificate: {fromHeader: X-Client-Subject, subjectCommonName: client.example}
  replay: {window: 5m}";
    fs::write(path("config/manifests.yaml"), source(&upstream, blocks)).unwrap();
    fs::write(path("ranges.yaml"), list(3, "[192.0.2.0/24, 203.0.113.0/24]")).unwrap();
    fs::write(path("countries.mmdb"), countries().bytes()).unwrap();
    let explain = |address: &str, subject: &str| {
        let mut command = Command::new(tests::gateway::binary().unwrap());
        command.arg("explain").arg(path("config")).args(["POST", "http://api.acme.example/hook"]);
        command.arg("--provider-ranges").arg(path("ranges.yaml"));
        command.arg("--country-database").arg(path("countries.mmdb"));
        command.args(["--address", address, "-H", &format!("X-Client-Subject: {subject}")]);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, told) = explain("192.0.2.1", "CN=client.example");
    assert_eq!(code, Some(0), "{told}");
    for word in ["2 ranges of Genesys as of 20", ", in DE", "tells CN=client.example", "more than 300 s from now"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    for (address, subject, word) in [
        ("203.0.113.1", "CN=client.example", "403 address_denied: requests from the country"),
        ("198.51.100.1", "CN=client.example", "403 address_denied: requests from this source"),
        ("192.0.2.1", "CN=other", "403 client_certificate_refused"),
    ] {
        let (code, told) = explain(address, subject);
        assert!(code == Some(1) && told.contains(word), "{word}: {told}");
    }
}
