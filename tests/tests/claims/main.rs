//! Claims on a real Redis: numbers, takeover, dedupe, and what happens when it goes away.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod away;
mod dedupe;
mod number;

use std::time::{Duration, Instant};

use dataplane::event::claim::{Claim, Claims, ClaimsState, Confirmed, Conversation, Key, RedisSettings, Wanted};
use policy::names::TenantName;
use tests::redis::Redis;

/// The dedupe window that sources have by default.
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// The name of a tenant.
pub fn tenant(name: &str) -> TenantName {
    TenantName::parse(name).unwrap()
}

/// A key that differs for each number, in its first bytes too.
pub fn key(number: u64) -> Key {
    let mut key = Key::default();
    key[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

/// An entry of acme.
pub fn wanted(event: u64, conversation: u64) -> Wanted {
    Wanted { tenant: tenant("acme"), event: key(event), conversation: key(conversation) }
}

/// A conversation of acme.
pub fn conversation(number: u64) -> Conversation {
    Conversation { tenant: tenant("acme"), key: key(number) }
}

/// Settings for this Redis, with the patience of a busy machine.
pub fn settings(redis: &Redis) -> RedisSettings {
    RedisSettings { timeout: PATIENCE, ..RedisSettings::new(vec![redis.url()]) }
}

/// Claims that are connected.
pub async fn connect(settings: RedisSettings) -> Claims {
    let claims = Claims::start(settings).unwrap();
    wait_until(async || claims.state() == ClaimsState::Connected).await;
    claims
}

/// Waits for a condition, with a bound.
pub async fn wait_until(mut holds: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < until, "what must come does not come");
        tokio::task::yield_now().await;
    }
}

/// Claims one entry of acme.
pub async fn claim(claims: &Claims, event: u64, conversation: u64) -> Claim {
    claims.claim(vec![wanted(event, conversation)]).await.unwrap()[0]
}

/// The numbers of a claim that is new.
pub fn new(claim: Claim) -> (i64, Option<i64>) {
    let Claim::New { sequence, previous } = claim else { panic!("not new: {claim:?}") };
    (sequence, previous)
}

/// Confirms an event of acme, in the background.
pub fn confirm(claims: &Claims, event: u64, dedupe_window: Duration) {
    claims.confirm(vec![Confirmed { tenant: tenant("acme"), event: key(event), dedupe_window }]);
}

/// Confirms, and waits until that is written.
pub async fn confirm_now(claims: &Claims, event: u64, dedupe_window: Duration) {
    confirm(claims, event, dedupe_window);
    wait_until(async || claim(claims, event, 0).await == Claim::Confirmed).await;
}
