//! Brings files to the disk on a thread of its own: a change must not wait for a disk that is busy with others' writes.
//! Until then a process that is killed loses nothing, and a machine that loses power the last moment.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Files on their way to the disk, each once however often it was written: bounded by what there is.
#[derive(Debug)]
pub(super) struct Flush {
    waits: Arc<Waits>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Waits {
    written: Mutex<Written>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Written {
    files: BTreeSet<PathBuf>,
    over: bool,
}

impl Waits {
    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was written meanwhile; nothing at the end.
    fn next(&self) -> Option<BTreeSet<PathBuf>> {
        let nothing = |written: &mut Written| written.files.is_empty() && !written.over;
        let written = self.more.wait_while(self.lock(), nothing);
        let mut written = written.unwrap_or_else(PoisonError::into_inner);
        let files = std::mem::take(&mut written.files);
        (!files.is_empty()).then_some(files)
    }
}

impl Flush {
    /// A thread for the files of a folder.
    pub(super) fn start(folder: &Path) -> io::Result<Self> {
        let (waits, folder) = (Arc::new(Waits::default()), folder.to_owned());
        let takes = Arc::clone(&waits);
        let run = move || {
            while let Some(files) = takes.next() {
                files.iter().chain([&folder]).for_each(|path| flush(path));
            }
        };
        let thread = std::thread::Builder::new().name("last-good".to_owned()).spawn(run)?;
        Ok(Self { waits, thread: Some(thread) })
    }

    /// A file was written, or taken away.
    pub(super) fn written(&self, path: &Path) {
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            return flush(path);
        }
        self.waits.lock().files.insert(path.to_owned());
        self.waits.more.notify_one();
    }
}

impl Drop for Flush {
    /// What is on its way gets there.
    fn drop(&mut self) {
        self.waits.lock().over = true;
        self.waits.more.notify_one();
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

fn flush(path: &Path) {
    match File::open(path).and_then(|file| file.sync_all()) {
        // It was taken away again.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            let (path, error) = (path.display(), &error as &dyn std::error::Error);
            tracing::warn!(%path, error, "the last good is not on the disk; a machine that loses power loses it");
        }
        Ok(()) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_on_its_way_once_and_is_there_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let flush = Flush::start(folder.path()).unwrap();
        for round in 0..100 {
            let path = folder.path().join(format!("{}", round % 3));
            std::fs::write(&path, [round]).unwrap();
            flush.written(&path);
        }
        flush.written(&folder.path().join("never-there"));
        assert!(flush.waits.lock().files.len() <= 4);
        let waits = Arc::clone(&flush.waits);
        drop(flush);
        assert!(waits.lock().files.is_empty());
    }
}
