//! Operators, and the API server itself, go away and come back; callers never notice.

use tests::operator::{Operator, dataplane};

use super::{Cluster, fixed};

#[test]
fn a_dataplane_serves_its_last_good_after_a_restart_with_everything_else_away() {
    let mut cluster = Cluster::start();
    cluster.kubernetes.apply(&fixed("edited", "/edited", "one")).unwrap();
    cluster.wait("/edited", 200, "one");
    cluster.operator.kill();
    cluster.kubernetes.stop_api_server();
    assert_eq!(cluster.get("/edited").1, "one");
    cluster.dataplane.restart().unwrap();
    assert_eq!(cluster.get("/edited").1, "one");
    assert_eq!(cluster.get("/x").0, 200, "endpoints are kept too");
    cluster.kubernetes.start_api_server().unwrap();
    cluster.operator.restart().unwrap();
    cluster.kubernetes.apply(&fixed("edited", "/edited", "two")).unwrap();
    cluster.wait("/edited", 200, "two");
}

#[test]
fn when_the_publisher_is_killed_another_one_takes_over() {
    let mut cluster = Cluster::start();
    let second = Operator::start(&cluster.kubernetes, "second").unwrap();
    // It asks the one that does not publish first, and is sent on.
    cluster.dataplane = dataplane(&cluster.kubernetes, &[&second, &cluster.operator]).unwrap();
    cluster.kubernetes.apply(&fixed("edited", "/edited", "one")).unwrap();
    cluster.wait("/edited", 200, "one");
    cluster.operator.kill();
    cluster.kubernetes.apply(&fixed("edited", "/edited", "two")).unwrap();
    cluster.wait("/edited", 200, "two");
}
