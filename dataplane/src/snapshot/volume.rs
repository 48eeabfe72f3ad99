//! The last good snapshot on the dataplane's own volume, so that a restart serves before anybody answers.
//!
//! One file a tenant, written beside and renamed over the old one, readable by its owner only: secrets are
//! in it. The installation decides what the volume is; by default it is memory-backed.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use policy::names::TenantName;
use policy::snapshot::{Blob, BlobError, TenantSnapshot};
use policy::upstream::{ServiceEndpoints, ServicePort};
use serde::de::DeserializeOwned;

use super::flush::Flush;

/// Bytes of one tenant's file that are read back; more is refused rather than loaded.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;
const SUFFIX: &str = "tenant";
const ENDPOINTS: &str = "endpoints";
/// There while all that a publisher had was applied here once: what is on the volume is a complete set.
const COMPLETE: &str = "complete";

/// Why the volume could not be used.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The file system said no.
    #[error("could not {step} {path}")]
    Io {
        /// What was tried.
        step: &'static str,
        /// Where.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// A file is not what this build writes.
    #[error("could not read what was kept in {path}")]
    Content {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: BlobError,
    },
    /// A tenant could not be encoded.
    #[error("could not encode a tenant")]
    Encode(#[source] BlobError),
}

fn io(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> VolumeError {
    let path = path.to_owned();
    move |source| VolumeError::Io { step, path, source }
}

/// What was kept, and what of it could not be read.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) tenants: Vec<TenantSnapshot>,
    pub(super) endpoints: Vec<ServiceEndpoints>,
    pub(super) errors: Vec<VolumeError>,
}

/// A folder of last good tenants.
#[derive(Debug)]
pub struct Volume {
    folder: PathBuf,
    flush: Flush,
}

impl Volume {
    /// Opens the folder, and makes it when it is not there.
    ///
    /// # Errors
    /// [`VolumeError::Io`]
    pub fn open(folder: &Path) -> Result<Self, VolumeError> {
        fs::create_dir_all(folder).map_err(io("make", folder))?;
        fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(io("protect", folder))?;
        let flush = Flush::start(folder).map_err(io("start the thread that flushes", folder))?;
        Ok(Self { folder: folder.to_owned(), flush })
    }

    fn path(&self, tenant: &TenantName) -> PathBuf {
        // A tenant's name is a DNS label: it cannot leave the folder.
        self.folder.join(format!("{tenant}.{SUFFIX}"))
    }

    /// Keeps a tenant.
    ///
    /// # Errors
    /// [`VolumeError`]; what was there before is then still there.
    pub fn keep(&self, snapshot: &TenantSnapshot) -> Result<(), VolumeError> {
        let (blob, path) = (Blob::encode(snapshot).map_err(VolumeError::Encode)?, self.path(&snapshot.tenant));
        // What would not be read back is not kept.
        if blob.bytes().len() as u64 > MAX_FILE_BYTES {
            return Err(io("keep more than 64 MiB in", &path)(io::ErrorKind::FileTooLarge.into()));
        }
        self.write(&path, blob.bytes())
    }

    /// What was kept of a tenant.
    ///
    /// # Errors
    /// [`VolumeError`]
    pub fn tenant(&self, name: &TenantName) -> Result<TenantSnapshot, VolumeError> {
        read(&self.path(name))
    }

    /// Keeps the endpoints of one port of a Service.
    ///
    /// # Errors
    /// [`VolumeError`]
    pub fn keep_endpoints(&self, endpoints: &ServiceEndpoints) -> Result<(), VolumeError> {
        let Some(path) = self.endpoints_path(&endpoints.service) else { return Ok(()) };
        let blob = Blob::encode(endpoints).map_err(VolumeError::Encode)?;
        self.write(&path, blob.bytes())
    }

    /// Forgets the endpoints of a port that nobody names.
    ///
    /// # Errors
    /// [`VolumeError::Io`]
    pub fn forget_endpoints(&self, service: &ServicePort) -> Result<(), VolumeError> {
        self.endpoints_path(service).map_or(Ok(()), |path| self.remove(&path))
    }

    /// Its names are DNS labels in Kubernetes; others could leave the folder, and are not kept.
    fn endpoints_path(&self, service: &ServicePort) -> Option<PathBuf> {
        let ServicePort { namespace, name, port } = service;
        let is_label = |text: &str| TenantName::parse(text).is_ok();
        (is_label(namespace) && is_label(name))
            .then(|| self.folder.join(format!("{namespace}.{name}.{port}.{ENDPOINTS}")))
    }

    /// Notes that what is kept is a complete set.
    ///
    /// # Errors
    /// [`VolumeError::Io`]
    pub fn complete(&self) -> Result<(), VolumeError> {
        let path = self.folder.join(COMPLETE);
        if path.exists() { Ok(()) } else { self.write(&path, b"") }
    }

    /// Whether what is kept is a complete set.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.folder.join(COMPLETE).exists()
    }

    /// Forgets a tenant that is gone.
    ///
    /// # Errors
    /// [`VolumeError::Io`]
    pub fn forget(&self, tenant: &TenantName) -> Result<(), VolumeError> {
        self.remove(&self.path(tenant))
    }

    /// Beside it first, then over it: who reads finds the one or the other, and a killed process the last.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), VolumeError> {
        let beside = path.with_extension("new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&beside).map_err(io("write", &beside))?;
        file.write_all(bytes).map_err(io("write", &beside))?;
        fs::rename(&beside, path).map_err(io("replace", path))?;
        self.flush.written(path);
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<(), VolumeError> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io("remove", path)(error)),
            _ => {
                self.flush.written(path);
                Ok(())
            }
        }
    }

    /// Everything that was kept, and what could not be read. One damaged file costs one tenant.
    pub(super) fn load(&self) -> Loaded {
        let mut loaded = Loaded::default();
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) => {
                loaded.errors.push(io("list", &self.folder)(error));
                return loaded;
            }
        };
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            match path.extension().and_then(std::ffi::OsStr::to_str) {
                Some(SUFFIX) => match read(&path) {
                    Ok(tenant) => loaded.tenants.push(tenant),
                    Err(error) => loaded.errors.push(error),
                },
                Some(ENDPOINTS) => match read(&path) {
                    Ok(endpoints) => loaded.endpoints.push(endpoints),
                    Err(error) => loaded.errors.push(error),
                },
                Some(_) | None => {}
            }
        }
        loaded
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, VolumeError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(io("open", path))?;
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(io("read", path))?;
    Blob::from_bytes(bytes).decode().map_err(|source| VolumeError::Content { path: path.to_owned(), source })
}
