//! Goal: whatever hosts have lost of a recording, and in whatever order they ask each other, they end up with equal replicas of all
//! that anybody still had whole; nothing whole is ever given up; then nothing is copied any more. Method: the push server's rules
//! over made-up archives, by seed; segments are taken in as the archive does.
#![expect(clippy::unwrap_used, reason = "tests: what cannot be unwrapped fails the test")]

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use protocols::ids::{ChannelId, HostId};
use protocols::recording::RecordPeer;
use protocols::time::Time;
use push_server::recording::{Segment, SegmentName};
use push_server::replication::wants::{self, Own};
use push_server::replication::{Concern, Intervals, Looks, Outcome, Verdict};

const CHANNEL: ChannelId = ChannelId(1);
/// Seeds of one run.
const SEEDS: u64 = 150;
/// Packets of a slot, and slots.
const SLOT: u64 = 100;
const SLOTS: u64 = 12;
/// After this everything is to be equal.
const SETTLED: Duration = Duration::from_mins(30);

/// One host: its archive, and when it looks.
struct Host {
    id: HostId,
    archive: BTreeMap<SegmentName, Own>,
    looks: Looks,
    /// It cannot be reached.
    away: bool,
}

/// A segment of numbers from `from` to `to`, of which `missing` are not there; `flavour` makes it differ.
fn segment(from: u64, to: u64, missing: u64, flavour: u8) -> Segment {
    let date_ms = 1_000_000_000 + from * 600;
    let mut hash = [flavour; 32];
    hash[..8].copy_from_slice(&from.to_le_bytes());
    hash[8..16].copy_from_slice(&to.to_le_bytes());
    hash[16..24].copy_from_slice(&missing.to_le_bytes());
    Segment {
        name: SegmentName::new(1, from, date_ms),
        date_ms,
        end_date_ms: date_ms + (to - from) * 600,
        packets: u32::try_from(to - from - missing).unwrap(),
        missing: u32::try_from(missing).unwrap(),
        length_bytes: (to - from - missing) * 1_316,
        hash,
    }
}

impl Host {
    fn new(id: &str, rng: &mut Rng) -> Self {
        let mut archive = BTreeMap::new();
        let mut put = |own: Own| {
            archive.insert(own.name(), own);
        };
        for slot in 0..SLOTS {
            let (from, to) = (slot * SLOT, (slot + 1) * SLOT);
            match rng.u8(0..10) {
                0..4 => put(Own::Complete(segment(from, to, 0, 0))),
                // Killed within it, and perhaps back.
                4 => {
                    put(Own::Complete(segment(from, from + 40, 0, 0)));
                    put(Own::Complete(segment(from + 60, to, 0, 0)));
                }
                5 => put(Own::Complete(segment(from, to, rng.u64(1..9), 0))),
                6 => put(Own::Damaged(segment(from, to, 0, 0).name)),
                // Written by a recorder that nobody understands.
                7 => put(Own::Complete(segment(from, to, 0, rng.u8(1..4)))),
                _ => {}
            }
        }
        Self {
            id: id.parse().unwrap(),
            archive,
            looks: Looks::new(id.parse().unwrap(), Intervals::default()),
            away: false,
        }
    }

    fn complete(&self) -> Vec<Segment> {
        let complete = |own: &Own| if let Own::Complete(segment) = own { Some(*segment) } else { None };
        self.archive.values().filter_map(complete).collect()
    }

    fn whole(&self) -> Vec<Segment> {
        self.complete().into_iter().filter(Segment::is_whole).collect()
    }

    fn concern(&self) -> Concern {
        let complete = self.complete();
        Concern {
            rows: complete.windows(2).filter(|pair| !pair[1].continues(&pair[0])).count(),
            holed: complete.iter().filter(|segment| !segment.is_whole()).count(),
            damaged: self.archive.len() - complete.len(),
        }
    }

    /// Goes through a peer's list, oldest first; how many were taken in.
    fn look_at(&mut self, theirs: &[Segment]) -> u64 {
        let mut fetched = 0;
        for theirs in theirs {
            let own: Vec<Own> = self.archive.values().copied().collect();
            let verdict = wants::verdict(&own, theirs);
            if matches!(verdict, Verdict::Fetch | Verdict::Mend | Verdict::Replace) {
                self.adopt(theirs);
                fetched += 1;
            }
        }
        fetched
    }

    fn adopt(&mut self, theirs: &Segment) {
        for own in self.whole() {
            let kept = theirs.contains(&own) || (own.name == theirs.name && theirs.is_whole());
            let overlaps = own.name.number < theirs.end_number() && theirs.name.number < own.end_number();
            assert!(kept || !overlaps || own.name != theirs.name, "{own:?} is given up for {theirs:?}");
        }
        self.archive.insert(theirs.name, Own::Complete(*theirs));
        self.archive.retain(|name, own| {
            let part = matches!(own, Own::Complete(own) if theirs.contains(own));
            *name == theirs.name || !part
        });
    }
}

/// Lets the hosts look at each other until `end`; how many segments were taken in after each minute.
fn run(hosts: &mut [Host], rng: &mut Rng, from: Time, until: Time) -> u64 {
    let peers: Vec<RecordPeer> = hosts
        .iter()
        .map(|host| RecordPeer { host: host.id.clone(), feed: "127.0.0.1:7403".parse().unwrap() })
        .collect();
    let (mut now, mut fetched) = (from, 0);
    while now < until {
        now += Duration::from_secs(1);
        let place = rng.usize(..hosts.len());
        if hosts[place].away {
            continue;
        }
        let concern = hosts[place].concern();
        hosts[place].looks.observe(now, [(CHANNEL, &peers[..], concern)]);
        let Some((_, ask)) = hosts[place].looks.next(now) else { continue };
        let (mut news, mut failed) = (0, ask.len() + 1 < hosts.len());
        for peer in ask {
            let other = hosts.iter().position(|host| host.id == peer.host).unwrap();
            if hosts[other].away {
                failed = true;
                hosts[place].looks.failed(now, &peer.host);
                continue;
            }
            hosts[place].looks.succeeded(&peer.host);
            let list = hosts[other].complete();
            news += hosts[place].look_at(&list);
        }
        let outcome = match (failed, news) {
            (true, _) => Outcome::Failed,
            (false, 0) => Outcome::Nothing,
            (false, _) => Outcome::News,
        };
        hosts[place].looks.looked(now, CHANNEL, outcome);
        fetched += news;
    }
    fetched
}

#[test]
fn replicas_become_equal_whatever_was_lost_and_nothing_whole_is_given_up() {
    for seed in 0..SEEDS {
        let mut rng = Rng::with_seed(seed);
        let mut hosts: Vec<Host> =
            ["a", "b", "c", "d"][..rng.usize(2..=4)].iter().map(|id| Host::new(id, &mut rng)).collect();
        let before: Vec<Segment> = hosts.iter().flat_map(Host::whole).collect();
        // One is away at first; its disk counts too.
        hosts[0].away = rng.bool();
        let middle = Time::from_ms(1_000) + SETTLED;
        run(&mut hosts, &mut rng, Time::from_ms(1_000), middle);
        hosts[0].away = false;
        let settled = middle + SETTLED;
        run(&mut hosts, &mut rng, middle, settled);
        let all: Vec<Vec<Segment>> = hosts.iter().map(Host::whole).collect();
        assert!(all.iter().all(|whole| *whole == all[0]), "seed {seed}: whole segments differ: {all:#?}");
        for was in before {
            let held = all[0].iter().any(|now| now.contains(&was));
            assert!(held, "seed {seed}: {was:?} was whole somewhere, and is nowhere");
        }
        let more = run(&mut hosts, &mut rng, settled, settled + SETTLED);
        assert_eq!(more, 0, "seed {seed}: copied to and fro for ever");
        let damaged = hosts.iter().flat_map(|host| host.archive.values());
        for own in damaged.filter(|own| matches!(own, Own::Damaged(_))) {
            let had = all[0].iter().any(|whole| whole.name == own.name());
            assert!(!had, "seed {seed}: {own:?} is damaged though others have it whole");
        }
    }
}
