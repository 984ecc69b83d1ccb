//! How long clients have waited for a picture, as they tell it themselves.
//!
//! What a client says is believed: it spoils nothing but these figures.

use std::collections::VecDeque;

/// Zaps that the percentiles are taken over: the newest ones.
pub const NEWEST: usize = 1_024;
/// A zap that took longer is counted as one that took this long.
pub const LONGEST_MS: u32 = 60_000;

/// The zaps of all clients since the start.
#[derive(Debug, Clone, Default)]
pub struct Zaps {
    count: u64,
    newest_ms: VecDeque<u32>,
}

/// What there is to say about them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Since the start.
    pub count: u64,
    /// Median of the [`NEWEST`], ms.
    pub p50_ms: u32,
    /// 95th percentile of the [`NEWEST`], ms.
    pub p95_ms: u32,
}

impl Zaps {
    /// A client has its picture.
    pub fn add(&mut self, took_ms: u32) {
        self.count += 1;
        if self.newest_ms.len() >= NEWEST {
            self.newest_ms.pop_front();
        }
        self.newest_ms.push_back(took_ms.min(LONGEST_MS));
    }

    /// All that is known by now.
    pub fn figures(&self) -> Figures {
        let mut sorted: Vec<u32> = self.newest_ms.iter().copied().collect();
        sorted.sort_unstable();
        let rank = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1));
        let at = |percent| rank(percent).copied().unwrap_or_default();
        Figures { count: self.count, p50_ms: at(50), p95_ms: at(95) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_zaps_say_what_a_zap_takes() {
        let mut zaps = Zaps::default();
        assert_eq!(zaps.figures(), Figures::default());
        (0..2_000).for_each(|_| zaps.add(u32::MAX));
        (1..=NEWEST).for_each(|n| zaps.add(u32::try_from(n).unwrap()));
        assert_eq!(zaps.figures(), Figures { count: 3_024, p50_ms: 512, p95_ms: 973 });
        assert_eq!(zaps.newest_ms.len(), NEWEST);
    }

    #[test]
    fn one_zap_is_its_own_median() {
        let mut zaps = Zaps::default();
        zaps.add(90_000);
        assert_eq!(zaps.figures(), Figures { count: 1, p50_ms: LONGEST_MS, p95_ms: LONGEST_MS });
    }
}
