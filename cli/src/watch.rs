//! Tells when a file or a directory changes.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};

/// How often it is looked without a sign of change: mounted directories do not always give one.
pub(crate) const POLL: Duration = Duration::from_secs(30);

/// Why it cannot be told.
#[derive(Debug, thiserror::Error)]
#[error("could not watch {0}")]
pub struct WatchError(PathBuf, #[source] notify::Error);

/// Watches a directory with all below it, or a file through its directory: a file that is replaced is another one, and a
/// mounted ConfigMap is replaced through a link called `..data`.
///
/// # Errors
/// [`WatchError`]
pub(crate) fn watch(path: &Path, changed: impl Fn() + Send + 'static) -> Result<RecommendedWatcher, WatchError> {
    if path.is_dir() {
        return watcher(path, None, changed);
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    watcher(parent, path.file_name().map(ToOwned::to_owned), changed)
}

fn watcher(
    dir: &Path,
    file: Option<OsString>,
    changed: impl Fn() + Send + 'static,
) -> Result<RecommendedWatcher, WatchError> {
    let failed = |error| WatchError(dir.to_owned(), error);
    let mode = if file.is_none() { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
    let is_it = |name: &OsStr, file: &OsString| name == file || name == "..data";
    let meant =
        move |path: &PathBuf| file.as_ref().is_none_or(|file| path.file_name().is_some_and(|name| is_it(name, file)));
    // Reading a file is an event too; only what may change its content counts.
    let counts =
        move |event: notify::Event| !event.kind.is_access() && (event.need_rescan() || event.paths.iter().any(&meant));
    let told = move |event: notify::Result<notify::Event>| {
        // An error means that events were lost, so it counts as one.
        if event.map_or(true, &counts) {
            changed();
        }
    };
    let mut watcher = notify::recommended_watcher(told).map_err(failed)?;
    watcher.watch(dir, mode).map_err(failed)?;
    Ok(watcher)
}
