//! The last good snapshot on the dataplane's own volume, so that a restart serves before anybody answers.
//!
//! One file a tenant, written beside and renamed over the old one, readable by its owner only: secrets are
//! in it. The installation decides what the volume is; by default it is memory-backed. Who changes something here does
//! not wait until it is written.

use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use policy::names::TenantName;
use policy::snapshot::{Blob, BlobError, TenantSnapshot};
use policy::upstream::{ServiceEndpoints, ServicePort};
use prometheus::IntGauge;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::holders::Record;
use super::kept_file::KeptFile;
use super::writer::Writer;

/// Bytes of one tenant's file that are read back; more is refused rather than loaded.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

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

impl VolumeError {
    pub(super) fn io(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { step, path, source }
    }
}

/// What was kept, and what of it could not be read.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) tenants: Vec<TenantSnapshot>,
    pub(super) endpoints: Vec<ServiceEndpoints>,
    /// The record of who held which identifier; one at most.
    pub(super) holders: Vec<Record>,
    pub(super) errors: Vec<VolumeError>,
    /// The files of these errors.
    pub(super) unread: Vec<KeptFile>,
}

impl Loaded {
    fn take<T: DeserializeOwned>(&mut self, path: &Path, place: impl FnOnce(&mut Self) -> &mut Vec<T>) {
        match read(path) {
            Ok(content) => place(self).push(content),
            Err(error) => {
                self.errors.push(error);
                self.unread.extend(KeptFile::at(path));
            }
        }
    }
}

/// A folder of last good tenants.
#[derive(Debug)]
pub struct Volume {
    folder: PathBuf,
    writer: Writer,
}

impl Volume {
    /// Opens the folder, and makes it when it is not there. How many files are not written yet is told.
    ///
    /// # Errors
    /// [`VolumeError::Io`]
    pub fn open(folder: &Path, unwritten: IntGauge) -> Result<Self, VolumeError> {
        fs::create_dir_all(folder).map_err(VolumeError::io("make", folder))?;
        fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(VolumeError::io("protect", folder))?;
        let writer = Writer::start(folder.to_owned(), unwritten);
        let writer = writer.map_err(VolumeError::io("start the thread that writes to", folder))?;
        Ok(Self { folder: folder.to_owned(), writer })
    }

    /// Keeps a tenant.
    ///
    /// # Errors
    /// [`VolumeError`]; what was there before is then still there.
    pub fn keep(&self, snapshot: &TenantSnapshot) -> Result<(), VolumeError> {
        self.put(KeptFile::Tenant(snapshot.tenant.clone()), snapshot)
    }

    /// What was kept of a tenant.
    ///
    /// # Errors
    /// [`VolumeError`]
    pub fn tenant(&self, name: &TenantName) -> Result<TenantSnapshot, VolumeError> {
        let file = KeptFile::Tenant(name.clone());
        let path = file.path(&self.folder);
        match self.writer.unwritten(&file) {
            None => read(&path),
            Some(Some(bytes)) => bytes.decode().map_err(|source| VolumeError::Content { path, source }),
            Some(None) => Err(VolumeError::io("open", &path)(io::ErrorKind::NotFound.into())),
        }
    }

    /// Keeps who held which identifier.
    ///
    /// # Errors
    /// [`VolumeError`]
    pub(super) fn keep_holders(&self, record: &Record) -> Result<(), VolumeError> {
        self.put(KeptFile::Holders, record)
    }

    /// Keeps the endpoints of one port of a Service.
    ///
    /// # Errors
    /// [`VolumeError`]
    pub fn keep_endpoints(&self, endpoints: &ServiceEndpoints) -> Result<(), VolumeError> {
        let Some(file) = endpoints_file(&endpoints.service) else { return Ok(()) };
        self.put(file, endpoints)
    }

    /// Forgets the endpoints of a port that nobody names.
    pub fn forget_endpoints(&self, service: &ServicePort) {
        if let Some(file) = endpoints_file(service) {
            self.forget_file(file);
        }
    }

    /// Takes a file away.
    pub(super) fn forget_file(&self, file: KeptFile) {
        self.writer.put(file, None);
    }

    /// Notes that what is kept is a complete set.
    pub fn complete(&self) {
        self.writer.put(KeptFile::Complete, Some(Blob::from_bytes(Vec::new())));
    }

    /// Whether what is kept is a complete set.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        KeptFile::Complete.path(&self.folder).exists()
    }

    /// Forgets a tenant that is gone.
    pub fn forget(&self, tenant: &TenantName) {
        self.forget_file(KeptFile::Tenant(tenant.clone()));
    }

    fn put<T: Serialize>(&self, file: KeptFile, content: &T) -> Result<(), VolumeError> {
        let bytes = Blob::encode(content).map_err(VolumeError::Encode)?;
        // What would not be read back is not kept.
        if bytes.bytes().len() as u64 > MAX_FILE_BYTES {
            let path = file.path(&self.folder);
            return Err(VolumeError::io("keep more than 64 MiB in", &path)(io::ErrorKind::FileTooLarge.into()));
        }
        self.writer.put(file, Some(bytes));
        Ok(())
    }

    /// Everything that was kept, and what could not be read. One damaged file costs one tenant.
    pub(super) fn load(&self) -> Loaded {
        let mut loaded = Loaded::default();
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) => {
                loaded.errors.push(VolumeError::io("list", &self.folder)(error));
                return loaded;
            }
        };
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            match path.extension().and_then(std::ffi::OsStr::to_str) {
                Some(KeptFile::TENANT) => loaded.take(&path, |loaded| &mut loaded.tenants),
                Some(KeptFile::ENDPOINTS) => loaded.take(&path, |loaded| &mut loaded.endpoints),
                Some(_) | None => {}
            }
        }
        let holders = KeptFile::Holders.path(&self.folder);
        if holders.exists() {
            loaded.take(&holders, |loaded| &mut loaded.holders);
        }
        loaded
    }
}

/// Names are DNS labels in Kubernetes; others could leave the folder, and are not kept.
fn endpoints_file(service: &ServicePort) -> Option<KeptFile> {
    let is_label = |text: &str| TenantName::parse(text).is_ok();
    (is_label(&service.namespace) && is_label(&service.name)).then(|| KeptFile::Endpoints(service.clone()))
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, VolumeError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(VolumeError::io("open", path))?;
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(VolumeError::io("read", path))?;
    Blob::from_bytes(bytes).decode().map_err(|source| VolumeError::Content { path: path.to_owned(), source })
}
