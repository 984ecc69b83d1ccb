//! Streams that come as fast as they are read, let out at their own pace: files, the test card, a program's output.
//!
//! ```text
//! bytes ─► Synchroniser ─► (edit) ─► PcrClock ─► waiting packets ─► FilePacer: when the next group is due
//! ```
//!
//! Nothing is read while enough waits, so a program that writes faster than real time is held back by its own pipe.

use std::collections::VecDeque;

use media::health::SyncErrors;
use media::pacer::FilePacer;
use media::packet::PacketBytes;
use media::pcr::PcrClock;
use media::sync::{NoTransportStream, Synchroniser};
use media::{MediaTime, Packet};
use protocols::time::Time;

/// With at least so many packets waiting nothing more is read. One read may add as many as it brings.
pub const ENOUGH_PACKETS: usize = 64;
/// Packets let out together: those of one RTP packet.
pub const GROUP_PACKETS: usize = media::rtp::PACKETS_MAX;
/// A stream without a PCR in so many packets cannot be paced and is refused.
pub const MAX_UNTIMED_PACKETS: usize = 20_000;

/// Why a stream cannot be paced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PaceError {
    /// Its bytes hold no packets.
    #[error(transparent)]
    NoTransportStream(#[from] NoTransportStream),
    /// Its packets hold no time.
    #[error("no PCR in {MAX_UNTIMED_PACKETS} packets, so its pace is not known")]
    NoPcr,
}

/// A stream that is let out at the pace of its PCR.
#[derive(Debug, Default)]
pub struct PacedStream {
    synchroniser: Synchroniser,
    clock: Option<PcrClock>,
    pacer: FilePacer,
    waiting: VecDeque<(PacketBytes, Option<MediaTime>)>,
    /// When the group at the front is due, once that was asked.
    due: Option<Time>,
    timed: bool,
    /// Errors of the synchroniser that were told.
    told: SyncErrors,
}

impl PacedStream {
    /// A stream that has brought nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// How often packets were no longer where they belong.
    pub fn sync_losses(&self) -> u64 {
        self.synchroniser.losses()
    }

    /// Takes the next bytes; `edit` sees each packet before it waits.
    pub fn push_bytes(
        &mut self,
        bytes: &[u8],
        mut edit: impl FnMut(&mut PacketBytes),
    ) -> Result<(), PaceError> {
        let mut synchroniser = std::mem::take(&mut self.synchroniser);
        let found = synchroniser.push(bytes, |packet| {
            let mut packet = *packet;
            edit(&mut packet);
            self.push_packet(packet);
        });
        self.synchroniser = synchroniser;
        found?;
        if !self.timed && self.waiting.len() >= MAX_UNTIMED_PACKETS { Err(PaceError::NoPcr) } else { Ok(()) }
    }

    /// Takes the next packet.
    pub fn push_packet(&mut self, packet: PacketBytes) {
        let Ok(view) = Packet::parse(&packet) else { return };
        let stamp = self.clock.get_or_insert_with(PcrClock::automatic).stamp(view);
        self.timed |= stamp.is_some();
        self.waiting.push_back((packet, stamp.map(|stamp| stamp.time)));
    }

    /// The bytes that come next do not continue those before: what is left of a torn packet is forgotten.
    pub fn cut(&mut self) {
        self.synchroniser.reset();
    }

    /// Whether more should be read now.
    pub fn is_hungry(&self) -> bool {
        !self.timed || self.waiting.len() < ENOUGH_PACKETS
    }

    /// Whether all that came has been let out.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// When the group at the front is due; `None` when nothing waits or no time is known yet.
    pub fn due(&mut self, now: Time) -> Option<Time> {
        if self.due.is_none() {
            // What comes before the first PCR goes out with it.
            let time = self.waiting.iter().find_map(|(_, time)| *time)?;
            self.due = Some(Time::ZERO + self.pacer.schedule(now.since_origin(), time));
        }
        self.due
    }

    /// Lets the group at the front go.
    pub fn take(&mut self, out: &mut Vec<PacketBytes>) {
        self.due = None;
        let count = self.waiting.len().min(GROUP_PACKETS);
        out.extend(self.waiting.drain(..count).map(|(packet, _)| packet));
    }

    /// Wrong sync bytes and lost synchronisation since this was asked last.
    pub fn take_sync_errors(&mut self) -> SyncErrors {
        let all = SyncErrors { bytes: self.synchroniser.losses(), losses: self.synchroniser.slips() };
        let told = std::mem::replace(&mut self.told, all);
        SyncErrors { bytes: all.bytes - told.bytes, losses: all.losses - told.losses }
    }

    /// Bytes that belonged to no packet.
    pub fn skipped_bytes(&self) -> u64 {
        self.synchroniser.skipped_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const CLIP: &[u8] = include_bytes!("../testcard/clip.ts");

    #[test]
    fn a_stream_is_let_out_at_its_own_pace_and_whole() {
        let mut stream = PacedStream::new();
        let (mut now, mut out) = (Time::from_ms(1000), Vec::new());
        for chunk in CLIP[..400 * 188].chunks(5000) {
            stream.push_bytes(chunk, |_| {}).unwrap();
            while let Some(due) = stream.due(now) {
                now = now.max(due);
                stream.take(&mut out);
            }
        }
        assert!(out.as_flattened() == &CLIP[..400 * 188]);
        // 400 packets of 902,400 bit/s.
        let taken = now.since(Time::from_ms(1000));
        assert!(taken.abs_diff(Duration::from_millis(666)) < Duration::from_millis(50), "{taken:?}");
    }

    #[test]
    fn wrong_sync_bytes_are_told_once() {
        let mut stream = PacedStream::new();
        let mut bytes = CLIP[..50 * 188].to_vec();
        (bytes[20 * 188], bytes[30 * 188], bytes[31 * 188]) = (0, 0, 0);
        stream.push_bytes(&bytes, |_| {}).unwrap();
        assert_eq!(stream.take_sync_errors(), SyncErrors { bytes: 2, losses: 1 });
        assert_eq!(stream.take_sync_errors(), SyncErrors::default());
    }

    #[test]
    fn nothing_more_is_wanted_while_enough_waits() {
        let mut stream = PacedStream::new();
        assert!(stream.is_hungry());
        stream.push_bytes(&CLIP[..100 * 188], |_| {}).unwrap();
        assert!(!stream.is_hungry());
        assert_eq!(stream.due(Time::ZERO), Some(Time::ZERO));
    }

    #[test]
    fn what_cannot_be_paced_is_told_apart() {
        let mut stream = PacedStream::new();
        let error = stream.push_bytes(&vec![b'x'; 70_000], |_| {}).unwrap_err();
        assert!(error.to_string().starts_with("no MPEG-TS"), "{error}");
        let mut stream = PacedStream::new();
        let nulls = media::packet::NULL_PACKET.repeat(MAX_UNTIMED_PACKETS);
        assert_eq!(stream.push_bytes(&nulls, |_| {}), Err(PaceError::NoPcr));
        assert_eq!(stream.due(Time::ZERO), None);
    }
}
