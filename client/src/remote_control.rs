//! The keys of a playback: what each means where the viewer is now.

use std::time::Duration;

use protocols::p4_control::TrickSpeed;
use protocols::recording::Span;
use protocols::time::ClusterTime;

use crate::playback::Wish;

/// What an arrow to the side moves.
pub const SHORT_STEP: Duration = Duration::from_secs(10);
/// What an arrow up or down moves.
pub const LONG_STEP: Duration = Duration::from_mins(1);
/// Nearer to the end of what is recorded than this a step forward goes to the live edge, or does nothing.
const END_MARGIN: Duration = Duration::from_secs(2);

/// A key that means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Pause, or go on.
    Pause,
    /// Ten seconds back.
    Back,
    /// Ten seconds on.
    On,
    /// A minute back.
    FarBack,
    /// A minute on.
    FarOn,
    /// Fast forward; again: faster.
    Forward,
    /// Rewind; again: faster.
    Rewind,
    /// To the beginning.
    Begin,
    /// To the live edge.
    Live,
    /// End.
    Quit,
}

/// What can be typed, and what it does: for people.
pub const HELP: &str = "space pause  ←→ 10 s  ↓↑ 1 min  f b fast  Home begin  End live  q end";

/// The key of a character, if it is one.
pub fn of_character(c: char) -> Option<Key> {
    Some(match c {
        ' ' | 'p' => Key::Pause,
        ',' => Key::Back,
        '.' => Key::On,
        '<' => Key::FarBack,
        '>' => Key::FarOn,
        'f' => Key::Forward,
        'b' | 'r' => Key::Rewind,
        'l' => Key::Live,
        'q' => Key::Quit,
        _ => return None,
    })
}

/// Where the viewer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The date shown, or sought.
    pub place: ClusterTime,
    /// What there is, to the present where it grows.
    pub span: Span,
    /// Whether it grows.
    pub growing: bool,
    /// Whether the viewer has paused.
    pub paused: bool,
    /// Of a fast forward or rewind.
    pub speed: Option<TrickSpeed>,
}

impl Standing {
    /// What `key` asks for here; `None`: nothing.
    pub fn wish(&self, key: Key) -> Option<Wish> {
        match key {
            Key::Pause if self.paused || self.speed.is_some() => Some(Wish::Resume),
            Key::Pause => Some(Wish::Pause),
            Key::Back => Some(self.back(SHORT_STEP)),
            Key::FarBack => Some(self.back(LONG_STEP)),
            Key::On => self.on(SHORT_STEP),
            Key::FarOn => self.on(LONG_STEP),
            Key::Forward => Some(Wish::Trick(match self.speed {
                Some(TrickSpeed::Forward4) => TrickSpeed::Forward16,
                Some(TrickSpeed::Forward16 | TrickSpeed::Forward64) => TrickSpeed::Forward64,
                _ => TrickSpeed::Forward4,
            })),
            Key::Rewind => Some(Wish::Trick(match self.speed {
                Some(TrickSpeed::Back4) => TrickSpeed::Back16,
                Some(TrickSpeed::Back16 | TrickSpeed::Back64) => TrickSpeed::Back64,
                _ => TrickSpeed::Back4,
            })),
            Key::Begin => Some(Wish::Seek(self.span.from)),
            Key::Live => self.growing.then_some(Wish::Live),
            Key::Quit => Some(Wish::Stop),
        }
    }

    fn back(&self, step: Duration) -> Wish {
        let step_ms = u64::try_from(step.as_millis()).unwrap_or(u64::MAX);
        Wish::Seek(ClusterTime(self.place.0.saturating_sub(step_ms)).max(self.span.from))
    }

    fn on(&self, step: Duration) -> Option<Wish> {
        let to = self.place + step;
        if to + END_MARGIN < self.span.to {
            return Some(Wish::Seek(to));
        }
        self.growing.then_some(Wish::Live)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> ClusterTime {
        ClusterTime(second * 1_000)
    }

    fn standing() -> Standing {
        let span = Span { from: at(100), to: at(1_000) };
        Standing { place: at(500), span, growing: false, paused: false, speed: None }
    }

    #[test]
    fn steps_stay_within_what_is_recorded() {
        assert_eq!(standing().wish(Key::Back), Some(Wish::Seek(at(490))));
        assert_eq!(standing().wish(Key::FarOn), Some(Wish::Seek(at(560))));
        let early = Standing { place: at(105), ..standing() };
        assert_eq!(early.wish(Key::FarBack), Some(Wish::Seek(at(100))));
        let late = Standing { place: at(990), ..standing() };
        assert_eq!((late.wish(Key::On), late.wish(Key::Live)), (None, None));
        let growing = Standing { growing: true, ..late };
        assert_eq!((growing.wish(Key::On), growing.wish(Key::Live)), (Some(Wish::Live), Some(Wish::Live)));
    }

    #[test]
    fn the_same_key_again_is_faster_and_the_pause_key_goes_on() {
        let wish = |speed, key| Standing { speed, ..standing() }.wish(key);
        assert_eq!(wish(None, Key::Forward), Some(Wish::Trick(TrickSpeed::Forward4)));
        assert_eq!(wish(Some(TrickSpeed::Forward16), Key::Forward), Some(Wish::Trick(TrickSpeed::Forward64)));
        assert_eq!(wish(Some(TrickSpeed::Forward16), Key::Rewind), Some(Wish::Trick(TrickSpeed::Back4)));
        assert_eq!(wish(Some(TrickSpeed::Back64), Key::Pause), Some(Wish::Resume));
        assert_eq!(wish(None, Key::Pause), Some(Wish::Pause));
        assert_eq!(Standing { paused: true, ..standing() }.wish(Key::Pause), Some(Wish::Resume));
    }
}
