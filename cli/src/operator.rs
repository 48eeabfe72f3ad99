//! `postern operator`: from the objects of a Kubernetes cluster to dataplanes.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use operator::lease::Candidate;
use operator::metrics::Metrics;
use operator::publish::Account;
use operator::run::{Readiness, RunError, Settings, run as run_operator};
use policy::units::DurationText;
use policy::upstream::ServicePort;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::installation::ProvidedError;
use crate::out;
use crate::provide::provide;
use crate::ranges::{Ranges, RangesArgs};

/// What is written after `operator`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where dataplanes connect.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:9443")]
    listen: SocketAddr,
    /// Where the API server asks for admission; it does not when left out.
    #[arg(long, value_name = "ADDRESS")]
    admission: Option<SocketAddr>,
    /// The ValidatingWebhookConfiguration by which it asks: the operator writes its caBundle.
    #[arg(long, value_name = "NAME", requires = "admission")]
    admission_webhook: Option<String>,
    /// Makes and renews the Secrets PREFIX-gateway, PREFIX-deliver, PREFIX-spool and PREFIX-operate, with the certificates
    /// by which spool shards and who asks them know each other.
    #[arg(long, value_name = "PREFIX")]
    shard_tls: Option<String>,
    /// The Service whose endpoints are the delivers: dataplanes are told which of them live; may be repeated.
    #[arg(long = "deliver-service", value_name = "NAMESPACE/NAME:PORT", value_parser = service_port)]
    deliver_services: Vec<ServicePort>,
    #[command(flatten)]
    ranges: RangesArgs,
    /// The dataplanes have a country database: `countries` may be written.
    #[arg(long)]
    countries: bool,
    /// Where health is shown.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9902")]
    admin: SocketAddr,
    /// The namespace of the Lease and of the authority's Secret.
    #[arg(long, value_name = "NAMESPACE", default_value = "postern-system", env = "POSTERN_NAMESPACE")]
    namespace: String,
    /// This replica's name, which no other has: its pod's.
    #[arg(long, value_name = "NAME", env = "POSTERN_IDENTITY")]
    identity: String,
    /// Where dataplanes find this replica itself: https://HOST:PORT, by its pod's address.
    #[arg(long, value_name = "URL", env = "POSTERN_ADDRESS", value_parser = crate::run::https)]
    address: String,
    /// Names that dataplanes may call the operator by; may be repeated.
    #[arg(long = "server-name", value_name = "NAME", default_value = "postern-operator")]
    names: Vec<String>,
    /// The ServiceAccount of dataplanes; may be repeated.
    #[arg(long = "dataplane-account", value_name = "NAMESPACE/NAME", required = true)]
    accounts: Vec<Account>,
    /// The Lease that decides which replica publishes.
    #[arg(long, value_name = "NAME", default_value = "postern-operator")]
    lease: String,
    /// How long a replica that says nothing goes on to hold it.
    #[arg(long, value_name = "DURATION", default_value = "8s", value_parser = duration)]
    lease_duration: Duration,
}

fn service_port(text: &str) -> Result<ServicePort, &'static str> {
    let parsed = text.split_once('/').and_then(|(namespace, rest)| {
        let (name, port) = rest.split_once(':')?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        let named = !namespace.is_empty() && !name.is_empty();
        named.then(|| ServicePort { namespace: namespace.into(), name: name.into(), port })
    });
    parsed.ok_or("write it as NAMESPACE/NAME:PORT")
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = DurationText::parse(text).map(|parsed| parsed.duration()).map_err(|error| error.to_string())?;
    if parsed < Duration::from_secs(1) { Err("must be a second at least".to_owned()) } else { Ok(parsed) }
}

/// Why the operator did not run.
#[derive(Debug, thiserror::Error)]
enum OperatorError {
    #[error("could not start a runtime")]
    Runtime(#[source] std::io::Error),
    #[error("could not find the API server: run in a pod with a ServiceAccount, or name a file with KUBECONFIG")]
    Config(#[source] Box<kube::config::InferConfigError>),
    #[error("could not set up the way to the API server")]
    Client(#[source] Box<kube::Error>),
    #[error("could not listen on the admin address {0}")]
    Admin(SocketAddr, #[source] std::io::Error),
    #[error("could not set up metrics")]
    Metrics(#[source] operator::metrics::Error),
    #[error(transparent)]
    Provided(#[from] ProvidedError),
    #[error("the operator does not run")]
    Run(#[from] RunError),
}

/// Runs until SIGTERM or SIGINT; then gives the Lease up and ends with 0.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    crate::log::start();
    // It fetches on a runtime of its own.
    let provided = Ranges::open(&args.ranges).map_err(OperatorError::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(OperatorError::Runtime);
    match provided.and_then(|ranges| runtime?.block_on(serve(args, ranges))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => out::failed(&error, out::TROUBLE),
    }
}

async fn serve(args: &Args, ranges: Ranges) -> Result<(), OperatorError> {
    let config = kube::Config::infer().await.map_err(|error| OperatorError::Config(Box::new(error)))?;
    let client = kube::Client::try_from(config).map_err(|error| OperatorError::Client(Box::new(error)))?;
    let metrics = Metrics::new().map_err(OperatorError::Metrics)?;
    if let Some(fetches) = ranges.fetches() {
        metrics.show(fetches.collector()).map_err(OperatorError::Metrics)?;
    }
    let settings = Settings {
        listen: args.listen,
        admission: args.admission,
        webhook: args.admission_webhook.clone(),
        shards: args.shard_tls.clone(),
        delivers: args.deliver_services.clone(),
        installation: provide(ranges, args.countries)?,
        names: args.names.clone(),
        accounts: args.accounts.clone(),
        candidate: Candidate {
            name: args.lease.clone(),
            namespace: args.namespace.clone(),
            identity: args.identity.clone(),
            address: args.address.clone(),
            duration: args.lease_duration,
        },
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(OperatorError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(OperatorError::Runtime)?;
    let stop = async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    };
    let starting = Readiness { missing: vec!["nothing is listed yet".to_owned()] };
    let (readiness, ready) = watch::channel(starting);
    operator::admin::start(args.admin, ready, metrics.clone())
        .await
        .map_err(|error| OperatorError::Admin(args.admin, error))?;
    Ok(run_operator(client, settings, (readiness, metrics), stop).await?)
}
