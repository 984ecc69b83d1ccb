//! What the recorder asks of its disk: files of its own user only, in folders that are there after a power cut.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use protocols::ids::ChannelId;
use protocols::recording::RecordingFault;

use crate::recording::SegmentName;

/// The folder of all recordings within the one given.
const RECORDINGS: &str = "recordings";
/// The folder in it of what is being copied from peers.
const INCOMING: &str = ".incoming";
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// The folder of all recordings within `data`.
pub(crate) fn recordings(data: &Path) -> PathBuf {
    data.join(RECORDINGS)
}

/// The two files of a segment that is being copied from a peer: named as none of the archive's own are.
#[derive(Debug, Clone)]
pub(crate) struct Incoming {
    pub(crate) folder: PathBuf,
    pub(crate) ts: PathBuf,
    pub(crate) index: PathBuf,
}

impl Incoming {
    pub(crate) fn folder(root: &Path) -> PathBuf {
        root.join(INCOMING)
    }

    pub(crate) fn of(root: &Path, channel: ChannelId, name: SegmentName) -> Self {
        let folder = Self::folder(root);
        let file = |suffix: &str| folder.join(format!("{channel}-{}-{}.{suffix}", name.day(), name.stem()));
        Self { ts: file("ts"), index: file("index"), folder }
    }
}

/// The folder of a channel's recordings.
pub(crate) fn channel_folder(root: &Path, channel: ChannelId) -> PathBuf {
    root.join(channel.to_string())
}

/// The two files of a segment.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    pub(crate) day: PathBuf,
    pub(crate) ts: PathBuf,
    pub(crate) index: PathBuf,
    /// Where the index lies once it was found not to fit its packets.
    pub(crate) damaged: PathBuf,
}

impl Paths {
    pub(crate) fn of(root: &Path, channel: ChannelId, name: SegmentName) -> Self {
        let day = channel_folder(root, channel).join(name.day());
        let file = |suffix: &str| day.join(format!("{}.{suffix}", name.stem()));
        Self { ts: file("ts"), index: file("index"), damaged: file("damaged"), day }
    }
}

/// Makes `folder`, and those above it that are not there, so that they stay.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_folder(parent)?;
        match DirBuilder::new().mode(FOLDER_MODE).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => return sync_folder(parent),
        }
    }
    DirBuilder::new().mode(FOLDER_MODE).create(folder)
}

/// Makes a file that was not there.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(FILE_MODE).open(path)
}

/// Makes what was created, renamed or deleted in a folder last.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Deletes a file that may be gone already.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Bytes that this user may still write where `folder` is.
pub(crate) fn free_bytes(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Makes the folder this process's alone to record in, for as long as the file is held.
pub(crate) fn lock(folder: &Path) -> io::Result<File> {
    make_folder(folder)?;
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(folder.join(".lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let text = format!("another process records in {}", folder.display());
            Err(io::Error::new(io::ErrorKind::ResourceBusy, text))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether the disk of `folder` takes a block: writes, makes last and deletes a file there.
pub(crate) fn probe(folder: &Path) -> io::Result<()> {
    use std::io::Write;
    make_folder(folder)?;
    let path = folder.join(".probe");
    remove(&path)?;
    let mut file = create(&path)?;
    let wrote = file.write_all(&[0; 4_096]).and_then(|()| file.sync_data());
    remove(&path)?;
    wrote
}

/// What kind of fault an error of the disk is.
pub(crate) fn fault(error: &io::Error) -> RecordingFault {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            RecordingFault::DiskFull
        }
        io::ErrorKind::ReadOnlyFilesystem => RecordingFault::ReadOnly,
        _ => RecordingFault::Other,
    }
}
