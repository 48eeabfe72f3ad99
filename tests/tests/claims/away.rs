//! Redis goes away, refuses or hangs: claims say so in time, and come back by themselves.

use std::sync::atomic::Ordering;
use std::time::Duration;

use dataplane::event::claim::{Away, Claim, Claims, ClaimsState, Eviction, RedisSettings};
use tests::gateway::free_address;
use tests::hang::Hang;
use tests::redis::Redis;

use super::{WEEK, claim, confirm, confirm_now, connect, new, settings, wait_until, wanted};

#[tokio::test]
async fn a_redis_that_is_not_there_is_away_and_not_an_error() {
    let nobody = RedisSettings::new(vec![format!("redis://{}", free_address().unwrap())]);
    let claims = Claims::start(nobody).unwrap();
    assert_eq!(claims.claim(vec![wanted(1, 1)]).await, Err(Away::Disconnected));
    assert_eq!(claims.done_up_to(&[super::conversation(1)]).await, Err(Away::Disconnected));
    assert_eq!((claims.state(), claims.eviction()), (ClaimsState::Away, Eviction::Unknown));
    assert!(claims.healthy());
    // What cannot be written in time is dropped and counted, and ending does not wait for it.
    confirm(&claims, 1, WEEK);
    let counting = claims.clone();
    tokio::task::spawn_blocking(|| claims.shutdown()).await.unwrap();
    assert_eq!(counting.counters().records_dropped.load(Ordering::Relaxed), 1);
    assert!(!counting.healthy());
}

#[tokio::test]
async fn a_restart_under_load_is_away_and_then_back_by_itself() {
    let mut redis = Redis::start().unwrap();
    let claims = connect(settings(&redis)).await;
    let mut event = 0;
    for _ in 0..3 {
        let (before, _) = new(claim(&claims, event, 1).await);
        // Claims in flight when it dies end, too.
        let loaded = (event + 1..event + 500).map(|id| claims.claim(vec![wanted(id, 1)]));
        let in_flight = futures_util::future::join_all(loaded);
        let (_, ()) = tokio::join!(in_flight, async { redis.kill() });
        wait_until(async || claims.state() == ClaimsState::Away).await;
        assert_eq!(claims.claim(vec![wanted(event + 1, 1)]).await, Err(Away::Disconnected));
        // Confirmed while it is away: written when it is back.
        confirm(&claims, event, WEEK);
        redis.restart().unwrap();
        wait_until(async || claims.state() == ClaimsState::Connected).await;
        wait_until(async || claims.claim(vec![wanted(event, 9)]).await == Ok(vec![Claim::Confirmed])).await;
        event += 500;
        assert!(new(claim(&claims, event, 1).await).0 > before);
        event += 1;
    }
    assert!(claims.healthy());
}

#[tokio::test]
async fn a_redis_that_hangs_costs_a_claim_its_timeout_and_no_more() {
    let redis = Redis::start().unwrap();
    let claims = connect(RedisSettings { timeout: Duration::from_millis(250), ..settings(&redis) }).await;
    redis.hang().unwrap();
    assert_eq!(claims.claim(vec![wanted(1, 1)]).await, Err(Away::Late));
    // Then nobody waits any more ...
    wait_until(async || claims.state() == ClaimsState::Away).await;
    assert_eq!(claims.claim(vec![wanted(1, 1)]).await, Err(Away::Disconnected));
    redis.go_on().unwrap();
    // ... until it answers.
    wait_until(async || claims.claim(vec![wanted(1, 1)]).await.is_ok()).await;
}

#[tokio::test]
async fn a_redis_that_is_full_when_it_is_first_asked_is_connected_all_the_same() {
    let redis = Redis::start().unwrap();
    redis.set("maxmemory", "1").unwrap();
    assert_eq!(connect(settings(&redis)).await.state(), ClaimsState::Connected);
}

#[tokio::test]
async fn a_full_redis_is_away_for_what_is_new_and_knows_what_it_knows() {
    let redis = Redis::start().unwrap();
    let claims = connect(settings(&redis)).await;
    confirm_now(&claims, 1, WEEK).await;
    let (sequence, previous) = new(claim(&claims, 2, 1).await);
    redis.set("maxmemory", "1").unwrap();
    assert_eq!(claims.claim(vec![wanted(3, 1)]).await, Err(Away::Refused));
    assert_eq!(claims.claim(vec![wanted(1, 1)]).await, Ok(vec![Claim::Confirmed]));
    assert_eq!(claims.claim(vec![wanted(2, 1)]).await, Ok(vec![Claim::TakenOver { sequence, previous }]));
    assert!(claims.counters().refused.load(Ordering::Relaxed) >= 1);
    // A confirmation waits for room.
    confirm(&claims, 2, WEEK);
    redis.set("maxmemory", "0").unwrap();
    wait_until(async || claim(&claims, 2, 1).await == Claim::Confirmed).await;
    assert_eq!(new(claim(&claims, 3, 1).await).1, Some(sequence), "a refused claim takes no number");
}

#[tokio::test]
async fn a_replica_is_no_place_for_claims_and_the_next_address_is_taken() {
    let (primary, replica) = (Redis::start().unwrap(), Redis::start().unwrap());
    let (host, port) = (primary.address.ip().to_string(), primary.address.port().to_string());
    replica.cli(&["REPLICAOF", &host, &port]).unwrap();
    let both = vec![replica.url(), primary.url()];
    let claims = connect(RedisSettings { addresses: both, ..settings(&primary) }).await;
    new(claim(&claims, 1, 1).await);
    // They change places: the connection that may no longer write is left.
    replica.cli(&["REPLICAOF", "NO", "ONE"]).unwrap();
    primary.cli(&["REPLICAOF", &replica.address.ip().to_string(), &replica.address.port().to_string()]).unwrap();
    wait_until(async || claims.claim(vec![wanted(2, 1)]).await.is_ok()).await;
}

#[tokio::test]
async fn a_policy_that_drops_keys_is_reported() {
    let redis = Redis::start_with(&["--maxmemory-policy", "allkeys-lru"]).unwrap();
    let claims = connect(settings(&redis)).await;
    assert_eq!(claims.eviction(), Eviction::Yes("allkeys-lru".into()));
    let redis = Redis::start().unwrap();
    assert_eq!(connect(settings(&redis)).await.eviction(), Eviction::No);
    let silent = Redis::start_with(&["--rename-command", "INFO", ""]).unwrap();
    let claims = connect(settings(&silent)).await;
    assert_eq!(claims.eviction(), Eviction::Unknown);
    new(claim(&claims, 1, 1).await);
}

#[tokio::test]
async fn a_changed_password_is_taken_up_and_the_documented_permissions_are_enough() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    std::fs::write(&path, "wrong\n").unwrap();
    let redis = Redis::start().unwrap();
    // What docs/operations.md asks for, and no more.
    let permitted = "~postern:* +evalsha +eval +get +set +hget +hset +hmget +hdel +hlen +hkeys +hgetall +hincrby +del \
                     +ttl +expire +time +info";
    let user = ["ACL", "SETUSER", "postern", "on", ">right"];
    redis.cli(&user.into_iter().chain(permitted.split(' ')).collect::<Vec<_>>()).unwrap();
    let own = RedisSettings {
        max_ids_per_tenant: 1,
        user: Some("postern".into()),
        password_file: Some(path.clone()),
        ..settings(&redis)
    };
    let claims = Claims::start(own).unwrap();
    assert_eq!(claims.claim(vec![wanted(1, 1)]).await, Err(Away::Disconnected));
    std::fs::write(&path, "right\n").unwrap();
    wait_until(async || claims.claim(vec![wanted(1, 1)]).await.is_ok()).await;
    confirm_now(&claims, 1, WEEK).await;
    confirm(&claims, 2, WEEK);
    wait_until(async || claims.counters().ids_forgotten.load(Ordering::Relaxed) > 0).await;
    claims.delivered(super::conversation(1), 7);
    wait_until(async || claims.done_up_to(&[super::conversation(1)]).await.unwrap() == [Some(7)]).await;
    assert_eq!(claims.eviction(), Eviction::No);
}

#[tokio::test]
async fn what_waits_is_written_before_the_end() {
    let redis = Redis::start().unwrap();
    let claims = connect(settings(&redis)).await;
    for event in 0..3000 {
        confirm(&claims, event, WEEK);
    }
    tokio::task::spawn_blocking(|| claims.shutdown()).await.unwrap();
    let after = connect(settings(&redis)).await;
    let known = after.claim((0..3000).map(|event| wanted(event, 1)).collect()).await.unwrap();
    assert!(known.iter().all(|claim| *claim == Claim::Confirmed));
    assert_eq!(after.counters().confirmed.load(Ordering::Relaxed), 3000);
}
