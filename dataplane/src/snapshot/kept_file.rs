//! The files of the last good, and the order in which they are written.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use policy::names::TenantName;
use policy::snapshot::Blob;
use policy::upstream::ServicePort;

use super::VolumeError;

/// One file. What others need comes first: a process that is killed in between leaves neither a new tenant without its
/// endpoints nor the mark of a set that is not whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum KeptFile {
    /// Which tenant held which identifier.
    Holders,
    /// The endpoints of one port of a Service.
    Endpoints(ServicePort),
    /// A tenant.
    Tenant(TenantName),
    /// There while all that a publisher had was applied here once: what is on the volume is a complete set.
    Complete,
}

impl KeptFile {
    pub(super) const TENANT: &str = "tenant";
    pub(super) const ENDPOINTS: &str = "endpoints";

    /// Where it is in its folder. The caller saw to it that names are DNS labels, which cannot leave the folder.
    pub(super) fn path(&self, folder: &Path) -> PathBuf {
        folder.join(match self {
            Self::Endpoints(ServicePort { namespace, name, port }) => {
                format!("{namespace}.{name}.{port}.{}", Self::ENDPOINTS)
            }
            Self::Tenant(tenant) => format!("{tenant}.{}", Self::TENANT),
            Self::Holders => "identifiers.holders".to_owned(),
            Self::Complete => "complete".to_owned(),
        })
    }

    /// Which of them is at this path.
    pub(super) fn at(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let (stem, extension) = name.rsplit_once('.')?;
        match extension {
            Self::TENANT => TenantName::parse(stem).ok().map(Self::Tenant),
            Self::ENDPOINTS => {
                let (service, port) = stem.rsplit_once('.')?;
                let (namespace, name) = service.split_once('.')?;
                let port = port.parse().ok()?;
                Some(Self::Endpoints(ServicePort { namespace: namespace.into(), name: name.into(), port }))
            }
            _ => None,
        }
    }

    /// Brings it to what it is to be; without bytes it goes.
    pub(super) fn bring(&self, folder: &Path, bytes: Option<&Blob>) -> Result<(), VolumeError> {
        let path = self.path(folder);
        match bytes {
            Some(bytes) => write(&path, bytes.bytes()),
            None => remove(&path),
        }
    }
}

/// Beside it first, then over it: who reads finds the one or the other, and a killed process the last.
fn write(path: &Path, bytes: &[u8]) -> Result<(), VolumeError> {
    let beside = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&beside).map_err(VolumeError::io("write", &beside))?;
    file.write_all(bytes).map_err(VolumeError::io("write", &beside))?;
    fs::rename(&beside, path).map_err(VolumeError::io("replace", path))
}

fn remove(path: &Path) -> Result<(), VolumeError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(VolumeError::io("remove", path)(error)),
        _ => Ok(()),
    }
}
