//! Who a process is to the others: a certificate of the installation's own authority.

use std::path::{Path, PathBuf};

use tonic::transport::{Certificate, ClientTlsConfig, Identity as Pair, ServerTlsConfig};

use super::Role;

/// The files of a certificate; read when a connection is set up.
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

impl Identity {
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
