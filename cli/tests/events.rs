//! `postern events` over several stores: one list, one change, and a code that says what was found.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use dataplane::event::spool::{Settings, Shard};
use dataplane::event::{Entry, Event, NewEvent};
use policy::names::{Kind, ObjectRef, TenantName};
use serde_json::Value;

fn dead(id: &str) -> Entry {
    let event = Event {
        tenant: TenantName::parse("acme").unwrap(),
        source: ObjectRef::new(Kind::WebhookSource, "acme", "whatsapp"),
        id: id.into(),
        kind: "whatsapp.message.text".into(),
        conversation: "a".into(),
        time: "2026-01-01T00:00:00Z".parse().unwrap(),
        data: "{}".into(),
        dataraw: None,
        traceparent: None,
        unknown: false,
        sanitised: None,
        request_id: None,
    };
    let new = NewEvent { event, dedupe_window: Duration::from_secs(60), pending_bytes: 1 << 20, dead_when_full: None };
    let (reason, retention) = ("unclaimed".into(), Duration::from_secs(3600));
    Entry::Dead { new, reason, retention, violations: None, origin: None }
}

/// Puts dead letters into the store of a data folder.
fn store(data: &Path, ids: &[&str]) {
    let shard = Shard::open(Settings::new(data.join("spool"))).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for id in ids {
        runtime.block_on(shard.append(vec![dead(id)])).unwrap();
    }
    shard.shutdown();
}

fn events(arguments: &[&str], folders: &[&Path]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postern"));
    command.arg("events").args(arguments);
    for folder in folders {
        command.arg("--data").arg(folder);
    }
    command.output().unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn several_stores_are_one_list_by_time_and_one_change() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    store(&one, &["1"]);
    store(&two, &["2", "3"]);
    store(&one, &["4"]);
    let both: [&Path; 2] = [&one, &two];
    let listed = events(&["ls", "--state", "dead"], &both);
    let ids = |listed: &Output| lines(listed).iter().map(|one| one["id"].clone()).collect::<Vec<_>>();
    assert!(listed.status.success());
    assert_eq!(ids(&listed), ["1", "2", "3", "4"]);
    assert_eq!(lines(&listed)[1]["shard"], two.display().to_string());

    let dry = events(&["replay", "--tenant", "acme", "--state", "dead"], &both);
    let dry = String::from_utf8_lossy(&dry.stdout).into_owned();
    // No gateway has run on these folders, so no source is configured that could deliver.
    assert!(dry.contains("row 1 1: tenant acme, acme/whatsapp: stays, no_source: "), "{dry}");
    assert!(dry.ends_with("0 events would be replayed, 4 stay dead; write --yes to do it\n"), "{dry}");
    let nothing = events(&["replay", "--tenant", "acme", "--yes"], &both);
    assert_eq!(nothing.status.code(), Some(1), "nothing could be replayed");
    assert_eq!(ids(&events(&["ls", "--state", "dead"], &both)).len(), 4, "a dry run changes nothing");
    let dropped = events(&["drop", "--id", "3", "--yes"], &both);
    assert_eq!(String::from_utf8_lossy(&dropped.stdout), "1 event dropped\n");
    assert_eq!(ids(&events(&["ls"], &both)), ["1", "2", "4"]);
}

#[test]
fn list_of_nothing_says_so_and_a_list_is_lines_of_json_alone() {
    let folder = tempfile::tempdir().unwrap();
    store(folder.path(), &["1"]);
    let nothing = events(&["ls", "--tenant", "globex"], &[folder.path()]);
    let printed = String::from_utf8_lossy(&nothing.stderr).into_owned();
    assert!(nothing.status.success() && nothing.stdout.is_empty(), "{nothing:?}");
    assert!(printed.contains(&format!("no event matches in {}", folder.path().display())), "{printed}");
    let one = events(&["ls"], &[folder.path()]);
    assert!(lines(&one).len() == 1 && one.stderr.is_empty(), "{one:?}");
}

#[test]
fn the_code_says_whether_it_was_found_and_whether_all_could_be_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (one, gone) = (folder.path().join("one"), folder.path().join("gone"));
    store(&one, &["1"]);
    assert_eq!(events(&["show", "1"], &[&one]).status.code(), Some(0));
    assert_eq!(events(&["show", "9"], &[&one]).status.code(), Some(1));
    assert_eq!(events(&["show", "1", "--curl"], &[&one]).status.code(), Some(1), "it is no kept request");
    let partly = events(&["ls"], &[&gone, &one]);
    assert_eq!((lines(&partly).len(), partly.status.code()), (1, Some(2)));
    let refused = events(&["drop", "--id", "1", "--yes"], &[&gone, &one]);
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(lines(&events(&["ls"], &[&one])).len(), 1, "nothing is changed unless all are asked");
    assert_eq!(events(&["drop", "--yes"], &[&one]).status.code(), Some(2), "all at once is never meant");
}
