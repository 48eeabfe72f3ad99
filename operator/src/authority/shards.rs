//! Certificates for what gateways and delivers ask of spool shards: a Secret a role, which its pods mount. Renewed long
//! before they end; when the authority becomes another, it is trusted everywhere before anybody shows what it signed.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
use wire::ROLE_DOMAIN;

use super::kept::{EXPIRES, Kept, annotation, text, unix_secs};
use super::{AuthorityError, BUNDLE};

/// Who has a certificate; `operate` is for people and `postern events`.
pub(super) const ROLES: [&str; 4] = ["gateway", "deliver", "spool", "operate"];
/// An operator may be away for the last third of it.
const LIFE: Duration = Duration::from_secs(90 * 86_400);
/// A kubelet brings what a Secret holds to its pods within two minutes, and they look every few seconds.
const KNOWN_AFTER: Duration = Duration::from_secs(600);
/// Authorities that are trusted at once; the oldest is dropped first.
const MAX_TRUSTED: usize = 4;
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
/// The annotation with the second at which the authority ends that signed the certificate.
const SIGNER: &str = "postern.dev/authority";
/// The annotation with the second since which the authorities are those in the Secret.
const SINCE: &str = "postern.dev/trusted-since-unix-seconds";
const END: &str = "-----END CERTIFICATE-----";

/// Looks at all of them, and writes those that must be others.
pub(super) async fn look(
    client: &Client,
    (namespace, prefix): (&str, &str),
    kept: &Kept,
) -> Result<(), AuthorityError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    for role in ROLES {
        let name = format!("{prefix}-{role}");
        let failed = |step| {
            let name = name.clone();
            move |error| AuthorityError::Shard(step, name, Box::new(error))
        };
        let found = secrets.get_opt(&name).await.map_err(failed("read"))?;
        let held = found.as_ref().and_then(Held::read);
        let Some(next) = next(held, role, kept, SystemTime::now())? else { continue };
        let version = found.as_ref().and_then(|found| found.metadata.resource_version.clone());
        let written = match found {
            None => secrets.create(&PostParams::default(), &next.secret(&name, None)).await,
            Some(_) => secrets.replace(&name, &PostParams::default(), &next.secret(&name, version)).await,
        };
        match written {
            // Another replica was first.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            written => {
                written.map_err(failed("write"))?;
                tracing::info!(secret = name, "the certificate of a role was written");
            }
        }
    }
    Ok(())
}

/// What a role's Secret holds.
#[derive(Clone)]
struct Held {
    trusted: String,
    since: u64,
    signer: u64,
    expires: u64,
    certificate: String,
    key: String,
}

impl Held {
    fn read(secret: &Secret) -> Option<Self> {
        Some(Self {
            trusted: text(secret, BUNDLE)?,
            since: annotation(secret, SINCE)?,
            signer: annotation(secret, SIGNER)?,
            expires: annotation(secret, EXPIRES)?,
            certificate: text(secret, CERTIFICATE)?,
            key: text(secret, KEY)?,
        })
    }

    fn made(role: &str, kept: &Kept, (trusted, since): (String, u64), now: SystemTime) -> Result<Self, AuthorityError> {
        let names = [format!("{role}.{ROLE_DOMAIN}")];
        let (certificate, key) = kept.sign(&names, &[ClientAuth, ServerAuth], now, LIFE)?;
        let (certificate, key) = (certificate.pem(), key.serialize_pem());
        Ok(Self { trusted, since, signer: kept.expires, expires: unix_secs(now + LIFE), certificate, key })
    }

    fn secret(self, name: &str, resource_version: Option<String>) -> Secret {
        let Self { trusted, since, signer, expires, certificate, key } = self;
        let numbers = [(SINCE, since), (SIGNER, signer), (EXPIRES, expires)];
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            annotations: Some(numbers.map(|(name, number)| (name.to_owned(), number.to_string())).into()),
            resource_version,
            ..ObjectMeta::default()
        };
        let texts = [(BUNDLE, trusted), (CERTIFICATE, certificate), (KEY, key)];
        let data: BTreeMap<_, _> =
            texts.map(|(name, text)| (name.to_owned(), ByteString(text.into_bytes()))).into_iter().collect();
        Secret { metadata, data: Some(data), type_: Some("kubernetes.io/tls".to_owned()), ..Secret::default() }
    }
}

/// What a role's Secret is to hold, when that is something else.
fn next(held: Option<Held>, role: &str, kept: &Kept, now: SystemTime) -> Result<Option<Held>, AuthorityError> {
    let second = unix_secs(now);
    let Some(held) = held else { return Held::made(role, kept, (kept.bundle.clone(), second), now).map(Some) };
    if !certificates(&kept.bundle).all(|one| held.trusted.contains(one)) {
        return Ok(Some(Held { trusted: united(&kept.bundle, &held.trusted), since: second, ..held }));
    }
    let known = now >= UNIX_EPOCH + Duration::from_secs(held.since) + KNOWN_AFTER;
    let ours = held.signer == kept.expires;
    let ends = held.expires < second + LIFE.as_secs() / 3;
    if ends || (!ours && known) {
        // Those who still show what the authority before signed are trusted for as long as it takes them again.
        let since = if ours { held.since } else { second };
        return Held::made(role, kept, (held.trusted, since), now).map(Some);
    }
    let only_ours = certificates(&held.trusted).all(|one| kept.bundle.contains(one));
    Ok((ours && known && !only_ours).then(|| Held { trusted: kept.bundle.clone(), since: second, ..held }))
}

/// The certificates of a PEM, each whole.
fn certificates(pem: &str) -> impl Iterator<Item = &str> {
    pem.split_inclusive(END).map(str::trim).filter(|one| one.ends_with(END))
}

fn united(ours: &str, others: &str) -> String {
    let others = certificates(others).filter(|one| !ours.contains(one));
    certificates(ours).chain(others).take(MAX_TRUSTED).flat_map(|one| [one, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::super::kept::{fresh, read};
    use super::*;

    fn authority() -> Kept {
        read(&fresh(None, None).unwrap()).unwrap()
    }

    /// Another one ends in another second.
    fn another() -> Kept {
        let mut other = authority();
        other.expires += 1;
        other
    }

    fn trusts(held: &Held, kept: &Kept) -> bool {
        held.trusted.contains(kept.bundle.trim())
    }

    #[test]
    fn a_certificate_is_renewed_in_the_last_third_of_its_life() {
        let (kept, now) = (authority(), SystemTime::now());
        let made = next(None, "gateway", &kept, now).unwrap().unwrap();
        let later = |days: u64| next(Some(made.clone()), "gateway", &kept, now + Duration::from_secs(days * 86_400));
        assert!(later(59).unwrap().is_none());
        let renewed = later(61).unwrap().unwrap();
        assert!(renewed.certificate != made.certificate && renewed.trusted == made.trusted);
        assert!(next(Some(renewed), "gateway", &kept, now + Duration::from_secs(62 * 86_400)).unwrap().is_none());
    }

    /// At each step what any pod still shows is trusted by what any other pod may still hold.
    #[test]
    fn another_authority_is_trusted_everywhere_before_its_certificates_are_shown() {
        let (first, second, now) = (authority(), another(), SystemTime::now());
        let made = next(None, "spool", &first, now).unwrap().unwrap();
        let told = next(Some(made.clone()), "spool", &second, now).unwrap().unwrap();
        assert!(trusts(&told, &first) && trusts(&told, &second) && told.certificate == made.certificate);
        assert!(next(Some(told.clone()), "spool", &second, now).unwrap().is_none(), "not yet known to everybody");
        let soon = now + KNOWN_AFTER;
        let shown = next(Some(told), "spool", &second, soon).unwrap().unwrap();
        assert!(trusts(&shown, &first) && trusts(&shown, &second) && shown.certificate != made.certificate);
        assert!(next(Some(shown.clone()), "spool", &second, soon).unwrap().is_none(), "the old one is shown by some");
        let last = next(Some(shown.clone()), "spool", &second, soon + KNOWN_AFTER).unwrap().unwrap();
        assert!(!trusts(&last, &first) && trusts(&last, &second) && last.certificate == shown.certificate);
        assert!(next(Some(last), "spool", &second, soon + KNOWN_AFTER).unwrap().is_none());
    }

    #[test]
    fn a_secret_that_is_not_as_it_was_written_is_made_anew() {
        let (kept, now) = (authority(), SystemTime::now());
        let made = next(None, "deliver", &kept, now).unwrap().unwrap().secret("tls-deliver", None);
        assert!(Held::read(&made).is_some());
        let mut damaged = made.clone();
        damaged.data.as_mut().unwrap().remove(KEY);
        assert!(Held::read(&damaged).is_none());
        damaged = made;
        damaged.metadata.annotations = None;
        assert!(Held::read(&damaged).is_none());
    }
}
