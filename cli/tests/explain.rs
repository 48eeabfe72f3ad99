//! `postern explain` on the examples: the rule, the order, the verdict, the exit code.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

fn explain(arguments: &[&str]) -> (i32, String) {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    let mut command = Command::new(env!("CARGO_BIN_EXE_postern"));
    let output = command.args(["explain", examples]).args(arguments).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_request_meets_its_policies_in_their_order() {
    let (code, told) = explain(&["GET", "http://api.acme.example/v1/conversations"]);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("object   Route acme/agents") && told.contains("verdict  401 credentials_missing"), "{told}");
    let place = |word: &str| told.find(word).unwrap();
    let order = ["addresses", "authentication", "authorization", "rate_limit", "response_headers"].map(place);
    assert!(order.is_sorted(), "{told}");
}

#[test]
fn an_open_rule_forwards_and_a_source_makes_durable() {
    let (code, told) = explain(&["GET", "http://api.acme.example/status"]);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("verdict  forwarded to"), "{told}");
    let (code, told) = explain(&["POST", "http://hooks.example.com/webhooks/whatsapp"]);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("made durable"), "{told}");
}

#[test]
fn what_is_not_there_is_said() {
    let (code, told) = explain(&["GET", "http://nobody.example/", "--json"]);
    assert_eq!(code, 1);
    assert!(told.contains("unknown_host"), "{told}");
}
