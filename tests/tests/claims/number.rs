//! Numbers: per conversation, only upwards, whatever becomes of Redis.

use std::collections::HashSet;

use dataplane::event::claim::{Claim, Conversation, Wanted};
use tests::redis::Redis;

use super::{claim, connect, conversation, key, new, settings, tenant, wait_until, wanted};

#[tokio::test]
async fn entries_of_a_post_are_numbered_upwards_in_their_order() {
    let redis = Redis::start().unwrap();
    let claims = connect(settings(&redis)).await;
    let globex = Wanted { tenant: tenant("globex"), ..wanted(4, 1) };
    let post = vec![wanted(1, 1), wanted(2, 2), globex, wanted(3, 1), wanted(4, 1)];
    let claimed = claims.claim(post).await.unwrap();
    let [first, other, globex, second, third] = claimed[..] else { panic!("{claimed:?}") };
    assert_eq!(new(first).1, None);
    assert_eq!((new(other).1, new(globex).1), (None, None));
    assert_eq!(new(second).1, Some(new(first).0));
    assert_eq!(new(third).1, Some(new(second).0));
    assert!(new(second).0 > new(first).0 && new(third).0 > new(second).0);
    assert_eq!(new(claim(&claims, 5, 1).await).1, Some(new(third).0));
}

#[tokio::test]
async fn a_number_is_the_time_of_redis_in_microseconds_or_one_more_than_the_last() {
    let redis = Redis::start().unwrap();
    let claims = connect(settings(&redis)).await;
    let now = || {
        let text = redis.cli(&["TIME"]).unwrap();
        let (seconds, micros) = text.split_once('\n').unwrap();
        seconds.trim().parse::<i64>().unwrap() * 1_000_000 + micros.trim().parse::<i64>().unwrap()
    };
    let before = now();
    let (number, _) = new(claim(&claims, 1, 1).await);
    assert!((before..=now()).contains(&number));
    // The clock of a Redis that takes over may be behind: the last number is then ahead of it.
    let ahead = number + 3_600_000_000;
    claims.delivered(conversation(1), ahead);
    wait_until(async || claims.done_up_to(&[conversation(1)]).await.unwrap() == [Some(ahead)]).await;
    assert_eq!(new(claim(&claims, 2, 1).await), (ahead + 1, None));
    assert_eq!(new(claim(&claims, 3, 1).await), (ahead + 2, Some(ahead + 1)));
}

#[tokio::test]
async fn an_emptied_redis_numbers_on_upwards() {
    let redis = Redis::start().unwrap();
    let claims = connect(settings(&redis)).await;
    let (before, _) = new(claim(&claims, 1, 1).await);
    redis.flush().unwrap();
    let (after, previous) = new(claim(&claims, 2, 1).await);
    assert!(after > before);
    assert_eq!(previous, None);
}

#[tokio::test]
async fn what_is_delivered_after_redis_forgot_is_not_taken_for_the_last_that_was_claimed() {
    let redis = Redis::start().unwrap();
    let claims = connect(settings(&redis)).await;
    let (first, _) = new(claim(&claims, 1, 1).await);
    // A shard keeps it, as far as anybody knows.
    let (second, _) = new(claim(&claims, 2, 1).await);
    redis.flush().unwrap();
    claims.delivered(conversation(1), first);
    wait_until(async || claims.done_up_to(&[conversation(1)]).await.unwrap() == [Some(first)]).await;
    let (third, previous) = new(claim(&claims, 3, 1).await);
    assert!(third > second);
    assert_eq!(previous, None, "it follows {second}, of which nothing is known any more");
}

#[tokio::test]
async fn a_restored_old_dump_numbers_on_upwards_and_is_not_believed_to_know_the_last_number() {
    let mut redis = Redis::start().unwrap();
    let claims = connect(settings(&redis)).await;
    let (old, _) = new(claim(&claims, 1, 1).await);
    let dump = redis.dump().unwrap();
    let (lost, _) = new(claim(&claims, 2, 1).await);
    redis.restore(&dump).unwrap();
    let mut answer = Vec::new();
    wait_until(async || {
        answer = claims.claim(vec![wanted(3, 1)]).await.unwrap_or_default();
        !answer.is_empty()
    })
    .await;
    let (Claim::New { sequence, previous } | Claim::TakenOver { sequence, previous }) = answer[0] else {
        panic!("{answer:?}")
    };
    assert!(sequence > lost && lost > old);
    assert_eq!(previous, None, "the dump knows {old}, and {lost} came after it");
    assert_eq!(new(claim(&claims, 4, 1).await).1, Some(sequence));
    // The claim that the dump does not know is a new one, and higher.
    assert!(new(claim(&claims, 2, 1).await).0 > sequence);
    assert_eq!(claim(&claims, 1, 1).await, Claim::TakenOver { sequence: old, previous: None });
}

#[tokio::test]
async fn who_meets_an_unconfirmed_claim_takes_its_numbers_over() {
    let redis = Redis::start().unwrap();
    let crashed = connect(settings(&redis)).await;
    claim(&crashed, 1, 1).await;
    let (sequence, previous) = new(claim(&crashed, 2, 1).await);
    drop(crashed);
    let claims = connect(settings(&redis)).await;
    let taken = Claim::TakenOver { sequence, previous };
    assert!(previous.is_some());
    assert_eq!(claim(&claims, 2, 1).await, taken);
    assert_eq!(claim(&claims, 2, 1).await, taken);
    // What was numbered in between does not change it.
    claim(&claims, 3, 1).await;
    assert_eq!(claim(&claims, 2, 1).await, taken);
}

#[test]
fn of_ten_thousand_claims_of_one_id_exactly_one_is_new() {
    const THREADS: usize = 4;
    let redis = Redis::start().unwrap();
    let own = settings(&redis);
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let claims = runtime().block_on(connect(own));
    let all_of_one_core = || {
        let claimed = (0..10_000 / THREADS).map(|_| claims.claim(vec![wanted(1, 1)]));
        runtime().block_on(futures_util::future::try_join_all(claimed)).unwrap()
    };
    let answers: Vec<Claim> = std::thread::scope(|scope| {
        let cores: Vec<_> = (0..THREADS).map(|_| scope.spawn(all_of_one_core)).collect();
        cores.into_iter().flat_map(|core| core.join().unwrap()).flatten().collect()
    });
    assert_eq!(answers.len(), 10_000);
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Claim::New { .. })).count(), 1);
    let numbers: HashSet<_> = answers
        .iter()
        .map(|answer| match *answer {
            Claim::New { sequence, previous } | Claim::TakenOver { sequence, previous } => (sequence, previous),
            Claim::Confirmed => panic!("nobody has confirmed it"),
        })
        .collect();
    assert_eq!(numbers.len(), 1);
}

#[tokio::test]
async fn two_tenants_share_neither_ids_nor_conversations() {
    let redis = Redis::start().unwrap();
    let claims = connect(settings(&redis)).await;
    super::confirm_now(&claims, 1, super::WEEK).await;
    let (acme, _) = new(claim(&claims, 2, 1).await);
    claims.delivered(conversation(1), acme);
    wait_until(async || claims.done_up_to(&[conversation(1)]).await.unwrap() == [Some(acme)]).await;
    let other = |event| vec![Wanted { tenant: tenant("globex"), ..wanted(event, 1) }];
    // The same bytes: a confirmed id, an unconfirmed claim, a conversation that has numbers.
    assert_eq!(new(claims.claim(other(1)).await.unwrap()[0]).1, None);
    assert!(matches!(claims.claim(other(2)).await.unwrap()[0], Claim::New { .. }));
    let globex = Conversation { tenant: tenant("globex"), key: key(1) };
    assert_eq!(claims.done_up_to(&[globex, conversation(1)]).await.unwrap(), [None, Some(acme)]);
}

#[tokio::test]
async fn the_record_of_a_conversation_only_rises_and_survives_a_claim() {
    let redis = Redis::start().unwrap();
    let claims = connect(settings(&redis)).await;
    let (base, _) = new(claim(&claims, 9, 9).await);
    claims.delivered(conversation(1), base + 20);
    claims.delivered(conversation(1), base + 10);
    claims.delivered(conversation(2), base + 5);
    let both = [conversation(1), conversation(2), conversation(3)];
    wait_until(async || claims.done_up_to(&both).await.unwrap() == [Some(base + 20), Some(base + 5), None]).await;
    assert!(new(claim(&claims, 1, 1).await).0 > base + 20);
    assert_eq!(claims.done_up_to(&both).await.unwrap(), [Some(base + 20), Some(base + 5), None]);
}
