//! The two times of Masthead: a monotonic local one that machines are driven by, and the cluster's wall clock.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment on a server's own monotonic clock, in microseconds since an origin that only its shell knows.
///
/// Never sent to a peer. Machines are given it as `now`; the simulator makes it up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The origin.
    pub const ZERO: Self = Self(0);

    /// `us` microseconds after the origin.
    pub const fn from_us(us: u64) -> Self {
        Self(us)
    }

    /// `ms` milliseconds after the origin.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms * 1000)
    }

    /// Microseconds since the origin.
    pub const fn as_us(self) -> u64 {
        self.0
    }

    /// Time since the origin.
    pub const fn since_origin(self) -> Duration {
        Duration::from_micros(self.0)
    }

    /// How long after `earlier` this is; zero when it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The last multiple of `grid` since the origin that is not after this; itself where `grid` is below 1 µs.
    #[must_use]
    pub fn floor(self, grid: Duration) -> Self {
        let grid = u64::try_from(grid.as_micros()).unwrap_or(u64::MAX).max(1);
        Self(self.0 - self.0 % grid)
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

impl Sub<Duration> for Time {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// The database server's wall clock, in milliseconds since 1970 UTC, as last heard plus the time since.
///
/// Leases and interest are dated in it, so that no host's own clock has to be right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterTime(pub u64);

impl ClusterTime {
    /// How long after `earlier` this is; zero when it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Distance to `other`, whichever is later.
    pub fn distance(self, other: Self) -> Duration {
        Duration::from_millis(self.0.abs_diff(other.0))
    }
}

impl Add<Duration> for ClusterTime {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// A cluster clock as one host knows it: a reading, and when on the local clock it was taken.
///
/// It goes on when the database server is away. Drift of ordinary oscillators (100 ppm) makes 9 s a day, well inside
/// [`crate::authority::CLOCK_TOLERANCE`] for the days that a database server may be away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterClock {
    reading: ClusterTime,
    taken: Time,
}

impl ClusterClock {
    /// A clock that showed `reading` at local `now`.
    pub fn new(now: Time, reading: ClusterTime) -> Self {
        Self { reading, taken: now }
    }

    /// What it shows at local `now`.
    pub fn at(&self, now: Time) -> ClusterTime {
        self.reading + now.since(self.taken)
    }
}

/// The earlier of two optional deadlines.
pub fn earliest<R>(a: Option<(Time, R)>, b: Option<(Time, R)>) -> Option<(Time, R)> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b.0 < a.0 { b } else { a }),
        (a, b) => a.or(b),
    }
}
