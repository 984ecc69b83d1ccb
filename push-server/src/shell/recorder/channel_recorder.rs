//! One channel's recording, as its recorder thread makes it: packets into segments.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use media::random_access::{Place, RandomAccessFinder};
use media::rtp;

use super::archive::Archive;
use super::status::{Counts, Status};
use super::writer::SegmentWriter;
use crate::recording::chunk::{Chunk, Note};
use crate::recording::index::{Entry, Header};
use crate::recording::packets::Plain;
use crate::recording::segment::MAX_DATE_MS;
use crate::recording::segmenter::{Decision, Order, Seen, Segmenter};
use protocols::ids::ChannelId;

/// Records one channel.
#[derive(Debug)]
pub(super) struct ChannelRecorder {
    channel: ChannelId,
    archive: Arc<Archive>,
    status: Arc<Status>,
    segmenter: Segmenter,
    finder: RandomAccessFinder,
    /// Packets that no segment has yet, one behind another.
    bytes: Vec<u8>,
    packets: Vec<Pending>,
    entries: Vec<(Entry, u64)>,
    writer: Option<SegmentWriter>,
    /// When packets last came.
    heard: Instant,
}

/// A packet that no segment has yet.
#[derive(Debug, Clone, Copy)]
struct Pending {
    note: Note,
    plain: Plain,
    access: bool,
    picture_end: bool,
}

impl ChannelRecorder {
    pub(super) fn new(channel: ChannelId, archive: Arc<Archive>, status: Arc<Status>) -> Self {
        Self {
            channel,
            archive,
            status,
            segmenter: Segmenter::default(),
            finder: RandomAccessFinder::new(None),
            bytes: Vec::new(),
            packets: Vec::new(),
            entries: Vec::new(),
            writer: None,
            heard: Instant::now(),
        }
    }

    /// Records a chunk but for its last packets, of which it is not yet sure that they belong to this segment.
    pub(super) fn record(&mut self, now: Instant, chunk: &Chunk) -> io::Result<()> {
        self.heard = now;
        let mut held = self.packets.len();
        for (packet, note) in chunk.packets() {
            let plain = Plain::of(packet, note.number).filter(|_| note.date_ms < MAX_DATE_MS);
            let Some(plain) = plain else {
                Counts::add(&self.status.counts.refused, 1);
                continue;
            };
            if self.writer.as_ref().is_some_and(SegmentWriter::is_full) {
                self.settle(0)?;
                self.complete(None)?;
                self.segmenter.reset();
            }
            let order = self.segmenter.order(plain.ssrc, note.number);
            match order {
                Order::Repeated => {
                    Counts::add(&self.status.counts.repeated, 1);
                    continue;
                }
                Order::Anew => self.finder = RandomAccessFinder::new(None),
                Order::Next => {}
            }
            let decision = self.consider(packet, note, plain);
            if let Some(begin) = decision.begin {
                self.cut(begin, order, decision)?;
            }
            held = decision.held;
        }
        self.settle(held)
    }

    /// Takes a packet in, and learns from it.
    fn consider(&mut self, packet: &[u8], note: Note, plain: Plain) -> Decision {
        let Plain { ssrc, timestamp_90k, .. } = plain;
        let Note { number, date_ms, .. } = note;
        let found = self.finder.push(Place { number, timestamp_90k }, &packet[rtp::HEADER_BYTES..]);
        let seen = Seen { ssrc, number, date_ms, timestamp_90k, point: found.point };
        let decision = self.segmenter.push(seen);
        Counts::add(&self.status.counts.missing, decision.missing);
        self.bytes.extend_from_slice(packet);
        self.packets.push(Pending { note, plain, access: false, picture_end: found.whole.is_some() });
        if let Some(at) = decision.access.and_then(|access| self.place(access)) {
            self.packets[at].access = true;
        }
        decision
    }

    /// When packets last came.
    pub(super) fn heard(&self) -> Instant {
        self.heard
    }

    fn place(&self, number: u64) -> Option<usize> {
        // From behind: before a packet of another source, numbers may be higher.
        self.packets.iter().rposition(|pending| pending.note.number == number)
    }

    /// Ends the segment before the packet of number `begin`, which begins the next.
    fn cut(&mut self, begin: u64, order: Order, decision: Decision) -> io::Result<()> {
        let at = self.place(begin).unwrap_or(self.packets.len() - 1);
        let Pending { note, plain, .. } = self.packets[at];
        self.settle(self.packets.len() - at)?;
        let after_hole = decision.missing > 0 && at + 1 == self.packets.len();
        self.complete((order == Order::Next && !after_hole).then_some(note.date_ms))?;
        let (channel, ssrc, number, date_ms) = (self.channel, plain.ssrc, note.number, note.date_ms);
        match SegmentWriter::begin(self.archive.root(), Header { channel, ssrc, number, date_ms }) {
            Ok(writer) => {
                self.archive.grows(writer.growing().clone());
                self.writer = Some(writer);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Left behind by a recorder before that had this very packet: the next packet begins another.
                Counts::add(&self.status.counts.refused, self.packets.len() as u64);
                self.forget();
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Hands all packets but the newest `held` to the segment.
    fn settle(&mut self, held: usize) -> io::Result<()> {
        let count = self.packets.len().saturating_sub(held);
        let Some(writer) = self.writer.as_mut().filter(|_| count > 0) else {
            if self.writer.is_none() {
                self.drop_front(count);
            }
            return Ok(());
        };
        self.entries.clear();
        let header = *writer.header();
        for pending in &self.packets[..count] {
            let number = writer.relative(pending.note.number);
            let entry = Entry {
                timestamp_90k: pending.plain.timestamp_90k,
                number,
                date_10ms: header.date_10ms(pending.note.date_ms),
                count: pending.plain.count,
                marker: pending.plain.marker,
                access: pending.access,
                picture_end: pending.picture_end,
            };
            self.entries.push((entry, pending.note.date_ms));
        }
        let bytes = self.packets[..count].iter().map(|pending| usize::from(pending.note.len)).sum::<usize>();
        let taken = writer.take(&self.bytes[..bytes], &self.entries);
        Counts::add(&self.status.counts.packets, count as u64);
        Counts::add(&self.status.counts.bytes, (bytes - count * rtp::HEADER_BYTES) as u64);
        self.drop_front(count);
        taken
    }

    fn drop_front(&mut self, count: usize) {
        let bytes: usize = self.packets.drain(..count).map(|pending| usize::from(pending.note.len)).sum();
        self.bytes.drain(..bytes);
    }

    /// Makes what was settled last, and readable.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.writer.as_mut().map_or(Ok(()), SegmentWriter::flush)
    }

    /// Makes what was settled readable.
    pub(super) fn write(&mut self) -> io::Result<()> {
        self.writer.as_mut().map_or(Ok(()), SegmentWriter::write)
    }

    fn complete(&mut self, end_date_ms: Option<u64>) -> io::Result<()> {
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        let completed = writer.complete(end_date_ms);
        match &completed {
            Ok(segment) => {
                Counts::add(&self.status.counts.segments, 1);
                self.status.succeeded();
                self.archive.completed(self.channel, *segment);
            }
            Err(_) => self.archive.unfinished(self.channel, writer.name()),
        }
        completed.map(drop)
    }

    /// Ends the recording as it is: what comes later begins another segment.
    pub(super) fn end(&mut self) -> io::Result<()> {
        let ended = self.settle(0).and_then(|()| self.complete(None));
        self.forget();
        ended
    }

    /// Gives up what is not written; its segment is left as it is, to be mended.
    pub(super) fn forget(&mut self) {
        if let Some(writer) = self.writer.take() {
            self.archive.unfinished(self.channel, writer.name());
        }
        self.segmenter.reset();
        self.bytes.clear();
        self.packets.clear();
    }
}
