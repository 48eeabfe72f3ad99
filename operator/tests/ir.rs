//! What each version of the IR wrote is read by this one: a dataplane beside an operator of the version before, and a
//! volume that the version before left.
//!
//! `POSTERN_GOLDEN=write cargo test -p operator --test ir` writes the page of this version anew; pages of versions before
//! stay as they are.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use operator::compile::compile;
use operator::gather::files;
use policy::snapshot::{Blob, IR_VERSION, ObjectIr, ObjectState, Revision, Snapshot};

fn page(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/ir/{version}.msgpack"))
}

fn written() -> Blob {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let files = files::read(&examples, None).unwrap();
    let compiled = compile(&files.gathered, &Snapshot::default(), Revision { term: 1, n: 1 });
    Blob::encode(&compiled.snapshot).unwrap()
}

#[test]
fn what_this_version_and_the_one_before_wrote_is_read() {
    if std::env::var("POSTERN_GOLDEN").is_ok_and(|what| what == "write") {
        fs::create_dir_all(page(IR_VERSION).parent().unwrap()).unwrap();
        fs::write(page(IR_VERSION), written().bytes()).unwrap();
    }
    assert!(page(IR_VERSION).is_file(), "write the page of this version, as said above");
    // Before the first version there was none.
    for version in [IR_VERSION - 1, IR_VERSION].into_iter().filter(|version| page(*version).is_file()) {
        let snapshot: Snapshot = Blob::from_bytes(fs::read(page(version)).unwrap()).decode().unwrap();
        let objects: Vec<_> = snapshot.tenants.iter().flat_map(|tenant| &tenant.objects).collect();
        assert!(objects.len() > 4, "version {version}: {}", objects.len());
        for entry in objects {
            let ObjectState::Compiled(blob) = &entry.state else { panic!("{} is broken", entry.object) };
            blob.decode::<ObjectIr>().unwrap();
        }
    }
}
