//! Ids: confirmed for their window, bounded per tenant, on one node of a cluster.

use std::sync::atomic::Ordering;
use std::time::Duration;

use dataplane::event::claim::{Claim, ClaimsCounters, Confirmed, RedisSettings, Wanted};
use tests::redis::Redis;

use super::{WEEK, claim, confirm, confirm_now, connect, key, new, settings, tenant, wait_until, wanted};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_confirmed_id_is_known_until_its_window_ends() {
    let redis = Redis::start().unwrap();
    let claims = connect(settings(&redis)).await;
    let (first, _) = new(claim(&claims, 1, 1).await);
    confirm_now(&claims, 1, Duration::from_secs(1)).await;
    confirm_now(&claims, 2, WEEK).await;
    let mut again = Claim::Confirmed;
    wait_until(async || {
        again = claim(&claims, 1, 1).await;
        again != Claim::Confirmed
    })
    .await;
    assert!(new(again).0 > first);
    assert_eq!(claim(&claims, 2, 1).await, Claim::Confirmed);
    // It can be confirmed again, and is then known again.
    confirm_now(&claims, 1, WEEK).await;
}

#[tokio::test]
async fn a_repeat_does_not_move_the_numbers_of_its_conversation() {
    let redis = Redis::start().unwrap();
    let claims = connect(settings(&redis)).await;
    let (first, _) = new(claim(&claims, 1, 1).await);
    confirm_now(&claims, 1, WEEK).await;
    let repeated = claims.claim(vec![wanted(1, 1), wanted(2, 1)]).await.unwrap();
    assert_eq!(repeated[0], Claim::Confirmed);
    assert_eq!(new(repeated[1]).1, Some(first));
}

#[tokio::test]
async fn every_id_of_many_is_known_and_no_other() {
    const IDS: u64 = 6000;
    let redis = Redis::start().unwrap();
    let claims = connect(settings(&redis)).await;
    let confirmed =
        (0..IDS).map(|id| Confirmed { tenant: tenant("acme"), event: key(id), dedupe_window: WEEK }).collect();
    claims.confirm(confirmed);
    wait_until(async || claim(&claims, IDS - 1, 0).await == Claim::Confirmed).await;
    let known = claims.claim((0..IDS).map(|id| wanted(id, 0)).collect()).await.unwrap();
    assert!(known.iter().all(|claim| *claim == Claim::Confirmed));
    let others = claims.claim((IDS..2 * IDS).map(|id| wanted(id, 0)).collect()).await.unwrap();
    assert!(others.iter().all(|claim| matches!(claim, Claim::New { .. })));
    // Small hashes, not a key an id: that is what makes an id cheap.
    redis.flush().unwrap();
    claims.confirm(
        (0..IDS).map(|id| Confirmed { tenant: tenant("acme"), event: key(id), dedupe_window: WEEK }).collect(),
    );
    wait_until(async || claim(&claims, IDS - 1, 0).await == Claim::Confirmed).await;
    let keys: u64 = redis.cli(&["DBSIZE"]).unwrap().parse().unwrap();
    assert!(keys < IDS / 10, "{keys} keys");
}

fn forgotten(counters: &ClaimsCounters) -> u64 {
    counters.ids_forgotten.load(Ordering::Relaxed)
}

#[tokio::test]
async fn a_tenant_with_too_many_ids_forgets_those_that_end_first() {
    let redis = Redis::start().unwrap();
    let claims = connect(RedisSettings { max_ids_per_tenant: 3, ..settings(&redis) }).await;
    let other = Wanted { tenant: tenant("globex"), ..wanted(1, 0) };
    claims.confirm(vec![Confirmed { tenant: other.tenant.clone(), event: other.event, dedupe_window: 2 * HOUR }]);
    wait_until(async || claims.claim(vec![other.clone()]).await.unwrap() == [Claim::Confirmed]).await;
    confirm_now(&claims, 3, 9 * HOUR).await;
    confirm_now(&claims, 1, 2 * HOUR).await;
    confirm_now(&claims, 2, 5 * HOUR).await;
    assert_eq!(forgotten(claims.counters()), 0);
    confirm_now(&claims, 4, 9 * HOUR).await;
    wait_until(async || forgotten(claims.counters()) == 1).await;
    assert!(matches!(claim(&claims, 1, 0).await, Claim::New { .. }));
    for known in [2, 3, 4] {
        assert_eq!(claim(&claims, known, 0).await, Claim::Confirmed);
    }
    // One that ends before what is remembered is not taken in its place.
    confirm(&claims, 1, HOUR);
    wait_until(async || forgotten(claims.counters()) == 2).await;
    assert_eq!(claims.claim(vec![other]).await.unwrap(), [Claim::Confirmed], "another tenant's bound is its own");
}

#[tokio::test]
async fn what_a_full_bucket_forgets_leaves_it() {
    const IDS: u64 = 2000;
    let redis = Redis::start().unwrap();
    let claims = connect(RedisSettings { max_ids_per_tenant: IDS, ..settings(&redis) }).await;
    let confirm_all = async |from: u64, window: Duration| {
        let confirmed = |id| Confirmed { tenant: tenant("acme"), event: key(id), dedupe_window: window };
        claims.confirm((from..from + IDS).map(confirmed).collect());
        wait_until(async || claim(&claims, from + IDS - 1, 0).await == Claim::Confirmed).await;
    };
    let held = async || {
        let script = "local n = 0 for _, key in ipairs(redis.call('KEYS', '*}[0-3]*')) do n = n + redis.call('HLEN', key) - 1 end return n";
        redis.cli(&["EVAL", script, "0"]).unwrap().parse::<u64>().unwrap()
    };
    confirm_all(0, 2 * HOUR).await;
    assert_eq!(held().await, IDS);
    confirm_all(IDS, 5 * HOUR).await;
    confirm_all(2 * IDS, 9 * HOUR).await;
    assert!(held().await <= 2 * IDS, "{} are held", held().await);
    wait_until(async || forgotten(claims.counters()) == 2 * IDS).await;
}

#[tokio::test]
async fn all_keys_of_a_tenant_are_on_one_node_of_a_cluster() {
    let redis = Redis::start_cluster().unwrap();
    let claims = connect(RedisSettings { cluster: true, ..settings(&redis) }).await;
    // A cluster refuses a call whose keys are in different slots.
    let globex = Wanted { tenant: tenant("globex"), ..wanted(2, 1) };
    let claimed = claims.claim(vec![wanted(1, 1), globex, wanted(2, 2)]).await.unwrap();
    assert!(claimed.iter().all(|claim| matches!(claim, Claim::New { .. })));
    confirm_now(&claims, 1, WEEK).await;
    claims.delivered(super::conversation(1), 7);
    wait_until(async || claims.done_up_to(&[super::conversation(1)]).await.unwrap() == [Some(7)]).await;
    let keys_of = |tenant: &str| {
        let slot = redis.cli(&["CLUSTER", "KEYSLOT", &format!("{{{tenant}}}")]).unwrap();
        redis.cli(&["CLUSTER", "COUNTKEYSINSLOT", &slot]).unwrap().parse::<u64>().unwrap()
    };
    let all: u64 = redis.cli(&["DBSIZE"]).unwrap().parse().unwrap();
    // The one that is nobody's shows that writing works.
    assert_eq!(keys_of("acme") + keys_of("globex") + 1, all);
    assert_eq!(keys_of("globex"), 2);
}
