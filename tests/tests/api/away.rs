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
fn an_operator_that_starts_before_its_api_server_waits_for_it() {
    let mut cluster = Cluster::start();
    cluster.operator.kill();
    cluster.kubernetes.stop_api_server();
    cluster.operator.spawn().unwrap();
    let (operator, dataplane) = (&cluster.operator, &cluster.dataplane);
    dataplane.wait_until(|| operator.printed().contains("the API server is asked again"));
    assert!(operator.printed().contains("the API server is asked again"), "{}", operator.printed());
    cluster.kubernetes.start_api_server().unwrap();
    cluster.operator.wait_ready().unwrap();
    cluster.kubernetes.apply(&fixed("edited", "/edited", "one")).unwrap();
    cluster.wait("/edited", 200, "one");
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
