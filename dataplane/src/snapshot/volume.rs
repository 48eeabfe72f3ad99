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

/// Bytes of one tenant's file that are read back; more is refused rather than loaded.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;
const SUFFIX: &str = "tenant";

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
    #[error("could not read the tenant in {path}")]
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

/// A folder of last good tenants.
#[derive(Debug)]
pub struct Volume {
    folder: PathBuf,
}

impl Volume {
    /// Opens the folder, and makes it when it is not there.
    ///
    /// # Errors
    /// [`VolumeError::Io`]
    pub fn open(folder: &Path) -> Result<Self, VolumeError> {
        fs::create_dir_all(folder).map_err(io("make", folder))?;
        fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(io("protect", folder))?;
        Ok(Self { folder: folder.to_owned() })
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
        let blob = Blob::encode(snapshot).map_err(VolumeError::Encode)?;
        let path = self.path(&snapshot.tenant);
        let beside = path.with_extension("new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&beside).map_err(io("write", &beside))?;
        file.write_all(blob.bytes()).and_then(|()| file.sync_all()).map_err(io("write", &beside))?;
        fs::rename(&beside, &path).map_err(io("replace", &path))
    }

    /// Forgets a tenant that is gone.
    ///
    /// # Errors
    /// [`VolumeError::Io`]
    pub fn forget(&self, tenant: &TenantName) -> Result<(), VolumeError> {
        let path = self.path(tenant);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    /// Every tenant that was kept, and what could not be read. One damaged file costs one tenant.
    #[must_use]
    pub fn load(&self) -> (Vec<TenantSnapshot>, Vec<VolumeError>) {
        let (mut tenants, mut errors) = (Vec::new(), Vec::new());
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) => return (tenants, vec![io("list", &self.folder)(error)]),
        };
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            if path.extension().is_some_and(|suffix| suffix == SUFFIX) {
                match read(&path) {
                    Ok(tenant) => tenants.push(tenant),
                    Err(error) => errors.push(error),
                }
            }
        }
        (tenants, errors)
    }
}

fn read(path: &Path) -> Result<TenantSnapshot, VolumeError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(io("open", path))?;
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(io("read", path))?;
    Blob::from_bytes(bytes).decode().map_err(|source| VolumeError::Content { path: path.to_owned(), source })
}
