//! How full the store and its volume are.

use std::path::Path;

/// Bytes of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    /// In all.
    pub size: u64,
    /// That this process may still write.
    pub available: u64,
}

/// Returns the volume that holds a folder; none where the system does not say.
#[must_use]
pub fn volume(folder: &Path) -> Option<Volume> {
    let told = rustix::fs::statvfs(folder).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(told.f_frsize);
    Some(Volume { size: bytes(told.f_blocks), available: bytes(told.f_bavail) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volume_of_a_folder_has_a_size_and_what_is_not_there_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let found = volume(folder.path()).unwrap();
        assert!(found.size > 0 && found.available <= found.size);
        assert_eq!(volume(&folder.path().join("missing")), None);
    }
}
