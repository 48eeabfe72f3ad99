//! Gateways, delivers and shards in processes of their own: each kind dies while events arrive.

use std::process::Command;

#[test]
fn no_role_loses_or_overtakes_when_it_dies() {
    let counted = Command::new(env!("CARGO_BIN_EXE_chaos")).args(["--kills", "20"]).output().unwrap();
    let said = String::from_utf8_lossy(&counted.stdout);
    assert!(counted.status.success(), "{said}\n{}", String::from_utf8_lossy(&counted.stderr));
}
