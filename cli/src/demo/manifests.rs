//! The examples, carried in the binary, so that the demo needs no checkout.

use std::fs;
use std::path::{Path, PathBuf};

use super::DemoError;
use super::upstreams::Port;

const FILES: [(&str, &str); 4] = [
    ("1-platform.yaml", include_str!("../../../examples/1-platform.yaml")),
    ("2-acme.yaml", include_str!("../../../examples/2-acme.yaml")),
    ("3-globex.yaml", include_str!("../../../examples/3-globex.yaml")),
    ("4-supporting.yaml", include_str!("../../../examples/4-supporting.yaml")),
];

/// An empty folder for this run.
pub(super) fn folder(asked: Option<&Path>) -> Result<PathBuf, DemoError> {
    let folder = match asked {
        Some(folder) => folder.to_owned(),
        None => std::env::temp_dir().join(format!("postern-demo-{}", std::process::id())),
    };
    // Only what an earlier demo left is emptied; a folder that is something else is not ours.
    for part in ["manifests", "data"] {
        let part = folder.join(part);
        if part.exists() {
            fs::remove_dir_all(&part).map_err(DemoError::io(format!("emptying {}", part.display())))?;
        }
        fs::create_dir_all(&part).map_err(DemoError::io(format!("making {}", part.display())))?;
    }
    folder.canonicalize().map_err(DemoError::io(format!("finding {}", folder.display())))
}

/// Removes a folder that the demo chose itself; one that was asked for stays.
pub(super) fn remove_own(asked: Option<&Path>, folder: &Path) -> Result<(), DemoError> {
    match asked {
        Some(_) => Ok(()),
        None => fs::remove_dir_all(folder).map_err(DemoError::io(format!("removing {}", folder.display()))),
    }
}

/// Writes the examples; endpoints get the ports that the upstreams really have.
pub(super) fn write(folder: &Path, ports: &[Port]) -> Result<(), DemoError> {
    for (name, text) in FILES {
        let path = folder.join(name);
        fs::write(&path, with_ports(text, ports)).map_err(DemoError::io(format!("writing {}", path.display())))?;
    }
    Ok(())
}

fn with_ports(text: &str, ports: &[Port]) -> String {
    ports.iter().fold(text.to_owned(), |text, port| {
        text.replace(&format!("port: {}}}", port.written), &format!("port: {}}}", port.real))
    })
}

#[cfg(test)]
mod tests {
    use super::super::upstreams::WRITTEN_PORTS;
    use super::*;

    #[test]
    fn every_endpoint_of_the_examples_is_an_upstream_of_the_demo() {
        let ports: Vec<Port> = WRITTEN_PORTS.iter().map(|&written| Port { written, real: 1 }).collect();
        for (name, text) in FILES {
            assert!(!with_ports(text, &ports).contains("port: 191"), "{name}");
        }
    }

    #[test]
    fn only_what_a_demo_left_is_emptied() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();
        super::folder(Some(folder.path())).unwrap();
        assert!(folder.path().join("thesis.txt").exists());
    }
}
