//! When one client says "somebody here watches", and when it leaves that to others.
//!
//! ```text
//!            tuned, fresh                       R > 3 s                 none for 1.5 s, or
//!  Idle ──────────────────► Repeating ───────────────────► Quiet ─────── nothing at all for 0.7 s ──► Plain
//!    │                       ▲   every 200 ms               │  ▲                                   every 1 s
//!    │ tuned, moved          │ timer                R ≤ 3 s │  │ R > 3 s: suppressed                  │
//!    └────────────────► Pending ◄───────────────────────────┘  └──────────────────────────────────────┘
//! ```
//!
//! R is how long the push server announces that interest still holds. The timer of `Pending` is the truncated
//! exponential one of Nonnenmacher and Biersack (IEEE/ACM Transactions on Networking 7(3), 1999; the form is Fuhrmann
//! and Widmer's, 2001): however many clients wait, only a few fire before the first one's interest is announced
//! and silences the rest. One keeper serves one tuned channel; it costs some tens of nanoseconds per announcement.

use std::time::Duration;

use protocols::p4_control::INTEREST_INTERVAL;
use protocols::time::{Time, earliest};

/// Interest that is announced to hold longer than this needs no renewal.
pub const RENEW_BELOW: Duration = Duration::from_secs(3);
/// Longest delay before a renewal; also how long before its end interest is renewed at the latest, with
/// [`RENEWAL_RESERVE`].
pub const RENEWAL_WINDOW: Duration = Duration::from_secs(2);
/// Kept between the end of the renewal window and the end of the interest, for repeats.
pub const RENEWAL_RESERVE: Duration = Duration::from_secs(1);
/// Longest delay where speed counts: after a move to another push server, and when everything has fallen silent.
pub const URGENT_WINDOW: Duration = Duration::from_millis(300);
/// Number of clients on one network up to which the timer keeps the count of simultaneous senders small.
pub const POPULATION: f64 = 65_536.0;
/// A sent interest that no announcement confirms is repeated after this.
pub const REPEAT_INTERVAL: Duration = Duration::from_millis(200);
/// Repeats before the keeper falls back to plain sending, for the case that announcements arrive but interest does not.
pub const REPEATS_MAX: u8 = 15;
/// Without any announcement for this long the client sends plainly, whether or not media arrive.
pub const ANNOUNCEMENT_SILENCE: Duration = Duration::from_millis(1_500);
/// Without media that had been flowing, and without announcements, for this long: likewise.
pub const TOTAL_SILENCE: Duration = Duration::from_millis(700);

/// How a channel comes to be tuned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tune {
    /// A viewer asked for it just now: interest goes out at once.
    Fresh,
    /// Another push server took over, for many viewers at the same moment: the first interest is spread.
    Moved,
}

/// Why interest is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The channel was tuned.
    Tuned,
    /// Held interest comes to its end and nobody else renewed it.
    Renewal,
    /// The one before was not confirmed.
    Repeat,
    /// Nothing is announced.
    Plain,
}

/// Send an interest now.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendInterest {
    /// Why.
    pub cause: Cause,
}

/// What a keeper did since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Interests sent.
    pub sent: u64,
    /// Renewals that another client's interest made needless.
    pub suppressed: u64,
}

/// The machine. Inert until [`InterestKeeper::tuned`].
#[derive(Debug, Clone)]
pub struct InterestKeeper {
    random: fastrand::Rng,
    phase: Phase,
    /// When the last announcement was heard, or when the channel was tuned.
    announced: Time,
    /// When the last media packet was heard since tuning.
    media: Option<Time>,
    counters: Counters,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Quiet,
    Pending { at: Time, cause: Cause },
    Repeating { at: Time, left: u8, cause: Cause },
    Plain { at: Time },
}

impl InterestKeeper {
    /// An idle one; `seed` gives its delays, so clients must have different ones.
    pub fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            phase: Phase::Idle,
            announced: Time::ZERO,
            media: None,
            counters: Counters::default(),
        }
    }

    /// A channel is tuned, or another push server serves it now.
    pub fn tuned(&mut self, now: Time, tune: Tune) {
        self.announced = now;
        self.phase = match tune {
            Tune::Fresh => {
                self.media = None;
                Phase::Repeating { at: now, left: REPEATS_MAX, cause: Cause::Tuned }
            }
            Tune::Moved => Phase::Pending { at: now + self.draw(URGENT_WINDOW), cause: Cause::Tuned },
        };
    }

    /// Nothing is tuned any more.
    pub fn stop(&mut self) {
        self.phase = Phase::Idle;
    }

    /// A genuine announcement for the tuned channel: interest holds for `held_for` from now.
    pub fn heard(&mut self, now: Time, held_for: Duration) {
        if self.phase == Phase::Idle {
            return;
        }
        self.announced = now;
        if matches!(self.phase, Phase::Repeating { left: REPEATS_MAX, .. }) {
            return; // a fresh viewer speaks at least once, whatever others have said
        }
        if held_for > RENEW_BELOW {
            self.counters.suppressed += u64::from(matches!(self.phase, Phase::Pending { .. }));
            self.phase = Phase::Quiet;
            return;
        }
        match self.phase {
            Phase::Quiet => {
                self.phase = Phase::Pending { at: now + self.renewal_delay(held_for), cause: Cause::Renewal }
            }
            Phase::Plain { at } => {
                let at = at.min(now + self.renewal_delay(held_for));
                self.phase = Phase::Pending { at, cause: Cause::Renewal };
            }
            Phase::Idle | Phase::Pending { .. } | Phase::Repeating { .. } => {}
        }
    }

    /// A media packet of the tuned channel arrived.
    pub fn media(&mut self, now: Time) {
        self.media = Some(now);
        // What flows is held by somebody; the next announcement tells for how long.
        if let Phase::Repeating { left, cause: Cause::Tuned, .. } = self.phase
            && left < REPEATS_MAX
        {
            self.phase = Phase::Quiet;
        }
    }

    /// Call at each deadline; earlier calls do nothing.
    pub fn poll(&mut self, now: Time) -> Option<SendInterest> {
        if self.watchdog().is_some_and(|at| at <= now) {
            let urgent = now + self.draw(URGENT_WINDOW);
            let at = self.timer().map_or(urgent, |at| at.min(urgent));
            self.phase = Phase::Plain { at };
        }
        if self.timer().is_none_or(|at| at > now) {
            return None;
        }
        let (cause, phase) = match self.phase {
            Phase::Idle | Phase::Quiet => return None,
            Phase::Pending { cause, .. } => {
                (cause, Phase::Repeating { at: now + REPEAT_INTERVAL, left: REPEATS_MAX - 1, cause })
            }
            Phase::Repeating { left: 0, .. } | Phase::Plain { .. } => {
                (Cause::Plain, Phase::Plain { at: now + INTEREST_INTERVAL })
            }
            Phase::Repeating { left, cause, .. } => {
                let now_for = if left == REPEATS_MAX { cause } else { Cause::Repeat };
                (now_for, Phase::Repeating { at: now + REPEAT_INTERVAL, left: left - 1, cause })
            }
        };
        self.phase = phase;
        self.counters.sent += 1;
        Some(SendInterest { cause })
    }

    /// When to call [`InterestKeeper::poll`]; `None` while nothing is tuned. Announcements move it, so that it need
    /// only be looked at again when it is reached.
    pub fn deadline(&self) -> Option<Time> {
        let watchdog = self.watchdog().map(|at| (at, ()));
        earliest(self.timer().map(|at| (at, ())), watchdog).map(|(at, ())| at)
    }

    /// What it did so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn timer(&self) -> Option<Time> {
        match self.phase {
            Phase::Idle | Phase::Quiet => None,
            Phase::Pending { at, .. } | Phase::Repeating { at, .. } | Phase::Plain { at } => Some(at),
        }
    }

    /// When silence becomes alarming.
    fn watchdog(&self) -> Option<Time> {
        let no_announcement = self.announced + ANNOUNCEMENT_SILENCE;
        match (self.phase, self.media) {
            (Phase::Idle | Phase::Plain { .. }, _) => None,
            (Phase::Quiet | Phase::Pending { .. }, Some(media)) => {
                Some(no_announcement.min(media.max(self.announced) + TOTAL_SILENCE))
            }
            _ => Some(no_announcement),
        }
    }

    /// Interest that holds for `held_for` is renewed early enough for repeats, however late that is heard.
    fn renewal_delay(&mut self, held_for: Duration) -> Duration {
        let window = held_for.saturating_sub(RENEWAL_RESERVE).clamp(URGENT_WINDOW, RENEWAL_WINDOW);
        self.draw(window)
    }

    /// `window` × (1 + log x), the logarithm to base [`POPULATION`], x uniform over (0, 1]; not below 0.
    fn draw(&mut self, window: Duration) -> Duration {
        let x = 1.0 - self.random.f64();
        window.mul_f64((1.0 + x.ln() / POPULATION.ln()).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocols::p4_control::INTEREST_TIMEOUT;
    use protocols::p6_broadcast::{ANNOUNCE_INTERVAL, ANNOUNCE_SPACING};

    const FULL: Duration = Duration::from_secs(5);
    const LOW: Duration = Duration::from_millis(2_900);

    fn ms(ms: u64) -> Time {
        Time::from_ms(ms)
    }

    fn tuned_at(now: Time) -> InterestKeeper {
        let mut keeper = InterestKeeper::new(1);
        keeper.tuned(now, Tune::Fresh);
        keeper
    }

    /// When and why it sends until `end`, hearing nothing.
    fn sends_until(keeper: &mut InterestKeeper, end: Time) -> Vec<(u64, Cause)> {
        let mut sends = Vec::new();
        while let Some(at) = keeper.deadline().filter(|at| *at <= end) {
            sends.extend(keeper.poll(at).map(|send| (at.as_us() / 1000, send.cause)));
        }
        sends
    }

    #[test]
    fn an_idle_keeper_wants_nothing() {
        let mut keeper = InterestKeeper::new(1);
        keeper.heard(ms(1), LOW);
        assert_eq!((keeper.deadline(), keeper.poll(ms(9))), (None, None));
    }

    #[test]
    fn a_fresh_viewer_speaks_at_once_and_until_it_is_confirmed() {
        let mut keeper = tuned_at(ms(1000));
        let sends = sends_until(&mut keeper, ms(1400));
        assert_eq!(sends, [(1000, Cause::Tuned), (1200, Cause::Repeat), (1400, Cause::Repeat)]);
        keeper.heard(ms(1410), FULL);
        assert_eq!(keeper.deadline(), Some(ms(2910)), "only silence would make it speak");
        assert_eq!(keeper.counters(), Counters { sent: 3, suppressed: 0 });
    }

    #[test]
    fn a_fresh_viewer_speaks_once_also_where_others_hold_the_channel() {
        let mut keeper = tuned_at(ms(1000));
        keeper.heard(ms(1000), FULL);
        assert!(keeper.poll(ms(1000)).is_some());
        keeper.media(ms(1001));
        assert_eq!(sends_until(&mut keeper, ms(700)), [], "what flows is held");
    }

    #[test]
    fn unconfirmed_interest_becomes_plain_after_the_announcements_silence() {
        let mut keeper = tuned_at(ms(0));
        let sends = sends_until(&mut keeper, ms(4_000));
        let plain: Vec<u64> =
            sends.iter().filter(|(_, cause)| *cause == Cause::Plain).map(|(at, _)| *at).collect();
        assert!((1_500..=1_800).contains(&plain[0]), "{sends:?}");
        assert_eq!(plain[1] - plain[0], 1_000);
        assert_eq!(sends.len() - plain.len(), 8, "at 0, 200, …, 1400 ms: {sends:?}");
    }

    #[test]
    fn interest_that_arrives_nowhere_though_announcements_do_becomes_plain_too() {
        let mut keeper = tuned_at(ms(0));
        let mut sends = Vec::new();
        for tick in 0..40 {
            keeper.heard(ms(tick * 250), LOW);
            sends.extend(sends_until(&mut keeper, ms(tick * 250 + 249)));
        }
        let repeats = sends.iter().filter(|(_, cause)| *cause == Cause::Repeat).count();
        assert!(repeats <= 3 * usize::from(REPEATS_MAX), "{repeats} of {}", sends.len());
    }

    #[test]
    fn long_hold_cancels_the_pending_renewal() {
        let mut keeper = tuned_at(ms(0));
        let _ = keeper.poll(ms(0));
        keeper.heard(ms(10), FULL);
        keeper.heard(ms(2_110), LOW);
        let pending = keeper.deadline().unwrap();
        assert!(pending <= ms(2_110) + RENEWAL_WINDOW, "{pending}");
        keeper.heard(ms(2_120), FULL);
        assert_eq!(keeper.deadline(), Some(ms(2_120) + ANNOUNCEMENT_SILENCE));
        assert_eq!(keeper.counters(), Counters { sent: 1, suppressed: 1 });
    }

    #[test]
    fn a_renewal_leaves_time_for_repeats_however_late_the_end_is_heard() {
        for seed in 0..1_000 {
            let mut keeper = InterestKeeper::new(seed);
            keeper.tuned(ms(0), Tune::Fresh);
            let _ = keeper.poll(ms(0));
            keeper.heard(ms(10), FULL);
            keeper.heard(ms(1_400), Duration::from_millis(1_500));
            assert!(keeper.timer().unwrap() <= ms(1_400 + 500));
        }
    }

    #[test]
    fn total_silence_is_noticed_sooner_than_missing_announcements() {
        let mut keeper = tuned_at(ms(0));
        let _ = keeper.poll(ms(0));
        keeper.media(ms(5));
        keeper.heard(ms(10), FULL);
        keeper.media(ms(100));
        assert_eq!(keeper.deadline(), Some(ms(800)));
        let sends = sends_until(&mut keeper, ms(1_200));
        assert!(matches!(sends[..], [(800..=1_100, Cause::Plain)]), "{sends:?}");
    }

    #[test]
    fn media_without_announcements_make_it_plain() {
        let mut keeper = tuned_at(ms(0));
        let _ = keeper.poll(ms(0));
        let mut sends = 0;
        for at in (0..10_000).step_by(10) {
            keeper.media(ms(at));
            sends += sends_until(&mut keeper, ms(at)).len();
        }
        assert!((8..=9).contains(&sends), "{sends}");
    }

    #[test]
    fn moved_viewers_spread_their_first_interest() {
        let first: Vec<u64> = (0..1_000)
            .map(|seed| {
                let mut keeper = InterestKeeper::new(seed);
                keeper.tuned(ms(0), Tune::Moved);
                keeper.deadline().unwrap().as_us() / 1000
            })
            .collect();
        let early = first.iter().filter(|at| **at < 100).count();
        assert!(first.iter().all(|at| *at <= 300) && early < 10, "{early}");
    }

    /// A push server as the keepers see it, on a lossy network: one (channel, destination).
    struct Server {
        held_until: Time,
        announce_at: Time,
        spacing: Time,
        suspensions: u32,
    }

    impl Server {
        fn interest(&mut self, now: Time) {
            let left = self.held_until.since(now);
            self.held_until = now + INTEREST_TIMEOUT;
            if left < Duration::from_secs(4) {
                self.announce_at = self.announce_at.min(now.max(self.spacing));
            }
        }

        fn announces(&mut self, now: Time) -> Option<Duration> {
            if now < self.announce_at {
                return None;
            }
            self.announce_at = now + ANNOUNCE_INTERVAL;
            self.spacing = now + ANNOUNCE_SPACING;
            if self.held_until <= now {
                self.suspensions += u32::from(self.held_until > Time::ZERO);
                self.held_until = Time::ZERO;
                return None;
            }
            Some(self.held_until.since(now))
        }
    }

    /// `viewers` of one network for `seconds`, in steps of 1 ms; answers the interests that reach the server in the
    /// busiest second after the first, and the false suspensions.
    fn simulate(viewers: u64, seconds: u64, loss: f64) -> (u64, u32) {
        let mut random = fastrand::Rng::with_seed(7);
        let mut server =
            Server { held_until: Time::ZERO, announce_at: Time::ZERO, spacing: Time::ZERO, suspensions: 0 };
        let mut keepers: Vec<InterestKeeper> = (0..viewers).map(InterestKeeper::new).collect();
        let mut deadlines = vec![Time::ZERO; keepers.len()];
        for keeper in &mut keepers {
            keeper.tuned(ms(0), Tune::Fresh);
        }
        let (mut busiest, mut this_second) = (0, 0);
        for now in (0..seconds * 1000).map(ms) {
            if let Some(held_for) = server.announces(now) {
                for (keeper, deadline) in keepers.iter_mut().zip(&mut deadlines) {
                    if random.f64() >= loss {
                        keeper.heard(now, held_for);
                        *deadline = keeper.deadline().unwrap();
                    }
                }
            }
            for (keeper, deadline) in keepers.iter_mut().zip(&mut deadlines) {
                if *deadline <= now {
                    let sends = keeper.poll(now).is_some();
                    *deadline = keeper.deadline().unwrap();
                    if sends && random.f64() >= loss {
                        server.interest(now);
                        this_second += 1;
                    }
                }
            }
            if now.as_us() % 1_000_000 == 999_000 {
                let first = now < ms(1_000);
                busiest = if first { 0 } else { u64::max(busiest, this_second) };
                this_second = 0;
            }
        }
        (busiest, server.suspensions)
    }

    #[test]
    fn two_thousand_viewers_send_no_more_than_a_few() {
        let (busiest, suspensions) = simulate(2_000, 30, 0.01);
        assert!(busiest <= 20, "{busiest} in one second");
        assert_eq!(suspensions, 0);
    }

    #[test]
    fn a_lone_viewer_holds_its_channel_through_loss() {
        for loss in [0.0, 0.01, 0.05] {
            let (busiest, suspensions) = simulate(1, 3_600, loss);
            assert_eq!(suspensions, 0, "at loss {loss}");
            assert!(busiest <= 6, "{busiest} at loss {loss}");
        }
    }
}
