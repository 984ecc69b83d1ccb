//! One tuned channel: its tuning, its groups, its packets in order, its interest, and what it asks for again.
//!
//! A move to another push server keeps the stream: the packets are the same ones, whoever sends them. When the new one
//! sends to another group, that is joined before the old one is left.

use std::cmp::Ordering;
use std::net::SocketAddr;
use std::time::Duration;

use media::reassembly::{self, Limits, Reassembly};
use media::rtp::{self, Kind};
use media::{RtpPacket, Sequence};
use protocols::ids::Revision;
use protocols::p2_directory::Tuning;
use protocols::p4_control::{
    self, Interest, InterestAnswer, InterestVerdict, MAX_MISSING_PER_REPAIR, Missing, Repair, Sealed,
    mask_secret,
};
use protocols::time::{ClusterClock, ClusterTime, Time, earliest};

use super::partings::Parting;
use super::streaming::Streamed;
use super::{Counters, Group, MEDIA_SILENCE, Notice, Output, Reason, Receiving};
use crate::announcements::AnnouncementFilter;
use crate::interest::{InterestKeeper, Tune};
use crate::live::{Action, Live};
use crate::repair::{Repairer, Way};
use crate::zap::ZapClock;

/// The group that was moved away from is left when the new one has delivered, or after this.
pub const LEAVE_OLD_AFTER: Duration = Duration::from_secs(2);
/// A viewer that has waited less than this for its first packet is fresh: its first interest is not spread.
pub const FRESH_FOR: Duration = Duration::from_secs(2);
/// At most one interest out of turn within this, to answer a corrected clock.
pub const CLOCK_RETRY: Duration = Duration::from_millis(500);

/// The reception of one channel.
#[derive(Debug)]
pub(super) struct Reception {
    pub(super) tuning: Tuning,
    cached: bool,
    /// Where the present push server sends.
    pub(super) group: Group,
    /// Where the one before sent, and when to leave that.
    old_group: Option<(Group, Time)>,
    pub(super) reassembly: Reassembly,
    produced: Vec<reassembly::Output>,
    pub(super) repairer: Repairer,
    pub(super) live: Live,
    /// What the session wants done; empty between calls.
    pub(super) actions: Vec<Action>,
    /// Sessions that ended, for the viewer to say goodbye to.
    pub(super) parted: Vec<Parting>,
    /// With which packet of which stream the session begins, until the first one comes.
    pub(super) begins_at: Option<(u32, Sequence)>,
    zap: ZapClock,
    /// Extended numbers to ask for now; empty between calls.
    asked: Vec<u64>,
    pub(super) streamed: Streamed,
    announcements: AnnouncementFilter,
    keeper: InterestKeeper,
    /// Something has come, by either way.
    came: bool,
    tuned: Time,
    clock_retry_after: Time,
    /// The push server does not take what we say: the next tuning begins anew.
    pub(super) denied: bool,
    interests_sent: u64,
    delivered_bytes: u64,
    pub(super) bad_tags: u64,
    bad_control: u64,
    moves: u64,
}

/// What starts a reception.
pub(super) struct Start {
    pub(super) tuning: Tuning,
    /// The tuning is from the list kept from earlier.
    pub(super) cached: bool,
    /// For its jitter.
    pub(super) seed: u64,
    pub(super) receiving: Receiving,
    /// When the channel was asked for.
    pub(super) asked_at: Time,
}

/// What a P4 answer asks of the viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// Nothing more.
    Nothing,
    /// Keep the extended lease.
    Keep,
    /// Ask the directory where to tune.
    Directory,
}

impl Reception {
    /// Tunes: begins a live session or joins, and sends interest at once.
    pub(super) fn start(
        now: Time,
        start: Start,
        clock: Option<&ClusterClock>,
        out: &mut Vec<Output>,
    ) -> Self {
        let Start { tuning, cached, seed, receiving, asked_at } = start;
        let group = group_of(&tuning);
        let mut keeper = InterestKeeper::new(seed);
        if !receiving.live.unicast {
            keeper.tuned(now, Tune::Fresh);
        }
        let mut reception = Self {
            tuning,
            cached,
            group,
            old_group: None,
            reassembly: Reassembly::new(Limits { hold: receiving.hold, ..Limits::default() }),
            produced: Vec::new(),
            repairer: Repairer::new(receiving.repair, receiving.hold),
            live: Live::new(now, seed, receiving.live),
            actions: Vec::new(),
            parted: Vec::new(),
            begins_at: None,
            zap: ZapClock::new(asked_at),
            asked: Vec::new(),
            streamed: Streamed::default(),
            announcements: AnnouncementFilter::default(),
            keeper,
            came: false,
            tuned: now,
            clock_retry_after: Time::ZERO,
            denied: false,
            interests_sent: 0,
            delivered_bytes: 0,
            bad_tags: 0,
            bad_control: 0,
            moves: 0,
        };
        reception.poll_live(now, clock, out);
        reception.tell(out);
        reception
    }

    /// Leaves every group, and ends the session.
    pub(super) fn stop(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.live.is_joined() {
            out.push(Output::Leave(self.group));
        }
        let mut actions = std::mem::take(&mut self.actions);
        self.live.stop(now, &mut actions);
        self.carry_out(now, None, actions, out);
        if let Some((group, _)) = self.old_group.take() {
            out.push(Output::Leave(group));
        }
        self.keeper.stop();
    }

    /// Follows a tuning of the same channel. `false` when it is an old one.
    pub(super) fn follow(
        &mut self,
        now: Time,
        tuning: Tuning,
        clock: Option<&ClusterClock>,
        out: &mut Vec<Output>,
    ) -> bool {
        let same_server =
            tuning.push_server == self.tuning.push_server && tuning.control == self.tuning.control;
        let same_group = (tuning.destination, tuning.port) == (self.tuning.destination, self.tuning.port);
        // A cached tuning that never worked says nothing about what the database server counts by now.
        let unproven = self.cached && !self.came;
        let older = match tuning.revision.cmp(&self.tuning.revision) {
            Ordering::Less => true,
            Ordering::Equal => !(same_server && same_group),
            Ordering::Greater => false,
        };
        if older && !unproven {
            return false;
        }
        let start_over = std::mem::take(&mut self.denied) || unproven;
        let group = group_of(&tuning);
        let moved_group = group != self.group;
        let mut actions = std::mem::take(&mut self.actions);
        if !same_server || start_over {
            self.live.moved(now, &mut actions);
        }
        // What is said to the push server before this one has its lease.
        self.carry_out(now, clock, actions, out);
        self.tuning = tuning;
        self.cached = false;
        if moved_group {
            self.move_to(now, group, out);
        }
        self.moves += u64::from(!same_server);
        if !same_server {
            self.repairer.moved();
            self.announcements.moved(now);
        }
        if same_server && !moved_group && !start_over {
            return true;
        }
        if !self.live.is_unicast() {
            let fresh = !self.came && now.since(self.tuned) < FRESH_FOR;
            self.keeper.tuned(now, if fresh { Tune::Fresh } else { Tune::Moved });
        }
        self.tuned = now;
        self.tell(out);
        true
    }

    /// A datagram of one of its groups; `false` when the group is none of its own.
    pub(super) fn datagram(
        &mut self,
        now: Time,
        group: Group,
        bytes: &[u8],
        clock: Option<&ClusterClock>,
        out: &mut Vec<Output>,
    ) -> bool {
        let of_old = self.old_group.is_some_and(|(old, _)| old == group);
        if group != self.group && !of_old {
            return false;
        }
        if rtp::classify(bytes) == Kind::Rtcp {
            self.announcement(now, bytes, clock);
            return true;
        }
        let silent_for = now.since(self.live.silent_since());
        let before = self.reassembly.counters().received;
        if !self.live.is_broadcast() {
            let packet = RtpPacket::from_datagram(bytes).ok();
            if packet.is_some_and(|packet| !self.arrives(now, &packet, clock, out)) {
                self.keeper.media(now);
                return true;
            }
        }
        self.take(now, bytes, Way::Broadcast);
        if self.reassembly.counters().received > before {
            self.live.came(now);
            self.comes(Some(silent_for), out);
            self.keeper.media(now);
            if !of_old && let Some((old, _)) = self.old_group.take() {
                out.push(Output::Leave(old));
            }
        }
        self.hand_on(now, out);
        true
    }

    /// The first packets of P6, or those after a silence. `false`: P5 will bring it.
    fn arrives(
        &mut self,
        now: Time,
        packet: &RtpPacket,
        clock: Option<&ClusterClock>,
        out: &mut Vec<Output>,
    ) -> bool {
        if self.leaves_to_stream(now, packet) {
            self.streamed.ahead += 1;
            return false;
        }
        self.begin_seam(now, packet);
        let header = packet.header();
        let mut actions = std::mem::take(&mut self.actions);
        if self.live.broadcast(now, header.ssrc, header.sequence, &mut actions) {
            out.push(Output::Notice(Notice::ByBroadcast));
        }
        self.carry_out(now, clock, actions, out);
        true
    }

    /// Something came after so long a silence; `None`: nothing that was new.
    pub(super) fn comes(&mut self, silent_for: Option<Duration>, out: &mut Vec<Output>) {
        let Some(silent_for) = silent_for else { return };
        if !std::mem::replace(&mut self.came, true) || silent_for >= MEDIA_SILENCE {
            out.push(Output::Notice(Notice::Playing { channel: self.tuning.channel }));
        }
    }

    /// A P4 answer: sets the clock, extends the lease, or sends us to the directory.
    pub(super) fn control(
        &mut self,
        now: Time,
        from: SocketAddr,
        bytes: &[u8],
        clock: &mut Option<ClusterClock>,
        out: &mut Vec<Output>,
    ) -> Asked {
        let sealed = match Sealed::parse(bytes) {
            Ok(sealed) if sealed.kind == p4_control::Kind::InterestAnswer => sealed,
            Ok(sealed) if sealed.kind == p4_control::Kind::LiveAnswer => {
                return self.live_answer(now, from, &sealed, clock, out);
            }
            _ => {
                self.bad_control += 1;
                return Asked::Nothing;
            }
        };
        let Some(answer) = self.open_answer(&sealed) else { return Asked::Nothing };
        *clock = Some(ClusterClock::new(now, answer.time));
        match answer.verdict {
            InterestVerdict::Extended { expires, masked_secret } => {
                let secret = mask_secret(&self.tuning.secret, expires, masked_secret);
                self.tuning.secret = protocols::authority::MacKey::from_bytes(secret);
                self.tuning.lease.expires = expires;
                Asked::Keep
            }
            InterestVerdict::Clock => {
                if now >= self.clock_retry_after {
                    self.clock_retry_after = now + CLOCK_RETRY;
                    self.send_interest(now, clock.as_ref(), out);
                }
                Asked::Nothing
            }
            InterestVerdict::NotAssigned | InterestVerdict::Expired => {
                self.denied = true;
                Asked::Directory
            }
        }
    }

    /// Does what is due.
    pub(super) fn poll(&mut self, now: Time, clock: Option<&ClusterClock>, out: &mut Vec<Output>) {
        if self.keeper.poll(now).is_some() {
            self.send_interest(now, clock, out);
        }
        self.reassembly.expire(now.since_origin(), &mut self.produced);
        self.hand_on(now, out);
        self.poll_live(now, clock, out);
        self.repair(now, clock, out);
        if let Some((group, until)) = self.old_group
            && until <= now
        {
            self.old_group = None;
            out.push(Output::Leave(group));
        }
    }

    /// When to call [`Reception::poll`].
    pub(super) fn deadline(&self) -> Option<(Time, Reason)> {
        let interest = self.keeper.deadline().map(|at| (at, Reason::Interest));
        let gap = self.reassembly.deadline().map(|at| (Time::ZERO + at, Reason::Reassembly));
        let old = self.old_group.map(|(_, until)| (until, Reason::LeaveOld));
        let repair = self.repairer.deadline().map(|at| (at, Reason::Repair));
        let live = self.live.deadline().map(|at| (at, Reason::Live));
        let seam = self.seam_deadline().map(|at| (at, Reason::Live));
        earliest(interest, earliest(gap, earliest(repair, earliest(old, earliest(live, seam)))))
    }

    /// The tuning in force, with its lease as extended.
    pub(super) fn tuning(&self) -> &Tuning {
        &self.tuning
    }

    /// Version of the assignment in force.
    pub(super) fn revision(&self) -> Revision {
        self.tuning.revision
    }

    /// Since when no media have come, by either way: the last packet, or the moment of tuning.
    pub(super) fn silent_since(&self) -> Time {
        self.live.silent_since().max(self.tuned)
    }

    /// How long the zap took, once.
    pub(super) fn take_zapped(&mut self) -> Option<Duration> {
        self.zap.take()
    }

    /// Adds what it did to `total`.
    pub(super) fn count(&self, total: &mut Counters) {
        let media = self.reassembly.counters();
        total.packets += media.received;
        total.delivered += media.delivered;
        total.delivered_bytes += self.delivered_bytes;
        total.lost += media.lost;
        total.duplicates += media.duplicates;
        total.reordered += media.reordered;
        total.late += media.late;
        total.foreign += media.foreign;
        let announcements = self.announcements.counters();
        total.announcements += announcements.heard;
        total.bad_tags += announcements.bad_tags + self.bad_tags;
        total.ignored_announcements +=
            announcements.wrong_channel + announcements.replays + announcements.outgoing;
        total.bad_control += self.bad_control;
        total.interests_sent += self.interests_sent;
        total.interests_suppressed += self.keeper.counters().suppressed;
        total.moves += self.moves;
        let repairs = self.repairer.counters();
        total.repair_requests += self.streamed.requests;
        total.repairs_asked += repairs.asked;
        total.repaired += repairs.repaired;
        total.repairs_late += self.streamed.late;
        total.repairs_given_up += repairs.given_up;
        total.repairs_deferred += repairs.deferred;
        total.repair_duplicates += self.streamed.duplicates;
        total.foreign_stream += self.streamed.foreign;
        let live = self.live.counters();
        total.live_begins += live.begins;
        total.live_sessions += live.sessions;
        total.live_refused += live.full;
        total.live_packets += live.packets;
        total.live_stays += live.stays;
        total.seams += live.seams;
        total.left_to_stream += self.streamed.ahead;
    }

    fn move_to(&mut self, now: Time, group: Group, out: &mut Vec<Output>) {
        if !self.live.is_joined() {
            self.group = group;
            return;
        }
        match self.old_group.take() {
            Some((older, _)) if older == group => {}
            older => {
                out.extend(older.map(|(older, _)| Output::Leave(older)));
                out.push(Output::Join(group));
            }
        }
        self.old_group = Some((self.group, now + LEAVE_OLD_AFTER));
        self.group = group;
    }

    /// Puts a datagram of media in its place, whatever way it came.
    pub(super) fn take(&mut self, now: Time, bytes: &[u8], way: Way) {
        self.reassembly.datagram(now.since_origin(), bytes, &mut self.produced);
        if self.repairer.is_waiting() {
            let sequence = bytes.get(2..4).and_then(|bytes| bytes.try_into().ok()).map(u16::from_be_bytes);
            let extended = sequence.and_then(|sequence| self.extended(Sequence(sequence)));
            if let Some(extended) = extended.filter(|extended| !self.reassembly.is_missing(*extended)) {
                self.repairer.came(now, extended, way);
            }
        }
        self.observe(now);
    }

    fn observe(&mut self, now: Time) {
        if self.reassembly.is_waiting() || self.repairer.is_waiting() {
            self.repairer.observe(now, &self.reassembly);
        }
    }

    pub(super) fn extended(&self, sequence: Sequence) -> Option<u64> {
        self.reassembly.next_extended().map(|next| sequence.extend_near(next))
    }

    /// Asks for what is due, in as few datagrams as that takes.
    fn repair(&mut self, now: Time, clock: Option<&ClusterClock>, out: &mut Vec<Output>) {
        self.observe(now);
        self.repairer.poll(now, &mut self.asked);
        let Some(ssrc) = self.reassembly.ssrc().filter(|_| !self.asked.is_empty()) else { return };
        let sequences = self.asked.drain(..).map(|extended| Sequence::of_extended(extended).0);
        let missing = Missing::cover(sequences);
        let rtt = self.repairer.round_trip().unwrap_or_default();
        let rtt_us = u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX);
        let (lease, time) = (self.tuning.lease, self.time(now, clock));
        for missing in missing.chunks(MAX_MISSING_PER_REPAIR) {
            let repair = Repair { lease, time, rtt_us, ssrc, missing: missing.to_vec() };
            self.streamed.requests += 1;
            out.push(Output::SendControl {
                from: lease.client,
                to: self.tuning.control,
                bytes: repair.seal(&self.tuning.secret),
            });
        }
    }

    fn announcement(&mut self, now: Time, bytes: &[u8], clock: Option<&ClusterClock>) {
        let time = clock.map(|clock| clock.at(now));
        let (channel, key) = (self.tuning.channel, &self.tuning.announce_key);
        if let Some(held_for) = self.announcements.open(now, bytes, channel, key, time) {
            self.keeper.heard(now, held_for);
        }
    }

    fn open_answer(&mut self, sealed: &Sealed<'_>) -> Option<InterestAnswer> {
        match sealed.open::<InterestAnswer>(&self.tuning.secret) {
            Ok(answer) if answer.channel == self.tuning.channel => Some(answer),
            _ => {
                self.bad_tags += 1;
                None
            }
        }
    }

    fn send_interest(&mut self, now: Time, clock: Option<&ClusterClock>, out: &mut Vec<Output>) {
        let time = self.time(now, clock);
        self.interests_sent += 1;
        let interest = Interest { lease: self.tuning.lease, time };
        out.push(Output::SendControl {
            from: self.tuning.lease.client,
            to: self.tuning.control,
            bytes: interest.seal(&self.tuning.secret),
        });
    }

    /// The cluster's time, as far as it is known.
    pub(super) fn time(&self, now: Time, clock: Option<&ClusterClock>) -> ClusterTime {
        clock.map_or(self.tuning.time, |clock| clock.at(now))
    }

    pub(super) fn hand_on(&mut self, now: Time, out: &mut Vec<Output>) {
        for event in self.produced.drain(..) {
            match event {
                reassembly::Output::Packet { extended, packet } => {
                    self.zap.packet(now, extended, &packet);
                    self.delivered_bytes += packet.payload().len() as u64;
                    out.push(Output::Deliver(packet));
                }
                reassembly::Output::Lost { count, .. } => {
                    out.push(Output::Notice(Notice::Lost { packets: count }));
                }
                reassembly::Output::Reset => {
                    self.repairer.reset();
                    out.push(Output::Notice(Notice::NewStream));
                }
            }
        }
    }

    fn tell(&self, out: &mut Vec<Output>) {
        out.push(Output::Notice(Notice::Tuned {
            channel: self.tuning.channel,
            name: self.tuning.name.clone(),
            push_server: self.tuning.push_server.clone(),
            group: self.group,
            cached: self.cached,
        }));
    }
}

fn group_of(tuning: &Tuning) -> Group {
    Group { address: tuning.destination, port: tuning.port, local: tuning.lease.client }
}
