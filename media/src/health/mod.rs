//! How a stream fares at its source: the first- and second-priority indicators of ETSI TR 101 290, and the media
//! delivery index of RFC 4445.
//!
//! ```text
//! packets ─► Health ─► Tallies: how often each indicator was seen, and when last
//!              ├─ every packet: continuity, transport error, which PIDs come
//!              ├─ tables: PAT, PMT, CAT in time and unscrambled, CRCs
//!              └─ the PCR PIDs: often enough, unbroken, in their place; PTS of sound and pictures
//! arrivals ─► Delivery ─► DF : MLR of each second
//! ```
//!
//! Intervals are measured between arrivals, as a receiver sees them. An absence is counted once for each interval that
//! it lasts. Where nothing at all comes for [`SILENCE`], that is one [`Indicator::SyncLoss`] and nothing else: the other
//! indicators say nothing without a stream, and begin anew with it.
//!
//! What cannot be judged is not: `PCR_accuracy_error` needs the packets where the sender put them in a stream of
//! constant rate, so it is judged of whole inputs only ([`Extent::Input`]), after three seconds of one rate within
//! 100 ppm; `CAT_error` of whole inputs only, because a service taken out of its multiplex comes without the CAT.

mod clock;
mod delivery;
mod indicator;
mod pids;
mod tables;

use std::collections::BTreeMap;
use std::time::Duration;

use clock::Sample;
use pids::{Carries, Pids};
use tables::{Steady, Tables};

pub use clock::PCR_INTERVAL;
pub use delivery::{Delivery, DeliveryIndex, INTERVAL};
pub use indicator::{Indicator, Tallies, Tally};
pub use pids::PIDS_MAX;
pub use tables::{PROGRAMMES_MAX, TABLE_INTERVAL};

use crate::packet::{NULL_PID, Packet};
use crate::pes::PesTimes;

/// Longest absence of a PID of sound, pictures or PCR; TR 101 290 leaves it to the user and names 5 s (1.6).
pub const PID_INTERVAL: Duration = Duration::from_secs(5);
/// Longest interval between two PTS of one PID (TR 101 290, 2.5).
pub const PTS_INTERVAL: Duration = Duration::from_millis(700);
/// Scrambled packets for so long without a CAT are an error (2.6, which names no time).
pub const CAT_PATIENCE: Duration = Duration::from_secs(2);
/// Without a packet for so long there is no stream.
pub const SILENCE: Duration = Duration::from_secs(1);

/// Absences are looked for so often.
const SWEEP_INTERVAL: Duration = Duration::from_millis(50);

/// What the packets are that are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All packets of an input, in the places where they came.
    Input,
    /// One service out of them.
    Service,
}

/// Checks one transport stream. Each packet costs a look at its PID's state; nothing is allocated but for a PID, or a
/// table, that is new.
#[derive(Debug)]
pub struct Health {
    extent: Extent,
    tallies: Tallies,
    tables: Tables,
    pids: Pids,
    /// When the last packet came; `None` before the first.
    heard: Option<Duration>,
    silent: bool,
    /// The first packet from then on has absences looked for.
    look_at: Duration,
    /// Packets so far.
    position: u64,
    /// Since when scrambled packets have come without a CAT.
    without_cat: Option<Duration>,
    lost_packets: u64,
    unwatched_packets: u64,
}

impl Health {
    /// A check that has seen nothing.
    pub fn new(extent: Extent) -> Self {
        Self {
            extent,
            tallies: Tallies::default(),
            tables: Tables::default(),
            pids: Pids::new(),
            heard: None,
            silent: false,
            look_at: Duration::ZERO,
            position: 0,
            without_cat: None,
            lost_packets: 0,
            unwatched_packets: 0,
        }
    }

    /// Takes the next packet, which came at `now`.
    pub fn push(&mut self, now: Duration, packet: Packet<'_>) {
        if now >= self.look_at {
            self.look_back(now);
        }
        self.heard = Some(now);
        self.position += 1;
        let pid = packet.pid();
        if packet.transport_error() {
            // Nothing else of it is to be trusted (TR 101 290, 2.1).
            self.tallies.raise(Indicator::Transport, now);
            if let Some(watch) = self.pids.known(pid) {
                watch.damaged(packet);
            }
            return;
        }
        // Neither payload nor adaptation field is reserved, and such packets are to be dropped (§2.4.3.3).
        if pid == NULL_PID || packet.bytes()[3] & 0x30 == 0 {
            return;
        }
        let Some(watch) = self.pids.of(pid) else {
            self.unwatched_packets += 1;
            return;
        };
        watch.heard = now;
        let torn = watch.continuity(packet);
        if let Some(clock) = &mut watch.clock
            && let Some(pcr) = packet.pcr()
        {
            let position = (self.extent == Extent::Input).then_some(self.position);
            let sample = Sample { pcr, position, announced: packet.discontinuity() };
            clock.sample(now, sample, &mut self.tallies);
        }
        let scrambled = packet.is_scrambled();
        if let Some(stamped) = &mut watch.stamped
            && (scrambled || packet.payload_unit_start() && PesTimes::parse(packet.payload()).is_some())
        {
            // Whether a scrambled one has stamps cannot be told.
            let overdue = now.saturating_sub(*stamped) > PTS_INTERVAL;
            self.tallies.raise_by(Indicator::Pts, now, u64::from(overdue));
            *stamped = now;
        }
        let carries = watch.carries;
        if let Some(torn) = torn {
            self.torn(now, u64::from(torn.missing));
        }
        if scrambled {
            self.scrambled(now, carries);
        } else if carries != Carries::Data {
            self.table(now, carries, packet);
        }
    }

    /// Looks for what has not come; to be called now and then, so that silence is noticed.
    pub fn tick(&mut self, now: Duration) {
        let Some(heard) = self.heard else { return };
        if now.saturating_sub(heard) <= SILENCE {
            self.sweep(now);
        } else if !self.silent {
            self.silent = true;
            self.tallies.raise(Indicator::SyncLoss, now);
        }
    }

    /// The input's bytes were cut into packets with so many wrong sync bytes, and so many times out of step.
    pub fn synchronised(&mut self, now: Duration, errors: SyncErrors) {
        self.tallies.raise_by(Indicator::SyncByte, now, errors.bytes);
        self.tallies.raise_by(Indicator::SyncLoss, now, errors.losses);
    }

    /// From now on the packets are so much of their multiplex.
    pub fn set_extent(&mut self, extent: Extent) {
        self.extent = extent;
    }

    /// The input was opened anew, perhaps another one: what comes next does not continue what came before.
    pub fn interrupt(&mut self, extent: Extent) {
        (self.extent, self.heard, self.look_at) = (extent, None, Duration::ZERO);
    }

    /// Whether packets come: one has since the input was opened, and no silence was found since.
    pub fn is_arriving(&self) -> bool {
        self.heard.is_some() && !self.silent
    }

    /// What was seen so far.
    pub fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    /// Packets missing by their continuity counters, fifteen of one PID at a time at most.
    pub fn lost_packets(&self) -> u64 {
        self.lost_packets
    }

    /// Packets of PIDs beyond [`PIDS_MAX`], which were not checked.
    pub fn unwatched_packets(&self) -> u64 {
        self.unwatched_packets
    }

    /// Whether the place of PCRs is judged at present.
    pub fn judges_accuracy(&self) -> bool {
        self.pids.iter().filter_map(|watch| watch.clock.as_ref()).any(|clock| clock.judges_accuracy())
    }

    /// A packet has come that may be the first, or the first after a silence; else absences are looked for.
    fn look_back(&mut self, now: Duration) {
        match self.heard {
            Some(heard) if now.saturating_sub(heard) <= SILENCE => self.sweep(now),
            Some(_) => {
                if !std::mem::take(&mut self.silent) {
                    self.tallies.raise(Indicator::SyncLoss, now);
                }
                self.restart(now);
            }
            None => self.restart(now),
        }
    }

    fn restart(&mut self, now: Duration) {
        (self.silent, self.look_at, self.without_cat) = (false, now.saturating_add(SWEEP_INTERVAL), None);
        self.tables.restart(now);
        self.pids.iter_mut().for_each(|(_, watch)| watch.restart(now));
    }

    fn sweep(&mut self, now: Duration) {
        self.look_at = now.saturating_add(SWEEP_INTERVAL);
        self.tables.sweep(now, &mut self.tallies);
        if self.without_cat.is_some_and(|since| now.saturating_sub(since) > CAT_PATIENCE) {
            self.without_cat = None;
            self.tallies.raise(Indicator::Cat, now);
        }
        for (_, watch) in self.pids.iter_mut().filter(|(_, watch)| watch.wanted) {
            if now.saturating_sub(watch.heard) > PID_INTERVAL {
                watch.heard = now;
                self.tallies.raise(Indicator::Pid, now);
            }
            if let Some(stamped) = watch.stamped.as_mut().filter(|at| now.saturating_sub(**at) > PTS_INTERVAL)
            {
                *stamped = now;
                self.tallies.raise(Indicator::Pts, now);
            }
            if let Some(clock) = &mut watch.clock {
                clock.sweep(now, &mut self.tallies);
            }
        }
    }

    fn torn(&mut self, now: Duration, missing: u64) {
        self.tallies.raise(Indicator::Continuity, now);
        self.lost_packets = self.lost_packets.saturating_add(missing);
        self.pids.iter_mut().filter_map(|(_, watch)| watch.clock.as_mut()).for_each(|clock| clock.torn());
    }

    fn scrambled(&mut self, now: Duration, carries: Carries) {
        match carries {
            Carries::Pat => self.tallies.raise(Indicator::Pat, now),
            Carries::Pmt => self.tallies.raise(Indicator::Pmt, now),
            _ if self.extent == Extent::Input => {
                self.without_cat.get_or_insert(now);
            }
            _ => {}
        }
    }

    fn table(&mut self, now: Duration, carries: Carries, packet: Packet<'_>) {
        let brought = self.tables.push(now, carries, packet, &mut self.tallies);
        if brought.cat {
            self.without_cat = None;
        }
        if brought.programmes {
            self.expect_streams(now);
        }
    }

    /// Misses from now on what the PMTs name, and nothing else.
    fn expect_streams(&mut self, now: Duration) {
        let Self { tables, pids, .. } = self;
        let mut expected = BTreeMap::<u16, Expected>::new();
        for programme in tables.programmes() {
            expected.entry(programme.pmt_pid).or_default().pmt = true;
            if let Some(pid) = programme.pcr_pid {
                expected.entry(pid).or_default().clock = true;
            }
            let steady = programme.streams.iter();
            for stream in steady
                .filter(|stream| tables::steady(stream.stream_type, stream.private) == Steady::Presented)
            {
                expected.entry(stream.pid).or_default().stamps = true;
            }
        }
        // A PID that is named before it comes is missed as well.
        for &pid in expected.keys() {
            if pid != NULL_PID {
                pids.of(pid);
            }
        }
        for (pid, watch) in pids.iter_mut() {
            let expected = expected.get(&pid).copied().unwrap_or_default();
            watch.expect(now, expected);
        }
    }
}

/// Wrong sync bytes and lost synchronisation, as the input's synchroniser counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SyncErrors {
    /// Another byte where 0x47 belongs.
    pub bytes: u64,
    /// Packets that were then found elsewhere, or not at once.
    pub losses: u64,
}

/// What the PMTs say of one PID.
#[derive(Debug, Clone, Copy, Default)]
struct Expected {
    pmt: bool,
    clock: bool,
    stamps: bool,
}

impl pids::PidWatch {
    fn expect(&mut self, now: Duration, expected: Expected) {
        let wanted = expected.clock || expected.stamps;
        if wanted && !self.wanted {
            self.heard = now;
        }
        self.wanted = wanted;
        self.carries = match self.carries {
            Carries::Data | Carries::Pmt if expected.pmt => Carries::Pmt,
            Carries::Pmt => Carries::Data,
            fixed => fixed,
        };
        self.stamped = expected.stamps.then(|| self.stamped.unwrap_or(now));
        if !expected.clock {
            self.clock = None;
        } else if self.clock.is_none() {
            let mut clock = Box::<clock::ClockWatch>::default();
            clock.begin(now);
            self.clock = Some(clock);
        }
    }
}

#[cfg(test)]
mod tests;
