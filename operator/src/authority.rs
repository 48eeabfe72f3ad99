//! The operator's own certificate authority: kept in a Secret that all replicas share, told to dataplanes in a
//! ConfigMap, and replaced long before it ends. Serving certificates are short-lived and never written down.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Client;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::FIELD_MANAGER;

/// The Secret with the authority's key, and the ConfigMap with the certificates to trust.
pub const NAME: &str = "postern-operator-authority";
/// The key of the ConfigMap: PEM.
pub const BUNDLE: &str = "ca.crt";
const KEY: &str = "ca.key";
const PREVIOUS: &str = "previous.crt";
const EXPIRES: &str = "postern.dev/expires-unix-seconds";
const AUTHORITY_LIFE: Duration = Duration::from_secs(2 * 365 * 86_400);
const SERVING_LIFE: Duration = Duration::from_secs(7 * 86_400);
/// Clocks that are behind by so much accept a certificate that was just made.
const SKEW: Duration = Duration::from_secs(3600);
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

/// The authority as it is kept.
struct Kept {
    key: KeyPair,
    expires: u64,
    /// PEM of all that is to be trusted.
    bundle: String,
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
        webhook: Option<String>,
    ) -> Result<Self, AuthorityError> {
        let kept = keep(&client, namespace).await?;
        let shown = Arc::new(Shown(ArcSwap::from_pointee(issue(&kept, &names)?)));
        let told = ArcSwap::from_pointee(String::new());
        let authority = Self { client, namespace: namespace.to_owned(), names, webhook, shown, told };
        authority.tell(&kept).await?;
        Ok(authority)
    }

    /// What a server shows.
    #[must_use]
    pub fn shown(&self) -> Arc<Shown> {
        Arc::clone(&self.shown)
    }

    /// Makes a serving certificate anew when it is time for that, or when the authority has become another (its Secret
    /// was deleted, another replica replaced it), and tells the API server whom to trust.
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
        match &self.webhook {
            Some(name) => self.vouch(name, &kept.bundle).await,
            None => Ok(()),
        }
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

/// The authority from its Secret; made when there is none, and replaced in the last third of its life.
async fn keep(client: &Client, namespace: &str) -> Result<Kept, AuthorityError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    loop {
        let Some(found) = secrets.get_opt(NAME).await.map_err(api("read Secret"))? else {
            match secrets.create(&PostParams::default(), &fresh(None, None)?).await {
                // Another replica was first: its authority is the installation's.
                Err(kube::Error::Api(status)) if status.code == 409 => continue,
                made => return read(&made.map_err(api("make Secret"))?),
            }
        };
        let kept = read(&found)?;
        if kept.expires > now_secs() + AUTHORITY_LIFE.as_secs() / 3 {
            return Ok(kept);
        }
        tracing::info!("the authority is replaced; its certificate stays trusted until it ends");
        let next = fresh(found.metadata.resource_version.clone(), field(&found, BUNDLE).ok())?;
        match secrets.replace(NAME, &PostParams::default(), &next).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            replaced => return read(&replaced.map_err(api("replace Secret"))?),
        }
    }
}

fn fresh(resource_version: Option<String>, previous: Option<String>) -> Result<Secret, AuthorityError> {
    let expires = now_secs() + AUTHORITY_LIFE.as_secs();
    let key = KeyPair::generate()?;
    let certificate = authority_params(expires).self_signed(&key)?;
    let text = |text: String| ByteString(text.into_bytes());
    let mut data = std::collections::BTreeMap::new();
    data.insert(BUNDLE.to_owned(), text(certificate.pem()));
    data.insert(KEY.to_owned(), text(key.serialize_pem()));
    data.extend(previous.map(|previous| (PREVIOUS.to_owned(), text(previous))));
    let annotations = [(EXPIRES.to_owned(), expires.to_string())].into();
    let metadata = ObjectMeta {
        name: Some(NAME.to_owned()),
        annotations: Some(annotations),
        resource_version,
        ..ObjectMeta::default()
    };
    Ok(Secret { metadata, data: Some(data), type_: Some("Opaque".to_owned()), ..Secret::default() })
}

fn field(secret: &Secret, name: &'static str) -> Result<String, AuthorityError> {
    let bytes = secret.data.as_ref().and_then(|data| data.get(name)).ok_or(AuthorityError::Content(name))?;
    String::from_utf8(bytes.0.clone()).map_err(|_| AuthorityError::Content(name))
}

fn read(secret: &Secret) -> Result<Kept, AuthorityError> {
    let expires = secret.metadata.annotations.as_ref().and_then(|all| all.get(EXPIRES)?.parse().ok());
    let key = KeyPair::from_pem(&field(secret, KEY)?).map_err(|_| AuthorityError::Content(KEY))?;
    let bundle = format!("{}{}", field(secret, BUNDLE)?, field(secret, PREVIOUS).unwrap_or_default());
    Ok(Kept { key, expires: expires.ok_or(AuthorityError::Content(EXPIRES))?, bundle })
}

fn authority_params(expires: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // Old and new have names of their own, so that who checks finds the right one.
    params.distinguished_name.push(DnType::CommonName, format!("postern operator {expires}"));
    let end = UNIX_EPOCH + Duration::from_secs(expires);
    params.not_before = (end - AUTHORITY_LIFE - SKEW).into();
    params.not_after = end.into();
    params
}

/// A serving certificate.
fn issue(kept: &Kept, names: &[String]) -> Result<CertifiedKey, AuthorityError> {
    let params_of_authority = authority_params(kept.expires);
    let issuer = Issuer::from_params(&params_of_authority, &kept.key);
    let mut params = CertificateParams::new(names)?;
    params.not_before = (SystemTime::now() - SKEW).into();
    params.not_after = (SystemTime::now() + SERVING_LIFE).into();
    params.insert_extended_key_usage(rcgen::ExtendedKeyUsagePurpose::ServerAuth);
    let key = KeyPair::generate()?;
    let certificate: CertificateDer<'static> = params.signed_by(&key, &issuer)?.der().clone();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let signing = rustls::crypto::ring::sign::any_supported_type(&key.into())?;
    Ok(CertifiedKey::new(vec![certificate], signing))
}

fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_that_is_replaced_stays_trusted() {
        let first = fresh(None, None).unwrap();
        let second = fresh(Some("1".to_owned()), field(&first, BUNDLE).ok()).unwrap();
        let kept = read(&second).unwrap();
        assert_eq!(kept.bundle.matches("BEGIN CERTIFICATE").count(), 2);
        assert!(kept.bundle.contains(&field(&first, BUNDLE).unwrap()));
        issue(&kept, &["postern-operator".to_owned()]).unwrap();
        assert!(read(&Secret::default()).is_err());
    }
}
