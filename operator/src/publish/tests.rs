//! What dataplanes are sent, message by message.

use policy::names::{Kind, ObjectRef, TenantName};
use policy::snapshot::{Blob, Revision};
use policy::upstream::{ServiceEndpoints, ServicePort};
use serde_json::json;
use tokio::sync::mpsc;
use wire::push::from_operator::Message;

use super::*;
use crate::metrics::Metrics;
use crate::reconcile::World;
use crate::reconcile::tests::{raw, route, service, slice};

/// An operator whose only tenants are acme, which is big, and globex.
struct Operator {
    world: World,
    board: Board,
    metrics: Metrics,
}

impl Operator {
    fn new() -> Self {
        let (heard, _) = mpsc::channel(16);
        let metrics = Metrics::new().unwrap();
        let board = Board::new(heard, [], metrics.clone());
        let mut operator = Self { world: World::default(), board, metrics };
        for name in ["acme", "globex"] {
            operator.labelled(name, if name == "acme" { "big" } else { "small" });
            operator.world.apply(service(name));
            operator.world.apply(slice(name, "192.0.2.1"));
            operator.world.apply(route(name, "r", json!({})));
        }
        operator.board.begin(1);
        operator.publish();
        operator
    }

    fn labelled(&mut self, name: &str, tier: &str) {
        let spec = json!({"namespaces": {"names": [name]}, "hostnames": [format!("{name}.example")]});
        let value = json!({"metadata": {"labels": {"tier": tier}}, "spec": spec});
        self.world.apply(raw(Kind::Tenant, "", name, value));
    }

    fn publish(&mut self) {
        let delta = self.world.settle();
        self.board.publish(&delta, true);
    }

    fn follow(&self, have: Have, needs: Vec<ServicePort>) -> std::sync::Arc<Follower> {
        let tenants = r#"{"matchLabels": {"tier": "big"}}"#.parse().unwrap();
        self.board.join("one", Set { canary: false, tenants }, have, needs).unwrap()
    }

    /// All that waits for a dataplane.
    fn sent(&self, follower: &Follower) -> Vec<String> {
        let said = |message| match message {
            Message::Tenant(tenant) => format!("tenant {}", tenant.name),
            Message::Removed(name) => format!("removed {name}"),
            Message::Endpoints(body) => {
                let endpoints: ServiceEndpoints = Blob::from_bytes(body.to_vec()).decode().unwrap();
                format!("endpoints {}", endpoints.service.namespace)
            }
            Message::EndpointsRemoved(service) => format!("forget {}", service.namespace),
            Message::Complete(_) => "complete".to_owned(),
        };
        std::iter::from_fn(|| follower.try_next(&self.board)).map(said).collect()
    }
}

#[test]
fn a_set_hears_of_its_own_tenants_only() {
    let mut operator = Operator::new();
    let follower = operator.follow(Have::new(), Vec::new());
    assert_eq!(operator.sent(&follower), ["endpoints acme", "tenant acme", "complete"]);
    operator.world.apply(route("globex", "r", json!({"timeouts": {"request": "1s"}})));
    operator.world.apply(slice("globex", "192.0.2.2"));
    operator.publish();
    operator.world.remove(&ObjectRef::new(Kind::Tenant, "", "globex"));
    operator.publish();
    assert_eq!(operator.sent(&follower), Vec::<String>::new());
    operator.labelled("acme", "small");
    operator.publish();
    assert_eq!(operator.sent(&follower), ["removed acme", "forget acme"]);
    operator.world.apply(slice("acme", "192.0.2.2"));
    operator.publish();
    assert_eq!(operator.sent(&follower), Vec::<String>::new());
    operator.labelled("acme", "big");
    operator.publish();
    assert_eq!(operator.sent(&follower), ["endpoints acme", "tenant acme"]);
}

#[test]
fn a_dataplane_that_comes_with_a_tenant_of_others_gives_it_up_with_its_endpoints() {
    let operator = Operator::new();
    let port = |namespace: &str| ServicePort { namespace: namespace.into(), name: "svc".into(), port: 80 };
    let hash = operator.world.tenant(&TenantName::parse("globex").unwrap()).unwrap().snapshot.as_ref().unwrap().hash;
    let have = Have::from([(TenantName::parse("globex").unwrap(), (Revision { term: 1, n: 1 }, hash))]);
    let follower = operator.follow(have, vec![port("globex")]);
    let sent = operator.sent(&follower);
    assert_eq!(
        sent,
        ["endpoints globex", "endpoints acme", "tenant acme", "removed globex", "forget globex", "complete"]
    );
}

#[test]
fn an_answer_is_counted_once_and_only_for_what_was_sent_last() {
    let operator = Operator::new();
    let follower = operator.follow(Have::new(), Vec::new());
    let acme = TenantName::parse("acme").unwrap();
    let answer = |n| {
        let applied = Applied { revision: Revision { term: 1, n }, ..Applied::default() };
        operator.board.heard(&follower, acme.clone(), applied);
        operator.metrics.acks.get_sample_count()
    };
    let revision = operator.board.lock().tenant(&acme).unwrap().revision.n;
    assert_eq!(answer(revision), 0, "nothing was sent yet");
    operator.sent(&follower);
    assert_eq!([answer(revision + 1), answer(revision), answer(revision)], [0, 1, 1]);
}
