//! The store's folder and files belong to the process's user alone: 0700 and 0600. Events carry what people wrote.
//!
//! SQLite gives `-wal` and `-shm` the mode of the database, so the database exists with its mode before SQLite opens
//! it. What an earlier version left readable is closed at the next start.

use std::fs::{DirBuilder, File, Permissions, set_permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// The database and what SQLite puts beside it.
const FILES: [&str; 3] = ["events.sqlite", "events.sqlite-wal", "events.sqlite-shm"];

/// Makes the folder, with its parents, and closes it to others.
pub(super) fn folder(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(directory)?;
    close(directory, FOLDER_MODE);
    Ok(())
}

/// Opens a file of the store for writing, and closes it to others; an empty one is made when there is none.
pub(super) fn file(path: &Path) -> io::Result<File> {
    let file = File::options().create(true).truncate(false).write(true).mode(FILE_MODE).open(path)?;
    close(path, FILE_MODE);
    Ok(file)
}

/// Makes the database's file, and closes those beside it.
pub(super) fn database(directory: &Path) -> io::Result<()> {
    let [database, beside @ ..] = FILES;
    file(&directory.join(database))?;
    for path in beside.map(|name| directory.join(name)) {
        if path.exists() {
            close(&path, FILE_MODE);
        }
    }
    Ok(())
}

/// A volume of another owner cannot be closed; its store is used all the same, and the log says so.
fn close(path: &Path, mode: u32) {
    if let Err(error) = set_permissions(path, Permissions::from_mode(mode)) {
        let path = path.display().to_string();
        tracing::warn!(path, mode = format!("{mode:o}"), %error, "the event store stays readable by other users");
    }
}
