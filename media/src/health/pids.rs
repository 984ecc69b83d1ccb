//! What is kept of each PID of a stream.

use std::time::Duration;

use super::clock::ClockWatch;
use crate::packet::{PID_COUNT, Packet};
use crate::psi::PAT_PID;

/// PIDs of one stream that are followed; packets of further ones are counted and not checked.
pub const PIDS_MAX: usize = 255;

/// PID of the conditional access table.
pub(super) const CAT_PID: u16 = 1;
/// PIDs of NIT, SDT and BAT, EIT, TDT and TOT (ETSI EN 300 468 §5.1.3, table 1).
const SI_PIDS: [u16; 4] = [0x10, 0x11, 0x12, 0x14];
/// PIDs below are reserved for tables of a meaning of their own.
pub(super) const FIRST_FREE_PID: u16 = 0x20;

/// What a PID carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Carries {
    #[default]
    Data,
    Pat,
    Cat,
    /// Service information, of which only the CRC is checked.
    Information,
    Pmt,
}

/// What is known of one PID.
#[derive(Debug, Default)]
pub(super) struct PidWatch {
    pub(super) carries: Carries,
    continuity: Option<Continuity>,
    /// When the last packet came, or its absence was counted last.
    pub(super) heard: Duration,
    /// A PMT names it as sound, picture or PCR: it is missed when it does not come.
    pub(super) wanted: bool,
    /// It is sound or picture; when the last PTS came, or its absence was counted last.
    pub(super) stamped: Option<Duration>,
    /// A PMT names it as the PCR PID.
    pub(super) clock: Option<Box<ClockWatch>>,
}

#[derive(Debug, Clone, Copy)]
struct Continuity {
    counter: u8,
    /// The end of the payload, which tells a repeated packet from another with the same counter.
    tail: u64,
    repeated: bool,
}

/// A break of the continuity counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Break {
    /// Packets missing, as far as four bits tell.
    pub(super) missing: u8,
}

impl PidWatch {
    /// Takes the next packet's continuity counter (§2.4.3.3).
    pub(super) fn continuity(&mut self, packet: Packet<'_>) -> Option<Break> {
        let now = Continuity { counter: packet.continuity_counter(), tail: tail(packet), repeated: false };
        let Some(last) = self.continuity else {
            self.continuity = Some(now);
            return None;
        };
        if !packet.has_payload() {
            self.continuity = Some(Continuity { counter: now.counter, ..last });
            let fine = now.counter == last.counter || packet.discontinuity();
            return (!fine).then_some(Break { missing: missing(last.counter, now.counter) });
        }
        let again = now.counter == last.counter && now.tail == last.tail;
        let repeated = again && !last.repeated;
        self.continuity = Some(Continuity { repeated: again, ..now });
        if now.counter == (last.counter + 1) & 15 || repeated || packet.discontinuity() {
            None
        } else {
            Some(Break { missing: if again { 0 } else { missing(last.counter, now.counter) } })
        }
    }

    /// A packet with `transport_error_indicator`: it counts where it is the one that was due, so that its error is not
    /// counted as another's as well.
    pub(super) fn damaged(&mut self, packet: Packet<'_>) {
        if let Some(last) = &mut self.continuity
            && packet.has_payload()
            && packet.continuity_counter() == (last.counter + 1) & 15
        {
            *last = Continuity { counter: packet.continuity_counter(), tail: tail(packet), repeated: false };
        }
    }

    /// Forgets what came before an interruption; from `now` on it is missed.
    pub(super) fn restart(&mut self, now: Duration) {
        self.continuity = None;
        self.heard = now;
        self.stamped = self.stamped.map(|_| now);
        if let Some(clock) = &mut self.clock {
            clock.begin(now);
        }
    }
}

/// The PIDs of one stream, each found by one look.
#[derive(Debug)]
pub(super) struct Pids {
    /// Place in `watches` plus one; 0 where there is none.
    places: Box<[u8; PID_COUNT]>,
    watches: Vec<(u16, PidWatch)>,
}

impl Pids {
    pub(super) fn new() -> Self {
        Self { places: Box::new([0; PID_COUNT]), watches: Vec::new() }
    }

    /// The PID's watch, a new one where it is the first packet; `None` when there are [`PIDS_MAX`].
    pub(super) fn of(&mut self, pid: u16) -> Option<&mut PidWatch> {
        let place = self.places.get_mut(usize::from(pid))?;
        if *place == 0 {
            *place = u8::try_from(self.watches.len() + 1).ok()?;
            self.watches.push((pid, PidWatch { carries: fixed(pid), ..PidWatch::default() }));
        }
        self.watches.get_mut(usize::from(*place) - 1).map(|(_, watch)| watch)
    }

    /// The PID's watch, if it has one.
    pub(super) fn known(&mut self, pid: u16) -> Option<&mut PidWatch> {
        let place = usize::from(*self.places.get(usize::from(pid))?).checked_sub(1)?;
        self.watches.get_mut(place).map(|(_, watch)| watch)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u16, &mut PidWatch)> {
        self.watches.iter_mut().map(|(pid, watch)| (*pid, watch))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &PidWatch> {
        self.watches.iter().map(|(_, watch)| watch)
    }
}

/// What a PID carries by its number alone.
fn fixed(pid: u16) -> Carries {
    match pid {
        PAT_PID => Carries::Pat,
        CAT_PID => Carries::Cat,
        _ if SI_PIDS.contains(&pid) => Carries::Information,
        _ => Carries::Data,
    }
}

fn missing(last: u8, found: u8) -> u8 {
    found.wrapping_sub(last).wrapping_sub(1) & 15
}

fn tail(packet: Packet<'_>) -> u64 {
    packet.bytes().last_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
