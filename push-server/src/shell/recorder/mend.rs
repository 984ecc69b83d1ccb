//! Segments that a recorder left as they were when it was killed, or its disk failed: what is sound of them is completed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use protocols::ids::ChannelId;

use super::disk::{self, Incoming, Paths};
use super::walk;
use crate::recording::index::{
    self, ENTRY_BYTES, Entry, HEADER_BYTES, Header, Index, IndexError, TRAILER_BYTES, Trailer,
};
use crate::recording::{Segment, SegmentName, recovery};

/// What became of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mended {
    /// It was complete.
    Complete(Segment),
    /// It is complete now; `lost` RTP packets of its index, and what was written behind them, are gone.
    Cut { segment: Segment, lost: usize },
    /// Nothing of it was sound: its files are gone.
    Removed,
    /// It was complete once and is not what it was.
    Damaged,
}

/// What may be done with files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rights {
    /// They are ours alone.
    Alter,
    /// Somebody else may be writing them.
    Look,
}

/// Looks at a segment, and completes it if it is not, as far as `rights` go.
pub(crate) fn mend(root: &Path, channel: ChannelId, name: SegmentName, rights: Rights) -> io::Result<Mended> {
    let paths = Paths::of(root, channel, name);
    if rights == Rights::Alter {
        finish_adoption(root, &paths, channel, name)?;
    }
    if let Some(segment) = complete(&paths, channel, name)? {
        return Ok(Mended::Complete(segment));
    }
    if rights == Rights::Look {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is not ours to complete"));
    }
    let index = match fs::read(&paths.index) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return remove(&paths),
        read => read?,
    };
    // Zeros: the header had no time to reach the disk.
    if index.iter().all(|byte| *byte == 0) {
        return remove(&paths);
    }
    match Index::parse(&index) {
        Err(IndexError::Short(_)) => remove(&paths),
        Err(_) => Ok(Mended::Damaged),
        Ok(index) if index.header.name() != name || index.header.channel != channel => Ok(Mended::Damaged),
        Ok(index) if index.trailer.is_some() => Ok(Mended::Damaged),
        Ok(index) => cut(&paths, &index),
    }
}

/// A segment of a peer had taken its place with its packets only: its index follows.
fn finish_adoption(root: &Path, paths: &Paths, channel: ChannelId, name: SegmentName) -> io::Result<()> {
    let incoming = Incoming::of(root, channel, name);
    if paths.index.exists() || incoming.ts.exists() || !incoming.index.exists() || !paths.ts.exists() {
        return Ok(());
    }
    fs::rename(&incoming.index, &paths.index)?;
    disk::remove(&paths.damaged)?;
    disk::sync_folder(&paths.day)
}

/// The segment if its files look complete, by their ends and lengths.
fn complete(paths: &Paths, channel: ChannelId, name: SegmentName) -> io::Result<Option<Segment>> {
    use std::os::unix::fs::FileExt;
    let index = match File::open(&paths.index) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let len = index.metadata()?.len();
    if len < (HEADER_BYTES + TRAILER_BYTES) as u64 {
        return Ok(None);
    }
    let (mut head, mut end) = ([0; HEADER_BYTES], [0; TRAILER_BYTES]);
    index.read_exact_at(&mut head, 0)?;
    index.read_exact_at(&mut end, len - TRAILER_BYTES as u64)?;
    let Ok(header) = Header::decode(&head) else { return Ok(None) };
    let trailer = Trailer::decode(&end).filter(|trailer| trailer.index_bytes() == len);
    let Some(trailer) = trailer.filter(|_| header.name() == name && header.channel == channel) else {
        return Ok(None);
    };
    let there = fs::metadata(&paths.ts).map_or(0, |ts| ts.len());
    Ok((there == trailer.length_bytes).then(|| trailer.segment(&header)))
}

fn remove(paths: &Paths) -> io::Result<Mended> {
    disk::remove(&paths.index)?;
    disk::remove(&paths.ts)?;
    // A folder that has others stays.
    let _ = fs::remove_dir(&paths.day);
    Ok(Mended::Removed)
}

/// Cuts off what is not sound, and completes the rest. Done again when it was interrupted.
fn cut(paths: &Paths, index: &Index) -> io::Result<Mended> {
    let opened = OpenOptions::new().read(true).write(true).open(&paths.ts);
    let mut ts = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return remove(paths),
        opened => opened?,
    };
    let there = recovery::covered(&index.entries, ts.metadata()?.len());
    let walked = walk::walk(&index.header, &index.entries[..there.entries], &mut ts)?;
    let kept = &index.entries[..walked.sound.entries];
    let Some(last) = kept.last() else { return remove(paths) };
    let trailer = Trailer {
        entries: u32::try_from(kept.len()).map_err(io::Error::other)?,
        missing: last.number + 1 - u32::try_from(kept.len()).map_err(io::Error::other)?,
        end_date_ms: end_date_ms(index, kept, last),
        length_bytes: walked.sound.bytes,
        hash: walked.hash,
    };
    ts.set_len(walked.sound.bytes)?;
    ts.sync_data()?;
    complete_index(paths, index, &trailer)?;
    let lost = index.entries.len() - kept.len();
    Ok(Mended::Cut { segment: trailer.segment(&index.header), lost })
}

/// The end of `kept`, of which `last` is the last.
fn end_date_ms(index: &Index, kept: &[Entry], last: &Entry) -> u64 {
    let marked =
        kept.iter().rev().take_while(|entry| entry.date_10ms == last.date_10ms).last().unwrap_or(last);
    index::end_date_ms((index.header.date_of(marked), marked.timestamp_90k), last.timestamp_90k)
}

fn complete_index(paths: &Paths, index: &Index, trailer: &Trailer) -> io::Result<()> {
    let kept = usize::try_from(trailer.entries).map_err(io::Error::other)?;
    let mut covered = index.header.encode().to_vec();
    index.entries[..kept].iter().for_each(|entry| covered.extend_from_slice(&entry.encode()));
    debug_assert_eq!(covered.len(), HEADER_BYTES + kept * ENTRY_BYTES);
    let mut file = OpenOptions::new().write(true).open(&paths.index)?;
    file.set_len(covered.len() as u64)?;
    file.seek(SeekFrom::End(0))?;
    file.write_all(&trailer.encode(blake3::Hasher::new().update(&covered)))?;
    file.sync_data()
}
