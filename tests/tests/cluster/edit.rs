//! Edits while calls and events go on.

use std::time::Duration;

use tests::load::Load;
use tests::manifests::{grant, route, service, tenant};

use crate::installed::{HOST, Installed};
use crate::serve::with_events;

/// Edits of the tenant's own objects, good and broken, and of its neighbours.
pub(crate) fn edits_show_and_fail_no_call(installed: &Installed) {
    let load = Load::start(installed.kind.requests, HOST, "/echo");
    for status in 210..220 {
        let fallback = format!("      fallback: {{status: {status}, body: edited}}");
        let edited = route("edited", "/edited", &fallback).replace("name: echo", "name: nobody");
        installed.kind.apply(&edited).unwrap();
        installed.wait("the edit shows", || installed.status("/edited") == status);
    }
    let broken = route("broken", "/broken", "      timeouts: {request: forever}");
    assert!(installed.kind.apply(&broken).is_err(), "the definition refuses what is no duration");
    let unresolved = route("unresolved", "/unresolved", "").replace("name: echo", "name: missing");
    installed.kind.apply(&unresolved).unwrap();
    installed.wait("the broken one says so", || {
        installed.kubectl("-n acme get route unresolved -o yaml").contains("missing")
    });
    // An admission that does not answer in time lets in, as it should, and is asked again.
    let denied = |said: &str| said.contains("denied the request") && said.contains(HOST);
    installed.wait("the host is another's", || {
        installed.kind.apply(&tenant("other", HOST, "")).is_err_and(|error| denied(&error.to_string()))
    });
    installed.kubectl("delete tenant other --ignore-not-found");
    installed.kubectl("-n acme delete route unresolved edited");
    installed.wait("the edit is gone", || installed.status("/edited") == 404);
    let counted = load.counted();
    assert!(counted.failed.is_empty() && counted.answered > 0, "{counted}");
}

/// Both secrets count while both are there; the old one no longer does when it is gone.
pub(crate) fn a_secret_is_rotated(installed: &Installed) {
    let patch = |data: &str| {
        installed.kubectl(&format!("-n acme patch secret meta-app --type merge -p '{{\"stringData\": {data}}}'"))
    };
    let both = "[{name: meta-app, key: app-secret}, {name: meta-app, key: app-secret-next}]";
    let source = tests::traffic::manifests(installed.receiver.address);
    let source = source.replace("[{name: meta-app, key: app-secret}]", both);
    let postern = tests::gateway::binary().unwrap();
    let sent_with = |secret: &str| {
        installed.kind.run(&format!(
            "{} send whatsapp http://{}/webhooks/whatsapp --host {HOST} --secret {secret} --to 106540352242922",
            postern.display(),
            installed.kind.requests
        ))
    };
    with_events(installed, 50, || {
        installed
            .kind
            .apply(&(source + &tests::manifests::secret("acme", "meta-app", "app-secret-next", "unused")))
            .unwrap();
        patch("{\"app-secret\": \"kill-test-app-secret\", \"app-secret-next\": \"the-next-one\"}");
        installed.wait("the next secret counts", || sent_with("the-next-one").is_ok());
        std::thread::sleep(Duration::from_secs(2));
    });
    assert!(sent_with("unused").is_err());
    patch("{\"app-secret\": \"the-next-one\"}");
    installed.wait("the old secret does not count", || sent_with("kill-test-app-secret").is_err());
    assert!(sent_with("the-next-one").is_ok());
    patch("{\"app-secret\": \"kill-test-app-secret\"}");
    installed.wait("it counts again", || sent_with("kill-test-app-secret").is_ok());
}

/// A Service of another namespace is led to while its owner grants that, and not a moment longer.
pub(crate) fn a_grant_is_revoked(installed: &Installed) {
    let definition = include_str!("../../servers/reference-grants.yaml");
    installed.kind.apply(definition).unwrap();
    let shared = service("shared", "echo", 8080, installed.upstream.address)
        + &route("shared", "/shared", "").replace("name: echo, port", "name: echo, namespace: shared, port");
    installed.kind.apply(&shared).unwrap();
    let load = Load::start(installed.kind.requests, HOST, "/echo");
    installed.wait("it refuses", || installed.status("/shared") == 503);
    // A definition is there a little after it was taken; and the operator asks for it ever more seldom.
    installed.wait("the grant is taken", || installed.kind.apply(&grant("acme", "shared")).is_ok());
    installed.wait("it serves", || installed.status("/shared") == 200);
    installed.kubectl("-n shared delete referencegrant acme");
    installed.wait("it refuses again", || installed.status("/shared") == 503);
    installed.kubectl("-n acme delete route shared");
    installed.kubectl("delete namespace shared --wait=false");
    let counted = load.counted();
    assert!(counted.failed.is_empty() && counted.answered > 0, "{counted}");
}

/// What lived in it answers no more, and nobody else notices.
pub(crate) fn a_namespace_is_deleted(installed: &Installed) {
    let globex = tenant("globex", "api.globex.example", "")
        + &service("globex", "echo", 8080, installed.upstream.address)
        + &route("echo", "/", "").replace("namespace: acme", "namespace: globex");
    let status = || {
        let request = tests::client::get("api.globex.example", "/");
        request.send(installed.kind.requests).map_or(0, |answer| answer.status)
    };
    // One that an earlier test deleted may still be ending.
    installed.wait("globex is made", || installed.kind.apply(&globex).is_ok());
    installed.wait("globex serves", || status() == 200);
    let load = Load::start(installed.kind.requests, HOST, "/echo");
    installed.kubectl("delete namespace globex");
    installed.wait("globex serves no more", || status() == 404);
    installed.kubectl("delete tenant globex");
    let counted = load.counted();
    assert!(counted.failed.is_empty() && counted.answered > 0, "{counted}");
}
