//! Which source a channel is taken from: the best that is good, with time to make sure either way.
//!
//! ```text
//! source in use --bad for hold_off, another is good--> the best good one
//!               <--a better one good for return_after--
//! ```
//!
//! While no source is good the channel stays where it is. Two changes are never closer together than the shorter of the
//! two times, and a source that is not good for `return_after` at a stretch is not come back to.

use std::time::Duration;

use media::packet::PacketBytes;
use protocols::time::Time;

use crate::source_watch::{Fault, Health, SourceWatch, Tables};

/// How long is waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The source in use is left when it has been bad for this long.
    pub hold_off: Duration,
    /// A better source is come back to when it has been good for this long.
    pub return_after: Duration,
}

/// A change of source. Sources are numbered from 0, the best.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    /// Which was in use.
    pub from: usize,
    /// Which is now.
    pub to: usize,
    /// What was wrong with the one before; `None`: nothing, a better one is back.
    pub fault: Option<Fault>,
}

/// The sources of one channel, and which is in use.
#[derive(Debug)]
pub struct Failover {
    policy: Policy,
    sources: Vec<SourceWatch>,
    selected: usize,
    /// When it was taken.
    since: Time,
    switches: u64,
}

impl Failover {
    /// The sources as they are being opened, best first, each with its service; the first is in use.
    pub fn new(now: Time, policy: Policy, services: impl IntoIterator<Item = Option<u16>>) -> Self {
        let sources = services.into_iter().map(|service| SourceWatch::new(now, service)).collect();
        Self { policy, sources, selected: 0, since: now, switches: 0 }
    }

    /// The sources are others from now on; of those that stay `kept` has the number that they had. The one in use stays so
    /// if it is kept, otherwise the first is; that is no switch.
    pub fn set_sources(
        &mut self,
        now: Time,
        sources: impl IntoIterator<Item = (Option<usize>, Option<u16>)>,
    ) {
        let mut before: Vec<Option<SourceWatch>> = self.sources.drain(..).map(Some).collect();
        let selected = self.selected;
        self.selected = 0;
        let mut stays = false;
        for (number, (kept, service)) in sources.into_iter().enumerate() {
            let watch = kept.and_then(|kept| before.get_mut(kept)?.take());
            if watch.is_some() && kept == Some(selected) {
                (self.selected, stays) = (number, true);
            }
            self.sources.push(watch.unwrap_or_else(|| SourceWatch::new(now, service)));
        }
        if !stays {
            self.since = now;
        }
    }

    /// Other times count from now on.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// A source was opened anew.
    pub fn opened(&mut self, now: Time, source: usize) {
        self.with(source, |watch| watch.opened(now));
    }

    /// A source could not be opened, or ended.
    pub fn closed(&mut self, now: Time, source: usize, cause: &str) {
        self.with(source, |watch| watch.closed(now, cause));
    }

    /// What a source's tuner says of its lock.
    pub fn lock(&mut self, now: Time, source: usize, locked: bool) {
        self.with(source, |watch| watch.lock(now, locked));
    }

    /// What is wrong with a source's service, by its demultiplexer.
    pub fn service(&mut self, now: Time, source: usize, fault: Option<&str>) {
        self.with(source, |watch| watch.service(now, fault));
    }

    /// Takes the next packets of a source, in use or not.
    pub fn packets(&mut self, now: Time, source: usize, packets: &[PacketBytes]) {
        self.with(source, |watch| watch.packets(now, packets));
    }

    /// Changes the source where it is time to; to be asked after each event and at the deadline.
    pub fn choose(&mut self, now: Time) -> Option<Switch> {
        self.sources.iter_mut().for_each(|watch| watch.tick(now));
        let from = self.selected;
        let (to, fault) = self.away(now).or_else(|| Some((self.back(now)?, None)))?;
        (self.selected, self.since) = (to, now);
        self.switches += 1;
        Some(Switch { from, to, fault })
    }

    /// When [`Failover::choose`] is to be asked at the latest.
    pub fn deadline(&self) -> Option<Time> {
        let watched = self.sources.iter().filter_map(SourceWatch::deadline);
        let away = self.leaves_at().filter(|_| self.best_other().is_some());
        let back = self.sources.iter().take(self.selected).filter_map(|watch| self.returns_at(watch));
        watched.chain(away).chain(back).min()
    }

    /// Which source is in use.
    pub fn selected(&self) -> usize {
        self.selected
    }

    /// How a source fares, as of the last call.
    pub fn health(&self, source: usize) -> Option<&Health> {
        self.sources.get(source).map(SourceWatch::health)
    }

    /// Tables of the source in use.
    pub fn tables(&self) -> Option<Tables<'_>> {
        self.sources.get(self.selected)?.tables()
    }

    /// How often the source was changed.
    pub fn switches(&self) -> u64 {
        self.switches
    }

    fn with(&mut self, source: usize, event: impl FnOnce(&mut SourceWatch)) {
        if let Some(watch) = self.sources.get_mut(source) {
            event(watch);
        }
    }

    fn away(&self, now: Time) -> Option<(usize, Option<Fault>)> {
        let Health::Bad { fault, .. } = self.health(self.selected)? else { return None };
        if now < self.leaves_at()? {
            return None;
        }
        Some((self.best_other()?, Some(fault.clone())))
    }

    fn back(&self, now: Time) -> Option<usize> {
        let ready = |watch: &SourceWatch| self.returns_at(watch).is_some_and(|at| at <= now);
        self.sources.iter().take(self.selected).position(ready)
    }

    /// When the source in use has been bad for long enough.
    fn leaves_at(&self) -> Option<Time> {
        match self.health(self.selected)? {
            Health::Good { .. } => None,
            // A source that was taken and turns out bad gets its time, too.
            Health::Bad { since, .. } => Some(self.since.max(*since) + self.policy.hold_off),
        }
    }

    fn returns_at(&self, watch: &SourceWatch) -> Option<Time> {
        match watch.health() {
            Health::Good { since } => Some(self.since.max(*since) + self.policy.return_after),
            Health::Bad { .. } => None,
        }
    }

    fn best_other(&self) -> Option<usize> {
        let good = |watch: &SourceWatch| matches!(watch.health(), Health::Good { .. });
        let others = self.sources.iter().enumerate().filter(|(source, _)| *source != self.selected);
        others.into_iter().find(|(_, watch)| good(watch)).map(|(source, _)| source)
    }
}

#[cfg(test)]
mod tests {
    use media::continuity::ContinuityCheck;
    use media::health::Extent;
    use media::reassembly::{Limits, Output, Reassembly};
    use media::{Packet, RtpPacket};
    use proptest::prelude::*;

    use super::*;
    use crate::capture::Capture;
    use crate::relay::Relay;
    use crate::trial_source::{Flaw, TrialSource};

    const STEP_MS: u64 = 20;
    const POLICY: Policy = Policy { hold_off: Duration::from_secs(1), return_after: Duration::from_secs(3) };

    /// How a source fails.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Failure {
        Lock,
        Packets,
        Pcr,
        Service,
        Scrambling,
        End,
    }

    /// A channel with its sources, down to what a receiver has.
    struct Rig {
        relay: Relay,
        capture: Capture,
        sources: Vec<(TrialSource, Option<Failure>)>,
        now_ms: u64,
        reassembly: Reassembly,
        check: ContinuityCheck,
        switches: Vec<(u64, Switch)>,
    }

    impl Rig {
        fn new(policy: Policy, sources: u16) -> Self {
            let mut rig = Self {
                relay: Relay::new(Time::ZERO, policy, (0..sources).map(|_| None)),
                capture: Capture::new(&mut fastrand::Rng::with_seed(1)),
                sources: (0..sources).map(|n| (TrialSource::new(n + 1, n + 3), None)).collect(),
                now_ms: 0,
                reassembly: Reassembly::new(Limits::default()),
                check: ContinuityCheck::new(),
                switches: Vec::new(),
            };
            for source in 0..usize::from(sources) {
                rig.relay.opened(Time::ZERO, source, Extent::Input, &mut rig.capture, &mut Vec::new());
            }
            rig
        }

        fn now(&self) -> Time {
            Time::from_ms(self.now_ms)
        }

        fn fail(&mut self, source: usize, failure: Failure) {
            let now = self.now();
            match failure {
                Failure::Lock => self.relay.lock(now, source, false),
                Failure::Pcr => {
                    self.sources[source].0.flaws.insert(Flaw::NoPcr);
                }
                Failure::Service => {
                    self.sources[source].0.flaws.insert(Flaw::Unlisted);
                }
                Failure::Scrambling => self.relay.service(now, source, Some("scrambled")),
                Failure::End => self.relay.closed(now, source, "exit status 1"),
                Failure::Packets => {}
            }
            self.sources[source].1 = Some(failure);
        }

        fn mend(&mut self, source: usize) {
            let now = self.now();
            let (trial, failure) = &mut self.sources[source];
            trial.flaws.clear();
            match failure.take() {
                Some(Failure::Lock) => self.relay.lock(now, source, true),
                Some(Failure::Scrambling) => self.relay.service(now, source, None),
                Some(Failure::End) => {
                    let mut made = Vec::new();
                    self.relay.opened(now, source, Extent::Input, &mut self.capture, &mut made);
                    self.receive(&made);
                }
                _ => {}
            }
        }

        /// Plays on for so long.
        fn run(&mut self, ms: u64) {
            for _ in 0..ms / STEP_MS {
                self.now_ms += STEP_MS;
                self.step();
            }
        }

        fn step(&mut self) {
            let now = self.now();
            let mut made = Vec::new();
            for source in 0..self.sources.len() {
                let (trial, failure) = &mut self.sources[source];
                // What a source loses by itself is not what this is about: it goes on where it stopped.
                if matches!(failure, Some(Failure::Packets | Failure::Lock | Failure::End)) {
                    continue;
                }
                let turn = trial.turn();
                self.relay.packets(now, source, &turn, &mut self.capture, &mut made);
            }
            if let Some(switch) = self.relay.choose(now, &mut self.capture, &mut made) {
                self.switches.push((self.now_ms, switch));
            }
            assert!(self.relay.deadline().is_none_or(|due| due > now), "asked and still due");
            self.receive(&made);
        }

        fn receive(&mut self, made: &[RtpPacket]) {
            let now = self.now();
            for packet in made {
                let mut out = Vec::new();
                self.reassembly.packet(now.since_origin(), packet, &mut out);
                for output in out {
                    let Output::Packet { packet, .. } = output else { panic!("{output:?}") };
                    for bytes in packet.packets() {
                        self.check.push(Packet::parse(bytes).expect("whole packets only"));
                    }
                }
            }
        }
    }

    /// Goal: a hundred failures of one kind, at any moment: each is answered within `hold_off` + 1 s, once, and come back
    /// from once; what a receiver has is one stream without a break.
    fn a_hundred(failure: Failure) {
        let mut random = fastrand::Rng::with_seed(4);
        let mut rig = Rig::new(POLICY, 2);
        rig.run(1_000);
        for round in 0..100 {
            rig.run(random.u64(0..1_000));
            let failed_at = rig.now_ms;
            rig.fail(0, failure);
            rig.run(2_000 + random.u64(0..1_000));
            assert_eq!(rig.switches.len(), 2 * round + 1, "{failure:?} {round}");
            let (at, switch) = rig.switches.last().unwrap().clone();
            assert_eq!((switch.from, switch.to), (0, 1));
            let (hold_off, after) = (1_000, at - failed_at);
            // It counts from the last good packet, which came up to a turn before.
            assert!(
                (hold_off - STEP_MS..=hold_off + 1_000).contains(&after),
                "{failure:?} {round}: {after} ms"
            );
            let mended_at = rig.now_ms;
            rig.mend(0);
            rig.run(3_100);
            let (at, switch) = rig.switches.last().unwrap().clone();
            assert_eq!((switch.to, switch.fault), (0, None));
            assert!(
                (3_000..=3_100).contains(&(at - mended_at)),
                "{failure:?} {round}: {} ms",
                at - mended_at
            );
        }
        assert_eq!((rig.switches.len(), rig.relay.switches()), (200, 200));
        assert_eq!((rig.check.errors(), rig.check.duplicates()), (0, 0));
        assert!(rig.check.packets() > 100_000);
    }

    macro_rules! hundreds {
        ($($name:ident: $failure:ident;)+) => {$(
            #[test]
            fn $name() {
                a_hundred(Failure::$failure);
            }
        )+};
    }

    hundreds! {
        each_of_a_hundred_losses_of_lock_is_survived: Lock;
        each_of_a_hundred_losses_of_packets_is_survived: Packets;
        each_of_a_hundred_losses_of_pcr_is_survived: Pcr;
        each_of_a_hundred_losses_of_the_service_is_survived: Service;
        each_of_a_hundred_scramblings_is_survived: Scrambling;
        each_of_a_hundred_ends_of_an_input_is_survived: End;
    }

    #[test]
    fn a_hiccup_shorter_than_the_hold_off_changes_nothing() {
        let mut rig = Rig::new(POLICY, 2);
        for _ in 0..10 {
            rig.run(400);
            rig.fail(0, Failure::Packets);
            rig.run(900);
            rig.mend(0);
        }
        assert_eq!(rig.switches, []);
    }

    #[test]
    fn the_best_good_one_is_taken_and_without_one_the_channel_stays() {
        let mut rig = Rig::new(POLICY, 3);
        rig.run(1_000);
        rig.fail(1, Failure::Packets);
        rig.run(600);
        rig.fail(0, Failure::Packets);
        rig.run(2_000);
        assert_eq!(rig.relay.selected(), 2);
        rig.fail(2, Failure::Packets);
        rig.run(10_000);
        assert_eq!((rig.relay.selected(), rig.switches.len()), (2, 1));
        // Whoever comes first is better than nothing, at once.
        rig.mend(1);
        rig.run(40);
        assert_eq!(rig.relay.selected(), 1);
        // The second choice is good enough until the first has been good for a while.
        rig.mend(0);
        rig.run(2_900);
        assert_eq!(rig.relay.selected(), 1);
        rig.run(200);
        assert_eq!(rig.relay.selected(), 0);
    }

    #[test]
    fn sources_may_be_added_and_removed_while_one_is_in_use() {
        let mut rig = Rig::new(POLICY, 2);
        rig.run(1_000);
        rig.fail(0, Failure::Packets);
        rig.run(2_000);
        assert_eq!(rig.relay.selected(), 1);
        // The first leaves, a third comes: the one in use is now the best, and nothing is switched.
        rig.sources.remove(0);
        rig.sources.push((TrialSource::new(3, 9), None));
        let mut made = Vec::new();
        let sources = [(Some(1), None), (None, None)];
        rig.relay.set_sources(rig.now(), POLICY, sources, &mut rig.capture, &mut made);
        rig.receive(&made);
        rig.run(5_000);
        assert_eq!((rig.relay.selected(), rig.switches.len()), (0, 1));
        rig.fail(0, Failure::Packets);
        rig.run(2_000);
        assert_eq!((rig.relay.selected(), rig.switches.len()), (1, 2));
        // The one in use leaves: the first is in use without any ado.
        rig.mend(0);
        rig.sources.remove(1);
        let mut made = Vec::new();
        rig.relay.set_sources(rig.now(), POLICY, [(Some(0), None)], &mut rig.capture, &mut made);
        rig.receive(&made);
        rig.run(2_000);
        assert_eq!((rig.relay.selected(), rig.switches.len()), (0, 2));
        assert_eq!(rig.check.errors(), 0);
    }

    #[test]
    fn an_input_that_never_begins_is_left_for_its_backup() {
        let mut rig = Rig::new(POLICY, 2);
        rig.fail(0, Failure::Packets);
        rig.run(980);
        assert_eq!(rig.relay.selected(), 0);
        rig.run(20);
        assert_eq!(rig.relay.selected(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Sources come and go at random, for any two times: no change comes sooner after another than the shorter of
        /// them, none leaves a source that is up, none comes back to one that was not up for `return_after` (or has just
        /// stopped, which cannot be known yet).
        #[test]
        fn sources_that_flap_do_not_make_the_channel_flap(seed: u64, hold_off in 1u64..5, return_after in 1u64..20) {
            let policy = Policy {
                hold_off: Duration::from_secs(hold_off),
                return_after: Duration::from_secs(return_after),
            };
            let mut random = fastrand::Rng::with_seed(seed);
            let mut rig = Rig::new(policy, 3);
            let (mut up_since, mut up_before, mut down_since) = ([Some(0); 3], [0; 3], [0; 3]);
            for _ in 0..60 {
                let source = random.usize(..3);
                if let Some(since) = up_since[source].take() {
                    (up_before[source], down_since[source]) = (since, rig.now_ms);
                    rig.fail(source, [Failure::Packets, Failure::Pcr, Failure::Lock][source]);
                } else {
                    rig.mend(source);
                    up_since[source] = Some(rig.now_ms);
                }
                let before = rig.switches.len();
                // Longer than what goes unnoticed.
                rig.run(random.u64(600..3_000));
                for (at, switch) in &rig.switches[before..] {
                    if switch.fault.is_none() {
                        let unnoticed = at - down_since[switch.to] <= 500;
                        let since = up_since[switch.to].or(unnoticed.then_some(up_before[switch.to]));
                        let up = since.map_or(0, |since| at - since);
                        prop_assert!(up >= return_after * 1_000, "{} ms", up);
                    } else {
                        prop_assert_eq!(up_since[switch.from], None);
                    }
                }
            }
            let shorter = 1_000 * hold_off.min(return_after);
            for pair in rig.switches.windows(2) {
                prop_assert!(pair[1].0 - pair[0].0 >= shorter);
            }
            prop_assert!(rig.switches.len() as u64 <= rig.now_ms / shorter + 1);
            prop_assert_eq!(rig.check.errors(), 0);
        }
    }
}
