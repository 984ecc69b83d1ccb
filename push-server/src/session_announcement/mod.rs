//! Channels announced to players by SAP (RFC 2974): which of them, in which words, and when.
//!
//! Only the push server that is assigned announces. Hash and origin of a session follow from what it says alone, so that one
//! that takes over goes on with the same session, and a session that says something else is another one.
//!
//! ```text
//! not assigned ──assigned──► announced: at once, then each interval ──assigned elsewhere──► silent: the other goes on
//!                                 │
//!                                 └─ gone, says something else, or this host ends ──► deleted
//! ```

pub mod sap;
pub mod sdp;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use protocols::ids::{BootId, ChannelId};
use protocols::time::Time;

use crate::configuration::Configuration;
use sap::Kind;
use sdp::Session;

/// Shortest time between two announcements of a session (RFC 2974 §3.1).
pub const MIN_INTERVAL: Duration = Duration::from_mins(5);
/// Bits a second that all announcements of a scope take together.
pub const LIMIT_BPS: u64 = 4_000;
/// The first announcements of many channels follow each other at this distance.
pub const FIRST_APART: Duration = Duration::from_millis(20);
/// Sessions announced at most; those beyond are not, and counted.
pub const MAX_SESSIONS: usize = 4_096;

/// A datagram to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Where: the scope's address, port [`sap::PORT`].
    pub to: SocketAddr,
    /// By which interface; `None`: the routing table's.
    pub interface: Option<String>,
    /// How far: as far as the channel itself. The standard would have 255, but who cannot have a channel need not know it.
    pub ttl: u8,
    /// The packet.
    pub bytes: Vec<u8>,
}

/// All sessions that one host announces.
#[derive(Debug)]
pub struct SessionAnnouncements {
    sessions: BTreeMap<(ChannelId, IpAddr), Announced>,
    /// The first of their deadlines.
    next: Option<Time>,
    random: u64,
    left_out: u64,
}

#[derive(Debug, PartialEq, Eq)]
struct Announced {
    notice: Notice,
    deletion: Vec<u8>,
    next: Time,
}

impl SessionAnnouncements {
    /// None yet. `boot_id` seeds when they are repeated.
    pub fn new(boot_id: BootId) -> Self {
        Self { sessions: BTreeMap::new(), next: None, random: boot_id.0, left_out: 0 }
    }

    /// A configuration of `channel` is in force; `None`: it is carried no more.
    pub fn configure(
        &mut self,
        now: Time,
        channel: ChannelId,
        configuration: Option<&Configuration>,
        out: &mut Vec<Notice>,
    ) {
        let mut wanted = BTreeMap::new();
        let mut elsewhere = Vec::new();
        if let Some(configuration) = configuration
            && let Some(order) = &configuration.session
        {
            for destination in configuration.destinations.values().filter(|destination| destination.announce)
            {
                let session = Session {
                    id: 0,
                    origin: order.origin,
                    name: &order.name,
                    group: destination.address,
                    port: configuration.port,
                    ttl: destination.ttl,
                };
                let announced = Announced::new(channel, session, destination.interface.clone());
                if destination.assigned {
                    wanted.insert(destination.address, announced);
                } else {
                    elsewhere.push(destination.address);
                }
            }
        }
        let old = self.sessions.keys().filter(|(of, _)| *of == channel).copied().collect::<Vec<_>>();
        for key in old {
            let same = wanted
                .get(&key.1)
                .is_some_and(|new| self.sessions.get(&key).is_some_and(|old| old.notice == new.notice));
            if same {
                wanted.remove(&key.1);
            } else if let Some(gone) = self.sessions.remove(&key)
                && !elsewhere.contains(&key.1)
            {
                out.push(gone.deleted());
            }
        }
        for (group, mut session) in wanted {
            if self.sessions.len() >= MAX_SESSIONS {
                self.left_out += 1;
                continue;
            }
            let waiting = self.sessions.values().filter(|other| other.next <= now + FIRST_APART * 1_000);
            let waiting = u32::try_from(waiting.count()).unwrap_or(u32::MAX).min(1_000);
            session.next = now + FIRST_APART * waiting;
            self.sessions.insert((channel, group), session);
        }
        self.schedule();
    }

    fn schedule(&mut self) {
        self.next = self.sessions.values().map(|session| session.next).min();
    }

    /// Announces what is due.
    pub fn advance(&mut self, now: Time, out: &mut Vec<Notice>) {
        if self.deadline().is_none_or(|next| next > now) {
            return;
        }
        let mut in_scope: BTreeMap<SocketAddr, u64> = BTreeMap::new();
        for session in self.sessions.values() {
            *in_scope.entry(session.notice.to).or_default() += 1;
        }
        for session in self.sessions.values_mut().filter(|session| session.next <= now) {
            let bits = 8 * in_scope[&session.notice.to] * session.notice.bytes.len() as u64;
            let interval = MIN_INTERVAL.max(Duration::from_millis(bits * 1_000 / LIMIT_BPS));
            self.random = next_random(self.random);
            // Between two and four thirds of the interval.
            let share = u32::try_from(self.random >> 44).unwrap_or_default();
            let jitter = interval * 2 / 3 / (1 << 20) * share;
            session.next = now + interval * 2 / 3 + jitter;
            out.push(session.notice.clone());
        }
        self.schedule();
    }

    /// When [`Self::advance`] has something to do next.
    pub fn deadline(&self) -> Option<Time> {
        self.next
    }

    /// What takes all sessions back when this host ends.
    pub fn farewells(&self) -> Vec<Notice> {
        self.sessions.values().map(Announced::deleted).collect()
    }

    /// Sessions that were not announced for [`MAX_SESSIONS`].
    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}

impl Announced {
    /// A session whose id and hash follow from what it says.
    fn new(channel: ChannelId, session: Session<'_>, interface: Option<String>) -> Self {
        let said = format!("{channel}\n{}", session.description());
        let mut digest = blake3::Hasher::new().update(said.as_bytes()).finalize_xof();
        let (mut id, mut hash) = ([0; 8], [0; 2]);
        digest.fill(&mut id);
        digest.fill(&mut hash);
        // Numbers of 63 bits are safe with every receiver.
        let session = Session { id: u64::from_be_bytes(id) >> 1, ..session };
        // A hash of 0 says that there is none.
        let hash = u16::from_be_bytes(hash).max(1);
        let packet = |kind, payload: &str| sap::packet(kind, hash, session.origin, payload);
        let notice = Notice {
            to: SocketAddr::new(sap::address(session.group), sap::PORT),
            interface,
            ttl: session.ttl,
            bytes: packet(Kind::Announcement, &session.description()),
        };
        Self { notice, deletion: packet(Kind::Deletion, &session.origin_line()), next: Time::ZERO }
    }

    fn deleted(&self) -> Notice {
        Notice { bytes: self.deletion.clone(), ..self.notice.clone() }
    }
}

/// `SplitMix64`.
fn next_random(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use protocols::ids::Revision;
    use protocols::p4_control::{DestinationOrder, SessionOrder};

    use super::*;

    const ONE: ChannelId = ChannelId(1);

    fn configuration(groups: &[&str], name: &str, assigned: bool) -> Configuration {
        let order = |group: &&str| DestinationOrder {
            address: group.parse().unwrap(),
            interface: Some("e0".to_owned()),
            ttl: 4,
            dscp: 0,
            window_ms: 10,
            broadcast: false,
            assigned,
            membership: false,
            announce: true,
        };
        Configuration {
            revision: Revision(1),
            port: 7601,
            destinations: groups.iter().map(order).map(|order| (order.address, order)).collect(),
            record: None,
            session: Some(SessionOrder { origin: "10.0.0.2".parse().unwrap(), name: name.to_owned() }),
        }
    }

    fn announced(boot: u64) -> (SessionAnnouncements, Vec<Notice>) {
        let mut all = SessionAnnouncements::new(BootId(boot));
        let mut out = Vec::new();
        all.configure(Time::ZERO, ONE, Some(&configuration(&["239.192.1.1"], "One", true)), &mut out);
        all.advance(Time::ZERO, &mut out);
        (all, out)
    }

    #[test]
    fn a_channel_is_announced_at_once_and_then_every_300_s_give_or_take_a_third() {
        let (mut all, first) = announced(7);
        assert_eq!(first.len(), 1);
        assert_eq!(first[0].to.to_string(), "239.195.255.255:9875");
        assert_eq!((first[0].ttl, first[0].interface.as_deref()), (4, Some("e0")));
        let (mut now, mut intervals) = (Time::ZERO, Vec::new());
        for _ in 0..1_000 {
            let next = all.deadline().unwrap();
            let mut out = Vec::new();
            all.advance(next, &mut out);
            assert_eq!(out, first);
            intervals.push(next.since(now).as_secs());
            now = next;
        }
        assert!(intervals.iter().all(|s| (200..=400).contains(s)), "{intervals:?}");
        assert!(intervals.iter().any(|s| *s < 220) && intervals.iter().any(|s| *s > 380));
        let mean = intervals.iter().sum::<u64>() / 1_000;
        assert!((290..=310).contains(&mean), "{mean}");
    }

    #[test]
    fn many_channels_share_4000_bits_a_second() {
        let mut all = SessionAnnouncements::new(BootId(1));
        let mut out = Vec::new();
        for number in 1..=600_u32 {
            let group = format!("239.192.{}.{}", number / 250, number % 250);
            let configuration = configuration(&[&group], "A channel", true);
            all.configure(Time::ZERO, ChannelId(number), Some(&configuration), &mut out);
        }
        // The first come one after the other, not as one burst.
        all.advance(Time::from_ms(100), &mut out);
        assert_eq!(out.len(), 6);
        // Rounds are some minutes long and in step at first: many of them make the mean.
        let (mut bits, mut now) = (0, Time::ZERO);
        while now < Time::from_ms(19_200_000) {
            now = all.deadline().unwrap();
            out.clear();
            all.advance(now, &mut out);
            if now > Time::from_ms(1_200_000) {
                // With the headers of IP and UDP, as the limit counts them.
                bits += out.iter().map(|notice| 8 * (28 + notice.bytes.len() as u64)).sum::<u64>();
            }
        }
        let rate = bits / 18_000;
        assert!((3_600..=4_400).contains(&rate), "{rate} b/s");
    }

    #[test]
    fn who_takes_over_goes_on_with_the_same_session_and_nothing_is_deleted() {
        let (mut first, said) = announced(1);
        let mut out = Vec::new();
        let elsewhere = configuration(&["239.192.1.1"], "One", false);
        first.configure(Time::from_ms(5_000), ONE, Some(&elsewhere), &mut out);
        assert_eq!(out, []);
        assert_eq!(first.deadline(), None);
        let (_, by_another) = announced(99);
        assert_eq!(by_another, said);
    }

    #[test]
    fn what_is_gone_is_deleted_and_what_changes_is_another_session() {
        let (mut all, said) = announced(1);
        let mut out = Vec::new();
        let renamed = configuration(&["239.192.1.1"], "Uno", true);
        all.configure(Time::from_ms(5_000), ONE, Some(&renamed), &mut out);
        all.advance(Time::from_ms(5_000), &mut out);
        assert_eq!(out.len(), 2);
        assert_eq!((out[0].bytes[0], &out[0].bytes[1..8]), (0x24, &said[0].bytes[1..8]));
        assert_ne!(out[1].bytes[2..4], said[0].bytes[2..4]);
        out.clear();
        all.configure(Time::from_ms(6_000), ONE, None, &mut out);
        assert_eq!((out.len(), out[0].bytes[0], all.deadline()), (1, 0x24, None));
    }

    #[test]
    fn the_same_configuration_again_changes_nothing() {
        let (mut all, _) = announced(1);
        let (mut out, next) = (Vec::new(), all.deadline());
        all.configure(
            Time::from_ms(5_000),
            ONE,
            Some(&configuration(&["239.192.1.1"], "One", true)),
            &mut out,
        );
        assert_eq!((out.len(), all.deadline()), (0, next));
    }
}
