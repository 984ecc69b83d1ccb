//! Where one session stands in its channel's recording, and reading from there.
//!
//! What the page cache has is read where it is asked for. For the disk a reel goes to a reader thread and comes back
//! ([`super::readers`]): it is told by an error of kind `WouldBlock`.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use protocols::ids::ChannelId;
use protocols::p4_control::PacketName;
use protocols::time::ClusterTime;

use super::frame::Frame;
use super::library::Library;
use crate::recording::packets;
use crate::session::{Follows, Piece, RANDOM_ACCESS_MAX, ReadFrom, ReadOutcome};
use crate::shell::recorder::reader::Haste;
use crate::shell::recorder::{Archive, SegmentReader};

/// Packets of one picture at most, 2.7 MB; a longer one is shown by no fast forward.
const PICTURE_PACKETS: usize = 2_048;
/// Segments that are looked through for one picture at most.
const SEGMENTS_LOOKED_THROUGH: usize = 64;
/// What a segment that had to be fetched from the disk keeps in the page cache behind its only reader, for repairs.
const KEPT_BEHIND_BYTES: u64 = 4 << 20;
/// So much is let go of at a time.
const LET_GO_BYTES: u64 = 1 << 20;

/// What is to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    pub(super) channel: ChannelId,
    pub(super) from: ReadFrom,
    pub(super) packets: u32,
}

/// One session's place.
#[derive(Debug)]
pub(in crate::shell) struct Reel {
    library: Arc<Library>,
    at: Option<Place>,
}

#[derive(Debug)]
struct Place {
    segment: Arc<SegmentReader>,
    /// Of the packet that is next.
    index: usize,
    /// A packet whose date is being counted on from; see [`SegmentReader::date_ms_near`].
    marked: usize,
    /// What the packet at `index` is asked for by, also where it is missing.
    next: PacketName,
    /// The disk had to be waited for in this segment: nobody has read it lately.
    cold: bool,
    /// Bytes of it that were let go.
    gone: u64,
}

impl Reel {
    pub(super) fn new(library: Arc<Library>) -> Self {
        Self { library, at: None }
    }

    /// Reads; an error of kind `WouldBlock` says that it takes [`Haste::Wait`].
    pub(super) fn read(&mut self, wish: Wish, haste: Haste) -> io::Result<ReadOutcome<Frame>> {
        let library = self.library.clone();
        let Some(archive) = library.of(wish.channel) else { return Ok(ReadOutcome::Unknown) };
        let from = From { archive, library: &library, channel: wish.channel };
        if let ReadFrom::Packet(name) = wish.from
            && self.stands_at(wish.channel, name)
        {
            return self.straight(&from, wish.packets, haste);
        }
        if haste == Haste::Now {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        match wish.from {
            ReadFrom::Packet(name) => self.at = from.packet(name)?,
            ReadFrom::Date(date) => self.at = from.date(date)?,
            ReadFrom::PictureAfter(date) => return from.picture_after(date),
            ReadFrom::PictureBefore(date) => return from.picture_before(date),
        }
        self.straight(&from, wish.packets, haste)
    }

    /// Whether `name`, or where it would be, is at hand; goes there.
    fn stands_at(&mut self, channel: ChannelId, name: PacketName) -> bool {
        // A session of another lease may have had the same number before.
        let Some(at) = self.at.as_mut().filter(|at| at.segment.header().channel == channel) else {
            return false;
        };
        if at.next == name {
            return true;
        }
        let here = at.segment.header().ssrc == name.ssrc
            && at.segment.number(0).is_some_and(|first| first <= name.number)
            && at.segment.number(at.segment.len() - 1).is_some_and(|last| name.number <= last);
        if here {
            (at.index, at.marked, at.next) = (at.segment.at_number(name.number), 0, name);
        }
        here
    }

    /// Packets from here on, of one segment.
    fn straight(&mut self, from: &From<'_>, packets: u32, haste: Haste) -> io::Result<ReadOutcome<Frame>> {
        let none = |follows| Ok(ReadOutcome::Packets { pieces: Vec::new(), follows });
        let Some(at) = &mut self.at else { return none(from.edge()) };
        if let Some(follows) = at.advance(from, haste)? {
            return none(follows);
        }
        let end = at.segment.len().min(at.index + packets as usize);
        let read = from.pieces(&at.segment, at.index..end, &mut at.marked, haste);
        at.cold |= read.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        let pieces = read?;
        if let Some(last) = pieces.last() {
            at.next = PacketName { number: last.name.number.wrapping_add(1), ..last.name };
        }
        at.index = end;
        at.let_go(KEPT_BEHIND_BYTES, LET_GO_BYTES);
        Ok(ReadOutcome::Packets { pieces, follows: at.follows(from) })
    }
}

impl Place {
    fn new(segment: Arc<SegmentReader>, place: usize) -> Self {
        let (ssrc, end) = (segment.header().ssrc, segment.header().number);
        let number = segment
            .number(place)
            .or_else(|| segment.number(segment.len().wrapping_sub(1)).map(|last| last + 1));
        let next = PacketName { ssrc, number: number.unwrap_or(end) };
        Self { segment, index: place, marked: 0, next, cold: false, gone: 0 }
    }

    /// Goes on into the next segment where this one has ended. Answers what follows when there is no packet here.
    fn advance(&mut self, from: &From<'_>, haste: Haste) -> io::Result<Option<Follows>> {
        while self.index >= self.segment.len() {
            let grows = self.refresh();
            if self.index < self.segment.len() {
                break;
            }
            if grows {
                return Ok(Some(Follows::Edge));
            }
            let Some(next) = from.archive.after(from.channel, self.segment.header().name()) else {
                return Ok(Some(from.edge()));
            };
            if haste == Haste::Now {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let Some(segment) = from.library.open(from.channel, next)? else {
                // Deleted since: whoever asks again finds the one behind it.
                return Ok(Some(Follows::Edge));
            };
            if segment.is_empty() {
                return Ok(Some(from.edge()));
            }
            // A copy that begins before this place may have come from a peer.
            let again = segment.header().ssrc == self.next.ssrc;
            let place = if again { segment.at_number(self.next.number) } else { 0 };
            let name = self.next;
            *self = Self::new(segment, place);
            if self.index >= self.segment.len() {
                self.next = name;
            }
        }
        Ok(None)
    }

    /// Takes in what has been written since. Answers whether the segment may still grow.
    fn refresh(&mut self) -> bool {
        Arc::get_mut(&mut self.segment).is_some_and(SegmentReader::refresh)
    }

    /// What is behind the place.
    fn follows(&mut self, from: &From<'_>) -> Follows {
        if self.index < self.segment.len() {
            return Follows::More;
        }
        let grows = self.refresh();
        if self.index < self.segment.len() {
            Follows::More
        } else if grows {
            Follows::Edge
        } else {
            match from.archive.after(from.channel, self.segment.header().name()) {
                Some(_) => Follows::More,
                None => from.edge(),
            }
        }
    }

    /// Of a segment that nobody had read lately, and nobody else reads, what is well behind leaves the page cache: what
    /// everybody watches stays there.
    fn let_go(&mut self, kept_behind_bytes: u64, least_bytes: u64) {
        // What still grows is everybody's, and each of its readers has opened it for himself.
        let alone = self.cold && self.segment.trailer().is_some() && Arc::strong_count(&self.segment) == 1;
        let end = self.segment.span(self.index..self.index).start.saturating_sub(kept_behind_bytes);
        if alone && end >= self.gone + least_bytes {
            self.segment.let_go(self.gone..end);
            self.gone = end;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.let_go(0, 0);
    }
}

/// What is read from.
struct From<'a> {
    archive: &'a Arc<Archive>,
    library: &'a Library,
    channel: ChannelId,
}

impl From<'_> {
    /// What follows behind the last packet that is kept.
    fn edge(&self) -> Follows {
        let grows = self.archive.is_recorded(self.channel) || self.archive.growing(self.channel).is_some();
        if grows { Follows::Edge } else { Follows::Nothing }
    }

    /// The place of a packet, or of the first behind it.
    fn packet(&self, name: PacketName) -> io::Result<Option<Place>> {
        let Some(segment) = self.archive.find_number(self.channel, name.ssrc, name.number) else {
            return Ok(None);
        };
        let Some(segment) = self.library.open(self.channel, segment)? else { return Ok(None) };
        let place = segment.at_number(name.number);
        let behind = place >= segment.len();
        let mut at = Place::new(segment, place);
        if behind {
            at.next = name;
        }
        Ok(Some(at))
    }

    /// The last random access point at or before a date; where there is none near, the first behind it, or the packet of that
    /// date where no point is told.
    fn date(&self, date: ClusterTime) -> io::Result<Option<Place>> {
        let Some(name) = self.archive.find(self.channel, date.0) else { return Ok(None) };
        let Some(segment) = self.library.open(self.channel, name)? else { return Ok(None) };
        let at = segment.at_date(date.0);
        if let Some(place) = segment.access_at(at) {
            return Ok(Some(Place::new(segment, place)));
        }
        let earliest =
            date.0.saturating_sub(u64::try_from(RANDOM_ACCESS_MAX.as_millis()).unwrap_or(u64::MAX));
        if let Some(before) = self.before(&segment)? {
            let place = before.access_at(before.len().wrapping_sub(1));
            let near = place.filter(|place| before.date_ms(*place).is_some_and(|date| date >= earliest));
            if let Some(place) = near {
                return Ok(Some(Place::new(before, place)));
            }
        }
        let place = segment.access_after(at).unwrap_or(at);
        Ok(Some(Place::new(segment, place)))
    }

    /// The segment before, by date.
    fn before(&self, segment: &SegmentReader) -> io::Result<Option<Arc<SegmentReader>>> {
        let here = segment.header();
        let Some(date_ms) = here.date_ms.checked_sub(1) else { return Ok(None) };
        let before = self.archive.find(self.channel, date_ms).filter(|name| *name < here.name());
        before.map_or(Ok(None), |name| self.library.open(self.channel, name))
    }

    fn picture_after(&self, date: ClusterTime) -> io::Result<ReadOutcome<Frame>> {
        let mut name = self.archive.find(self.channel, date.0);
        for _ in 0..SEGMENTS_LOOKED_THROUGH {
            let Some(next) = name else { break };
            if let Some(segment) = self.library.open(self.channel, next)? {
                let mut point = segment.access_from(segment.from_date(date.0));
                while let Some(place) = point {
                    if let Some(end) = segment.picture_end(place, PICTURE_PACKETS) {
                        return self.picture(&segment, place..end);
                    }
                    point = segment.access_after(place);
                }
            }
            name = self.archive.after(self.channel, next);
        }
        Ok(ReadOutcome::Packets { pieces: Vec::new(), follows: self.edge() })
    }

    fn picture_before(&self, date: ClusterTime) -> io::Result<ReadOutcome<Frame>> {
        let name = self.archive.find(self.channel, date.0);
        let mut segment = name.map_or(Ok(None), |name| self.library.open(self.channel, name))?;
        for _ in 0..SEGMENTS_LOOKED_THROUGH {
            let Some(here) = segment else { break };
            let mut point =
                here.from_date(date.0.saturating_add(1)).checked_sub(1).and_then(|at| here.access_at(at));
            while let Some(place) = point {
                if let Some(end) = here.picture_end(place, PICTURE_PACKETS) {
                    return self.picture(&here, place..end);
                }
                point = place.checked_sub(1).and_then(|before| here.access_at(before));
            }
            segment = self.before(&here)?;
        }
        Ok(ReadOutcome::Packets { pieces: Vec::new(), follows: Follows::Nothing })
    }

    fn picture(&self, segment: &SegmentReader, places: Range<usize>) -> io::Result<ReadOutcome<Frame>> {
        let pieces = self.pieces(segment, places, &mut 0, Haste::Wait)?;
        Ok(ReadOutcome::Packets { pieces, follows: Follows::More })
    }

    /// Packets of a segment, by one read.
    fn pieces(
        &self,
        segment: &SegmentReader,
        places: Range<usize>,
        marked: &mut usize,
        haste: Haste,
    ) -> io::Result<Vec<Piece<Frame>>> {
        let bytes = segment.span(places.clone());
        let len = usize::try_from(bytes.end - bytes.start).map_err(io::Error::other)?;
        let block = self.library.blocks.filled(len, |into| segment.fill(bytes.start, into, haste))?;
        let (block, header, mut from) = (Arc::new(block), *segment.header(), 0);
        let piece = |place| {
            let entry = segment.entry(place)?;
            let len = u32::try_from(packets::payload_bytes(entry)).expect("seven transport packets at most");
            let packet =
                Frame { header: packets::rtp_header(&header, entry), block: block.clone(), from, len };
            from += len;
            Some(Piece {
                name: PacketName { ssrc: header.ssrc, number: segment.number(place)? },
                date: ClusterTime(segment.date_ms_near(place, marked)?),
                random_access: entry.access,
                packet,
            })
        };
        Ok(places.map_while(piece).collect())
    }
}
