//! The sources of one channel, and how the packets of the one in use get into the channel's capture.
//!
//! ```text
//! packets of each source ─► Failover (all of them) ─► of the one in use: Seam ─► Capture
//! ```

use media::RtpPacket;
use media::health::Extent;
use media::packet::PacketBytes;
use protocols::time::Time;

use crate::capture::Capture;
use crate::failover::{Failover, Policy, Switch};
use crate::seam::Seam;

/// Feeds one capture from several sources.
#[derive(Debug)]
pub struct Relay {
    failover: Failover,
    /// By source: its service.
    services: Vec<Option<u16>>,
    seam: Seam,
    /// Kept for its memory.
    joined: Vec<PacketBytes>,
}

impl Relay {
    /// For a capture that has had nothing, or what one source brought unaltered; sources best first, each with its
    /// service.
    pub fn new(now: Time, policy: Policy, services: impl IntoIterator<Item = Option<u16>>) -> Self {
        let services: Vec<_> = services.into_iter().collect();
        let failover = Failover::new(now, policy, services.iter().copied());
        Self { failover, services, seam: Seam::new(), joined: Vec::new() }
    }

    /// The sources are others from now on; of those that stay the first number is the one that they had. The one in use
    /// stays so if it stays.
    pub fn set_sources(
        &mut self,
        now: Time,
        policy: Policy,
        sources: impl IntoIterator<Item = (Option<usize>, Option<u16>)>,
        capture: &mut Capture,
        out: &mut Vec<RtpPacket>,
    ) {
        let sources: Vec<_> = sources.into_iter().collect();
        let stays = sources.iter().any(|(kept, _)| *kept == Some(self.failover.selected()));
        self.services = sources.iter().map(|(_, service)| *service).collect();
        self.failover.set_policy(policy);
        self.failover.set_sources(now, sources);
        if !stays {
            self.cut(now, capture, out);
        }
    }

    /// A source was opened (anew); `extent`: how much of its multiplex comes of it.
    pub fn opened(
        &mut self,
        now: Time,
        source: usize,
        extent: Extent,
        capture: &mut Capture,
        out: &mut Vec<RtpPacket>,
    ) {
        self.failover.opened(now, source);
        if source != self.failover.selected() {
            return;
        }
        if self.seam.is_fresh() {
            capture.opened(now, extent);
        } else {
            self.cut(now, capture, out);
        }
    }

    /// A source could not be opened, or ended.
    pub fn closed(&mut self, now: Time, source: usize, cause: &str) {
        self.failover.closed(now, source, cause);
    }

    /// What a source's tuner says of its lock.
    pub fn lock(&mut self, now: Time, source: usize, locked: bool) {
        self.failover.lock(now, source, locked);
    }

    /// What is wrong with a source's service, by its demultiplexer.
    pub fn service(&mut self, now: Time, source: usize, fault: Option<&str>) {
        self.failover.service(now, source, fault);
    }

    /// Takes the next packets of a source, in use or not.
    pub fn packets(
        &mut self,
        now: Time,
        source: usize,
        packets: &[PacketBytes],
        capture: &mut Capture,
        out: &mut Vec<RtpPacket>,
    ) {
        self.failover.packets(now, source, packets);
        if source == self.failover.selected() {
            self.joined.clear();
            for packet in packets {
                self.seam.push(now, packet, &mut self.joined);
            }
            capture.packets(now, &self.joined, out);
        }
    }

    /// Changes the source where it is time to; to be asked after each event and at the deadline.
    pub fn choose(&mut self, now: Time, capture: &mut Capture, out: &mut Vec<RtpPacket>) -> Option<Switch> {
        let switch = self.failover.choose(now)?;
        self.cut(now, capture, out);
        Some(switch)
    }

    /// When [`Relay::choose`] is to be asked at the latest.
    pub fn deadline(&self) -> Option<Time> {
        self.failover.deadline()
    }

    /// Which source is in use.
    pub fn selected(&self) -> usize {
        self.failover.selected()
    }

    /// How often the source was changed.
    pub fn switches(&self) -> u64 {
        self.failover.switches()
    }

    /// What comes next is of another source, or of the same anew.
    fn cut(&mut self, now: Time, capture: &mut Capture, out: &mut Vec<RtpPacket>) {
        let service = self.services.get(self.failover.selected()).copied().flatten();
        self.joined.clear();
        let extent = if service.is_some() { Extent::Service } else { Extent::Input };
        capture.rejoin(now, extent, out);
        self.seam.cut(now, service, self.failover.tables(), &mut self.joined);
        capture.packets(now, &self.joined, out);
    }
}
