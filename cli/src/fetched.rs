//! Lists of ranges that are fetched from URLs: once before anything is compiled, then again and again beside it.
//!
//! What is fetched is read like a file: a list that is bad, or was not fetched, leaves the last good one in force.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dataplane::outside::fetch::{Document, FetchError, Fetches, trust};
use ipnet::IpNet;
use operator::gather::provider_ranges::MAX_BYTES;
use policy::error::chain;
use policy::upstream::AddressGuard;
use ring::rand::{SecureRandom, SystemRandom};

/// How soon a fetch that failed is tried again.
const RETRY: Duration = Duration::from_secs(60);
/// The label of these documents in the metrics.
const DOCUMENT: &str = "provider_ranges";

/// What was fetched last, by URL; or why nothing was ever fetched.
type Texts = BTreeMap<String, Result<String, String>>;

/// The lists of all URLs, as they were fetched last.
#[derive(Debug)]
pub(crate) struct Fetched {
    documents: Vec<(String, Document)>,
    texts: Arc<Mutex<Texts>>,
    /// What came of fetches.
    pub(crate) fetches: Fetches,
}

impl Fetched {
    /// Fetches each once, all at the same time. One that fails is told where it is read, and tried again later.
    ///
    /// # Errors
    /// [`FetchError`]: what would fail for ever.
    pub(crate) fn open(urls: &[String], ca_file: Option<&Path>, allowed: &[IpNet]) -> Result<Self, FetchError> {
        let mut documents = Vec::with_capacity(urls.len());
        if !urls.is_empty() {
            let (tls, guard) = (trust(ca_file)?, AddressGuard::new(allowed.to_vec()));
            let max_bytes = usize::try_from(MAX_BYTES).unwrap_or(usize::MAX);
            for url in urls {
                let document = Document::new(url, max_bytes, guard.clone(), Arc::clone(&tls))?;
                documents.push((shown(url, documents.len()), document));
            }
        }
        let mut fetched = Self { documents, texts: Arc::default(), fetches: Fetches::new()? };
        if !fetched.documents.is_empty() {
            let runtime = runtime().map_err(FetchError::Connect)?;
            runtime.block_on(fetched.round());
        }
        Ok(fetched)
    }

    /// Whether each was fetched at least once.
    pub(crate) fn known(&self) -> bool {
        locked(&self.texts).values().all(Result::is_ok)
    }

    /// As they were fetched last.
    pub(crate) fn texts(&self) -> Texts {
        locked(&self.texts).clone()
    }

    /// Fetches them again for as long as the process runs, and tells of each change. So that many gateways do not ask
    /// at once, a pause is three quarters of `every` at least.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(crate) fn follow(&mut self, every: Duration, changed: impl Fn() + Send + 'static) -> std::io::Result<()> {
        if self.documents.is_empty() {
            return Ok(());
        }
        let documents = std::mem::take(&mut self.documents);
        let mut own = Self { documents, texts: Arc::clone(&self.texts), fetches: self.fetches.clone() };
        let runtime = runtime()?;
        let run = move || {
            runtime.block_on(async {
                let mut sound = locked(&own.texts).values().all(Result::is_ok);
                loop {
                    tokio::time::sleep(jittered(if sound { every } else { every.min(RETRY) })).await;
                    let round = own.round().await;
                    sound = round.failed == 0;
                    if round.changed > 0 {
                        changed();
                    }
                }
            });
        };
        std::thread::Builder::new().name("fetch".to_owned()).spawn(run).map(drop)
    }

    /// Fetches all once.
    async fn round(&mut self) -> Round {
        let mut round = Round::default();
        let fetches = self.documents.iter_mut().map(async |(url, document)| (&*url, document.fetch().await));
        for (url, fetched) in futures_util::future::join_all(fetches).await {
            self.fetches.count(DOCUMENT, &fetched);
            let text = match fetched {
                Ok(None) => continue,
                // What is no text is no list: the replaced bytes are told as such where it is read.
                Ok(Some(bytes)) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
                Err(error) => {
                    round.failed += 1;
                    tracing::error!(url, error = chain(&error), "ranges were not fetched");
                    Err(said(&error))
                }
            };
            let mut texts = locked(&self.texts);
            let known = texts.get(url);
            // What was fetched before stays where nothing is fetched now.
            let news = if text.is_ok() { known != Some(&text) } else { known.is_none() };
            if news {
                round.changed += 1;
                texts.insert(url.to_owned(), text);
            }
        }
        round
    }
}

/// What came of fetching all once.
#[derive(Clone, Copy, Default)]
struct Round {
    changed: usize,
    failed: usize,
}

fn said(error: &FetchError) -> String {
    format!("could not be fetched: {}", chain(error))
}

/// An URL as it may be told: what is behind the `?` can be a key. Its place tells it from another that is shown alike.
fn shown(url: &str, place: usize) -> String {
    url.split_once('?').map_or_else(|| url.to_owned(), |(before, _)| format!("{before}?... (URL {})", place + 1))
}

fn locked(texts: &Mutex<Texts>) -> MutexGuard<'_, Texts> {
    texts.lock().unwrap_or_else(PoisonError::into_inner)
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Somewhere between three quarters of a pause and all of it.
fn jittered(pause: Duration) -> Duration {
    let mut random = [0_u8; 4];
    // Without randomness the whole pause is as good.
    let share = SystemRandom::new().fill(&mut random).map_or(u32::MAX, |()| u32::from_be_bytes(random));
    pause.mul_f64(0.75 + 0.25 * f64::from(share) / f64::from(u32::MAX))
}
