//! In which country an address is: a file in MaxMind DB format that the user provides, read into memory whole.
//!
//! It is never mapped: a file that shrinks under a mapping ends the process.

use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use maxminddb::{MaxMindDbError, Reader};
use policy::ip_allow::CountryCode;
use prometheus::{IntCounter, IntGauge};
use serde::Deserialize;

/// The largest file that is read. While it is replaced, the old one and the new one are in memory.
const MAX_BYTES: u64 = 256 << 20;
/// Among so many of its first networks one must be in a country, or it is a database of something else.
const SAMPLE: usize = 10_000;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CountryDatabaseError {
    /// It could not be read.
    #[error("could not read {}", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    /// It is too large.
    #[error("{} is larger than {MAX_BYTES} bytes; use a database of countries only", .0.display())]
    TooLarge(PathBuf),
    /// It is damaged, or no such file at all.
    #[error("{} is no intact file in MaxMind DB format", .0.display())]
    Damaged(PathBuf, #[source] MaxMindDbError),
    /// It holds no addresses of one family: all of them would be in no country.
    #[error("{} holds IPv4 only; use a database with both families", .0.display())]
    OneFamily(PathBuf),
    /// It says something else of addresses: all of them would be in no country.
    #[error("{} says no country.iso_code of its networks; use a database of countries", .0.display())]
    NoCountries(PathBuf),
    /// Two metrics have one name, which is a defect.
    #[error("could not declare the metrics")]
    Metrics(#[from] prometheus::Error),
}

/// A record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the country database could not be asked")]
pub struct LookupError;

#[derive(Deserialize)]
struct Record<'r> {
    #[serde(borrow, default)]
    country: Named<'r>,
    #[serde(borrow, default)]
    registered_country: Named<'r>,
}

#[derive(Default, Deserialize)]
struct Named<'r> {
    iso_code: Option<&'r str>,
}

impl Record<'_> {
    /// Where it is, or, when nobody knows, where its owner is.
    fn code(&self) -> Option<&str> {
        self.country.iso_code.or(self.registered_country.iso_code)
    }
}

/// What a file looks like from outside: another one has another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    bytes: u64,
    inode: u64,
}

/// The database that is in force.
pub struct CountryDatabase {
    path: PathBuf,
    reader: ArcSwap<Reader<Vec<u8>>>,
    seen: Mutex<Option<Stamp>>,
    built: IntGauge,
    refused: IntCounter,
}

impl std::fmt::Debug for CountryDatabase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CountryDatabase").field("path", &self.path).finish_non_exhaustive()
    }
}

impl CountryDatabase {
    /// Opens a file.
    ///
    /// # Errors
    /// [`CountryDatabaseError`]
    pub fn open(path: &Path) -> Result<Self, CountryDatabaseError> {
        let seen = stamp(path)?;
        let reader = read(path)?;
        let built = IntGauge::new(
            "postern_country_database_built_timestamp_seconds",
            "When the country database in force was built, in seconds since the epoch",
        )?;
        built.set(built_secs(&reader));
        let refused = IntCounter::new(
            "postern_country_database_refused_total",
            "Country databases that could not be used; the last good one stayed in force",
        )?;
        let reader = ArcSwap::from_pointee(reader);
        Ok(Self { path: path.to_owned(), reader, seen: Mutex::new(Some(seen)), built, refused })
    }

    /// Its metrics.
    #[must_use]
    pub fn metrics(&self) -> [Box<dyn prometheus::core::Collector>; 2] {
        [Box::new(self.built.clone()), Box::new(self.refused.clone())]
    }

    /// Reads the file again when it is another one, and puts it into force when it can be used; whether it did.
    /// Blocks, so it is never called on a core.
    ///
    /// # Errors
    /// [`CountryDatabaseError`]; the last good stays in force, and the file is not read again until it changes.
    pub fn refresh(&self) -> Result<bool, CountryDatabaseError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // A file that is away for a moment is told once.
        let now = stamp(&self.path);
        if now.as_ref().ok() == seen.as_ref() {
            return Ok(false);
        }
        *seen = now.as_ref().ok().copied();
        let reader = now.and_then(|_| read(&self.path)).inspect_err(|_| self.refused.inc())?;
        self.built.set(built_secs(&reader));
        self.reader.store(Arc::new(reader));
        Ok(true)
    }

    /// The country of an address; `None` for one that is in none.
    ///
    /// # Errors
    /// [`LookupError`] when its record is damaged.
    pub fn country(&self, address: IpAddr) -> Result<Option<CountryCode>, LookupError> {
        let reader = self.reader.load();
        let record = reader.lookup(address).and_then(|found| found.decode::<Record<'_>>()).map_err(|_| LookupError)?;
        Ok(record.as_ref().and_then(Record::code).and_then(|code| CountryCode::parse(code).ok()))
    }
}

fn stamp(path: &Path) -> Result<Stamp, CountryDatabaseError> {
    let found = std::fs::metadata(path).map_err(|error| CountryDatabaseError::Read(path.to_owned(), error))?;
    Ok(Stamp { modified: (found.mtime(), found.mtime_nsec()), bytes: found.len(), inode: found.ino() })
}

fn built_secs(reader: &Reader<Vec<u8>>) -> i64 {
    i64::try_from(reader.metadata().build_epoch).unwrap_or(i64::MAX)
}

/// Reads a file and checks all of it: what it says later, on the way of a request, can then be believed.
fn read(path: &Path) -> Result<Reader<Vec<u8>>, CountryDatabaseError> {
    let failed = |error| CountryDatabaseError::Read(path.to_owned(), error);
    let damaged = |error| CountryDatabaseError::Damaged(path.to_owned(), error);
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(CountryDatabaseError::TooLarge(path.to_owned()));
    }
    let reader = Reader::from_source(bytes).map_err(damaged)?;
    reader.verify().map_err(damaged)?;
    if reader.metadata().ip_version != 6 {
        return Err(CountryDatabaseError::OneFamily(path.to_owned()));
    }
    let networks = reader.networks(maxminddb::WithinOptions::default()).map_err(damaged)?;
    let code = |found: maxminddb::LookupResult<'_, Vec<u8>>| {
        let record = found.decode::<Record<'_>>().ok().flatten();
        record.as_ref().and_then(Record::code).is_some_and(|code| CountryCode::parse(code).is_ok())
    };
    if !networks.take(SAMPLE).any(|found| found.is_ok_and(code)) {
        return Err(CountryDatabaseError::NoCountries(path.to_owned()));
    }
    Ok(reader)
}
