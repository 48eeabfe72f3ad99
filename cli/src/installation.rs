//! What whoever runs the gateway provides beside the manifests: the same for `run`, `check` and `explain`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dataplane::outside::fetch::{FetchError, Fetches};
use dataplane::outside::{CountryDatabase, CountryDatabaseError};
use ipnet::IpNet;
use operator::gather::cluster::Listed;
use operator::gather::files::{self, Files};
use operator::gather::walk::WalkError;
use policy::error::chain;
use policy::names::{Kind, ObjectRef};

use crate::out;
use crate::ranges::{Ranges, RangesArgs};
use crate::source::{self, ClusterError, Source};
use crate::watch::WatchError;

/// What may be written for it.
#[derive(Clone, Debug, clap::Args)]
pub struct ProvidedArgs {
    #[command(flatten)]
    ranges: RangesArgs,
    /// A ConfigMap with lists of ranges that providers publish, one a key.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = config_map)]
    provider_ranges_config_map: Option<ObjectRef>,
    /// In which country an address is, in MaxMind DB format; read again when it changes.
    #[arg(long, value_name = "FILE")]
    country_database: Option<PathBuf>,
}

impl ProvidedArgs {
    /// Inside ranges that URLs may lead to.
    pub fn allowed_upstreams(&self) -> &[IpNet] {
        self.ranges.allowed()
    }
}

fn config_map(text: &str) -> Result<ObjectRef, String> {
    let parts = text.split_once('/').filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty());
    let (namespace, name) = parts.ok_or("must be namespace/name")?;
    Ok(ObjectRef::new(Kind::ConfigMap, namespace, name))
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
    /// A file or a directory.
    #[error(transparent)]
    Watch(#[from] WatchError),
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
    ranges: Ranges,
}

impl Installation {
    /// Opens what has to be there at the start.
    ///
    /// # Errors
    /// [`ProvidedError`]
    pub fn open(args: &ProvidedArgs) -> Result<Self, ProvidedError> {
        let country_database = args.country_database.as_deref().map(CountryDatabase::open).transpose()?.map(Arc::new);
        Ok(Self { args: args.clone(), country_database, ranges: Ranges::open(&args.ranges)? })
    }

    /// Fetches what comes from URLs from now on, and tells of each change.
    ///
    /// # Errors
    /// [`ProvidedError::Thread`]
    pub fn follow(&mut self, changed: impl Fn() + Send + 'static) -> Result<(), ProvidedError> {
        self.ranges.follow(changed)
    }

    /// What came of fetches; none when there is nothing to fetch.
    pub fn fetches(&self) -> Option<Fetches> {
        self.ranges.fetches()
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
        self.ranges.provide(self.args.provider_ranges_config_map.clone(), files);
        files.gathered.installation.country_database = self.country_database.is_some();
    }

    /// Reads the country database again if its file is another one, and says in the log what came of it, and which
    /// lists of ranges have grown old.
    pub fn refresh(&mut self, files: &Files) {
        match self.country_database.as_ref().map(|database| database.refresh()) {
            None | Some(Ok(false)) => {}
            Some(Ok(true)) => tracing::info!("the country database is read again"),
            Some(Err(error)) => {
                let error = chain(&error);
                tracing::error!(error, "the country database stays as it was");
            }
        }
        self.ranges.tell_ages(&files.gathered.installation);
    }

    /// The files to watch beside the manifests.
    pub fn watched(&self) -> impl Iterator<Item = &Path> {
        self.ranges.watched().into_iter().chain(self.args.country_database.as_deref())
    }
}
