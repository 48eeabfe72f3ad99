//! The authority as it is kept in its Secret, and what it signs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::{AuthorityError, BUNDLE, NAME, api};

const KEY: &str = "ca.key";
const PREVIOUS: &str = "previous.crt";
/// The annotation with the second at which a certificate ends.
pub(super) const EXPIRES: &str = "postern.dev/expires-unix-seconds";
const AUTHORITY_LIFE: Duration = Duration::from_secs(2 * 365 * 86_400);
/// Clocks that are behind by so much accept a certificate that was just made.
const SKEW: Duration = Duration::from_secs(3600);

/// The authority as it is kept.
pub(super) struct Kept {
    key: KeyPair,
    /// The second at which it ends; no other authority of the installation has the same.
    pub(super) expires: u64,
    /// PEM of all that is to be trusted.
    pub(super) bundle: String,
}

impl Kept {
    /// A certificate for these names, that is shown until `now` and `life` are over.
    pub(super) fn sign(
        &self,
        names: &[String],
        usages: &[ExtendedKeyUsagePurpose],
        now: SystemTime,
        life: Duration,
    ) -> Result<(Certificate, KeyPair), AuthorityError> {
        let params_of_authority = authority_params(self.expires);
        let issuer = Issuer::from_params(&params_of_authority, &self.key);
        let mut params = CertificateParams::new(names)?;
        params.not_before = (now - SKEW).into();
        params.not_after = (now + life).into();
        for usage in usages {
            params.insert_extended_key_usage(usage.clone());
        }
        let key = KeyPair::generate()?;
        Ok((params.signed_by(&key, &issuer)?, key))
    }
}

/// The authority from its Secret; made when there is none, and replaced in the last third of its life.
pub(super) async fn keep(client: &Client, namespace: &str) -> Result<Kept, AuthorityError> {
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
        if kept.expires > unix_secs(SystemTime::now()) + AUTHORITY_LIFE.as_secs() / 3 {
            return Ok(kept);
        }
        tracing::info!("the authority is replaced; its certificate stays trusted until it ends");
        let next = fresh(found.metadata.resource_version.clone(), text(&found, BUNDLE))?;
        match secrets.replace(NAME, &PostParams::default(), &next).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            replaced => return read(&replaced.map_err(api("replace Secret"))?),
        }
    }
}

pub(super) fn fresh(resource_version: Option<String>, previous: Option<String>) -> Result<Secret, AuthorityError> {
    let expires = unix_secs(SystemTime::now()) + AUTHORITY_LIFE.as_secs();
    let key = KeyPair::generate()?;
    let certificate = authority_params(expires).self_signed(&key)?;
    let bytes = |text: String| ByteString(text.into_bytes());
    let mut data = std::collections::BTreeMap::new();
    data.insert(BUNDLE.to_owned(), bytes(certificate.pem()));
    data.insert(KEY.to_owned(), bytes(key.serialize_pem()));
    data.extend(previous.map(|previous| (PREVIOUS.to_owned(), bytes(previous))));
    let metadata = ObjectMeta {
        name: Some(NAME.to_owned()),
        annotations: Some([(EXPIRES.to_owned(), expires.to_string())].into()),
        resource_version,
        ..ObjectMeta::default()
    };
    Ok(Secret { metadata, data: Some(data), type_: Some("Opaque".to_owned()), ..Secret::default() })
}

/// What a Secret has under a key, where that is text.
pub(super) fn text(secret: &Secret, key: &str) -> Option<String> {
    String::from_utf8(secret.data.as_ref()?.get(key)?.0.clone()).ok()
}

/// A number in an annotation.
pub(super) fn annotation(secret: &Secret, name: &str) -> Option<u64> {
    secret.metadata.annotations.as_ref()?.get(name)?.parse().ok()
}

pub(super) fn read(secret: &Secret) -> Result<Kept, AuthorityError> {
    let field = |name| text(secret, name).ok_or(AuthorityError::Content(name));
    let key = KeyPair::from_pem(&field(KEY)?).map_err(|_| AuthorityError::Content(KEY))?;
    let bundle = format!("{}{}", field(BUNDLE)?, text(secret, PREVIOUS).unwrap_or_default());
    Ok(Kept { key, expires: annotation(secret, EXPIRES).ok_or(AuthorityError::Content(EXPIRES))?, bundle })
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

pub(super) fn unix_secs(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_that_is_replaced_stays_trusted() {
        let first = fresh(None, None).unwrap();
        let second = fresh(Some("1".to_owned()), text(&first, BUNDLE)).unwrap();
        let kept = read(&second).unwrap();
        assert_eq!(kept.bundle.matches("BEGIN CERTIFICATE").count(), 2);
        assert!(kept.bundle.contains(&text(&first, BUNDLE).unwrap()));
        assert!(read(&Secret::default()).is_err());
    }
}
