//! Writes the last good on a thread of its own: on a disk that is busy with others' writes, making a file can take a
//! second, and no change must wait for that. Until a file is written it is read from here, and for as long as the
//! volume does not take it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use policy::error::chain;
use policy::snapshot::Blob;
use prometheus::IntGauge;

use super::VolumeError;
use super::flush::Flush;
use super::kept_file::KeptFile;

/// What was refused is tried again after this.
const REST: Duration = Duration::from_secs(5);

/// What files are to be; without bytes, gone. Each once, as it was wanted last: bounded by what there is.
type Files = BTreeMap<KeptFile, Option<Blob>>;

/// Writes one file.
type Bring = dyn Fn(&KeptFile, Option<&Blob>) -> Result<(), VolumeError> + Send + Sync;

/// Files on their way to the volume.
#[derive(Debug)]
pub(super) struct Writer {
    files: Arc<Unwritten>,
    thread: Option<JoinHandle<()>>,
}

struct Unwritten {
    state: Mutex<State>,
    more: Condvar,
    count: IntGauge,
    bring: Box<Bring>,
    rest: Duration,
}

#[derive(Debug, Default)]
struct State {
    waiting: Files,
    /// In the turn that is being written.
    writing: Files,
    /// What the volume did not take.
    refused: Files,
    over: bool,
}

impl std::fmt::Debug for Unwritten {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unwritten").field("files", &self.count.get()).finish_non_exhaustive()
    }
}

impl Unwritten {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, state: &State) {
        let files = state.waiting.len() + state.writing.len() + state.refused.len();
        self.count.set(i64::try_from(files).unwrap_or(i64::MAX));
    }

    /// For the thread: until there is nothing more to come.
    fn run(&self) {
        while self.wait() {
            self.turn();
        }
    }

    /// Whether there is something to write: something new, or after a rest what was refused.
    fn wait(&self) -> bool {
        let nothing = |state: &mut State| state.waiting.is_empty() && !state.over;
        let state = self.lock();
        let state = if state.refused.is_empty() {
            self.more.wait_while(state, nothing).unwrap_or_else(PoisonError::into_inner)
        } else {
            self.more.wait_timeout_while(state, self.rest, nothing).unwrap_or_else(PoisonError::into_inner).0
        };
        !state.over
    }

    /// Writes all that waits by now, and what was refused once more.
    fn turn(&self) {
        let mut state = self.lock();
        let State { waiting, writing, refused, over: _ } = &mut *state;
        let tried: BTreeSet<KeptFile> = refused.keys().cloned().collect();
        writing.append(refused);
        writing.append(waiting);
        let files = writing.clone();
        drop(state);
        let mut whole = true;
        for (file, bytes) in files {
            // The mark of a complete set waits for the set.
            let early = file == KeptFile::Complete && !whole;
            let again = tried.contains(&file);
            let written = !early && self.bring(&file, bytes.as_ref(), again);
            self.brought(file, bytes, written);
            whole &= written;
        }
        if whole && !tried.is_empty() {
            tracing::info!("the last good is kept on the volume again");
        }
    }

    fn bring(&self, file: &KeptFile, bytes: Option<&Blob>, again: bool) -> bool {
        let brought = (self.bring)(file, bytes);
        if let Err(error) = &brought
            && !again
        {
            tracing::warn!(error = chain(error), "the last good could not be kept on the volume; it stays in memory");
        }
        brought.is_ok()
    }

    fn brought(&self, file: KeptFile, bytes: Option<Blob>, written: bool) {
        let mut state = self.lock();
        state.writing.remove(&file);
        if !written && !state.waiting.contains_key(&file) {
            state.refused.insert(file, bytes);
        }
        self.tell(&state);
    }
}

impl Writer {
    /// A thread that writes below a folder; how many files wait is told.
    pub(super) fn start(folder: PathBuf, count: IntGauge) -> std::io::Result<Self> {
        let flush = Flush::start(&folder)?;
        let bring = move |file: &KeptFile, bytes: Option<&Blob>| {
            file.bring(&folder, bytes)?;
            flush.written(&file.path(&folder));
            Ok(())
        };
        Self::start_with(bring, REST, count)
    }

    fn start_with(
        bring: impl Fn(&KeptFile, Option<&Blob>) -> Result<(), VolumeError> + Send + Sync + 'static,
        rest: Duration,
        count: IntGauge,
    ) -> std::io::Result<Self> {
        let (state, more, bring) = (Mutex::default(), Condvar::new(), Box::new(bring));
        let files = Arc::new(Unwritten { state, more, count, bring, rest });
        let takes = Arc::clone(&files);
        let thread = std::thread::Builder::new().name("last-good".to_owned()).spawn(move || takes.run())?;
        Ok(Self { files, thread: Some(thread) })
    }

    /// A file is to be this; without bytes, to go.
    pub(super) fn put(&self, file: KeptFile, bytes: Option<Blob>) {
        let mut state = self.files.lock();
        state.refused.remove(&file);
        state.waiting.insert(file, bytes);
        self.files.tell(&state);
        drop(state);
        self.files.more.notify_one();
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            self.files.turn();
        }
    }

    /// What a file is to be, if the volume has it not yet.
    pub(super) fn unwritten(&self, file: &KeptFile) -> Option<Option<Blob>> {
        let state = self.files.lock();
        let State { waiting, writing, refused, over: _ } = &*state;
        [waiting, writing, refused].iter().find_map(|files| files.get(file)).cloned()
    }
}

impl Drop for Writer {
    /// What is on its way gets there.
    fn drop(&mut self) {
        self.files.lock().over = true;
        self.files.more.notify_one();
        let _ended = self.thread.take().map(JoinHandle::join);
        self.files.turn();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;

    use policy::names::TenantName;
    use policy::upstream::ServicePort;

    use super::*;

    /// For what must happen.
    const PATIENCE: Duration = Duration::from_secs(30);

    fn tenant(name: &str) -> KeptFile {
        KeptFile::Tenant(TenantName::parse(name).unwrap())
    }

    fn endpoints() -> KeptFile {
        KeptFile::Endpoints(ServicePort { namespace: "shop".into(), name: "cart".into(), port: 80 })
    }

    fn bytes(text: &str) -> Option<Blob> {
        Some(Blob::from_bytes(text.as_bytes().to_vec()))
    }

    fn count() -> IntGauge {
        IntGauge::new("files", "files").unwrap()
    }

    #[test]
    fn nobody_waits_for_a_slow_volume_and_all_of_it_gets_there_in_order_as_it_was_wanted_last() {
        let (begins, begun) = mpsc::channel();
        let (goes_on, may_go_on) = mpsc::channel::<()>();
        let may_go_on = Mutex::new(may_go_on);
        let slow = move |file: &KeptFile, bytes: Option<&Blob>| {
            begins.send((file.clone(), bytes.cloned())).unwrap();
            let _ = may_go_on.lock().unwrap().recv_timeout(PATIENCE);
            Ok(())
        };
        let count = count();
        let writer = Writer::start_with(slow, REST, count.clone()).unwrap();
        writer.put(tenant("acme"), bytes("first"));
        assert_eq!(begun.recv_timeout(PATIENCE).unwrap(), (tenant("acme"), bytes("first")));
        // While that is being written, all others are taken, and are read as they are to be.
        assert_eq!(writer.unwritten(&tenant("acme")), Some(bytes("first")));
        writer.put(KeptFile::Complete, bytes(""));
        for edit in 0..100 {
            writer.put(tenant("acme"), bytes(&edit.to_string()));
            writer.put(tenant("globex"), bytes("gone soon"));
        }
        writer.put(tenant("globex"), None);
        writer.put(endpoints(), bytes("endpoints"));
        assert_eq!(writer.unwritten(&tenant("acme")), Some(bytes("99")));
        assert_eq!(writer.unwritten(&tenant("globex")), Some(None));
        assert_eq!((writer.unwritten(&tenant("other")), count.get()), (None, 5));
        drop(goes_on);
        drop(writer);
        let last = [(endpoints(), bytes("endpoints")), (tenant("acme"), bytes("99")), (tenant("globex"), None)];
        let all: Vec<_> = begun.iter().collect();
        assert_eq!(all, last.into_iter().chain([(KeptFile::Complete, bytes(""))]).collect::<Vec<_>>());
        assert_eq!(count.get(), 0);
    }

    #[test]
    fn what_the_volume_refuses_is_here_until_it_takes_it_and_no_set_is_marked_complete_without_it() {
        let full = Arc::new(AtomicBool::new(true));
        let (wrote, written) = mpsc::channel();
        let disk = Arc::clone(&full);
        let bring = move |file: &KeptFile, bytes: Option<&Blob>| {
            let refused = disk.load(Ordering::Acquire) && *file == tenant("acme");
            wrote.send((file.clone(), bytes.cloned(), !refused)).unwrap();
            let full = VolumeError::io("write", Path::new("acme"));
            if refused { Err(full(std::io::ErrorKind::StorageFull.into())) } else { Ok(()) }
        };
        let count = count();
        let writer = Writer::start_with(bring, Duration::from_millis(1), count.clone()).unwrap();
        let next = || written.recv_timeout(PATIENCE).unwrap();
        writer.put(tenant("acme"), bytes("first"));
        assert_eq!(next(), (tenant("acme"), bytes("first"), false));
        writer.put(KeptFile::Complete, bytes(""));
        writer.put(tenant("globex"), bytes("fits"));
        // It is tried again, and its neighbour is written.
        let globex = (tenant("globex"), bytes("fits"), true);
        while next() != globex {}
        writer.put(tenant("acme"), bytes("second"));
        while next() != (tenant("acme"), bytes("second"), false) {}
        assert_eq!((next(), count.get()), ((tenant("acme"), bytes("second"), false), 2));
        assert_eq!(writer.unwritten(&tenant("acme")), Some(bytes("second")));
        full.store(false, Ordering::Release);
        while next() != (tenant("acme"), bytes("second"), true) {}
        assert_eq!(next(), (KeptFile::Complete, bytes(""), true));
        drop(writer);
        assert_eq!((written.iter().count(), count.get()), (0, 0));
    }
}
