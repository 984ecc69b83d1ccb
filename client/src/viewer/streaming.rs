//! What a reception gets by P5: packets that it asked for again, and a live session up to the seam with P6.
//!
//! At the seam P6 has a first packet and P5 has not reached it yet. What lies between them comes by P5 and is not missing:
//! it is neither asked for again nor given up, until P5 has passed it or fallen silent.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use media::RtpPacket;
use protocols::authority::MacKey;
use protocols::p4_control::{LiveAnswer, LiveRequest, LiveVerdict, Sealed};
use protocols::time::{ClusterClock, Time};

use super::partings::Parting;
use super::reception::{Asked, Reception};
use super::{Notice, Output};
use crate::live::{Action, Heard};
use crate::repair::Way;

/// Packets of a session that may come before the answer that says where it begins; more are asked for again.
pub const EARLY_PACKETS: usize = 512;
/// P6 is taken when its packets are no more than so many ahead of P5's. What is further ahead is dropped while P5 flows:
/// it would not fit into the reassembly.
pub const SEAM_WITHIN: u64 = 256;
/// P5 that brings nothing for this long brings nothing of the seam any more.
pub const SEAM_SILENCE: Duration = Duration::from_millis(60);
/// What P5 has still to bring is waited for as long as this since it last brought something, however short the hold.
pub const SEAM_HOLD: Duration = Duration::from_millis(200);

/// What came by P5, and what was sent for it.
#[derive(Debug, Default)]
pub(super) struct Streamed {
    pub(super) requests: u64,
    pub(super) duplicates: u64,
    pub(super) late: u64,
    pub(super) foreign: u64,
    /// Packets of P6 that were too far ahead of P5.
    pub(super) ahead: u64,
    /// Before the answer, and whence: that shows which address the push server answers from.
    early: Vec<(IpAddr, RtpPacket)>,
    /// Whence the answer came.
    answered_by: Option<IpAddr>,
    seam: Option<Seam>,
}

/// P5 has brought what is before `next` and will bring what is before `first`, which came by P6.
#[derive(Debug, Clone, Copy)]
struct Seam {
    next: u64,
    first: u64,
    last: Time,
}

impl Reception {
    /// A P5 datagram. It counts when it is of the stream that is followed or of the session, and comes from the push
    /// server or is what it was asked for.
    /// `false`: nobody here has asked for it by its number.
    pub(super) fn stream(
        &mut self,
        now: Time,
        from: SocketAddr,
        packet: Option<&RtpPacket>,
        out: &mut Vec<Output>,
    ) -> bool {
        let Some(packet) = packet else {
            self.streamed.foreign += 1;
            return false;
        };
        let header = packet.header();
        let followed = self.reassembly.ssrc() == Some(header.ssrc);
        let asked = followed
            && self.extended(header.sequence).is_some_and(|extended| self.repairer.has_asked_for(extended));
        let carried = self.live.carries(header.ssrc);
        if asked || (self.serves(from.ip()) && (followed || carried)) {
            self.take_streamed(now, packet, asked, out);
        } else if self.live.is_asking() && self.reassembly.ssrc().is_none() {
            if self.streamed.early.len() < EARLY_PACKETS {
                self.streamed.early.push((from.ip(), *packet));
            }
        } else {
            self.streamed.foreign += 1;
        }
        asked
    }

    /// A P4 answer to a live request.
    pub(super) fn live_answer(
        &mut self,
        now: Time,
        from: SocketAddr,
        sealed: &Sealed<'_>,
        clock: &mut Option<ClusterClock>,
        out: &mut Vec<Output>,
    ) -> Asked {
        let Ok(answer) = sealed.open::<LiveAnswer>(&self.tuning.secret) else {
            self.bad_tags += 1;
            return Asked::Nothing;
        };
        *clock = Some(ClusterClock::new(now, answer.time));
        let mut actions = Vec::new();
        let heard = self.live.answer(now, &answer, &mut actions);
        self.carry_out(now, clock.as_ref(), actions, out);
        match heard {
            Heard::Nothing => Asked::Nothing,
            Heard::Full => {
                out.push(Output::Notice(Notice::Full { push_server: self.tuning.push_server.clone() }));
                Asked::Nothing
            }
            Heard::Directory => {
                self.denied |= answer.verdict == LiveVerdict::Expired || self.live.is_unicast();
                if self.denied { Asked::Directory } else { Asked::Nothing }
            }
            Heard::Begun { ssrc, first } => {
                self.streamed.answered_by = Some(from.ip());
                self.begins_at = Some((ssrc, first));
                if self.live.is_unicast() {
                    out.push(Output::Notice(Notice::ByUnicast));
                }
                for (from, packet) in std::mem::take(&mut self.streamed.early) {
                    if self.serves(from) && packet.header().ssrc == ssrc {
                        self.take_streamed(now, &packet, false, out);
                    } else {
                        self.streamed.foreign += 1;
                    }
                }
                Asked::Nothing
            }
        }
    }

    /// Does what is due of the session.
    pub(super) fn poll_live(&mut self, now: Time, clock: Option<&ClusterClock>, out: &mut Vec<Output>) {
        let mut actions = std::mem::take(&mut self.actions);
        self.live.poll(now, &mut actions);
        self.carry_out(now, clock, actions, out);
        if self.streamed.seam.is_some_and(|seam| seam.last + SEAM_SILENCE <= now) {
            self.set_seam(now, None);
        }
    }

    /// When P5 has been silent for too long at the seam.
    pub(super) fn seam_deadline(&self) -> Option<Time> {
        self.streamed.seam.map(|seam| seam.last + SEAM_SILENCE)
    }

    /// Whether a packet of P6 is to be left to P5, which will bring it.
    pub(super) fn leaves_to_stream(&self, now: Time, packet: &RtpPacket) -> bool {
        let header = packet.header();
        if !self.live.is_flowing(now) {
            return false;
        }
        // Of another stream: a stray, or the session's is over and it will fall silent.
        if !self.live.carries(header.ssrc) {
            return true;
        }
        let next = self.reassembly.highest_extended().filter(|_| self.reassembly.ssrc() == Some(header.ssrc));
        next.is_none_or(|highest| header.sequence.extend_near(highest) > highest + SEAM_WITHIN)
    }

    /// P6 has brought `packet`, and P5 is to bring what is before it.
    pub(super) fn begin_seam(&mut self, now: Time, packet: &RtpPacket) {
        let header = packet.header();
        if self.reassembly.ssrc() != Some(header.ssrc) {
            return;
        }
        let Some(highest) = self.reassembly.highest_extended() else { return };
        let first = header.sequence.extend_near(highest);
        if first > highest + 1 {
            self.reassembly.wait_for(first, SEAM_HOLD);
            self.set_seam(now, Some(Seam { next: highest + 1, first, last: now }));
        }
    }

    pub(super) fn carry_out(
        &mut self,
        now: Time,
        clock: Option<&ClusterClock>,
        mut actions: Vec<Action>,
        out: &mut Vec<Output>,
    ) {
        for action in actions.drain(..) {
            match action {
                Action::Send(session, order) => {
                    let (lease, time) = (self.tuning.lease, self.time(now, clock));
                    let secret: &MacKey = &self.tuning.secret;
                    let bytes = LiveRequest { lease, time, session, order }.seal(secret);
                    out.push(Output::SendControl { from: lease.client, to: self.tuning.control, bytes });
                }
                Action::Join => out.push(Output::Join(self.group)),
                Action::Rejoin => out.extend([Output::Leave(self.group), Output::Join(self.group)]),
                Action::Part(farewell) => self.parted.push(Parting::new(farewell, &self.tuning)),
                Action::Stays => out.push(Output::Notice(Notice::ByUnicast)),
            }
        }
        self.actions = actions;
    }

    /// Whether the push server sends from `address`: it may answer from another of its addresses than it is asked at.
    fn serves(&self, address: IpAddr) -> bool {
        address == self.tuning.control.ip() || Some(address) == self.streamed.answered_by
    }

    fn take_streamed(&mut self, now: Time, packet: &RtpPacket, asked: bool, out: &mut Vec<Output>) {
        let header = packet.header();
        let of_session = !asked && self.live.carries(header.ssrc);
        if let Some((ssrc, first)) = self.begins_at.take_if(|(ssrc, _)| of_session && *ssrc == header.ssrc)
            && self.reassembly.ssrc().is_none()
        {
            self.reassembly.start_at(now.since_origin(), ssrc, first);
        }
        let before = self.reassembly.counters();
        self.pass_seam(now, packet);
        self.take(now, packet.as_bytes(), Way::Stream);
        let after = self.reassembly.counters();
        let news = after.duplicates == before.duplicates && after.late == before.late;
        if of_session {
            let silent_for = now.since(self.live.silent_since());
            self.live.streamed(now, header.sequence, news);
            self.comes(news.then_some(silent_for), out);
        } else {
            self.streamed.duplicates += after.duplicates - before.duplicates;
            self.streamed.late += after.late - before.late;
        }
        self.hand_on(now, out);
    }

    /// P5 has come as far as `packet`.
    fn pass_seam(&mut self, now: Time, packet: &RtpPacket) {
        let Some(seam) = self.streamed.seam else { return };
        let extended = packet.sequence().extend_near(seam.next);
        if (seam.next..seam.first).contains(&extended) {
            let passed = Seam { next: extended + 1, last: now, ..seam };
            self.set_seam(now, Some(passed).filter(|seam| seam.next < seam.first));
        }
    }

    fn set_seam(&mut self, now: Time, seam: Option<Seam>) {
        self.streamed.seam = seam;
        self.repairer.expect(now, seam.map_or(0..0, |seam| seam.next..seam.first));
    }
}
