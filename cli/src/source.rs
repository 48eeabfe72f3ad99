//! Where a command reads objects: a directory of manifests, or a cluster.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use kube::config::{KubeConfigOptions, Kubeconfig};
use operator::gather::cluster::{self, Listed};

/// What a place in a cluster begins with.
const CLUSTER: &str = "cluster:";

/// `DIR`, `cluster:` or `cluster:CONTEXT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A directory, or one file.
    Files(PathBuf),
    /// A cluster, by a context of the kubeconfig; the current one when none is said.
    Cluster(Option<String>),
}

impl FromStr for Source {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.strip_prefix(CLUSTER) {
            Some("") => Self::Cluster(None),
            Some(context) => Self::Cluster(Some(context.to_owned())),
            None => Self::Files(text.into()),
        })
    }
}

/// Why a cluster could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No runtime.
    #[error("could not start a runtime")]
    Runtime(#[source] std::io::Error),
    /// Nobody says where it is.
    #[error("could not find the API server: name a kubeconfig with KUBECONFIG, or run in a pod with a ServiceAccount")]
    Infer(#[source] Box<kube::config::InferConfigError>),
    /// The kubeconfig does not lead to it.
    #[error(
        "could not use the context {0:?} of the kubeconfig: `kubectl config get-contexts` lists those that there are"
    )]
    Context(String, #[source] Box<kube::config::KubeconfigError>),
    /// The way there.
    #[error("could not set up the way to the API server")]
    Client(#[source] Box<kube::Error>),
    /// The server's no.
    #[error(
        "could not list the objects of the cluster: install the chart postern-crds, and see `kubectl auth can-i list tenants.postern.dev -A`"
    )]
    List(#[source] Box<kube::Error>),
}

/// A client of the cluster that a context names.
///
/// # Errors
/// [`ClusterError`]
pub async fn client(context: Option<&str>) -> Result<kube::Client, ClusterError> {
    let config = match context {
        None => kube::Config::infer().await.map_err(|error| ClusterError::Infer(Box::new(error)))?,
        Some(context) => {
            let wrong = |error| ClusterError::Context(context.to_owned(), Box::new(error));
            let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
            // KUBECONFIG may name several files.
            let file = match Kubeconfig::from_env().map_err(wrong)? {
                Some(file) => file,
                None => Kubeconfig::read().map_err(wrong)?,
            };
            kube::Config::from_custom_kubeconfig(file, &options).await.map_err(wrong)?
        }
    };
    kube::Client::try_from(config).map_err(|error| ClusterError::Client(Box::new(error)))
}

/// Runs what talks to a cluster.
///
/// # Errors
/// [`ClusterError::Runtime`], and what the work says.
pub fn block_on<T>(work: impl Future<Output = Result<T, ClusterError>>) -> Result<T, ClusterError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(ClusterError::Runtime)?.block_on(work)
}

/// All objects of a cluster as they are now.
///
/// # Errors
/// [`ClusterError`]
pub fn list(context: Option<&str>) -> Result<Listed, ClusterError> {
    block_on(async {
        let client = client(context).await?;
        cluster::list(&client).await.map_err(|error| ClusterError::List(Box::new(error)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_and_a_cluster_are_told_apart() {
        let of = |text: &str| text.parse::<Source>().unwrap();
        assert_eq!(of("examples"), Source::Files("examples".into()));
        assert_eq!(of("cluster:"), Source::Cluster(None));
        assert_eq!(of("cluster:kind-postern"), Source::Cluster(Some("kind-postern".to_owned())));
        assert_eq!(of("./cluster:"), Source::Files("./cluster:".into()));
    }
}
