//! What has come of a segment that is being copied: two files that no archive takes for a segment, kept over an
//! interruption, thrown away when nobody goes on with them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use protocols::ids::ChannelId;

use crate::recording::index::{Header, Index, Trailer};
use crate::recording::{Segment, packets, recovery};
use crate::shell::recorder::disk::{self, Incoming};

/// What was not touched for so long is thrown away.
const STALE: Duration = Duration::from_hours(1);
/// Files that may lie there; of more, the oldest are thrown away.
const MAX_FILES: usize = 32;
/// After so many bytes the disk is waited for, so that no more of this than that is ever in the way of the recorder.
const SYNC_BYTES: usize = 4 * 1_024 * 1_024;

/// One segment on its way in.
#[derive(Debug)]
pub(super) struct Arriving {
    files: Incoming,
    ts: File,
    unsynced: usize,
    /// Bytes of transport packets that are there.
    pub(super) there_bytes: u64,
}

/// The index of `theirs` in `bytes`; why not, if it is another's.
pub(super) fn index_of(bytes: &[u8], channel: ChannelId, theirs: &Segment) -> Result<Index, String> {
    let index = Index::parse(bytes).map_err(|error| format!("the index of {}: {error}", theirs.name))?;
    let is = |header: &Header, trailer: &Trailer| {
        let payloads: u64 = index.entries.iter().map(|entry| packets::payload_bytes(entry) as u64).sum();
        let span = index.entries.last().map_or(0, |last| u64::from(last.number) + 1);
        header.channel == channel
            && trailer.segment(header) == *theirs
            && payloads == theirs.length_bytes
            && span == u64::from(theirs.packets) + u64::from(theirs.missing)
            && index.entries.first().is_some_and(|first| first.number == 0)
    };
    match &index.trailer {
        Some(trailer) if is(&index.header, trailer) => Ok(index),
        _ => Err(format!("the index of {} is not that of the segment that was listed", theirs.name)),
    }
}

/// The index of `theirs`, if an earlier transfer has left it.
pub(super) fn left(root: &Path, channel: ChannelId, theirs: &Segment) -> Option<Index> {
    let bytes = fs::read(Incoming::of(root, channel, theirs.name).index).ok()?;
    index_of(&bytes, channel, theirs).ok()
}

impl Arriving {
    /// Begins with the bytes of the segment's index.
    pub(super) fn begin(root: &Path, channel: ChannelId, theirs: &Segment, index: &[u8]) -> io::Result<Self> {
        let files = Incoming::of(root, channel, theirs.name);
        disk::make_folder(&files.folder)?;
        disk::remove(&files.ts)?;
        disk::remove(&files.index)?;
        let ts = disk::create(&files.ts)?;
        let mut file = disk::create(&files.index)?;
        file.write_all(index)?;
        file.sync_data()?;
        disk::sync_folder(&files.folder)?;
        Ok(Self { files, ts, unsynced: 0, there_bytes: 0 })
    }

    /// Goes on behind the last whole packet that is there of the segment of `index`.
    pub(super) fn resume(
        root: &Path,
        channel: ChannelId,
        theirs: &Segment,
        index: &Index,
    ) -> io::Result<Self> {
        let files = Incoming::of(root, channel, theirs.name);
        let mut ts = match OpenOptions::new().read(true).write(true).open(&files.ts) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => disk::create(&files.ts)?,
            opened => opened?,
        };
        let there_bytes = recovery::covered(&index.entries, ts.metadata()?.len()).bytes;
        ts.set_len(there_bytes)?;
        ts.seek(SeekFrom::End(0))?;
        Ok(Self { files, ts, unsynced: 0, there_bytes })
    }

    /// Adds what has come.
    pub(super) fn add(&mut self, piece: &[u8]) -> io::Result<()> {
        self.ts.write_all(piece)?;
        self.there_bytes += piece.len() as u64;
        self.unsynced += piece.len();
        if self.unsynced >= SYNC_BYTES {
            self.sync()?;
        }
        Ok(())
    }

    /// Makes what has come last, and gives the memory that it takes to what is watched.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.unsynced = 0;
        self.ts.sync_data()?;
        // Advice, which may be ignored.
        let _ = rustix::fs::fadvise(&self.ts, 0, None, rustix::fs::Advice::DontNeed);
        Ok(())
    }

    /// Where it lies.
    pub(super) fn files(&self) -> &Incoming {
        &self.files
    }

    /// Throws it away.
    pub(super) fn discard(self) -> io::Result<()> {
        disk::remove(&self.files.ts)?;
        disk::remove(&self.files.index)
    }
}

/// Throws away what nobody has gone on with; how many files.
pub(super) fn clean(root: &Path, now: SystemTime) -> io::Result<u64> {
    let entries = match fs::read_dir(Incoming::folder(root)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        files.push((entry.metadata()?.modified()?, entry.path()));
    }
    files.sort();
    let excess = files.len().saturating_sub(MAX_FILES);
    let mut thrown = 0;
    for (place, (modified, path)) in files.iter().enumerate() {
        let stale = now.duration_since(*modified).is_ok_and(|age| age >= STALE);
        if place < excess || stale {
            disk::remove(path)?;
            thrown += 1;
        }
    }
    Ok(thrown)
}
