//! What whoever runs the operator provides beside the objects: read at the start, and again whenever it changes.

use std::collections::BTreeSet;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};

use operator::gather::files::Files;
use policy::installation::Installation;
use tokio::sync::watch;

use crate::check;
use crate::installation::ProvidedError;
use crate::ranges::Ranges;
use crate::watch::{POLL, watch as watch_path};

/// Provides for as long as somebody listens; nothing until every URL was fetched once, because a list that is not known
/// is not an empty one. `countries`: the dataplanes know in which country an address is.
///
/// # Errors
/// [`ProvidedError`]
pub(crate) fn provide(
    mut ranges: Ranges,
    countries: bool,
) -> Result<watch::Receiver<Option<Installation>>, ProvidedError> {
    let (wakes, woken) = channel();
    let wake = |wakes: Sender<()>| {
        move || {
            // Nobody is there any more at the end.
            let _ = wakes.send(());
        }
    };
    ranges.follow(wake(wakes.clone()))?;
    let watcher = ranges.watched().map(|path| watch_path(path, wake(wakes.clone()))).transpose()?;
    let mut provided = Provided { ranges, countries, told: BTreeSet::new() };
    let (sender, receiver) = watch::channel(provided.read());
    let run = move || {
        // Held, so that there is always somebody who could wake, and the files are watched.
        let _held = (wakes, watcher);
        while !matches!(woken.recv_timeout(POLL), Err(RecvTimeoutError::Disconnected)) && !sender.is_closed() {
            let now = provided.read();
            sender.send_if_modified(|known| {
                let different = *known != now;
                if different {
                    *known = now;
                }
                different
            });
        }
    };
    std::thread::Builder::new().name("provide".to_owned()).spawn(run)?;
    Ok(receiver)
}

struct Provided {
    ranges: Ranges,
    countries: bool,
    /// What was wrong at the last look.
    told: BTreeSet<String>,
}

impl Provided {
    fn read(&mut self) -> Option<Installation> {
        let mut files = Files::default();
        self.ranges.provide(None, &mut files);
        files.gathered.installation.country_database = self.countries;
        let wrong: BTreeSet<String> = check::findings(&files, &[]).iter().map(check::rendered).collect();
        for problem in wrong.difference(&self.told) {
            tracing::error!(problem, "ranges of a provider cannot be read; what was in force before stays");
        }
        self.told = wrong;
        self.ranges.tell_ages(&files.gathered.installation);
        self.ranges.known().then_some(files.gathered.installation)
    }
}
