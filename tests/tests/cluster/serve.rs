//! What is applied is served by real pods.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tests::client::get;
use tests::count::{judge, settled_all};
use tests::steady::Steady;

use crate::installed::{Installed, SYSTEM, readme};

/// The README's third command and its request, word by word.
pub(crate) fn the_readme_is_true(installed: &Installed) {
    let commands = readme();
    let applied = installed.kind.run(&commands[2]);
    let why = || {
        let objects = installed.kubectl("-n hello get routes,webhooksources -o yaml");
        let logs = format!("-n {SYSTEM} logs -l app.kubernetes.io/component=operator --tail=200 --prefix");
        format!("{applied:?}\n{objects}\n{}", installed.kubectl(&logs))
    };
    assert!(applied.as_ref().is_ok_and(|said| said.contains("route.postern.dev/hello condition met")), "{}", why());
    let port = format!("127.0.0.1:{}", installed.kind.requests.port());
    let answer = installed.kind.run(&commands[3].replace("127.0.0.1:8080", &port)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello from a pod"), "{answer}");
    let routes = installed.kubectl("get routes -A");
    // Two gateways, two delivers, two shards.
    assert!(routes.contains("6/6"), "{routes}");
    let postern = tests::gateway::binary().unwrap();
    let send = format!(
        "{} send standard-webhooks http://{port}/webhooks/orders --host hello.example \
         --secret whsec_aGVsbG8tb3JkZXJzLWFyZS13ZWxjb21lLWhlcmU=",
        postern.display()
    );
    let sent = installed.kind.run(&send).unwrap();
    assert!(sent.contains("200"), "{sent}");
    let status = installed.kind.run(&format!("{} status", postern.display())).unwrap();
    assert!(status.contains("postern-operator"), "{status}");
    let tested = installed.kind.run("helm -n postern-system test postern --logs").unwrap();
    assert!(tested.contains("Phase:          Succeeded"), "{tested}");
}

/// The pages of `examples/`, with this machine's services for those that a demo would start.
pub(crate) fn the_examples_are_served(installed: &Installed) {
    // Its tenant acme takes over from the one of the other tests for a while.
    let (own, port) = (installed.host.to_string(), installed.upstream.address.port().to_string());
    let page = |name: &str| {
        let text = std::fs::read_to_string(format!("{}/../examples/{name}.yaml", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let text = text.replace("127.0.0.1", &own).replace("19101", &port).replace("19102", &port);
        text.replace("acme", "umbrella").replace("106540352242922", "106540352242923")
    };
    for name in ["1-platform", "2-acme", "3-globex", "4-supporting"] {
        installed.kind.apply(&page(name)).unwrap();
    }
    for namespace in ["umbrella", "globex", "postern-hooks"] {
        installed.grant(namespace);
    }
    let status = |host: &str, path: &str| get(host, path).send(installed.kind.requests).map_or(0, |one| one.status);
    installed.wait("GET /status of umbrella", || status("api.umbrella.example", "/status") == 200);
    installed.wait("GET / of globex", || status("api.globex.example", "/") == 200);
    let conversations = get("api.umbrella.example", "/v1/conversations");
    assert_eq!(conversations.send(installed.kind.requests).unwrap().status, 401);
    let key = conversations.header("x-api-key", "pk_demo_9c1f_initech-tries-postern-locally");
    installed.wait("GET with a key", || key.send(installed.kind.requests).is_ok_and(|answer| answer.status == 200));
    installed.kubectl("delete tenant umbrella globex platform");
    installed.kubectl("delete namespace umbrella globex postern-hooks --wait=false");
}

/// Says that it is over, at its end.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Sends events while something is done; then every one that was acknowledged must have been delivered, in order.
pub(crate) fn with_events(installed: &Installed, rate: u32, done: impl FnOnce()) {
    static RUNS: AtomicU32 = AtomicU32::new(1);
    let (steady, over) = (Steady::run(RUNS.fetch_add(1, Ordering::Relaxed)), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| steady.send(&[installed.kind.requests], rate, &|| over.load(Ordering::Acquire)));
        // Also when it panics: nobody would end the sender.
        let _over = Over(&over);
        done();
    });
    let acknowledged = steady.acknowledged();
    let arrived = settled_all(&[&installed.receiver], &acknowledged);
    let judged = judge(&acknowledged, &arrived, &[]);
    let count: usize = acknowledged.values().map(Vec::len).sum();
    assert!(count > 0, "nothing was accepted: {:?}", steady.answers().first());
    assert!(judged.holds(), "of {count}: {}", judged.told(&acknowledged, &arrived));
    assert_eq!(judged.counted.delivered, count, "{:?}", judged.counted);
}

/// Through RabbitMQ, Redis and shards that are pods.
pub(crate) fn events_are_delivered(installed: &Installed) {
    with_events(installed, 100, || std::thread::sleep(Duration::from_secs(5)));
    let pods = installed.kubectl(&format!("-n {SYSTEM} get pods -l app.kubernetes.io/component=deliver -o name"));
    let pod = pods.lines().next().unwrap().trim_start_matches("pod/");
    let metrics = installed.kubectl(&format!("get --raw /api/v1/namespaces/{SYSTEM}/pods/{pod}:9901/proxy/metrics"));
    assert!(metrics.contains("postern_events_total"), "{metrics}");
}
