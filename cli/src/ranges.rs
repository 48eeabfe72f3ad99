//! Ranges that providers publish, as whoever runs Postern provides them: the same for `run`, `operator`, `check` and
//! `explain`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dataplane::outside::fetch::Fetches;
use ipnet::IpNet;
use operator::gather::files::Files;
use operator::gather::provider_ranges::{Lists, Places};
use policy::names::ObjectRef;
use policy::units::DurationText;

use crate::fetched::Fetched;
use crate::installation::ProvidedError;

/// What may be written for them.
#[derive(Clone, Debug, clap::Args)]
pub struct RangesArgs {
    /// Ranges that providers publish: a list in YAML or JSON, or a directory of lists; watched.
    #[arg(long, value_name = "FILE_OR_DIR")]
    provider_ranges: Option<PathBuf>,
    /// An https URL of such a list; may be repeated. It is fetched at the start and then again and again.
    #[arg(long = "provider-ranges-url", value_name = "URL")]
    provider_ranges_urls: Vec<String>,
    /// The authorities that such a URL's certificate may be signed by, in PEM; without, those that the machine trusts.
    #[arg(long, value_name = "FILE")]
    provider_ranges_ca_file: Option<PathBuf>,
    /// How often such a URL is fetched.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = refresh)]
    provider_ranges_refresh: Duration,
    /// Inside ranges that URLs may lead to, in manifests and in --provider-ranges-url; may be repeated. Services are
    /// not concerned.
    #[arg(long = "allow-upstream", value_name = "CIDR")]
    allowed_upstreams: Vec<IpNet>,
    /// How old a list may be.
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = duration)]
    provider_ranges_max_age: Duration,
    /// What becomes of older ones.
    #[arg(long, value_enum, default_value_t = OldRanges::Refuse)]
    old_provider_ranges: OldRanges,
}

impl RangesArgs {
    /// Inside ranges that URLs may lead to.
    pub(crate) fn allowed(&self) -> &[IpNet] {
        &self.allowed_upstreams
    }
}

/// What becomes of ranges that nobody has refreshed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum OldRanges {
    /// They allow nobody: what only they hold gets 503, and the provider sends again.
    Refuse,
    /// They allow as before.
    Keep,
}

fn duration(text: &str) -> Result<Duration, String> {
    DurationText::parse(text).map(|parsed| parsed.duration()).map_err(|error| error.to_string())
}

/// Who publishes a list does not want to be asked all the time.
const SHORTEST_REFRESH: Duration = Duration::from_secs(1);

fn refresh(text: &str) -> Result<Duration, String> {
    let every = duration(text)?;
    if every < SHORTEST_REFRESH { Err("must be at least 1s".to_owned()) } else { Ok(every) }
}

/// The lists, as they are read again and again.
#[derive(Debug)]
pub struct Ranges {
    args: RangesArgs,
    fetched: Fetched,
    lists: Lists,
    /// How old each provider's list was when it was last told.
    told: BTreeMap<Arc<str>, Age>,
}

/// How old a list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    Fresh,
    /// Past half of its time.
    Aging,
    Old,
}

impl Ranges {
    /// Fetches what is to be fetched once.
    ///
    /// # Errors
    /// [`ProvidedError::Url`]
    pub fn open(args: &RangesArgs) -> Result<Self, ProvidedError> {
        let ca_file = args.provider_ranges_ca_file.as_deref();
        let fetched = Fetched::open(&args.provider_ranges_urls, ca_file, &args.allowed_upstreams)?;
        Ok(Self { args: args.clone(), fetched, lists: Lists::default(), told: BTreeMap::new() })
    }

    /// Fetches what comes from URLs from now on, and tells of each change.
    ///
    /// # Errors
    /// [`ProvidedError::Thread`]
    pub fn follow(&mut self, changed: impl Fn() + Send + 'static) -> Result<(), ProvidedError> {
        Ok(self.fetched.follow(self.args.provider_ranges_refresh, changed)?)
    }

    /// What came of fetches; none when there is nothing to fetch.
    pub fn fetches(&self) -> Option<Fetches> {
        (!self.args.provider_ranges_urls.is_empty()).then(|| self.fetched.fetches.clone())
    }

    /// Whether every URL was fetched at least once: what one would say that was not is unknown.
    pub fn known(&self) -> bool {
        self.fetched.known()
    }

    /// Puts them beside the objects; what cannot be read keeps its last good, and is told among the files' problems.
    pub fn provide(&mut self, config_map: Option<ObjectRef>, files: &mut Files) {
        let (path, fetched) = (self.args.provider_ranges.clone(), self.fetched.texts());
        self.lists = Lists::read(&Places { path, config_map, fetched }, now_secs(), &self.lists, files);
        let max_age = u32::try_from(self.args.provider_ranges_max_age.as_secs()).unwrap_or(u32::MAX);
        let refuses = self.args.old_provider_ranges == OldRanges::Refuse;
        files.gathered.installation.max_age_secs = refuses.then_some(max_age);
    }

    /// A list's age is told when it changes, not each time that it is looked at.
    pub fn tell_ages(&mut self, provided: &policy::installation::Installation) {
        let (most, now_secs) = (self.args.provider_ranges_max_age.as_secs(), now_secs());
        let mut told = BTreeMap::new();
        for (name, list) in &provided.provider_ranges {
            let secs = u64::try_from(now_secs.saturating_sub(list.date_secs)).unwrap_or_default();
            let age = match secs {
                secs if secs >= most => Age::Old,
                secs if secs >= most / 2 => Age::Aging,
                _ => Age::Fresh,
            };
            let (provider, age_days, source) = (&**name, secs / 86_400, &*list.source);
            match age {
                _ if self.told.get(name) == Some(&age) => {}
                Age::Fresh => tracing::info!(provider, age_days, source, "a provider's ranges are fresh"),
                Age::Aging => tracing::warn!(provider, age_days, source, "a provider's ranges have to be refreshed"),
                Age::Old => {
                    tracing::error!(provider, age_days, source, "a provider's ranges are past their maximum age")
                }
            }
            told.insert(Arc::clone(name), age);
        }
        self.told = told;
    }

    /// What to watch.
    pub fn watched(&self) -> Option<&Path> {
        self.args.provider_ranges.as_deref()
    }
}

fn now_secs() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
