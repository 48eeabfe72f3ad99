//! What whoever runs the gateway provides beside the manifests: the same for `run`, `check` and `explain`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dataplane::outside::fetch::{FetchError, Fetches};
use dataplane::outside::{CountryDatabase, CountryDatabaseError};
use ipnet::IpNet;
use operator::gather::cluster::Listed;
use operator::gather::files::{self, Files};
use operator::gather::provider_ranges::{Lists, Places};
use operator::gather::walk::WalkError;
use policy::names::{Kind, ObjectRef};
use policy::units::DurationText;

use crate::fetched::Fetched;
use crate::out;
use crate::source::{self, ClusterError, Source};

/// What may be written for it.
#[derive(Clone, Debug, clap::Args)]
pub struct ProvidedArgs {
    /// Ranges that providers publish: a list in YAML or JSON, or a directory of lists; watched.
    #[arg(long, value_name = "FILE_OR_DIR")]
    provider_ranges: Option<PathBuf>,
    /// A ConfigMap with such lists, one a key.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = config_map)]
    provider_ranges_config_map: Option<ObjectRef>,
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
    pub allowed_upstreams: Vec<IpNet>,
    /// How old a list may be.
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = duration)]
    provider_ranges_max_age: Duration,
    /// What becomes of older ones.
    #[arg(long, value_enum, default_value_t = OldRanges::Refuse)]
    old_provider_ranges: OldRanges,
    /// In which country an address is, in MaxMind DB format; read again when it changes.
    #[arg(long, value_name = "FILE")]
    country_database: Option<PathBuf>,
}

/// What becomes of ranges that nobody has refreshed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum OldRanges {
    /// They allow nobody: what only they hold gets 503, and the provider sends again.
    Refuse,
    /// They allow as before.
    Keep,
}

fn config_map(text: &str) -> Result<ObjectRef, String> {
    let parts = text.split_once('/').filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty());
    let (namespace, name) = parts.ok_or("must be namespace/name")?;
    Ok(ObjectRef::new(Kind::ConfigMap, namespace, name))
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

/// Why manifests could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The directory.
    #[error("could not read the manifests")]
    Manifests(#[from] WalkError),
    /// The cluster.
    #[error("could not read the cluster")]
    Cluster(#[from] ClusterError),
    /// What is provided beside them.
    #[error(transparent)]
    Provided(#[from] ProvidedError),
}

/// Why what is provided cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProvidedError {
    /// The country database.
    #[error("could not use the country database")]
    Countries(#[from] CountryDatabaseError),
    /// A URL of ranges.
    #[error("could not use --provider-ranges-url")]
    Url(#[from] FetchError),
    /// The thread that fetches.
    #[error("could not start to fetch")]
    Thread(#[from] std::io::Error),
}

/// Reads a directory or a cluster once, for a command that serves nothing.
///
/// # Errors
/// [`ReadError`]
pub fn read(args: &ProvidedArgs, source: &Source) -> Result<(Files, Option<Arc<CountryDatabase>>), ReadError> {
    let mut installation = Installation::open(args)?;
    let files = match source {
        Source::Files(dir) => installation.read(dir, None)?,
        Source::Cluster(context) => {
            let Listed { gathered, unread } = source::list(context.as_deref())?;
            for unread in unread {
                out::note(format_args!("postern: {unread}; what names them looks broken here"));
            }
            let mut files = Files::default();
            files.gathered = gathered;
            installation.provide(&mut files);
            files
        }
    };
    Ok((files, installation.country_database))
}

/// Reads manifests, with all that is provided beside them.
#[derive(Debug)]
pub struct Installation {
    args: ProvidedArgs,
    /// The country database, if there is one.
    pub country_database: Option<Arc<CountryDatabase>>,
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

impl Installation {
    /// Opens what has to be there at the start.
    ///
    /// # Errors
    /// [`ProvidedError`]
    pub fn open(args: &ProvidedArgs) -> Result<Self, ProvidedError> {
        let country_database = args.country_database.as_deref().map(CountryDatabase::open).transpose()?.map(Arc::new);
        let ca_file = args.provider_ranges_ca_file.as_deref();
        let fetched = Fetched::open(&args.provider_ranges_urls, ca_file, &args.allowed_upstreams)?;
        Ok(Self { args: args.clone(), country_database, fetched, lists: Lists::default(), told: BTreeMap::new() })
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

    /// Reads a directory of manifests and the lists; what cannot be read keeps its last good.
    ///
    /// # Errors
    /// [`WalkError`] when the directory itself cannot be read.
    pub fn read(&mut self, dir: &Path, previous: Option<&Files>) -> Result<Files, WalkError> {
        let mut files = files::read(dir, previous)?;
        self.provide(&mut files);
        Ok(files)
    }

    /// Puts what is provided beside the objects.
    fn provide(&mut self, files: &mut Files) {
        let places = Places {
            path: self.args.provider_ranges.clone(),
            config_map: self.args.provider_ranges_config_map.clone(),
            fetched: self.fetched.texts(),
        };
        self.lists = Lists::read(&places, now_secs(), &self.lists, files);
        let installation = &mut files.gathered.installation;
        let max_age = u32::try_from(self.args.provider_ranges_max_age.as_secs()).unwrap_or(u32::MAX);
        installation.max_age_secs = (self.args.old_provider_ranges == OldRanges::Refuse).then_some(max_age);
        installation.country_database = self.country_database.is_some();
    }

    /// Reads the country database again if its file is another one, and says in the log what came of it, and which
    /// lists of ranges have grown old.
    pub fn refresh(&mut self, files: &Files) {
        match self.country_database.as_ref().map(|database| database.refresh()) {
            None | Some(Ok(false)) => {}
            Some(Ok(true)) => tracing::info!("the country database is read again"),
            Some(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "the country database stays as it was");
            }
        }
        self.tell_ages(files, now_secs());
    }

    /// A list's age is told when it changes, not each time that it is looked at.
    fn tell_ages(&mut self, files: &Files, now_secs: i64) {
        let most = self.args.provider_ranges_max_age.as_secs();
        let mut told = BTreeMap::new();
        for (name, list) in &files.gathered.installation.provider_ranges {
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

    /// The files to watch beside the manifests.
    pub fn watched(&self) -> impl Iterator<Item = &Path> {
        let ProvidedArgs { provider_ranges, country_database, .. } = &self.args;
        [provider_ranges, country_database].into_iter().flatten().map(PathBuf::as_path)
    }
}

fn now_secs() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
