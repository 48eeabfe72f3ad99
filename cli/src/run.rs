//! `postern run`: a gateway from a directory of manifests, reloaded when they change.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dataplane::admin::Access;
use dataplane::event::shards::Role;
use dataplane::gateway::{Gateway, GatewaySettings, StartError};
use dataplane::http::{Family, FieldRules, TrustedHops};
use dataplane::listener::ListenerSettings;
use dataplane::snapshot::follow::OperatorSettings;
use operator::compile::compile;
use operator::gather::files::Files;
use operator::publish::{Selects, SelectsError};
use policy::error::chain;
use policy::problem::Severity;
use policy::snapshot::{Revision, Snapshot};
use policy::units::{DurationText, SizeText};

use crate::bounds::BoundArgs;
use crate::installation::{Installation, ProvidedArgs, ProvidedError};
use crate::settings::{self, Own, SettingsError};
use crate::watch::{POLL, WatchError, watch};
use crate::{check, out};

/// How long edits may follow each other before they are read: an editor writes a file in several steps.
const SETTLE: Duration = Duration::from_millis(30);

/// What is written after `run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The directory with the manifests.
    #[arg(long, value_name = "DIR")]
    config: PathBuf,
    #[command(flatten)]
    serve: ServeArgs,
}

/// How a gateway serves, wherever its configuration comes from.
#[derive(Debug, clap::Args)]
struct ServeArgs {
    /// This process's name, which no other has: its pod's. A shard and a deliver are known by it when the settings do
    /// not name them.
    #[arg(long, value_name = "NAME", env = "POSTERN_NAME")]
    name: Option<String>,
    /// This process's own address, by which others find it: its pod's. A deliver is known by it when the settings name
    /// `deliver.service`.
    #[arg(long, value_name = "IP", env = "POSTERN_ADDRESS")]
    address: Option<IpAddr>,
    /// Where events and the last good snapshot are kept.
    #[arg(long, value_name = "DIR", default_value = "postern-data")]
    data: PathBuf,
    /// Where requests are taken.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where health, metrics and events are shown.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9901")]
    admin: SocketAddr,
    /// The file with a token that lets others than this machine itself see and change events on the admin port.
    #[arg(long, value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
    /// Cores, each with a runtime of its own; all of the machine's when left out.
    #[arg(long, value_name = "COUNT")]
    cores: Option<usize>,
    /// So many proxies in front append to X-Forwarded-For, and are believed.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    trusted_hops: usize,
    /// Addresses of proxies in front that are believed, as ranges; may be repeated.
    #[arg(long = "trusted-proxy", value_name = "CIDR")]
    trusted_proxies: Vec<ipnet::IpNet>,
    #[command(flatten)]
    fields: FieldArgs,
    #[command(flatten)]
    provided: ProvidedArgs,
    /// Connections at once.
    #[arg(long, value_name = "COUNT", default_value_t = 20_000)]
    max_connections: usize,
    /// Connections at once from one address (IPv6: from one /64).
    #[arg(long, value_name = "COUNT", default_value_t = 4_096)]
    max_connections_per_address: u32,
    #[command(flatten)]
    bounds: BoundArgs,
    /// The event store's bound; half of it is for accepting.
    #[arg(long, value_name = "SIZE", default_value = "8Gi", value_parser = size)]
    max_spool: u64,
    /// The settings of the installation: broker, Redis, shards. Without, the event store itself is the queue.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// How long requests in flight may take after SIGTERM.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    drain: Duration,
}

/// What is written after `dataplane`.
#[derive(Debug, clap::Args)]
pub struct DataplaneArgs {
    /// What this process does for events: gateway, deliver, spool or all.
    #[arg(long, value_name = "ROLE")]
    role: Role,
    /// The directory with the manifests, when there is no operator.
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present = "operator_addresses",
        conflicts_with = "operator_addresses"
    )]
    config: Option<PathBuf>,
    #[command(flatten)]
    operator: OperatorArgs,
    #[command(flatten)]
    serve: ServeArgs,
}

/// Where the operator is, and how it is known.
#[derive(Debug, clap::Args)]
struct OperatorArgs {
    /// The operator's address, https://HOST:PORT; may be repeated.
    #[arg(long = "operator", value_name = "URL", value_parser = https, requires_all = ["operator_ca", "operator_token"])]
    operator_addresses: Vec<String>,
    /// The name in the operator's certificate.
    #[arg(long, value_name = "NAME", default_value = "postern-operator")]
    operator_name: String,
    /// The operator's authority, in PEM: key ca.crt of its ConfigMap.
    #[arg(long, value_name = "FILE")]
    operator_ca: Option<PathBuf>,
    /// The token of this process's ServiceAccount, for the audience postern-operator.
    #[arg(long, value_name = "FILE")]
    operator_token: Option<PathBuf>,
    /// A gateway of the canary set: it gets what changes of tenants whose rollout says Canary, too.
    #[arg(long, requires = "operator_addresses")]
    canary: bool,
    /// The tenants that this process serves, by their labels: a label selector of Kubernetes as JSON, for example
    /// {"matchLabels": {"tier": "big"}}; all when left out.
    #[arg(long, value_name = "SELECTOR", default_value = "", hide_default_value = true, value_parser = selector)]
    tenants: String,
}

impl OperatorArgs {
    fn settings(&self, name: Option<&str>) -> Option<OperatorSettings> {
        let Self { operator_addresses, operator_name, operator_ca, operator_token, canary, tenants } = self;
        Some(OperatorSettings {
            addresses: Some(operator_addresses).filter(|addresses| !addresses.is_empty())?.clone(),
            server_name: operator_name.clone(),
            ca_file: operator_ca.clone()?,
            token_file: operator_token.clone()?,
            name: name.unwrap_or("dataplane").to_owned(),
            canary: *canary,
            tenants: tenants.clone(),
        })
    }
}

/// Held here, so that a typing error is told at the start and not by an operator that refuses.
fn selector(text: &str) -> Result<String, SelectsError> {
    text.parse::<Selects>().map(|_| text.to_owned())
}

pub(crate) fn https(text: &str) -> Result<String, &'static str> {
    if text.starts_with("https://") { Ok(text.to_owned()) } else { Err("write it as https://HOST:PORT") }
}

pub(crate) fn size(text: &str) -> Result<u64, String> {
    SizeText::parse(text).map(|size| size.bytes()).map_err(|error| error.to_string())
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    DurationText::parse(text).map(|parsed| parsed.duration()).map_err(|error| error.to_string())
}

/// Why the gateway did not run.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("could not read {0}")]
    Config(PathBuf, #[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the settings cannot be used")]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Provided(#[from] ProvidedError),
    #[error("could not start")]
    Start(#[from] StartError),
    #[error(transparent)]
    Watch(#[from] WatchError),
    #[error("could not wait for signals")]
    Signals(#[source] std::io::Error),
}

/// What wakes the loop.
enum Wake {
    Changed,
    Stop,
}

/// Runs until SIGTERM or SIGINT; then drains and ends with 0.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    run_as(&args.serve, Role::All, &Source::Files(&args.config))
}

/// The same in one role.
#[must_use]
pub fn run_role(args: &DataplaneArgs) -> ExitCode {
    let from = args.operator.settings(args.serve.name.as_deref()).map(Source::Operator);
    let nowhere = Path::new(".");
    let from = from.unwrap_or_else(|| Source::Files(args.config.as_deref().unwrap_or(nowhere)));
    run_as(&args.serve, args.role, &from)
}

/// Where the configuration comes from.
enum Source<'a> {
    Files(&'a Path),
    Operator(OperatorSettings),
}

fn run_as(args: &ServeArgs, role: Role, from: &Source<'_>) -> ExitCode {
    crate::log::start();
    let served = match from {
        Source::Files(config) => serve(args, role, config),
        Source::Operator(operator) => follow(args, role, operator),
    };
    match served {
        Ok(code) => code,
        Err(error) => out::failed(&error, out::TROUBLE),
    }
}

/// Which header fields of callers pass, where an installation wants it otherwise than by default.
#[derive(Clone, Debug, clap::Args)]
struct FieldArgs {
    /// A header field that is removed from every request, or with * at its end all that begin so (x-internal-*); may be
    /// repeated. Identity and forwarding fields of common proxies are removed by default.
    #[arg(long = "remove-header", value_name = "NAME")]
    remove_headers: Vec<Family>,
    /// A header field that passes although it is removed by default or its name has an underscore; may be repeated.
    #[arg(long = "keep-header", value_name = "NAME")]
    keep_headers: Vec<http::HeaderName>,
    /// The same for what trusted proxies send only; may be repeated.
    #[arg(long = "trusted-header", value_name = "NAME")]
    trusted_headers: Vec<http::HeaderName>,
}

impl FieldArgs {
    fn rules(&self) -> FieldRules {
        let Self { remove_headers, keep_headers, trusted_headers } = self.clone();
        FieldRules { remove: remove_headers, keep: keep_headers, from_trusted: trusted_headers }
    }
}

fn settings(
    args: &ServeArgs,
    provided: &Installation,
    role: Role,
    follows: bool,
) -> Result<GatewaySettings, SettingsError> {
    let own = Own { name: args.name.as_deref(), address: args.address, follows };
    let cores = args.cores.or_else(|| std::thread::available_parallelism().ok().map(usize::from));
    let listener = || ListenerSettings {
        address: args.listen,
        cores: cores.unwrap_or(1),
        max_connections: args.max_connections,
        max_connections_per_address: args.max_connections_per_address,
        http: args.bounds.limits(),
        hops: TrustedHops {
            count: args.trusted_hops,
            ranges: args.trusted_proxies.clone(),
            fields: args.fields.rules(),
        },
    };
    Ok(GatewaySettings {
        listener: role.accepts().then(listener),
        admin: args.admin,
        admin_access: Access { token_file: args.admin_token_file.clone() },
        data: args.data.clone(),
        allowed_upstreams: args.provided.allowed_upstreams().to_vec(),
        country_database: provided.country_database.clone(),
        fetches: provided.fetches(),
        max_spool_bytes: args.max_spool,
        broker: settings::read(args.settings.as_deref(), role, own)?,
    })
}

fn serve(args: &ServeArgs, role: Role, dir: &Path) -> Result<ExitCode, RunError> {
    // The directory must be there at the start; what is wrong inside it is told and served around.
    let config = |error| RunError::Config(dir.to_owned(), Box::new(error));
    let mut provided = Installation::open(&args.provided)?;
    let files = provided.read(dir, None).map_err(config)?;
    let (sender, wakes) = channel();
    let told = |path: &Path| {
        let wakes = sender.clone();
        watch(path, move || drop(wakes.send(Wake::Changed)))
    };
    let _watchers = std::iter::once(dir).chain(provided.watched()).map(told).collect::<Result<Vec<_>, _>>()?;
    let changed = sender.clone();
    provided.follow(move || drop(changed.send(Wake::Changed)))?;
    signals(sender)?;
    let gateway = Gateway::start(&settings(args, &provided, role, false)?, std::io::stdout())?;
    let term = now_ms().max(gateway.highest_term() + 1);
    let mut publisher = Publisher { term, n: 0, provided, files, published: gateway.in_force() };
    publisher.publish(&gateway);
    tell(&gateway, role);
    let dead = publisher.follow(dir, &wakes, &gateway);
    Ok(drain(gateway, args.drain, dead))
}

/// The same with the operator as publisher.
fn follow(args: &ServeArgs, role: Role, operator: &OperatorSettings) -> Result<ExitCode, RunError> {
    let mut provided = Installation::open(&args.provided)?;
    let (sender, wakes) = channel();
    signals(sender)?;
    let mut gateway = Gateway::start(&settings(args, &provided, role, true)?, std::io::stdout())?;
    gateway.follow(operator.clone())?;
    tell(&gateway, role);
    let dead = loop {
        match wakes.recv_timeout(POLL) {
            Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => break false,
            Ok(Wake::Changed) | Err(RecvTimeoutError::Timeout) => {}
        }
        provided.refresh(&Files::default());
        if !gateway.dead().is_empty() {
            break true;
        }
    };
    Ok(drain(gateway, args.drain, dead))
}

fn tell(gateway: &Gateway, role: Role) {
    let address = gateway.address.map_or_else(|| "none".to_owned(), |address| address.to_string());
    tracing::info!(role = role.word(), address, admin = %gateway.admin_address, "the gateway serves");
}

fn drain(gateway: Gateway, patience: Duration, dead: bool) -> ExitCode {
    tracing::info!("draining");
    let cut = gateway.drain(patience);
    if cut > 0 {
        tracing::warn!(connections = cut, "connections were cut at the end of the drain");
    }
    if dead { ExitCode::from(out::TROUBLE) } else { ExitCode::SUCCESS }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Turns SIGTERM and SIGINT into a wake.
fn signals(wakes: Sender<Wake>) -> Result<(), RunError> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::Signals)?;
    let (mut term, mut int) = {
        let _guard = runtime.enter();
        let term = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
        (term, signal(SignalKind::interrupt()).map_err(RunError::Signals)?)
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        });
        let _ = wakes.send(Wake::Stop);
    });
    Ok(())
}

/// The standalone publisher: files to snapshots, each above the last.
struct Publisher {
    term: u64,
    n: u64,
    provided: Installation,
    files: Files,
    published: Snapshot,
}

impl Publisher {
    fn publish(&mut self, gateway: &Gateway) {
        self.n += 1;
        self.provided.refresh(&self.files);
        let revision = Revision { term: self.term, n: self.n };
        let compiled = compile(&self.files.gathered, &self.published, revision);
        for finding in check::findings(&self.files, &compiled.problems) {
            out::note(check::rendered(&finding));
        }
        let errors = compiled.problems.iter().filter(|problem| problem.severity == Severity::Error).count();
        let applied = gateway.apply(&compiled.snapshot);
        for nack in &applied.nacks {
            tracing::warn!(object = %nack.object, reason = nack.reason, "not applied");
        }
        let list = |objects: &[policy::names::ObjectRef]| {
            objects.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        tracing::info!(
            revision = %revision,
            swapped = applied.swapped.iter().map(policy::names::TenantName::as_str).collect::<Vec<_>>().join(", "),
            errors,
            last_good = list(&applied.last_good),
            not_programmed = list(&applied.not_programmed),
            "the configuration is applied"
        );
        self.published = compiled.snapshot;
    }

    /// Reloads at each change until it is told to stop. Whether something that must run has ended.
    fn follow(&mut self, dir: &Path, wakes: &Receiver<Wake>, gateway: &Gateway) -> bool {
        loop {
            match wakes.recv_timeout(POLL) {
                Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
                Ok(Wake::Changed) | Err(RecvTimeoutError::Timeout) => {}
            }
            // Everything that belongs to one edit is read at once.
            loop {
                match wakes.recv_timeout(SETTLE) {
                    Ok(Wake::Changed) => {}
                    Ok(Wake::Stop) => return false,
                    Err(_) => break,
                }
            }
            if !gateway.dead().is_empty() {
                return true;
            }
            match self.provided.read(dir, Some(&self.files)) {
                Ok(files) => {
                    self.files = files;
                    self.publish(gateway);
                }
                Err(error) => tracing::error!(error = chain(&error), "what is in force stays"),
            }
        }
    }
}
