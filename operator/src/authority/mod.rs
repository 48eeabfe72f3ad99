//! The operator's own certificate authority: kept in a Secret that all replicas share, told to dataplanes in a
//! ConfigMap, and replaced long before it ends. Serving certificates are short-lived and never written down; those of
//! spool shards and of who asks them are in Secrets, which pods mount.

mod kept;
mod shards;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use self::kept::{Kept, keep};
use crate::FIELD_MANAGER;

/// The Secret with the authority's key, and the ConfigMap with the certificates to trust.
pub const NAME: &str = "postern-operator-authority";
/// The key of the ConfigMap: PEM.
pub const BUNDLE: &str = "ca.crt";
const SERVING_LIFE: Duration = Duration::from_secs(7 * 86_400);
/// How often a serving certificate is made anew.
pub const RENEW: Duration = Duration::from_secs(12 * 3600);
/// How often it is looked whether the authority is still the installation's, and known to who must trust it.
pub const LOOK: Duration = Duration::from_secs(60);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The API server.
    #[error("could not {0} {NAME}")]
    Api(&'static str, #[source] Box<kube::Error>),
    /// The API server, on how it asks for admission.
    #[error("could not {0} the ValidatingWebhookConfiguration of --admission-webhook")]
    Webhook(&'static str, #[source] Box<kube::Error>),
    /// The API server, on the Secret of a role.
    #[error("could not {0} Secret {1}")]
    Shard(&'static str, String, #[source] Box<kube::Error>),
    /// Making one.
    #[error("could not make a certificate")]
    Make(#[from] rcgen::Error),
    /// Using one.
    #[error("could not use the certificate")]
    Use(#[from] rustls::Error),
    /// The Secret is not what was written there.
    #[error("Secret {NAME} has no usable {0}: delete it, and the operator makes another")]
    Content(&'static str),
}

fn api(step: &'static str) -> impl FnOnce(kube::Error) -> AuthorityError {
    move |error| AuthorityError::Api(step, Box::new(error))
}

fn webhook(step: &'static str) -> impl FnOnce(kube::Error) -> AuthorityError {
    move |error| AuthorityError::Webhook(step, Box::new(error))
}

/// What dataplanes and the API server trust, and what is shown to them.
pub struct Authority {
    client: Client,
    namespace: String,
    names: Vec<String>,
    /// The ValidatingWebhookConfiguration by which the API server asks.
    webhook: Option<String>,
    /// The prefix of the Secrets with certificates for spool shards and who asks them, where they are made here.
    shards: Option<String>,
    shown: Arc<Shown>,
    /// The certificates that dataplanes were told to trust.
    told: ArcSwap<String>,
}

/// The certificate that is shown now.
#[derive(Debug)]
pub struct Shown(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Authority {
    /// Takes the authority of the installation, or makes it.
    ///
    /// # Errors
    /// [`AuthorityError`]
    pub async fn open(
        client: Client,
        namespace: &str,
        names: Vec<String>,
        (webhook, shards): (Option<String>, Option<String>),
    ) -> Result<Self, AuthorityError> {
        let kept = keep(&client, namespace).await?;
        let shown = Arc::new(Shown(ArcSwap::from_pointee(issue(&kept, &names)?)));
        let told = ArcSwap::from_pointee(String::new());
        let authority = Self { client, namespace: namespace.to_owned(), names, webhook, shards, shown, told };
        authority.tell(&kept).await?;
        Ok(authority)
    }

    /// What a server shows.
    #[must_use]
    pub fn shown(&self) -> Arc<Shown> {
        Arc::clone(&self.shown)
    }

    /// Makes a serving certificate anew when it is time for that, or when the authority has become another (its Secret
    /// was deleted, another replica replaced it), tells the API server whom to trust, and looks after the certificates
    /// of spool shards and who asks them.
    ///
    /// # Errors
    /// [`AuthorityError`]; what is shown stays.
    pub async fn refresh(&self, renew: bool) -> Result<(), AuthorityError> {
        let kept = keep(&self.client, &self.namespace).await?;
        if renew || kept.bundle != **self.told.load() {
            // Those who are to trust it are told before it is shown.
            self.tell(&kept).await?;
            self.shown.0.store(Arc::new(issue(&kept, &self.names)?));
        }
        let vouched = match &self.webhook {
            Some(name) => self.vouch(name, &kept.bundle).await,
            None => Ok(()),
        };
        // Neither waits for the other.
        let looked = match &self.shards {
            Some(prefix) => shards::look(&self.client, (&self.namespace, prefix), &kept).await,
            None => Ok(()),
        };
        vouched.and(looked)
    }

    /// Writes the certificates into the configuration by which the API server asks for admission, where they differ.
    async fn vouch(&self, name: &str, bundle: &str) -> Result<(), AuthorityError> {
        let all: Api<ValidatingWebhookConfiguration> = Api::all(self.client.clone());
        let found = all.get(name).await.map_err(webhook("read"))?;
        let bundle = ByteString(bundle.as_bytes().to_vec());
        let webhooks = found.webhooks.unwrap_or_default();
        let differ = webhooks.iter().filter(|one| one.client_config.ca_bundle.as_ref() != Some(&bundle));
        let wanted: Vec<_> =
            differ.map(|one| serde_json::json!({"name": one.name, "clientConfig": {"caBundle": bundle}})).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        // Merged by name: the rest of each stays as whoever wrote it wants it.
        let patch = Patch::Strategic(serde_json::json!({"webhooks": wanted}));
        all.patch(name, &PatchParams::default(), &patch).await.map_err(webhook("write"))?;
        tracing::info!(webhook = name, "the API server was told whom to trust");
        Ok(())
    }

    async fn tell(&self, kept: &Kept) -> Result<(), AuthorityError> {
        let told: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let data = serde_json::json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}, "data": {BUNDLE: kept.bundle},
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        told.patch(NAME, &params, &Patch::Apply(data)).await.map_err(api("write ConfigMap"))?;
        self.told.store(Arc::new(kept.bundle.clone()));
        Ok(())
    }
}

/// A serving certificate.
fn issue(kept: &Kept, names: &[String]) -> Result<CertifiedKey, AuthorityError> {
    let usages = [rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let (certificate, key) = kept.sign(names, &usages, SystemTime::now(), SERVING_LIFE)?;
    let certificate: CertificateDer<'static> = certificate.der().clone();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let signing = rustls::crypto::ring::sign::any_supported_type(&key.into())?;
    Ok(CertifiedKey::new(vec![certificate], signing))
}
