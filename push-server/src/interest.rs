//! Who is watched: for each (channel, destination) assigned to this host, whether interest holds and until when.
//!
//! ```text
//! Suspended ──valid interest──► Sending ──none for INTEREST_TIMEOUT──► Suspended
//!     │  ▲                       │  ▲
//!     └──┼──members of a group───┼──┘   where the topology has them count, for as long as there are any
//!        └───────────────────────┘
//! ```
//!
//! An interest costs one key derivation, one look-up and, when a deadline moves forward, one re-insertion: O(log n) in
//! the number of assigned destinations, whatever the number of viewers. Nothing is kept per viewer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use protocols::authority::{ClusterKey, LEASE_EXTEND_BELOW, LeaseKey, MacKey};
use protocols::ids::{BootId, ChannelId};
use protocols::p4_control::{
    INTEREST_BYTES, INTEREST_TIMEOUT, Interest, InterestAnswer, InterestVerdict, Kind, Sealed, mask_secret,
    seal,
};
use protocols::p6_broadcast::{ANNOUNCEMENT_BYTES, Announcement};
use protocols::time::{ClusterTime, Time};

use crate::announcement::AnnouncementSchedule;
use crate::claim::{self, Flaw};
use crate::counters::Counters;

/// Interest renewed when less than this was left is announced at once.
pub const HASTEN_BELOW: Duration = Duration::from_secs(4);

/// What changed for one (channel, destination), in order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Output {
    /// Send `channel` to `destination`, beginning with the newest packet.
    Resume {
        /// The channel.
        channel: ChannelId,
        /// The destination.
        destination: IpAddr,
    },
    /// Stop at once.
    Suspend {
        /// The channel.
        channel: ChannelId,
        /// The destination.
        destination: IpAddr,
    },
    /// Send an announcement on the channel's port.
    Announce {
        /// The channel.
        channel: ChannelId,
        /// The destination.
        destination: IpAddr,
        /// The announcement.
        bytes: [u8; ANNOUNCEMENT_BYTES],
    },
    /// Answer a client.
    Answer {
        /// The client.
        to: SocketAddr,
        /// The datagram, no longer than the interest was.
        bytes: Vec<u8>,
    },
}

/// The interest that holds at one host.
#[derive(Debug)]
pub struct InterestTable {
    cluster: ClusterKey,
    leases: LeaseKey,
    boot_id: BootId,
    entries: BTreeMap<Key, Entry>,
    wakes: BTreeSet<(Time, Key)>,
}

type Key = (ChannelId, IpAddr);

#[derive(Debug)]
struct Entry {
    announce_key: MacKey,
    announcements: AnnouncementSchedule,
    /// Interest holds until then, and the entry stands in `wakes` at `wake`; `None`: suspended.
    held: Option<Held>,
    /// Hosts have joined the group, and count as viewers.
    members: bool,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    until: Time,
    wake: Time,
}

/// One genuine interest and where it came from.
#[derive(Debug, Clone, Copy)]
struct Heard {
    from: SocketAddr,
    interest: Interest,
    clock: ClusterTime,
}

impl InterestTable {
    /// A table without destinations.
    pub fn new(cluster: ClusterKey, boot_id: BootId) -> Self {
        let leases = cluster.lease_key();
        Self { cluster, leases, boot_id, entries: BTreeMap::new(), wakes: BTreeSet::new() }
    }

    /// `destination` is this host's to serve from now on; it waits for interest. No effect when it was already.
    pub fn assign(&mut self, channel: ChannelId, destination: IpAddr) {
        let announce_key = || self.cluster.announce_key(channel);
        self.entries.entry((channel, destination)).or_insert_with(|| Entry {
            announce_key: announce_key(),
            announcements: AnnouncementSchedule::default(),
            held: None,
            members: false,
        });
    }

    /// `destination` is not this host's to serve any more.
    pub fn unassign(&mut self, channel: ChannelId, destination: IpAddr, out: &mut Vec<Output>) {
        let key = (channel, destination);
        let Some(Entry { held, members, .. }) = self.entries.remove(&key) else { return };
        if let Some(held) = held {
            self.wakes.remove(&(held.wake, key));
        }
        if held.is_some() || members {
            out.push(Output::Suspend { channel, destination });
        }
    }

    /// Whether the group of `destination` has members who count as viewers. No effect where it is not this host's to serve.
    pub fn members(&mut self, channel: ChannelId, destination: IpAddr, there: bool, out: &mut Vec<Output>) {
        let Some(entry) = self.entries.get_mut(&(channel, destination)) else { return };
        let sent = entry.is_watched();
        entry.members = there;
        match (sent, entry.is_watched()) {
            (false, true) => out.push(Output::Resume { channel, destination }),
            (true, false) => out.push(Output::Suspend { channel, destination }),
            _ => {}
        }
    }

    /// Takes a datagram of kind [`Kind::Interest`]. `clock` is the cluster's time, when known. Whatever is not genuine
    /// changes nothing but `counters` and is answered by nothing.
    pub fn hear(
        &mut self,
        now: Time,
        clock: Option<ClusterTime>,
        from: SocketAddr,
        sealed: &Sealed<'_>,
        counters: &mut Counters,
        out: &mut Vec<Output>,
    ) {
        let Ok(interest) = Interest::peek(sealed) else {
            counters.malformed += 1;
            return;
        };
        let genuine = claim::genuine(&interest.lease, from, sealed, &self.leases)
            .and_then(|secret| Ok((secret, clock.ok_or(Flaw::ClockUnknown)?)));
        let (secret, clock) = match genuine {
            Ok(genuine) => genuine,
            Err(flaw) => return flaw.count(counters),
        };
        let heard = Heard { from, interest, clock };
        if let Some(verdict) = self.judge(now, &heard, &secret, counters, out) {
            answer(&heard, verdict, &secret, counters, out);
        }
    }

    fn judge(
        &mut self,
        now: Time,
        heard: &Heard,
        secret: &MacKey,
        counters: &mut Counters,
        out: &mut Vec<Output>,
    ) -> Option<InterestVerdict> {
        let Interest { lease, time } = heard.interest;
        if let Err(flaw) = claim::in_time(&lease, time, heard.clock) {
            flaw.count(counters);
            let off = flaw == Flaw::ClockOff;
            return Some(if off { InterestVerdict::Clock } else { InterestVerdict::Expired });
        }
        if !self.hold(now, (lease.channel, lease.destination), out) {
            counters.not_assigned += 1;
            return Some(InterestVerdict::NotAssigned);
        }
        counters.interest_heard += 1;
        if lease.expires.since(heard.clock) >= LEASE_EXTEND_BELOW {
            return None;
        }
        counters.extended += 1;
        let extended = lease.extended(heard.clock);
        let new_secret = self.leases.secret(&extended).to_bytes();
        let masked_secret = mask_secret(secret, extended.expires, new_secret);
        Some(InterestVerdict::Extended { expires: extended.expires, masked_secret })
    }

    /// Holds the destination for [`INTEREST_TIMEOUT`]; false when it is not this host's.
    fn hold(&mut self, now: Time, key: Key, out: &mut Vec<Output>) -> bool {
        let Some(entry) = self.entries.get_mut(&key) else {
            return false;
        };
        let until = now + INTEREST_TIMEOUT;
        if let Some(before) = entry.held {
            if before.until.since(now) < HASTEN_BELOW {
                entry.announcements.hasten(now);
            }
            self.wakes.remove(&(before.wake, key));
        } else {
            entry.announcements.start(now);
            let (channel, destination) = key;
            if !entry.members {
                out.push(Output::Resume { channel, destination });
            }
        }
        entry.hold_until(until, key, &mut self.wakes);
        true
    }

    /// Does what is due at `now`: suspends, announces.
    pub fn advance(
        &mut self,
        now: Time,
        clock: Option<ClusterTime>,
        counters: &mut Counters,
        out: &mut Vec<Output>,
    ) {
        while let Some((wake, key)) = self.wakes.first().copied().filter(|(wake, _)| *wake <= now) {
            self.wakes.remove(&(wake, key));
            let (channel, destination) = key;
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            let Some(held) = entry.held else { continue };
            if held.until <= now {
                entry.held = None;
                if !entry.members {
                    out.push(Output::Suspend { channel, destination });
                }
                continue;
            }
            out.push(entry.announce(now, clock, self.boot_id, key, held));
            counters.announcements += 1;
            entry.hold_until(held.until, key, &mut self.wakes);
        }
    }

    /// Announces what is due about `now`, since this host is awake; what is left then rarely wakes it.
    pub fn announce_along(
        &mut self,
        now: Time,
        clock: Option<ClusterTime>,
        counters: &mut Counters,
        out: &mut Vec<Output>,
    ) {
        let Self { entries, wakes, boot_id, .. } = self;
        for (key, entry) in entries.iter_mut().filter(|(_, entry)| entry.announcements.goes_along(now)) {
            let Some(held) = entry.held.filter(|held| held.until > now) else { continue };
            wakes.remove(&(held.wake, *key));
            out.push(entry.announce(now, clock, *boot_id, *key, held));
            counters.announcements += 1;
            entry.hold_until(held.until, *key, wakes);
        }
    }

    /// When [`Self::advance`] has something to do next.
    pub fn deadline(&self) -> Option<Time> {
        self.wakes.first().map(|(wake, _)| *wake)
    }

    /// Whether `destination` is this host's to serve.
    pub fn is_assigned(&self, channel: ChannelId, destination: IpAddr) -> bool {
        self.entries.contains_key(&(channel, destination))
    }

    /// Whether somebody watches: interest holds, or the group has members.
    pub fn sending(&self, channel: ChannelId, destination: IpAddr) -> bool {
        self.entries.get(&(channel, destination)).is_some_and(Entry::is_watched)
    }

    /// (channel, destination) pairs assigned to this host.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Entry {
    fn is_watched(&self) -> bool {
        self.held.is_some() || self.members
    }

    fn announce(
        &mut self,
        now: Time,
        clock: Option<ClusterTime>,
        boot_id: BootId,
        (channel, destination): Key,
        held: Held,
    ) -> Output {
        // Interest holds only after the cluster's time was heard, and it is not forgotten.
        let time = self.announcements.announce(now, clock.unwrap_or_default());
        let held_for = held.until.since(now);
        let bytes = Announcement { channel, held_for, boot_id, time }.seal(&self.announce_key);
        Output::Announce { channel, destination, bytes }
    }

    fn hold_until(&mut self, until: Time, key: Key, wakes: &mut BTreeSet<(Time, Key)>) {
        let wake = until.min(self.announcements.latest());
        self.held = Some(Held { until, wake });
        wakes.insert((wake, key));
    }
}

fn answer(
    heard: &Heard,
    verdict: InterestVerdict,
    secret: &MacKey,
    counters: &mut Counters,
    out: &mut Vec<Output>,
) {
    let body = InterestAnswer { channel: heard.interest.lease.channel, time: heard.clock, verdict };
    let bytes = seal(Kind::InterestAnswer, &body, secret);
    if bytes.len() <= INTEREST_BYTES {
        out.push(Output::Answer { to: heard.from, bytes });
    } else {
        counters.answers_withheld += 1;
    }
}
