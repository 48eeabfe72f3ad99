//! Brings written files to the disk on a thread of its own: the next file need not wait for it. Until then a process that
//! is killed loses nothing, and a machine that loses power the last moment.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use policy::error::chain;

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
        Self::start_with(folder, flush)
    }

    fn start_with(folder: &Path, flush: impl Fn(&Path) + Send + 'static) -> io::Result<Self> {
        let (waits, folder) = (Arc::new(Waits::default()), folder.to_owned());
        let takes = Arc::clone(&waits);
        let run = move || {
            while let Some(files) = takes.next() {
                files.iter().chain([&folder]).for_each(|path| flush(path));
            }
        };
        let thread = std::thread::Builder::new().name("flush".to_owned()).spawn(run)?;
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
            let (path, error) = (path.display(), chain(&error));
            tracing::warn!(%path, error, "the last good is not on the disk; a machine that loses power loses it");
        }
        Ok(()) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// For what must happen.
    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn who_writes_does_not_wait_for_the_disk_and_all_of_it_gets_there() {
        let folder = Path::new("folder");
        let (begins, begun) = mpsc::channel();
        let (goes_on, may_go_on) = mpsc::channel::<()>();
        let slow = move |path: &Path| {
            begins.send(path.to_owned()).unwrap();
            let _ = may_go_on.recv_timeout(PATIENCE);
        };
        let flush = Flush::start_with(folder, slow).unwrap();
        flush.written(Path::new("first"));
        assert_eq!(begun.recv_timeout(PATIENCE).unwrap(), Path::new("first"));
        // The disk is busy with the first; each of the others waits once.
        for _ in 0..100 {
            flush.written(Path::new("second"));
            flush.written(Path::new("third"));
        }
        assert_eq!(flush.waits.lock().files.len(), 2);
        drop(goes_on);
        drop(flush);
        let rest: Vec<PathBuf> = begun.iter().collect();
        assert_eq!(rest, ["folder", "second", "third", "folder"].map(PathBuf::from));
    }
}
