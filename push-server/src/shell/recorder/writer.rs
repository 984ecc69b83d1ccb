//! One segment that grows: its transport packets, its index, and how much of both the disk has for good.
//!
//! ```text
//! packets ─► staged ─write─► .ts ─fdatasync─┐ then
//!        └─► entries ───────────────────────┴─write─► .index ─fdatasync─► durable
//! ```

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use media::rtp;

use super::disk::{self, Paths};
use crate::recording::index::{self, Entry, Header, Trailer};
use crate::recording::{Segment, SegmentName};

/// Transport packets are handed to the operating system when so many bytes of them are together.
const STAGED_BYTES: usize = 64 * 1_024;
/// Packets of one segment at most, should its dates stand still: 5.6 GB. One more begins another.
pub const MAX_PACKETS: u32 = 1 << 22;
/// Numbers that a segment spans at most, with what is undecided behind it: those of its entries fit 32 bits.
const MAX_SPAN: u32 = 1 << 30;

/// What others may know of a segment while it grows.
#[derive(Debug)]
pub struct Growing {
    header: Header,
    state: Mutex<Progress>,
}

/// How far a growing segment is.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Entries whose transport packets can be read.
    pub(crate) entries: Vec<Entry>,
    /// Bytes of their transport packets.
    pub(crate) length_bytes: u64,
    /// Of them so many are on the disk for good.
    pub(crate) durable: usize,
    /// It grows no more.
    pub(crate) ended: bool,
}

impl Growing {
    /// What its packets have in common.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Number of the packet after the last that is on the disk for good; that of the first where none is.
    pub fn durable_number(&self) -> u64 {
        let progress = self.progress();
        let last = progress.durable.checked_sub(1).and_then(|last| progress.entries.get(last));
        last.map_or(self.header.number, |last| self.header.number + u64::from(last.number) + 1)
    }

    pub(crate) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes one segment.
#[derive(Debug)]
pub(crate) struct SegmentWriter {
    growing: Arc<Growing>,
    ts: File,
    index: File,
    /// Over the RTP packets.
    packets: blake3::Hasher,
    /// Over what was written of the index.
    covered: blake3::Hasher,
    staged: Vec<u8>,
    /// Of the transport packets staged or written.
    length_bytes: u64,
    /// Entries of transport packets that are staged.
    unwritten: Vec<Entry>,
    /// Bytes of the index that are not written: the header, and entries whose packets are not yet durable.
    index_unwritten: Vec<u8>,
    entries: u32,
    /// Number, relative to the first, of the packet expected next.
    next_number: u32,
    /// Date and timestamp of the first packet with the date of the last, and that one's timestamp.
    marked: (u64, u32),
    last_90k: u32,
}

impl SegmentWriter {
    /// Makes the files. Nothing of the segment lasts before [`Self::flush`].
    pub(crate) fn begin(root: &Path, header: Header) -> io::Result<Self> {
        let paths = Paths::of(root, header.channel, header.name());
        disk::make_folder(&paths.day)?;
        let ts = disk::create(&paths.ts)?;
        let index = disk::create(&paths.index).inspect_err(|_| {
            // An index without packets is another segment's; packets without an index are none.
            let _ = disk::remove(&paths.ts);
        })?;
        disk::sync_folder(&paths.day)?;
        Ok(Self {
            growing: Arc::new(Growing { header, state: Mutex::default() }),
            ts,
            index,
            packets: blake3::Hasher::new(),
            covered: blake3::Hasher::new(),
            staged: Vec::with_capacity(STAGED_BYTES + rtp::PAYLOAD_BYTES_MAX),
            length_bytes: 0,
            unwritten: Vec::new(),
            index_unwritten: header.encode().to_vec(),
            entries: 0,
            next_number: 0,
            marked: (header.date_ms, 0),
            last_90k: 0,
        })
    }

    pub(crate) fn growing(&self) -> &Arc<Growing> {
        &self.growing
    }

    pub(crate) fn header(&self) -> &Header {
        &self.growing.header
    }

    pub(crate) fn name(&self) -> SegmentName {
        self.growing.header.name()
    }

    /// `number` as its entries have it.
    pub(crate) fn relative(&self, number: u64) -> u32 {
        u32::try_from(number - self.growing.header.number).expect("a segment that spans as much is full")
    }

    /// Takes RTP packets that lie one behind another, with an entry and a date for each.
    pub(crate) fn take(&mut self, packets: &[u8], entries: &[(Entry, u64)]) -> io::Result<()> {
        // In one piece: hashing many packets at a time takes a fraction of the time.
        self.packets.update(packets);
        let mut rest = packets;
        for (entry, date_ms) in entries {
            let len = rtp::HEADER_BYTES + crate::recording::packets::payload_bytes(entry);
            let (packet, after) = rest.split_at(len);
            rest = after;
            self.staged.extend_from_slice(&packet[rtp::HEADER_BYTES..]);
            self.length_bytes += (len - rtp::HEADER_BYTES) as u64;
            self.index_unwritten.extend_from_slice(&entry.encode());
            self.unwritten.push(*entry);
            self.entries += 1;
            self.next_number = entry.number + 1;
            if self.entries == 1 || self.marked.0 != *date_ms {
                self.marked = (*date_ms, entry.timestamp_90k);
            }
            self.last_90k = entry.timestamp_90k;
            if self.staged.len() >= STAGED_BYTES {
                self.write()?;
            }
        }
        Ok(())
    }

    /// Hands what is staged to the operating system; then it can be read.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        if self.staged.is_empty() {
            return Ok(());
        }
        self.ts.write_all(&self.staged)?;
        self.staged.clear();
        let mut progress = self.growing.progress();
        progress.entries.append(&mut self.unwritten);
        progress.length_bytes = self.length_bytes;
        Ok(())
    }

    /// Makes everything last: packets first, then their entries.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.write()?;
        if self.index_unwritten.is_empty() {
            return Ok(());
        }
        self.ts.sync_data()?;
        self.index.write_all(&self.index_unwritten)?;
        self.covered.update(&self.index_unwritten);
        self.index_unwritten.clear();
        self.index.sync_data()?;
        let mut progress = self.growing.progress();
        progress.durable = progress.entries.len();
        Ok(())
    }

    /// Whether it takes no more packets.
    pub(crate) fn is_full(&self) -> bool {
        self.entries >= MAX_PACKETS || self.next_number >= MAX_SPAN
    }

    /// Completes it: it ends at `end_date_ms`, or at its last packet. It is complete once its trailer is durable.
    pub(crate) fn complete(&mut self, end_date_ms: Option<u64>) -> io::Result<Segment> {
        self.flush()?;
        let trailer = Trailer {
            entries: self.entries,
            missing: self.next_number - self.entries,
            end_date_ms: end_date_ms.unwrap_or_else(|| index::end_date_ms(self.marked, self.last_90k)),
            length_bytes: self.length_bytes,
            hash: self.packets.finalize().into(),
        };
        self.index.write_all(&trailer.encode(&self.covered))?;
        self.index.sync_data()?;
        Ok(trailer.segment(self.header()))
    }
}

impl Drop for SegmentWriter {
    fn drop(&mut self) {
        self.growing.progress().ended = true;
    }
}
