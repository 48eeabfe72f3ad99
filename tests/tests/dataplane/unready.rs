//! Before the first complete snapshot a gateway knows of nobody, which is not the same as nobody being there.

use dataplane::admin::Access;
use dataplane::gateway::{Gateway, GatewaySettings};
use dataplane::http::{HttpLimits, TrustedHops};
use dataplane::listener::ListenerSettings;
use tests::client::get;
use tests::gateway::free_address;

use super::HOST;

#[test]
fn who_has_not_been_told_everything_says_later_and_not_never() {
    let data = tempfile::tempdir().unwrap();
    let hops = TrustedHops::default();
    let listener = ListenerSettings {
        address: free_address().unwrap(),
        cores: 1,
        max_connections: 10,
        max_connections_per_address: 10,
        http: HttpLimits::default(),
        hops,
    };
    let settings = GatewaySettings {
        listener: Some(listener),
        admin: free_address().unwrap(),
        admin_access: Access::default(),
        data: data.path().to_owned(),
        allowed_upstreams: Vec::new(),
        country_database: None,
        fetches: None,
        max_spool_bytes: 1 << 24,
        broker: None,
    };
    let gateway = Gateway::start(&settings, std::io::sink()).unwrap();
    let answer = get(HOST, "/").send(gateway.address.unwrap()).unwrap();
    assert_eq!((answer.status, answer.reason().as_str()), (503, "not_programmed"));
    assert!(answer.header("retry-after").is_some());
    let _cut = gateway.drain(std::time::Duration::from_secs(1));
}
