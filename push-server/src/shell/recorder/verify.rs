//! Whether what is kept is what was recorded: each segment read and hashed anew.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use protocols::ids::ChannelId;
use serde::Serialize;

use super::archive::{Archive, Held};
use super::disk::{self, Paths};
use super::walk;
use crate::recording::SegmentName;
use crate::recording::index::{HEADER_BYTES, Index};

/// What is wrong with a segment that is complete.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Its index cannot be read, or is not what was written.
    #[error("index: {0}")]
    Index(String),
    /// Its transport packets cannot be read.
    #[error("packets: {0}")]
    Unreadable(String),
    /// There are more or fewer transport packets than were recorded.
    #[error("{there} bytes of packets instead of {recorded}")]
    Length {
        /// So many bytes are there.
        there: u64,
        /// So many were recorded.
        recorded: u64,
    },
    /// The packets are not those that were recorded.
    #[error("the packets are not those that were recorded")]
    Hash,
}

/// Verifies a complete segment. `Ok(None)`: it is not there, or not complete.
pub(crate) fn verify(root: &Path, channel: ChannelId, name: SegmentName) -> Result<Option<Index>, Flaw> {
    let paths = Paths::of(root, channel, name);
    files(&paths.ts, &paths.index)
}

/// As [`verify`] the files of a segment, wherever they are.
pub(crate) fn files(ts: &Path, index: &Path) -> Result<Option<Index>, Flaw> {
    let bytes = match fs::read(index) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Flaw::Index(error.to_string())),
        Ok(bytes) => bytes,
    };
    let index = Index::parse(&bytes).map_err(|error| Flaw::Index(error.to_string()))?;
    let Some(trailer) = index.trailer else { return Ok(None) };
    let unreadable = |error: io::Error| Flaw::Unreadable(error.to_string());
    let mut ts = File::open(ts).map_err(unreadable)?;
    // What nobody watches is not to push out what somebody does: advice, which may be ignored.
    let _ = rustix::fs::fadvise(&ts, 0, None, rustix::fs::Advice::NoReuse);
    let there = ts.metadata().map_err(unreadable)?.len();
    if there != trailer.length_bytes {
        return Err(Flaw::Length { there, recorded: trailer.length_bytes });
    }
    let walked = walk::walk(&index.header, &index.entries, &mut ts).map_err(unreadable)?;
    let equal = walked.hash == trailer.hash && walked.sound.entries == index.entries.len();
    if equal { Ok(Some(index)) } else { Err(Flaw::Hash) }
}

/// The outcome of one segment.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// Its channel.
    pub channel: ChannelId,
    /// Its name: folder and file.
    pub segment: String,
    /// RTP packets.
    pub packets: u64,
    /// Numbers without one.
    pub missing: u64,
    /// Bytes of transport packets.
    pub bytes: u64,
    /// BLAKE3 of its packets, in hexadecimal digits; empty where it is not known.
    pub hash: String,
    /// `whole`, `holes`, `unfinished` or `damaged`.
    pub state: &'static str,
    /// What is wrong.
    pub flaw: Option<String>,
}

/// What `--verify` found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Each segment, by channel and date.
    pub segments: Vec<Line>,
    /// How many are damaged.
    pub damaged: usize,
}

/// Verifies all segments in the recordings of `data`, and alters nothing. A recorder may be at work there.
pub fn all(data: &Path) -> io::Result<Report> {
    let archive = Arc::new(Archive::new(disk::recordings(data)));
    archive.list()?;
    let mut segments = Vec::new();
    for (channel, name, held) in archive.all() {
        segments.push(line(archive.root(), channel, name, &held));
    }
    let damaged = segments.iter().filter(|line| line.state == "damaged").count();
    Ok(Report { segments, damaged })
}

/// Whether a recorder at work has made the files and not written the index's header yet: it comes with the first entries.
fn has_just_begun(paths: &Paths) -> bool {
    fs::metadata(&paths.index).is_ok_and(|index| index.len() < HEADER_BYTES as u64)
}

fn line(root: &Path, channel: ChannelId, name: SegmentName, held: &Held) -> Line {
    let mut line = Line {
        channel,
        segment: name.to_string(),
        packets: 0,
        missing: 0,
        bytes: 0,
        hash: String::new(),
        state: "unfinished",
        flaw: None,
    };
    if matches!(held, Held::Damaged) {
        line.state = "damaged";
        line.flaw = Some("found before, and put aside".to_owned());
        return line;
    }
    match verify(root, channel, name) {
        Ok(Some(Index { trailer: Some(trailer), .. })) => {
            line.packets = u64::from(trailer.entries);
            line.missing = u64::from(trailer.missing);
            line.bytes = trailer.length_bytes;
            line.hash = blake3::Hash::from_bytes(trailer.hash).to_hex().to_string();
            line.state = if trailer.missing == 0 { "whole" } else { "holes" };
        }
        Ok(_) => {}
        Err(_) if has_just_begun(&Paths::of(root, channel, name)) => {}
        Err(flaw) => {
            line.state = "damaged";
            line.flaw = Some(flaw.to_string());
        }
    }
    line
}
