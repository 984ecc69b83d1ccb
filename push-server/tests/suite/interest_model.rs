//! The interest table against the simplest model of it: a destination is sent to while its last valid interest is less
//! than five seconds old, and no longer.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use proptest::prelude::*;
use protocols::authority::{ClusterKey, Lease};
use protocols::ids::{BootId, ChannelId};
use protocols::p4_control::{INTEREST_TIMEOUT, Interest, Sealed};
use protocols::p6_broadcast::{ANNOUNCE_INTERVAL, ANNOUNCE_SPACING};
use protocols::time::{ClusterTime, Time};
use push_server::announcement::ALONG_AFTER;
use push_server::counters::Counters;
use push_server::interest::{InterestTable, Output};

const CHANNEL: ChannelId = ChannelId(1);
const DESTINATIONS: u8 = 3;

fn destination(last: u8) -> IpAddr {
    IpAddr::from([239, 192, 1, last])
}

fn cluster() -> ClusterKey {
    ClusterKey::new([7; 32])
}

/// A step: how long after the one before, in which destination interest is shown, and what is wrong with it.
fn step() -> impl Strategy<Value = (u64, u8, u8)> {
    (prop_oneof![0_u64..40, 0_u64..7_000], 0..DESTINATIONS + 1, 0_u8..6)
}

struct Model {
    table: InterestTable,
    until: BTreeMap<IpAddr, Time>,
    announced: BTreeMap<IpAddr, Time>,
    counters: Counters,
}

impl Model {
    fn new() -> Self {
        let mut table = InterestTable::new(cluster(), BootId(1));
        (0..DESTINATIONS).for_each(|last| table.assign(CHANNEL, destination(last)));
        Self { table, until: BTreeMap::new(), announced: BTreeMap::new(), counters: Counters::default() }
    }

    fn clock(now: Time) -> ClusterTime {
        ClusterTime(1_000_000 + now.as_us() / 1_000)
    }

    fn run_until(&mut self, end: Time) -> Result<(), TestCaseError> {
        while let Some(at) = self.table.deadline().filter(|at| *at <= end) {
            self.advance(at)?;
        }
        Ok(())
    }

    fn advance(&mut self, now: Time) -> Result<(), TestCaseError> {
        let mut out = Vec::new();
        self.table.advance(now, Some(Self::clock(now)), &mut self.counters, &mut out);
        for output in out {
            match output {
                Output::Suspend { destination, .. } => {
                    prop_assert_eq!(self.until.remove(&destination), Some(now), "suspended at another time");
                    self.announced.remove(&destination);
                }
                Output::Announce { destination, .. } => {
                    prop_assert!(self.until.contains_key(&destination), "announced though suspended");
                    if let Some(before) = self.announced.insert(destination, now) {
                        prop_assert!(now.since(before) >= ANNOUNCE_SPACING, "announced too often");
                        prop_assert!(
                            now.since(before) <= ANNOUNCE_INTERVAL + ALONG_AFTER,
                            "announced too seldom"
                        );
                    }
                }
                other => prop_assert!(false, "{other:?} of itself"),
            }
        }
        Ok(())
    }

    fn interest(&mut self, now: Time, last: u8, wrong: u8) -> Result<(), TestCaseError> {
        let lease = Lease {
            client: IpAddr::from([10, 0, 1, 7]),
            channel: CHANNEL,
            destination: destination(last),
            expires: ClusterTime(Self::clock(now).0 + if wrong == 1 { 0 } else { 40_000_000 }),
        };
        let mut bytes =
            Interest { lease, time: ClusterTime(Self::clock(now).0 + if wrong == 2 { 10_001 } else { 0 }) }
                .seal(&cluster().lease_key().secret(&lease));
        let from = SocketAddr::from(([10, 0, 1, if wrong == 3 { 8 } else { 7 }], 5_000));
        if wrong == 4 {
            bytes[150] ^= 1;
        }
        let sealed = Sealed::parse(&bytes).expect("its header is right");
        let mut out = Vec::new();
        let clock = Some(Self::clock(now));
        self.table.hear(now, clock, from, &sealed, &mut self.counters, &mut out);
        let resumed = out.iter().any(|output| matches!(output, Output::Resume { .. }));
        let valid = matches!(wrong, 0 | 5) && last < DESTINATIONS;
        prop_assert_eq!(resumed, valid && !self.until.contains_key(&destination(last)));
        prop_assert!(!matches!(wrong, 3 | 4) || out.is_empty(), "answered what is not genuine");
        if valid {
            self.until.insert(destination(last), now + INTEREST_TIMEOUT);
        }
        self.advance(now)
    }
}

proptest! {
    #[test]
    fn a_destination_is_sent_to_for_five_seconds_from_its_last_valid_interest_and_no_longer(
        steps in prop::collection::vec(step(), 1..80)
    ) {
        let (mut model, mut now) = (Model::new(), Time::from_ms(1_000));
        for (later_ms, last, wrong) in steps {
            let then = now + Duration::from_millis(later_ms);
            model.run_until(then)?;
            now = then;
            model.interest(now, last, wrong)?;
            for last in 0..DESTINATIONS {
                let held = model.until.contains_key(&destination(last));
                prop_assert_eq!(model.table.sending(CHANNEL, destination(last)), held);
            }
        }
        model.run_until(now + INTEREST_TIMEOUT)?;
        prop_assert!(model.until.is_empty() && model.table.deadline().is_none());
    }
}
