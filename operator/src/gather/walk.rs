//! The manifest files below a directory, within bounds.

use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The largest file that is read.
pub const MAX_FILE_BYTES: u64 = 4 << 20;
/// The most files that are read.
pub const MAX_FILES: usize = 10_000;
/// How the names of manifests end.
pub const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];
/// How deep directories may nest.
pub const MAX_DEPTH: usize = 16;

/// The directory cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// Listing failed.
    #[error("could not list {}", path.display())]
    List {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Too much.
    #[error("{} holds more than {MAX_FILES} manifests, or nests deeper than {MAX_DEPTH} directories", .0.display())]
    TooMuch(PathBuf),
}

/// A manifest file.
#[derive(Debug)]
pub struct Found {
    /// Its path.
    pub path: PathBuf,
    /// Its text, or why there is none.
    pub text: Result<String, String>,
}

/// Every `*.yaml`, `*.yml` and `*.json` below `dir`, which are the files that kubectl reads, by path. A name that starts with a dot is hidden. `dir` may also be
/// one file.
///
/// # Errors
/// [`WalkError`]
pub fn manifests(dir: &Path) -> Result<Vec<Found>, WalkError> {
    let mut paths = Vec::new();
    if dir.is_file() {
        paths.push(dir.to_owned());
    } else {
        list(dir, 0, &mut paths)?;
    }
    if paths.len() > MAX_FILES {
        return Err(WalkError::TooMuch(dir.to_owned()));
    }
    paths.sort();
    Ok(paths.into_iter().map(|path| Found { text: text(&path), path }).collect())
}

fn list(dir: &Path, depth: usize, paths: &mut Vec<PathBuf>) -> Result<(), WalkError> {
    if depth > MAX_DEPTH {
        return Err(WalkError::TooMuch(dir.to_owned()));
    }
    let failed = |source| WalkError::List { path: dir.to_owned(), source };
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
            continue;
        }
        let manifest = path.extension().is_some_and(|extension| ENDINGS.iter().any(|ending| extension == *ending));
        if path.is_dir() {
            list(&path, depth + 1, paths)?;
        } else if manifest {
            paths.push(path);
        }
    }
    Ok(())
}

fn text(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| format!("cannot be opened: {error}"))?;
    let bounded = &mut file.take(MAX_FILE_BYTES + 1);
    bounded.read_to_string(&mut text).map_err(|error| format!("cannot be read: {error}"))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("is larger than {MAX_FILE_BYTES} bytes"));
    }
    Ok(text)
}
