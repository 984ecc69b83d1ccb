//! Reads segments: the very packets that were recorded, also of one that is still growing.

use std::fs::{self, File};
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use protocols::ids::ChannelId;
use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use super::archive::{Archive, Held};
use super::disk::Paths;
use super::writer::Growing;
use crate::recording::index::{Entry, Header, Index, IndexError, MARKED_WITHIN_MS, TICKS_PER_MS, Trailer};
use crate::recording::packets;
use media::packet::PACKET_BYTES;

/// Transport packets are read from the disk in pieces of so many bytes.
const AHEAD_BYTES: usize = 128 * 1_024;

/// Whether a read may wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Haste {
    /// Only what the page cache has; else an error of kind `WouldBlock`.
    Now,
    /// Yes.
    Wait,
}

/// An open segment. Packets have places in it, from 0.
#[derive(Debug)]
pub struct SegmentReader {
    header: Header,
    trailer: Option<Trailer>,
    entries: Vec<Entry>,
    /// For each entry, transport packets before it.
    before: Vec<u32>,
    ts: File,
    growing: Option<Arc<Growing>>,
    /// A piece of the transport packets, and where in the file it begins.
    ahead: Vec<u8>,
    ahead_from: u64,
}

impl SegmentReader {
    pub(super) fn open(paths: &Paths, growing: Option<Arc<Growing>>) -> io::Result<Self> {
        let ts = File::open(&paths.ts)?;
        let mut reader = Self {
            header: Header { channel: ChannelId(0), ssrc: 0, number: 0, date_ms: 0 },
            trailer: None,
            entries: Vec::new(),
            before: Vec::new(),
            ts,
            growing,
            ahead: Vec::new(),
            ahead_from: 0,
        };
        if let Some(growing) = &reader.growing {
            reader.header = *growing.header();
            reader.refresh();
        } else {
            let index = Index::parse(&fs::read(&paths.index)?).map_err(|error| damaged(paths, error))?;
            (reader.header, reader.trailer) = (index.header, index.trailer);
            reader.extend(&index.entries);
        }
        Ok(reader)
    }

    /// Takes in what has been written since. Answers whether the segment may still grow.
    pub fn refresh(&mut self) -> bool {
        let Some(growing) = self.growing.clone() else { return false };
        let progress = growing.progress();
        let ended = progress.ended;
        self.extend(&progress.entries[self.entries.len()..]);
        !ended
    }

    fn extend(&mut self, entries: &[Entry]) {
        let mut next = self.end();
        for entry in entries {
            self.before.push(next);
            next += u32::from(entry.count);
        }
        self.entries.extend_from_slice(entries);
    }

    /// Transport packets of all entries.
    fn end(&self) -> u32 {
        self.entries.last().zip(self.before.last()).map_or(0, |(last, before)| before + u32::from(last.count))
    }

    /// What its packets have in common.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Its end, if it was complete when it was opened.
    pub fn trailer(&self) -> Option<&Trailer> {
        self.trailer.as_ref()
    }

    /// How many packets it has, as far as it was looked at.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry of the packet at `place`.
    pub fn entry(&self, place: usize) -> Option<&Entry> {
        self.entries.get(place)
    }

    /// Number of the packet at `place`.
    pub fn number(&self, place: usize) -> Option<u64> {
        self.entry(place).map(|entry| self.header.number + u64::from(entry.number))
    }

    /// Date of the packet at `place`: that of the mark before it, and what timestamps say has passed since, ms since 1970.
    pub fn date_ms(&self, place: usize) -> Option<u64> {
        let entry = self.entry(place)?;
        let marked = self.entries[..=place].partition_point(|before| before.date_10ms < entry.date_10ms);
        Some(self.header.date_ms + self.since_first_ms(marked, entry))
    }

    /// From the segment's first packet to `entry`; the packet at `marked` is the first with its date in the index.
    fn since_first_ms(&self, marked: usize, entry: &Entry) -> u64 {
        let since_90k = entry.timestamp_90k.wrapping_sub(self.entries[marked].timestamp_90k);
        let since_ms = u64::from(since_90k) / TICKS_PER_MS;
        let date_ms = self.header.date_of(entry) - self.header.date_ms;
        date_ms + if since_ms < MARKED_WITHIN_MS { since_ms } else { 0 }
    }

    /// The place of `number`, or of the first packet after it; [`Self::len`] where there is none.
    pub fn at_number(&self, number: u64) -> usize {
        let Some(number) = number.checked_sub(self.header.number) else { return 0 };
        self.entries.partition_point(|entry| u64::from(entry.number) < number)
    }

    /// The place of the last packet dated `date_ms` or earlier; the first where there is none.
    pub fn at_date(&self, date_ms: u64) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.date_ms(middle).is_some_and(|date| date <= date_ms) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.saturating_sub(1)
    }

    /// The place of the last packet at or before `place` where decoding may begin.
    pub fn access_at(&self, place: usize) -> Option<usize> {
        self.entries.get(..=place)?.iter().rposition(|entry| entry.access)
    }

    /// The place of the first packet after `place` where decoding may begin.
    pub fn access_after(&self, place: usize) -> Option<usize> {
        let later = self.entries.get(place + 1..)?;
        later.iter().position(|entry| entry.access).map(|ahead| place + 1 + ahead)
    }

    /// The place of the first packet dated `date_ms` or later; [`Self::len`] where there is none.
    pub fn from_date(&self, date_ms: u64) -> usize {
        let Some(before) = date_ms.checked_sub(1) else { return 0 };
        let place = self.at_date(before);
        place + usize::from(self.date_ms(place).is_some_and(|date| date < date_ms))
    }

    /// The place of the first packet at or after `place` where decoding may begin.
    pub fn access_from(&self, place: usize) -> Option<usize> {
        let later = self.entries.get(place..)?;
        later.iter().position(|entry| entry.access).map(|ahead| place + ahead)
    }

    /// The place behind the picture of the random access point at `place`, if all of it is here and it has `most` packets at most.
    pub fn picture_end(&self, place: usize, most: usize) -> Option<usize> {
        let picture = self.entries.get(place..)?;
        let picture = &picture[..picture.len().min(most)];
        let last = 1 + picture.get(1..)?.iter().position(|entry| entry.picture_end || entry.access)?;
        let whole = picture[last].picture_end
            && picture[last].number - picture[0].number == u32::try_from(last).ok()?;
        whole.then_some(place + last + 1)
    }

    /// As [`Self::date_ms`], for places that ascend one by one: `marked` is 0 at first, and kept from one call to the next.
    pub fn date_ms_near(&self, place: usize, marked: &mut usize) -> Option<u64> {
        let entry = self.entry(place)?;
        let mark = self.entries.get(*marked)?;
        if mark.date_10ms != entry.date_10ms || *marked > place {
            *marked = self.entries[..=place].partition_point(|before| before.date_10ms < entry.date_10ms);
        }
        Some(self.header.date_ms + self.since_first_ms(*marked, entry))
    }

    /// Where in the file the transport packets of the packets at `places` are, in bytes.
    pub fn span(&self, places: Range<usize>) -> Range<u64> {
        let begin = |place| self.before.get(place).copied().unwrap_or(self.end());
        let bytes = |place| u64::from(begin(place)) * PACKET_BYTES as u64;
        bytes(places.start)..bytes(places.end)
    }

    /// Fills `into` with transport packets, from byte `from` of the file on.
    pub fn fill(&self, from: u64, into: &mut [u8], haste: Haste) -> io::Result<()> {
        if haste == Haste::Wait {
            return self.ts.read_exact_at(into, from);
        }
        let wanted = into.len();
        match preadv2(&self.ts, &mut [IoSliceMut::new(into)], from, ReadWriteFlags::NOWAIT) {
            Ok(read) if read == wanted => Ok(()),
            // Partly there, or of a file system that cannot tell: whoever waits finds out.
            Ok(_) | Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::INTR) => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// These bytes of the file need not stay in the page cache.
    pub fn let_go(&self, bytes: Range<u64>) {
        let Some(len) = NonZeroU64::new(bytes.end.saturating_sub(bytes.start)) else { return };
        // Advice: where it is not taken, nothing is lost but room.
        let _ = fadvise(&self.ts, bytes.start, Some(len), Advice::DontNeed);
    }

    /// Adds the RTP packet at `place`, as P6 sent it, to `out`; false when there is none.
    pub fn read(&mut self, place: usize, out: &mut Vec<u8>) -> io::Result<bool> {
        let Some(entry) = self.entries.get(place).copied() else { return Ok(false) };
        let from = u64::from(self.before[place]) * PACKET_BYTES as u64;
        let len = packets::payload_bytes(&entry);
        self.look_ahead(from, len)?;
        let at = usize::try_from(from - self.ahead_from).map_err(io::Error::other)?;
        packets::write_header(&self.header, &entry, out);
        out.extend_from_slice(&self.ahead[at..at + len]);
        Ok(true)
    }

    /// Has `len` bytes from `from` on at hand.
    fn look_ahead(&mut self, from: u64, len: usize) -> io::Result<()> {
        let end = from + len as u64;
        if from >= self.ahead_from && end <= self.ahead_from + self.ahead.len() as u64 {
            return Ok(());
        }
        let all = u64::from(self.end()) * PACKET_BYTES as u64;
        let most = usize::try_from(all - from).unwrap_or(AHEAD_BYTES).min(AHEAD_BYTES.max(len));
        self.ahead.resize(most, 0);
        let read = self.ts.read_exact_at(&mut self.ahead, from);
        self.ahead_from = from;
        if read.is_err() {
            self.ahead.clear();
        }
        read
    }
}

fn damaged(paths: &Paths, error: IndexError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", paths.index.display()))
}

/// A packet that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Played {
    /// Source of its packets.
    pub ssrc: u32,
    /// Its number.
    pub number: u64,
    /// Its date, ms since 1970.
    pub date_ms: u64,
    /// Decoding may begin here.
    pub access: bool,
    /// The picture of the random access point before ends: another begins in this packet.
    pub picture_end: bool,
}

/// Reads a channel's packets one after another, from segment to segment, up to what is being written.
#[derive(Debug)]
pub struct Cursor {
    archive: Arc<Archive>,
    channel: ChannelId,
    segment: SegmentReader,
    place: usize,
}

impl Cursor {
    pub(super) fn new(
        archive: Arc<Archive>,
        channel: ChannelId,
        segment: SegmentReader,
        place: usize,
    ) -> Self {
        Self { archive, channel, segment, place }
    }

    /// The segment that it reads.
    pub fn segment(&mut self) -> &mut SegmentReader {
        &mut self.segment
    }

    /// The place in it of the packet that is next.
    pub fn place(&self) -> usize {
        self.place
    }

    /// Goes to another place in the segment.
    pub fn go_to(&mut self, place: usize) {
        self.place = place;
    }

    /// Adds the next packet to `out`; `None`: there is none yet. Where numbers or sources jump, something is not here.
    pub fn next(&mut self, out: &mut Vec<u8>) -> io::Result<Option<Played>> {
        if self.place >= self.segment.len() && !self.more()? {
            return Ok(None);
        }
        let (Some(entry), Some(number), Some(date_ms)) = (
            self.segment.entry(self.place).copied(),
            self.segment.number(self.place),
            self.segment.date_ms(self.place),
        ) else {
            return Ok(None);
        };
        self.segment.read(self.place, out)?;
        self.place += 1;
        let ssrc = self.segment.header().ssrc;
        let Entry { access, picture_end, .. } = entry;
        Ok(Some(Played { ssrc, number, date_ms, access, picture_end }))
    }

    /// Everything looked at was read: looks further, into the next segment if this one has ended.
    fn more(&mut self) -> io::Result<bool> {
        let grows = self.segment.refresh();
        if self.place < self.segment.len() {
            return Ok(true);
        }
        if grows {
            return Ok(false);
        }
        let mut name = self.segment.header().name();
        while let Some(next) = self.archive.after(self.channel, name) {
            match self.archive.open(self.channel, next) {
                Ok(reader) if !reader.is_empty() => {
                    (self.segment, self.place) = (reader, 0);
                    return Ok(true);
                }
                Ok(_) if matches!(self.archive.held(self.channel, next), Some(Held::Growing(_))) => {
                    return Ok(false);
                }
                // Deleted or put aside since it was found.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Ok(_) => {}
                Err(error) => return Err(error),
            }
            name = next;
        }
        Ok(false)
    }
}
