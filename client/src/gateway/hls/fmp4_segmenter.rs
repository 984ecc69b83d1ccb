//! Makes a channel's segments and parts of fragmented MP4.

use std::collections::BTreeMap;

use hyper::body::Bytes;
use media::fmp4::muxer::Cuts;
use media::fmp4::{Event, Init, Muxer};
use media::packet::PACKET_BYTES;

use super::window::{Opening, Part, Window};
use super::{FORCED_MIN_90K, SEGMENT_MAX_90K, SEGMENT_MIN_90K};
use crate::gateway::line::Placed;

/// Longest part: half a second.
pub const PART_90K: u64 = 45_000;
/// Initialisation segments kept, beside those that segments refer to.
const INITS_MAX: usize = 16;

/// The segmenter.
#[derive(Debug)]
pub struct Fmp4Segmenter {
    muxer: Muxer,
    window: Window,
    inits: BTreeMap<u64, Init>,
    next_init: u64,
    /// The next segment does not continue the last.
    is_broken: bool,
    unsupported: Option<String>,
}

impl Fmp4Segmenter {
    /// One whose first segment, and first initialisation segment, has the number `first`.
    pub fn new(first: u64) -> Self {
        let ticks = |span_90k: u64| u32::try_from(span_90k).unwrap_or(u32::MAX);
        let cuts = Cuts {
            part_90k: ticks(PART_90K),
            segment_min_90k: ticks(SEGMENT_MIN_90K),
            segment_max_90k: ticks(SEGMENT_MAX_90K - PART_90K),
            forced_min_90k: ticks(FORCED_MIN_90K),
        };
        Self {
            muxer: Muxer::new(cuts),
            window: Window::new(first),
            inits: BTreeMap::new(),
            next_init: first,
            is_broken: true,
            unsupported: None,
        }
    }

    /// What has been made.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// An initialisation segment.
    pub fn init(&self, number: u64) -> Option<Bytes> {
        self.inits.get(&number).map(|init| Bytes::copy_from_slice(&init.bytes))
    }

    /// What the newest segments are.
    pub fn newest_init(&self) -> Option<&Init> {
        self.inits.values().next_back()
    }

    /// Why nothing can be made of the channel.
    pub fn unsupported(&self) -> Option<&str> {
        self.unsupported.as_deref()
    }

    /// Takes the next packet; `now_ms`: the wall clock.
    pub fn push(&mut self, packet: &Placed<'_>, now_ms: u64) {
        if !packet.continues {
            let events = self.muxer.interrupt();
            self.take(events, now_ms);
        }
        for bytes in packet.payload.as_chunks::<PACKET_BYTES>().0 {
            let events = self.muxer.push(bytes);
            self.take(events, now_ms);
        }
    }

    fn take(&mut self, events: Vec<Event>, now_ms: u64) {
        for event in events {
            match event {
                Event::Init(init) => self.describe(init),
                Event::Break => self.is_broken = true,
                Event::Unsupported(reason) => self.unsupported = Some(reason),
                Event::Part(part) => {
                    if part.begins_segment || self.window.open_90k().is_none() {
                        self.window.open(Opening {
                            now_ms,
                            is_discontinuous: std::mem::take(&mut self.is_broken),
                            init: self.next_init.checked_sub(1),
                        });
                    }
                    self.window.push(Part {
                        bytes: part.bytes.into(),
                        duration_90k: u64::from(part.duration_90k),
                        is_independent: part.is_independent,
                    });
                }
            }
        }
    }

    fn describe(&mut self, init: Init) {
        self.unsupported = None;
        // The segment before ends here, whatever is missing of it.
        self.window.close();
        self.inits.insert(self.next_init, init);
        self.next_init += 1;
        let used: Vec<u64> = self.window.inits().collect();
        while self.inits.len() > INITS_MAX
            && let Some(oldest) = self.inits.keys().next().copied().filter(|oldest| !used.contains(oldest))
        {
            self.inits.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::hls::playlist;
    use crate::gateway::line::Line;
    use crate::gateway::line::tests::testcard;

    #[test]
    fn segments_are_their_parts_and_begin_independent() {
        let (mut line, mut segmenter) = (Line::new(), Fmp4Segmenter::new(100));
        let mut told = 0;
        for packet in &testcard(2_000) {
            segmenter.push(&line.push(packet), 1_000_000);
            let next = playlist::next_part(segmenter.window());
            assert!(segmenter.window().part(next.0, next.1).is_none(), "what is hinted is not there yet");
            told = told.max(next.1);
        }
        assert!(told >= 4, "parts while a segment is made: {told}");
        let segments: Vec<_> = segmenter.window().listed().collect();
        assert!(segments.len() >= 5, "{}", segments.len());
        for segment in segments {
            assert!(segment.parts[0].is_independent && segment.init == Some(100));
            let joined: Vec<u8> = segment.parts.iter().flat_map(|part| part.bytes.to_vec()).collect();
            assert_eq!(segment.bytes(), joined);
        }
        assert_eq!(segmenter.newest_init().map(|init| init.codecs.as_str()), Some("avc1.4d401e,mp4a.40.2"));
        assert!(segmenter.init(100).is_some() && segmenter.init(101).is_none());
    }

    #[test]
    fn another_source_is_a_discontinuity_with_an_initialisation_segment_of_its_own() {
        let (mut line, mut segmenter) = (Line::new(), Fmp4Segmenter::new(0));
        let packets = testcard(1_000);
        for (place, packet) in packets.iter().chain(&packets).enumerate() {
            let mut placed = line.push(packet);
            placed.continues = place != 1_000;
            segmenter.push(&placed, 0);
        }
        let inits: Vec<_> =
            segmenter.window().listed().map(|segment| (segment.init, segment.is_discontinuous)).collect();
        assert_eq!(inits.iter().filter(|(_, is_discontinuous)| *is_discontinuous).count(), 1);
        assert_eq!((inits.first(), inits.last()), (Some(&(Some(0), false)), Some(&(Some(1), false))));
    }
}
