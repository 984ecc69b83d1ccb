//! Captions of pictures in the order of presentation: coded pictures come in another.

use std::collections::VecDeque;

use super::user_data::Triplet;

/// Pictures whose captions wait for earlier ones: more than any coding reorders. The earliest goes when there are more.
pub(super) const WAITING_MAX: usize = 64;

/// Holds what belongs to pictures until no earlier picture can come.
#[derive(Debug, Default)]
pub(super) struct Reorder {
    /// Sorted by time.
    waiting: VecDeque<(i64, Vec<Triplet>)>,
}

impl Reorder {
    /// Takes what the picture that is to be presented at `pts_90k` carries.
    pub(super) fn push(&mut self, pts_90k: i64, triplets: Vec<Triplet>) {
        let place = self.waiting.partition_point(|(waiting_90k, _)| *waiting_90k <= pts_90k);
        self.waiting.insert(place, (pts_90k, triplets));
    }

    /// The next one whose turn has come: what is decoded from `dts_90k` on is presented no earlier than that.
    pub(super) fn pop(&mut self, dts_90k: i64) -> Option<(i64, Vec<Triplet>)> {
        let is_due = self.waiting.front().is_some_and(|(pts_90k, _)| *pts_90k <= dts_90k);
        if is_due || self.waiting.len() > WAITING_MAX { self.waiting.pop_front() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_leave_in_the_order_of_presentation_and_never_pile_up() {
        let mut reorder = Reorder::default();
        let mut left = Vec::new();
        // I P B B, decoded at 0, 1, 2, 3.
        for (dts, pts) in [(0, 1), (1, 4), (2, 2), (3, 3), (4, 7), (5, 5)] {
            reorder.push(pts, Vec::new());
            left.extend(std::iter::from_fn(|| reorder.pop(dts)).map(|(pts, _)| pts));
        }
        assert_eq!(left, [1, 2, 3, 4, 5]);
        for n in 0..1_000 {
            reorder.push(1_000_000 - n, Vec::new());
            while reorder.pop(0).is_some() {}
            assert!(reorder.waiting.len() <= WAITING_MAX);
        }
    }
}
