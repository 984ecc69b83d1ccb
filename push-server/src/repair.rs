//! Repairs of one channel: which packets are sent again, to whom, and how many. Beside the ring, in the data thread.
//!
//! ```text
//! asked for ──► in the ring? ──► sent to this viewer just now? ──► another viewer of the network asked just now?
//!                 │ no: counted        │ yes: counted                 │ no: to the viewer     │ yes: to the network, once
//!                                                                     └──── both within the budgets of asker and channel
//! ```
//!
//! Who has shown no lease (a standard receiver, by RTCP) is answered to the network alone, out of one budget for all of
//! them. Until somebody asks nothing is kept, and again when nobody has for [`FORGOTTEN_AFTER`].

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use protocols::budget::{Budget, Share};
use protocols::p4_control::{
    AGGREGATION_WINDOW, LEAST_REPEAT, Missing, REPAIR_BUDGET_PERCENT, REPAIR_BURST_PACKETS,
    REPAIR_BURST_TIME, REPEAT_AFTER_PERCENT,
};
use protocols::time::Time;

use crate::pacer::MOST_SPACING;

/// What one viewer gets, or the strangers of one destination.
pub const ASKER_SHARE: Share =
    Share { percent: REPAIR_BUDGET_PERCENT, burst_packets: REPAIR_BURST_PACKETS, burst: REPAIR_BURST_TIME };
/// What all who ask get together.
pub const CHANNEL_SHARE: Share = Share { percent: 50, burst_packets: 100, burst: Duration::from_secs(1) };
/// Budgets kept for one channel; the one used longest ago makes room, which gives its owner a full one.
pub const MAX_REPAIRED_CLIENTS: usize = 256;
/// Repairs remembered for one channel, so that none is repeated too soon; that of the oldest packet makes room.
pub const MAX_REMEMBERED: usize = 4_096;
/// All of it is forgotten when nobody has asked for so long.
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(10);
/// No stated round-trip time is believed to be longer.
const LONGEST_ROUND_TRIP: Duration = Duration::from_secs(1);

/// A request for packets of one channel, let through by control.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who asks.
    pub from: Requester,
    /// Synchronisation source of the packets.
    pub ssrc: u32,
    /// What is missing.
    pub missing: Vec<Missing>,
}

/// Who asks for packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requester {
    /// A viewer who has shown a lease for `destination`.
    Viewer {
        /// Where it asked from, and is answered.
        address: SocketAddr,
        /// The destination whose packets it misses.
        destination: IpAddr,
        /// Round-trip time as it states it; zero: unknown.
        round_trip: Duration,
    },
    /// A receiver who has shown nothing.
    Receiver {
        /// Where its request claims to come from.
        address: IpAddr,
    },
}

/// On whose behalf the machine decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// A viewer with a lease.
    Viewer {
        /// Where it is answered.
        address: SocketAddr,
        /// Round-trip time as it states it; zero: unknown.
        round_trip: Duration,
    },
    /// Those receivers of the destination that have shown no lease, all of them together.
    Strangers,
}

/// How a packet is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// By P5, to one viewer.
    Stream(SocketAddr),
    /// By P6, to the destination.
    Broadcast,
}

/// Why a packet is not sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It was sent to that viewer less than a round trip ago.
    TooSoon,
    /// It was broadcast within the aggregation window.
    Covered,
    /// The asker's budget is used up.
    AskerBudget,
    /// The channel's budget is used up.
    ChannelBudget,
}

/// What was asked for and what became of it, in packets, since the channel's making.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Sent again to one viewer.
    pub sent: u64,
    /// Sent again to all of a destination.
    pub broadcast: u64,
    /// Not sent: less than a round trip after the last time.
    pub too_soon: u64,
    /// Not sent: broadcast within the aggregation window.
    pub covered: u64,
    /// Not sent: the asker's budget.
    pub over_asker_budget: u64,
    /// Not sent: the channel's budget.
    pub over_channel_budget: u64,
    /// Not in the ring: too old, or never fed.
    pub gone: u64,
    /// Of another stream than the present one.
    pub other_stream: u64,
    /// Of a destination that is not sent to now, or of a channel that is shed.
    pub not_sending: u64,
    /// Asked for by somebody on no network that is served.
    pub nobodys_network: u64,
    /// Not taken by the operating system.
    pub refused: u64,
    /// Budgets that made room for others.
    pub forgotten: u64,
}

impl Counters {
    /// Packets that were asked for and not sent, for whatever reason.
    pub fn withheld(&self) -> u64 {
        let decided = self.too_soon + self.covered + self.over_asker_budget + self.over_channel_budget;
        decided + self.gone + self.other_stream + self.not_sending + self.nobodys_network
    }
}

/// What is remembered of repairs: nothing, as long as nobody asks.
#[derive(Debug, Default)]
pub struct Repairs {
    memory: Option<Box<Memory>>,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Memory {
    budget: Budget,
    askers: BTreeMap<Owner, Account>,
    /// When a packet was last sent to a viewer.
    sent: BTreeMap<(u64, SocketAddr), Time>,
    /// Packets asked for at a destination of late.
    asked: BTreeMap<(u64, IpAddr), Asked>,
    used: Time,
}

/// Whose budget it is. A lease names no port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Viewer(IpAddr),
    Strangers(IpAddr),
}

#[derive(Debug, Default)]
struct Account {
    budget: Budget,
    used: Time,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    by: Option<SocketAddr>,
    at: Time,
    broadcast: bool,
}

impl Repairs {
    /// Whether the packet at `position` is sent again, and how. `spacing` is the time between two packets of the stream,
    /// where it is known. What is answered is taken for sent.
    pub fn decide(
        &mut self,
        now: Time,
        asker: Asker,
        destination: IpAddr,
        position: u64,
        spacing: Option<Duration>,
    ) -> Result<Answer, Refusal> {
        let memory = self.memory.get_or_insert_default();
        memory.used = now;
        let key = (position, destination);
        let answer = memory.answer(now, asker, key).and_then(|answer| {
            self.counters.forgotten += memory.make_room(Owner::of(asker, destination));
            memory.charge(now, Owner::of(asker, destination), spacing.unwrap_or(MOST_SPACING))?;
            memory.note(now, asker, key, answer);
            Ok(answer)
        });
        match answer {
            Ok(Answer::Stream(_)) => self.counters.sent += 1,
            Ok(Answer::Broadcast) => self.counters.broadcast += 1,
            Err(Refusal::TooSoon) => self.counters.too_soon += 1,
            Err(Refusal::Covered) => self.counters.covered += 1,
            Err(Refusal::AskerBudget) => self.counters.over_asker_budget += 1,
            Err(Refusal::ChannelBudget) => self.counters.over_channel_budget += 1,
        }
        answer
    }

    /// Forgets everything once nobody has asked for [`FORGOTTEN_AFTER`]. To be called now and then.
    pub fn tidy(&mut self, now: Time) {
        self.memory.take_if(|memory| now.since(memory.used) >= FORGOTTEN_AFTER);
    }

    /// Budgets that are kept.
    pub fn askers(&self) -> usize {
        self.memory.as_ref().map_or(0, |memory| memory.askers.len())
    }

    /// What became of what was asked for.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// To count what never comes to a decision.
    pub(crate) fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }
}

impl Owner {
    fn of(asker: Asker, destination: IpAddr) -> Self {
        match asker {
            Asker::Viewer { address, .. } => Self::Viewer(address.ip().to_canonical()),
            Asker::Strangers => Self::Strangers(destination),
        }
    }
}

impl Memory {
    fn answer(&self, now: Time, asker: Asker, key: (u64, IpAddr)) -> Result<Answer, Refusal> {
        let asked = self.asked.get(&key).filter(|asked| now.since(asked.at) < AGGREGATION_WINDOW);
        if asked.is_some_and(|asked| asked.broadcast) {
            return Err(Refusal::Covered);
        }
        let Asker::Viewer { address, round_trip } = asker else { return Ok(Answer::Broadcast) };
        let least = (round_trip.min(LONGEST_ROUND_TRIP) * REPEAT_AFTER_PERCENT / 100).max(LEAST_REPEAT);
        if self.sent.get(&(key.0, address)).is_some_and(|at| now.since(*at) < least) {
            return Err(Refusal::TooSoon);
        }
        let another = asked.is_some_and(|asked| asked.by != Some(address));
        Ok(if another { Answer::Broadcast } else { Answer::Stream(address) })
    }

    /// Makes room for `owner`'s account where there is none; answers how many others that took.
    fn make_room(&mut self, owner: Owner) -> u64 {
        if self.askers.len() < MAX_REPAIRED_CLIENTS || self.askers.contains_key(&owner) {
            return 0;
        }
        let oldest = self.askers.iter().min_by_key(|(_, account)| account.used).map(|(owner, _)| *owner);
        oldest.and_then(|owner| self.askers.remove(&owner)).map_or(0, |_| 1)
    }

    /// Takes one packet from both budgets, or from none.
    fn charge(&mut self, now: Time, owner: Owner, spacing: Duration) -> Result<(), Refusal> {
        let account = self.askers.entry(owner).or_default();
        account.used = now;
        let (own, all) = (ASKER_SHARE.of(spacing), CHANNEL_SHARE.of(spacing));
        if !account.budget.has_room(now, own) {
            return Err(Refusal::AskerBudget);
        }
        if !self.budget.has_room(now, all) {
            return Err(Refusal::ChannelBudget);
        }
        account.budget.use_one(own);
        self.budget.use_one(all);
        Ok(())
    }

    fn note(&mut self, now: Time, asker: Asker, key: (u64, IpAddr), answer: Answer) {
        let by = match asker {
            Asker::Viewer { address, .. } => Some(address),
            Asker::Strangers => None,
        };
        if let Some(address) = by {
            self.sent.insert((key.0, address), now);
        }
        let broadcast = answer == Answer::Broadcast;
        let fresh = self.asked.get(&key).is_some_and(|asked| now.since(asked.at) < AGGREGATION_WINDOW);
        if broadcast || !fresh {
            self.asked.insert(key, Asked { by, at: now, broadcast });
        }
        while self.sent.len() > MAX_REMEMBERED {
            self.sent.pop_first();
        }
        while self.asked.len() > MAX_REMEMBERED {
            self.asked.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a 5 Mb/s channel: 500 packets a second.
    const SPACING: Option<Duration> = Some(Duration::from_millis(2));

    fn ms(ms: u64) -> Time {
        Time::from_ms(1_000 + ms)
    }

    fn lan() -> IpAddr {
        IpAddr::from([239, 192, 1, 1])
    }

    fn at(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 1, last], 5_000))
    }

    /// Viewer `last`, 20 ms away.
    fn viewer(last: u8) -> Asker {
        Asker::Viewer { address: at(last), round_trip: Duration::from_millis(20) }
    }

    fn decide(repairs: &mut Repairs, now: Time, asker: Asker, position: u64) -> Result<Answer, Refusal> {
        repairs.decide(now, asker, lan(), position, SPACING)
    }

    /// How many of `wanted` packets are sent.
    fn answered(repairs: &mut Repairs, now: Time, asker: Asker, wanted: std::ops::Range<u64>) -> usize {
        wanted.filter(|position| decide(repairs, now, asker, *position).is_ok()).count()
    }

    #[test]
    fn a_packet_goes_to_who_asks_and_again_after_four_fifths_of_a_round_trip() {
        let mut repairs = Repairs::default();
        assert_eq!(decide(&mut repairs, ms(0), viewer(1), 7), Ok(Answer::Stream(at(1))));
        assert_eq!(decide(&mut repairs, ms(15), viewer(1), 7), Err(Refusal::TooSoon));
        assert_eq!(decide(&mut repairs, ms(16), viewer(1), 7), Ok(Answer::Stream(at(1))));
        let near = Asker::Viewer { address: at(2), round_trip: Duration::ZERO };
        assert_eq!(decide(&mut repairs, ms(100), near, 8), Ok(Answer::Stream(at(2))));
        assert_eq!(decide(&mut repairs, ms(101), near, 8), Err(Refusal::TooSoon));
        assert_eq!(decide(&mut repairs, ms(102), near, 8), Ok(Answer::Stream(at(2))));
        let absurd = Asker::Viewer { address: at(3), round_trip: Duration::MAX };
        assert_eq!(decide(&mut repairs, ms(200), absurd, 9), Ok(Answer::Stream(at(3))));
        assert_eq!(decide(&mut repairs, ms(1_000), absurd, 9), Ok(Answer::Stream(at(3))));
    }

    #[test]
    fn a_second_viewer_within_the_window_has_it_broadcast_once_to_all() {
        let mut repairs = Repairs::default();
        assert_eq!(decide(&mut repairs, ms(0), viewer(1), 7), Ok(Answer::Stream(at(1))));
        assert_eq!(decide(&mut repairs, ms(9), viewer(2), 7), Ok(Answer::Broadcast));
        assert_eq!(decide(&mut repairs, ms(10), viewer(3), 7), Err(Refusal::Covered));
        assert_eq!(decide(&mut repairs, ms(18), viewer(1), 7), Err(Refusal::Covered));
        assert_eq!(decide(&mut repairs, ms(19), viewer(4), 7), Ok(Answer::Stream(at(4))));
    }

    #[test]
    fn viewers_of_different_networks_or_packets_or_moments_are_not_taken_together() {
        let mut repairs = Repairs::default();
        let elsewhere = IpAddr::from([239, 192, 1, 2]);
        assert_eq!(decide(&mut repairs, ms(0), viewer(1), 7), Ok(Answer::Stream(at(1))));
        let other = repairs.decide(ms(1), viewer(2), elsewhere, 7, SPACING);
        assert_eq!(other, Ok(Answer::Stream(at(2))));
        assert_eq!(decide(&mut repairs, ms(2), viewer(3), 8), Ok(Answer::Stream(at(3))));
        assert_eq!(decide(&mut repairs, ms(10), viewer(4), 7), Ok(Answer::Stream(at(4))));
    }

    #[test]
    fn strangers_are_answered_to_the_network_once_in_a_window_out_of_one_budget() {
        let mut repairs = Repairs::default();
        assert_eq!(decide(&mut repairs, ms(0), Asker::Strangers, 7), Ok(Answer::Broadcast));
        assert_eq!(decide(&mut repairs, ms(9), Asker::Strangers, 7), Err(Refusal::Covered));
        assert_eq!(decide(&mut repairs, ms(10), Asker::Strangers, 7), Ok(Answer::Broadcast));
        assert_eq!(answered(&mut repairs, ms(10), Asker::Strangers, 1_000..2_000), 250 - 2 + 1);
        assert_eq!(decide(&mut repairs, ms(10), viewer(1), 9), Ok(Answer::Stream(at(1))));
        assert_eq!(repairs.askers(), 2);
    }

    #[test]
    fn one_viewer_gets_half_a_second_of_the_stream_at_once_and_a_quarter_of_it_in_the_long_run() {
        let mut repairs = Repairs::default();
        assert_eq!(answered(&mut repairs, ms(0), viewer(1), 0..1_000), 250);
        assert_eq!(decide(&mut repairs, ms(0), viewer(1), 2_000), Err(Refusal::AskerBudget));
        let mut sent = 0;
        for step in 1..=1_000 {
            sent += answered(&mut repairs, ms(step * 10), viewer(1), step * 10_000..step * 10_000 + 5);
        }
        assert_eq!(sent, 1_250);
    }

    #[test]
    fn a_slow_stream_allows_twenty_packets_at_once() {
        let mut repairs = Repairs::default();
        let slow = Some(Duration::from_millis(100));
        let sent = (0..100).filter(|n| repairs.decide(ms(0), viewer(1), lan(), *n, slow).is_ok()).count();
        assert_eq!(sent, 20);
    }

    #[test]
    fn all_viewers_together_get_a_second_of_the_stream_at_once_and_half_of_it_in_the_long_run() {
        let mut repairs = Repairs::default();
        let each: Vec<usize> = (0..4_u8)
            .map(|n| {
                let from = u64::from(n) * 1_000;
                answered(&mut repairs, ms(0), viewer(n), from..from + 200)
            })
            .collect();
        assert_eq!(each, [200, 200, 100, 0]);
        assert_eq!(decide(&mut repairs, ms(0), viewer(9), 9_000), Err(Refusal::ChannelBudget));
        let later: usize = (0..4_u8)
            .map(|n| {
                let from = 10_000 + u64::from(n) * 1_000;
                answered(&mut repairs, ms(400), viewer(n), from..from + 80)
            })
            .sum();
        assert_eq!(later, 100);
    }

    #[test]
    fn what_is_refused_costs_no_budget() {
        let mut repairs = Repairs::default();
        assert_eq!(answered(&mut repairs, ms(0), viewer(1), 0..249), 249);
        assert_eq!(answered(&mut repairs, ms(0), viewer(1), 0..249), 0);
        assert_eq!(answered(&mut repairs, ms(0), viewer(1), 500..502), 1);
    }

    #[test]
    fn tables_stay_within_their_limits_and_the_budget_used_longest_ago_makes_room() {
        let mut repairs = Repairs::default();
        for n in 0..MAX_REPAIRED_CLIENTS as u64 + 10 {
            let [.., high, low] = n.to_be_bytes();
            let asker = Asker::Viewer {
                address: SocketAddr::from(([10, 0, high, low], 5_000)),
                round_trip: Duration::ZERO,
            };
            let _ = decide(&mut repairs, ms(n * 20), asker, n);
        }
        assert_eq!((repairs.askers(), repairs.counters().forgotten), (MAX_REPAIRED_CLIENTS, 10));
        let fast = Some(Duration::from_micros(20));
        for n in 0..3 * MAX_REMEMBERED as u64 {
            let _ = repairs.decide(ms(9_000), viewer(1), lan(), n, fast);
        }
        let memory = repairs.memory.as_ref().unwrap();
        assert_eq!((memory.sent.len(), memory.asked.len()), (MAX_REMEMBERED, MAX_REMEMBERED));
    }

    #[test]
    fn nothing_is_kept_before_anybody_asks_and_ten_seconds_after() {
        let mut repairs = Repairs::default();
        repairs.tidy(ms(0));
        assert!(repairs.memory.is_none() && size_of::<Repairs>() <= 128);
        let _ = decide(&mut repairs, ms(0), viewer(1), 7);
        repairs.tidy(ms(9_999));
        assert!(repairs.memory.is_some());
        repairs.tidy(ms(10_000));
        assert!(repairs.memory.is_none());
    }
}
