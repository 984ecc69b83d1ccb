//! Kept lists on disk: one file for each database server, readable by its owner only, replaced whole.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use link::clock::Clock;
use protocols::p2_directory::ChannelList;
use tracing::debug;

use crate::cache::{Kept, MAX_FILE_BYTES, file_name};
use crate::target::HostPort;

/// The file of one database server.
#[derive(Debug)]
pub(super) struct CacheFile {
    path: PathBuf,
    /// A failure is told once.
    failed: bool,
}

impl CacheFile {
    /// The file for `database` in `folder`.
    pub(super) fn new(folder: &Path, database: &HostPort) -> Self {
        Self { path: folder.join(file_name(&database.to_string())), failed: false }
    }

    /// What is kept, if anything usable is.
    pub(super) fn load(&self) -> Option<Kept> {
        let mut bytes = Vec::new();
        let file = File::open(&self.path).ok()?;
        file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes).ok()?;
        let kept = Kept::decode(&bytes);
        if kept.is_none() {
            debug!(path = %self.path.display(), "the kept list cannot be read and is not used");
        }
        kept
    }

    /// Keeps `list`. That it cannot be kept is no reason not to watch: it is told once.
    pub(super) fn store(&mut self, list: ChannelList) {
        if self.failed {
            return;
        }
        let kept = Kept { wall: Clock::wall(), list };
        if let Err(error) = self.replace(&kept.encode()) {
            self.failed = true;
            tracing::warn!(path = %self.path.display(), %error, "the channel list cannot be kept");
        }
    }

    /// Writes beside and renames, so that a reader, or a crash, finds the old file or the new one.
    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let beside = self.path.with_extension(format!("{}.new", std::process::id()));
        let attempt = || {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            file.write_all(bytes)?;
            fs::rename(&beside, &self.path)
        };
        attempt().inspect_err(|_| {
            let _ = fs::remove_file(&beside);
        })
    }
}

/// The folder where lists are kept: `masthead` in the user's cache folder; `None` without a home.
pub fn default_folder() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(caches.join("masthead"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn database() -> HostPort {
        HostPort::parse("10.0.0.2:7402", None).unwrap()
    }

    #[test]
    fn a_kept_list_is_found_again_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("new");
        let mut file = CacheFile::new(&folder, &database());
        assert_eq!(file.load(), None);
        let list = ChannelList { offline: true, ..ChannelList::default() };
        file.store(ChannelList::default());
        file.store(list.clone());
        assert_eq!(file.load().unwrap().list, list);
        assert_eq!(fs::metadata(&file.path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_damaged_file_is_none_and_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = CacheFile::new(folder.path(), &database());
        fs::write(&file.path, b"MASTHEAD").unwrap();
        assert_eq!(file.load(), None);
        file.store(ChannelList::default());
        assert!(file.load().is_some());
    }
}
