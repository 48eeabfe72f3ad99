use std::net::Ipv4Addr;

use serde_json::Value;

use super::super::limiter::tests::limit;
use super::*;
use crate::names::{Kind, ObjectRef};
use crate::rate_limit::{TargetIr, WhenUnavailable};

const NOW: u64 = 5 * NANOS_PER_SEC;
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn tenant(name: &str) -> TenantName {
    TenantName::parse(name).unwrap()
}

fn policy(name: &str, mode: Mode, limits: Vec<LimitIr>) -> RateLimitIr {
    RateLimitIr {
        object: ObjectRef::new(Kind::RateLimitPolicy, "acme", name),
        targets: vec![TargetIr::Tenant],
        limits,
        when_unavailable: WhenUnavailable::LocalShare,
        mode,
        broken: Vec::new(),
    }
}

fn caller(id: &str) -> Caller {
    let claims = Arc::new(Value::Null);
    Caller { id: id.into(), method: "m".into(), tenant: None, roles: vec![], claims, forward: vec![] }
}

fn two() -> RateLimitIr {
    let all = limit("all", Per::Tenant, 10, 1000, 10);
    policy("p", Mode::Enforce, vec![all, limit("each", Per::Caller, 2, 1000, 2)])
}

fn admits(limits: &Limits, id: &str) -> bool {
    limits.check(Some(&caller(id)), ADDRESS, NOW).refused.is_none()
}

#[test]
fn the_strictest_limit_decides_and_a_refused_request_spends_no_other() {
    let limits = Limits::new(&tenant("acme"), [&two()], &LimitCounts::default());
    assert!(admits(&limits, "a") && admits(&limits, "a"));
    for _ in 0..100 {
        assert!(!admits(&limits, "a"));
    }
    for id in ["b", "c", "d", "e"] {
        assert!(admits(&limits, id) && admits(&limits, id), "{id} still has the tenant's budget");
    }
    assert!(!admits(&limits, "f"), "ten are spent");
}

#[test]
fn a_refusal_says_when_to_come_back_and_why() {
    let limits = Limits::new(&tenant("acme"), [&two()], &LimitCounts::default());
    let standing = limits.check(Some(&caller("a")), ADDRESS, NOW).standing.unwrap();
    assert_eq!((standing.remaining, standing.reset_secs), (1, 1));
    assert!(admits(&limits, "a"));
    let verdict = limits.check(Some(&caller("a")), ADDRESS, NOW);
    let refusal = verdict.refused.unwrap();
    assert_eq!(refusal.extras, [Extra::RetryAfter(Duration::from_millis(500))]);
    assert_eq!(refusal.detail, "the limit \"each\" is spent; try again after Retry-After");
    let mut answer = HeaderMap::new();
    verdict.standing.unwrap().apply(&mut answer);
    assert_eq!(answer["ratelimit-policy"], "\"all\";q=10;w=1, \"each\";q=2;w=1");
    assert_eq!(answer["ratelimit"], "\"each\";r=0;t=1");
}

#[test]
fn counts_survive_a_swap_and_a_change_of_the_limit() {
    let counts = LimitCounts::default();
    let before = Limits::new(&tenant("acme"), [&two()], &counts);
    assert!(admits(&before, "a") && admits(&before, "a"));
    let changed = policy("p", Mode::Enforce, vec![limit("each", Per::Caller, 4, 1000, 2)]);
    let after = Limits::new(&tenant("acme"), [&changed], &counts);
    drop(before);
    assert!(!admits(&after, "a"));
    drop(after);
    assert!(admits(&Limits::new(&tenant("acme"), [&two()], &counts), "a"), "nobody used it any more");
}

#[test]
fn tenants_policies_and_callers_never_share_a_bucket() {
    let counts = LimitCounts::default();
    let one = policy("p", Mode::Enforce, vec![limit("l", Per::Tenant, 1, 60_000, 1)]);
    let other = policy("q", Mode::Enforce, vec![limit("l", Per::Tenant, 1, 60_000, 1)]);
    let acme = Limits::new(&tenant("acme"), [&one], &counts);
    assert!(admits(&acme, "a") && !admits(&acme, "a"));
    assert!(admits(&Limits::new(&tenant("globex"), [&one], &counts), "a"));
    assert!(admits(&Limits::new(&tenant("acme"), [&other], &counts), "a"));
}

#[test]
fn callers_of_an_open_rule_are_told_apart_by_address() {
    let limits = Limits::new(&tenant("acme"), [&two()], &LimitCounts::default());
    let check = |address: &str| limits.check(None, address.parse().unwrap(), NOW).refused.is_none();
    assert!(check("192.0.2.1") && check("192.0.2.1") && !check("192.0.2.1"));
    assert!(check("192.0.2.2"));
}

#[test]
fn an_audited_limit_says_what_it_would_do_and_one_that_is_off_says_nothing() {
    let audited = policy("a", Mode::Audit, vec![limit("l", Per::Tenant, 1, 60_000, 1)]);
    let off = policy("o", Mode::Off, vec![limit("l", Per::Tenant, 1, 60_000, 1)]);
    let limits = Limits::new(&tenant("acme"), [&audited, &off], &LimitCounts::default());
    assert_eq!(limits.check(None, ADDRESS, NOW), Verdict::default());
    let verdict = limits.check(None, ADDRESS, NOW);
    assert!(verdict.refused.is_none() && verdict.standing.is_none());
    assert_eq!(verdict.would_refuse.unwrap().reason, Reason::RateLimited);
}

#[test]
fn unused_counts_are_forgotten() {
    let counts = LimitCounts::default();
    for number in 0..1000 {
        let policy = policy(&format!("p{number}"), Mode::Enforce, vec![limit("l", Per::Tenant, 1, 1, 1)]);
        let _ = Limits::new(&tenant("acme"), [&policy], &counts);
    }
    assert!(counts.known.lock().unwrap().len() < 16);
}

#[test]
fn cores_together_admit_no_more_than_the_strictest_limit() {
    let policy = policy(
        "p",
        Mode::Enforce,
        vec![limit("all", Per::Tenant, 1, 86_400_000, 300), limit("each", Per::Caller, 1, 86_400_000, 100)],
    );
    let limits = Limits::new(&tenant("acme"), [&policy], &LimitCounts::default());
    let admitted = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..400 {
                    if admits(&limits, ["a", "b", "c", "d", "e"][round % 5]) {
                        admitted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                }
            });
        }
    });
    // Requests that met while one gave back may have been refused; then a little is left over.
    let left = limits.limits[0].counts.tenant.level(limits.limits[0].rate, NOW).remaining;
    assert_eq!(u64::from(admitted.into_inner()) + left, 300);
}
