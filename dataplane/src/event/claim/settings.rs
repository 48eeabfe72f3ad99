//! Where Redis is and how it is asked.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, TlsCertificates};

/// Longer prefixes would cost more than what they lead.
const MAX_PREFIX_BYTES: usize = 64;

/// Where Redis is and how it is asked. Secrets stay in their files: nothing here needs to be hidden.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// `redis://host:port`, or `rediss://` for TLS. Without `cluster` the first that takes writes is used.
    pub addresses: Vec<String>,
    /// The addresses are nodes of one Redis Cluster.
    pub cluster: bool,
    /// PEM of the authority that signed the servers' certificates; none means the system's.
    pub ca_file: Option<PathBuf>,
    /// The ACL user.
    pub user: Option<String>,
    /// The file that holds its password; read at every connect, so that a changed one is taken up.
    pub password_file: Option<PathBuf>,
    /// What every key starts with.
    pub key_prefix: String,
    /// Remembered ids of one tenant at most.
    pub max_ids_per_tenant: u64,
    /// How long a claim may take before Redis counts as away for it.
    pub timeout: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
}

impl RedisSettings {
    /// These addresses, with the bounds that suit a Redis nearby.
    #[must_use]
    pub fn new(addresses: Vec<String>) -> Self {
        Self {
            addresses,
            cluster: false,
            ca_file: None,
            user: None,
            password_file: None,
            key_prefix: "postern".into(),
            max_ids_per_tenant: 2_000_000,
            timeout: Duration::from_millis(250),
            connect_timeout: Duration::from_secs(2),
        }
    }

    /// Looks at everything that can be wrong without a server.
    pub(super) fn check(&self) -> Result<(), ClaimsError> {
        if self.addresses.is_empty() {
            return Err(ClaimsError::NoAddress);
        }
        let prefix = &self.key_prefix;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        if prefix.is_empty() || prefix.len() > MAX_PREFIX_BYTES || !prefix.bytes().all(plain) {
            return Err(ClaimsError::Prefix);
        }
        self.nodes()?;
        self.certificates()?;
        Ok(())
    }

    /// Every address with its credentials.
    pub(super) fn nodes(&self) -> Result<Vec<ConnectionInfo>, ClaimsError> {
        let mut credentials = RedisConnectionInfo::default();
        if let Some(user) = &self.user {
            credentials = credentials.set_username(user);
        }
        if let Some(path) = &self.password_file {
            let text = String::from_utf8(read(path)?).map_err(|_| ClaimsError::Password { path: path.clone() })?;
            credentials = credentials.set_password(text.trim_end_matches(['\r', '\n']));
        }
        let node = |(at, address): (usize, &String)| self.node(at + 1, address, credentials.clone());
        self.addresses.iter().enumerate().map(node).collect()
    }

    fn node(
        &self,
        number: usize,
        address: &str,
        credentials: RedisConnectionInfo,
    ) -> Result<ConnectionInfo, ClaimsError> {
        // The address itself is not repeated in an error: it may hold a password.
        let info = address.into_connection_info().map_err(|_| ClaimsError::Address { number })?;
        let own = info.redis_settings();
        if own.password().is_some() || own.username().is_some() {
            return Err(ClaimsError::SecretInAddress { number });
        }
        let database = own.db();
        if self.cluster && database != 0 {
            return Err(ClaimsError::ClusterDatabase { number });
        }
        if self.ca_file.is_some() && !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            return Err(ClaimsError::PlainWithAuthority { number });
        }
        Ok(info.set_redis_settings(credentials.set_db(database)))
    }

    pub(super) fn certificates(&self) -> Result<Option<TlsCertificates>, ClaimsError> {
        let Some(path) = &self.ca_file else { return Ok(None) };
        Ok(Some(TlsCertificates { client_tls: None, root_cert: Some(read(path)?) }))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ClaimsError> {
    std::fs::read(path).map_err(|cause| ClaimsError::File { path: path.to_owned(), cause })
}

/// Why claims cannot start. A Redis that does not answer is no reason.
#[derive(Debug, thiserror::Error)]
pub enum ClaimsError {
    /// None was given.
    #[error("Redis has no address; give one such as redis://redis:6379")]
    NoAddress,
    /// Not a URL of Redis.
    #[error("address {number} of Redis must be redis://HOST:PORT, or rediss://HOST:PORT for TLS")]
    Address {
        /// Which one, from 1.
        number: usize,
    },
    /// A user or password stands in an address, where it would be printed.
    #[error("address {number} of Redis holds a user or a password; use the setting for the user and a password file")]
    SecretInAddress {
        /// Which one, from 1.
        number: usize,
    },
    /// A cluster has no numbered databases.
    #[error("address {number} of Redis names a database; a cluster has only 0")]
    ClusterDatabase {
        /// Which one, from 1.
        number: usize,
    },
    /// An authority is of use with TLS only.
    #[error("address {number} of Redis must be rediss://, because a CA file is set")]
    PlainWithAuthority {
        /// Which one, from 1.
        number: usize,
    },
    /// It would end the keys' hash tag, or is no text for a key.
    #[error("the key prefix must be 1 to {MAX_PREFIX_BYTES} of a-z, A-Z, 0-9, '-', '_', '.' and ':'")]
    Prefix,
    /// A file that is named cannot be read.
    #[error("{} cannot be read", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The password is not text.
    #[error("{} must hold a password in UTF-8", path.display())]
    Password {
        /// The file.
        path: PathBuf,
    },
    /// What was checked is still not what a connection can be made from.
    #[error("Redis cannot be asked with these settings")]
    Client(#[from] redis::RedisError),
    /// The thread could not be started.
    #[error("the thread that speaks with Redis could not be started")]
    Thread(#[source] io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut RedisSettings)) -> String {
        let mut settings = RedisSettings::new(vec!["rediss://redis.example:6380".into()]);
        settings.check().unwrap();
        change(&mut settings);
        settings.check().unwrap_err().to_string()
    }

    #[test]
    fn a_setting_that_cannot_work_is_named() {
        assert!(refused(|s| s.addresses.clear()).contains("no address"));
        assert!(refused(|s| s.addresses.push("http://redis".into())).contains("address 2"));
        assert!(refused(|s| s.key_prefix = "a{b}".into()).contains("prefix"));
        assert!(refused(|s| s.password_file = Some("/nowhere/password".into())).contains("/nowhere/password"));
        assert!(refused(|s| s.ca_file = Some("/nowhere/ca.pem".into())).contains("/nowhere/ca.pem"));
        let database = refused(|s| {
            s.cluster = true;
            s.addresses = vec!["redis://redis:6379/3".into()];
        });
        assert!(database.contains("only 0"));
        let plain = refused(|s| {
            s.ca_file = Some("Cargo.toml".into());
            s.addresses = vec!["redis://redis:6379".into()];
        });
        assert!(plain.contains("rediss://"));
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_not_repeated() {
        let error = refused(|s| s.addresses = vec!["redis://u:hunter2@redis:6379".into()]);
        assert!(error.contains("password file") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_password_is_read_without_its_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "hunter2\n").unwrap();
        let mut settings = RedisSettings::new(vec!["redis://redis:6379/3".into()]);
        (settings.user, settings.password_file) = (Some("postern".into()), Some(path));
        let nodes = settings.nodes().unwrap();
        let own = nodes.first().unwrap().redis_settings();
        assert_eq!((own.username(), own.password(), own.db()), (Some("postern"), Some("hunter2"), 3));
        assert!(!format!("{settings:?}{nodes:?}").contains("hunter2"));
    }
}
