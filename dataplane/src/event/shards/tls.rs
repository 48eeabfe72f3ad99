//! Who a process is to the others: a certificate of the installation's own authority.

use std::path::{Path, PathBuf};
use std::time::Duration;

use policy::error::chain;
use tonic::transport::{Certificate, ClientTlsConfig, Identity as Pair, ServerTlsConfig};

use super::Role;
use crate::event::Counters;
use crate::event::claim::{Key, digest};
use crate::event::counters::add;

/// How often the files are looked at. Their content is compared: a kubelet changes them through a link, and not each
/// mounted directory gives a sign of it.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 5000 });

/// The files of a certificate; read again when they change.
#[derive(Clone, Debug)]
pub struct Identity {
    /// PEM of the authority that signed everybody's certificates.
    pub ca_file: PathBuf,
    /// PEM of this process's certificate.
    pub certificate_file: PathBuf,
    /// PEM of its key.
    pub key_file: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be read")]
pub struct IdentityError {
    path: PathBuf,
    #[source]
    cause: std::io::Error,
}

fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    std::fs::read(path).map_err(|cause| IdentityError { path: path.to_owned(), cause })
}

/// A certificate that is taken up again when its files are others.
#[derive(Debug)]
pub struct Watched {
    identity: Identity,
    last: Key,
}

impl Watched {
    /// To be made before the files are first used, so that no change is missed.
    #[must_use]
    pub fn new(identity: &Identity) -> Self {
        Self { identity: identity.clone(), last: identity.content() }
    }

    /// Has the files used, if they are others than at the last look. What cannot be used is told once, and what was in
    /// force stays.
    pub(super) fn look<E: std::error::Error + 'static>(
        &mut self,
        counters: &Counters,
        used: impl FnOnce(&Identity) -> Result<(), E>,
    ) {
        let content = self.identity.content();
        if std::mem::replace(&mut self.last, content) == content {
            return;
        }
        let file = self.identity.certificate_file.display();
        match used(&self.identity) {
            Ok(()) => {
                add(&counters.certificates_loaded, 1);
                tracing::info!(%file, "a new certificate is in use");
            }
            Err(error) => {
                add(&counters.certificates_refused, 1);
                let error = chain(&error);
                tracing::error!(%file, error, "a new certificate cannot be used; the last good one stays");
            }
        }
    }
}

impl Identity {
    /// What the files hold; of one that cannot be read, nothing.
    fn content(&self) -> Key {
        let of = |path: &Path| std::fs::read(path).unwrap_or_default();
        digest([&of(&self.ca_file), &of(&self.certificate_file), &of(&self.key_file)])
    }

    fn parts(&self) -> Result<(Certificate, Pair), IdentityError> {
        let pair = Pair::from_pem(read(&self.certificate_file)?, read(&self.key_file)?);
        Ok((Certificate::from_pem(read(&self.ca_file)?), pair))
    }

    /// For asking a shard: whoever answers must be one.
    pub(super) fn client(&self) -> Result<ClientTlsConfig, IdentityError> {
        let (authority, pair) = self.parts()?;
        Ok(ClientTlsConfig::new().ca_certificate(authority).identity(pair).domain_name(Role::Spool.name()))
    }

    /// For answering: who asks must have a certificate.
    pub(super) fn server(&self) -> Result<ServerTlsConfig, IdentityError> {
        let (authority, pair) = self.parts()?;
        Ok(ServerTlsConfig::new().client_ca_root(authority).identity(pair))
    }
}
