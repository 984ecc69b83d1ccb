//! What people asked to keep: orders, their limits, and what of each is held.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocols::ids::ChannelId;
use protocols::p2_directory::{MAX_NAMED, ProgrammeEntry, ProgrammeState, RangeState, RecordRefusal};
use protocols::recording::{
    MAX_AHEAD, MAX_PROGRAMME, MAX_PROGRAMMES, MAX_PROGRAMMES_PER_CHANNEL, RecordingId, Span, is_title,
};
use protocols::time::{ClusterTime, Time};

use super::EDGE;
use super::held::Held;
use crate::record::Programme;

/// Orders and removals at once; after them one each [`ORDER_EVERY`]. Each of them configures push servers anew, and anybody
/// may ask.
pub const ORDERS_AT_ONCE: u32 = 64;
/// See [`ORDERS_AT_ONCE`].
pub const ORDER_EVERY: Duration = Duration::from_secs(1);

/// All programme recordings of a site.
#[derive(Debug)]
pub(super) struct Programmes {
    all: BTreeMap<RecordingId, Programme>,
    by_channel: BTreeMap<ChannelId, BTreeSet<RecordingId>>,
    last: RecordingId,
    /// Orders that may come at once now, and since when that is so.
    allowed: u32,
    counted: Time,
}

impl Programmes {
    /// Those of earlier lives; `last` is the highest id ever given.
    pub(super) fn new(known: Vec<Programme>, last: RecordingId) -> Self {
        let highest = known.iter().map(|programme| programme.id).max().unwrap_or(last);
        let mut programmes = Self {
            all: BTreeMap::new(),
            by_channel: BTreeMap::new(),
            last: last.max(highest),
            allowed: ORDERS_AT_ONCE,
            counted: Time::ZERO,
        };
        known.into_iter().for_each(|programme| programmes.insert(programme));
        programmes
    }

    /// A new one, if it may be: what depends on it alone and on their number.
    pub(super) fn order(
        &mut self,
        time: ClusterTime,
        channel: ChannelId,
        span: Span,
        title: String,
    ) -> Result<Programme, RecordRefusal> {
        if span.is_empty() {
            return Err(RecordRefusal::EndsTooEarly);
        }
        if span.length() > MAX_PROGRAMME {
            return Err(RecordRefusal::TooLong);
        }
        if span.from.since(time) > MAX_AHEAD {
            return Err(RecordRefusal::TooFarAhead);
        }
        if !is_title(&title) {
            return Err(RecordRefusal::BadTitle);
        }
        let id = RecordingId(self.last.0.checked_add(1).ok_or(RecordRefusal::TooMany)?);
        if self.all.len() >= MAX_PROGRAMMES || self.of(channel).count() >= MAX_PROGRAMMES_PER_CHANNEL {
            return Err(RecordRefusal::TooMany);
        }
        self.last = id;
        let programme = Programme { id, channel, span, title };
        self.insert(programme.clone());
        Ok(programme)
    }

    fn insert(&mut self, programme: Programme) {
        self.by_channel.entry(programme.channel).or_default().insert(programme.id);
        self.all.insert(programme.id, programme);
    }

    /// Whether one more order may be taken up now.
    pub(super) fn admit(&mut self, now: Time) -> Result<(), RecordRefusal> {
        let earned = now.since(self.counted).as_millis() / ORDER_EVERY.as_millis();
        if earned > 0 {
            self.counted = now;
            let earned = u32::try_from(earned).unwrap_or(ORDERS_AT_ONCE);
            self.allowed = self.allowed.saturating_add(earned).min(ORDERS_AT_ONCE);
        }
        self.allowed = self.allowed.checked_sub(1).ok_or(RecordRefusal::TooFast)?;
        Ok(())
    }

    pub(super) fn remove(&mut self, id: RecordingId) -> Option<Programme> {
        let programme = self.all.remove(&id)?;
        if let Some(ids) = self.by_channel.get_mut(&programme.channel) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_channel.remove(&programme.channel);
            }
        }
        Some(programme)
    }

    pub(super) fn get(&self, id: RecordingId) -> Option<&Programme> {
        self.all.get(&id)
    }

    /// Those of `channel`, by id.
    pub(super) fn of(&self, channel: ChannelId) -> impl Iterator<Item = &Programme> {
        self.by_channel.get(&channel).into_iter().flatten().filter_map(|id| self.all.get(id))
    }
}

/// What of `programme` is held, given the stretches of its channel, each with what to think of it.
pub(super) fn entry<'a>(
    programme: &Programme,
    stretches: impl Iterator<Item = (&'a Held, RangeState)>,
    recorders: usize,
    time: ClusterTime,
) -> ProgrammeEntry {
    let span = programme.span;
    // What is newer may still be on its way.
    let due = Span { to: span.to.min(ClusterTime(time.0.saturating_sub(millis(EDGE)))), ..span };
    let (mut covered, mut replicas, mut bytes, mut safe) = (Vec::new(), usize::MAX, 0, true);
    for (held, state) in stretches {
        let part = held.span.overlap(span);
        if part.is_empty() {
            continue;
        }
        covered.push(part);
        replicas = replicas.min(held.holders.len());
        safe &= !matches!(state, RangeState::Thin | RangeState::Differs);
        let (length, whole) = (part.length().as_millis(), held.span.length().as_millis().max(1));
        bytes += u64::try_from(u128::from(held.bytes) * length / whole).unwrap_or(0);
    }
    let none = covered.is_empty();
    let covered = Span::merged(covered);
    let mut holes = holes(due, &covered);
    let missing_ms = holes.iter().map(|hole| millis(hole.length())).sum();
    holes.sort_by_key(|hole| std::cmp::Reverse(hole.length()));
    holes.truncate(MAX_NAMED);
    holes.sort_unstable();
    let state = if time < span.from {
        ProgrammeState::Scheduled
    } else if covered == [span] {
        if safe { ProgrammeState::Kept } else { ProgrammeState::Thin }
    } else if time < span.to + EDGE {
        ProgrammeState::Recording
    } else if none {
        ProgrammeState::Lost
    } else {
        ProgrammeState::Partly
    };
    ProgrammeEntry {
        id: programme.id,
        channel: programme.channel,
        span,
        title: programme.title.clone(),
        state,
        replicas: if none { 0 } else { u16::try_from(replicas).unwrap_or(u16::MAX) },
        recorders: u16::try_from(recorders).unwrap_or(u16::MAX),
        bytes,
        missing_ms,
        holes,
    }
}

/// What of `span` is in none of `covered`, which are ascending and apart.
pub(super) fn holes(span: Span, covered: &[Span]) -> Vec<Span> {
    let begins = std::iter::once(span.from).chain(covered.iter().map(|part| part.to));
    let ends = covered.iter().map(|part| part.from).chain(std::iter::once(span.to));
    let between = begins.zip(ends).map(|(from, to)| Span { from, to }.overlap(span));
    between.filter(|hole| !hole.is_empty()).collect()
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    /// Now.
    const NOW: ClusterTime = ClusterTime(1_000 * HOUR);

    fn span(from: u64, to: u64) -> Span {
        Span { from: ClusterTime(from), to: ClusterTime(to) }
    }

    fn at(from_h: u64, to_h: u64) -> Span {
        span(from_h * HOUR, to_h * HOUR)
    }

    fn programmes() -> Programmes {
        Programmes::new(Vec::new(), RecordingId(0))
    }

    fn order(all: &mut Programmes, span: Span) -> Result<RecordingId, RecordRefusal> {
        all.order(NOW, ChannelId(1), span, "News".to_owned()).map(|programme| programme.id)
    }

    #[test]
    fn ids_count_up_and_are_never_used_again() {
        let mut all = programmes();
        assert_eq!(order(&mut all, at(1_000, 1_001)), Ok(RecordingId(1)));
        assert_eq!(order(&mut all, at(1_000, 1_001)), Ok(RecordingId(2)));
        assert!(all.remove(RecordingId(2)).is_some());
        assert_eq!(order(&mut all, at(1_000, 1_001)), Ok(RecordingId(3)));
        let kept = all.of(ChannelId(1)).cloned().collect();
        let mut next = Programmes::new(kept, RecordingId(9));
        assert_eq!(order(&mut next, at(1_000, 1_001)), Ok(RecordingId(10)));
    }

    #[test]
    fn what_cannot_be_recorded_is_refused_with_its_reason() {
        let mut all = programmes();
        assert_eq!(order(&mut all, at(1_001, 1_001)), Err(RecordRefusal::EndsTooEarly));
        assert_eq!(order(&mut all, at(1_002, 1_001)), Err(RecordRefusal::EndsTooEarly));
        assert_eq!(order(&mut all, at(1_000, 1_025)), Err(RecordRefusal::TooLong));
        assert_eq!(order(&mut all, span(0, u64::MAX)), Err(RecordRefusal::TooLong));
        assert_eq!(order(&mut all, at(10_000, 10_001)), Err(RecordRefusal::TooFarAhead));
        let title = all.order(NOW, ChannelId(1), at(1_000, 1_001), String::new());
        assert_eq!(title, Err(RecordRefusal::BadTitle));
        for _ in 0..MAX_PROGRAMMES_PER_CHANNEL {
            assert!(order(&mut all, at(1_000, 1_001)).is_ok());
        }
        assert_eq!(order(&mut all, at(1_000, 1_001)), Err(RecordRefusal::TooMany));
        let mut other = (2..).map(ChannelId).flat_map(|id| std::iter::repeat_n(id, 256));
        while all.all.len() < MAX_PROGRAMMES {
            all.order(NOW, other.next().unwrap(), at(1_000, 1_001), "x".to_owned()).unwrap();
        }
        let full = all.order(NOW, ChannelId(999), at(1_000, 1_001), "x".to_owned());
        assert_eq!(full, Err(RecordRefusal::TooMany));
    }

    #[test]
    fn orders_come_at_once_as_many_as_stated_and_then_one_a_second() {
        let mut all = programmes();
        let admitted = |all: &mut Programmes, ms: u64| {
            (0..1_000).take_while(|_| all.admit(Time::from_ms(ms)).is_ok()).count()
        };
        assert_eq!(admitted(&mut all, 0), 64);
        assert_eq!((admitted(&mut all, 999), admitted(&mut all, 1_000)), (0, 1));
        assert_eq!(admitted(&mut all, 3_600_000), 64);
    }

    /// A programme from 900 h to 902 h, seen at `time_h`, of which these stretches are held.
    fn seen(time: ClusterTime, stretches: &[(Span, &[&str], RangeState)]) -> ProgrammeEntry {
        let programme = Programme {
            id: RecordingId(1),
            channel: ChannelId(1),
            span: at(900, 902),
            title: "N".to_owned(),
        };
        let held = |(span, holders, state): &(Span, &[&str], RangeState)| {
            let holders = holders.iter().map(|host| host.parse().unwrap()).collect();
            (Held { span: *span, bytes: millis(span.length()), holders, differs: false }, *state)
        };
        let stretches: Vec<_> = stretches.iter().map(held).collect();
        entry(&programme, stretches.iter().map(|(held, state)| (held, *state)), 2, time)
    }

    #[test]
    fn a_programme_goes_from_scheduled_to_what_became_of_it() {
        use ProgrammeState as State;
        let hour = |h: u64| ClusterTime(h * HOUR);
        let both: &[&str] = &["a", "b"];
        let state = |time, stretches: &[_]| seen(time, stretches).state;
        assert_eq!(state(hour(899), &[]), State::Scheduled);
        assert_eq!(state(hour(901), &[(at(800, 901), both, RangeState::Kept)]), State::Recording);
        assert_eq!(state(hour(902), &[(at(800, 901), both, RangeState::Kept)]), State::Recording);
        assert_eq!(state(hour(903), &[(at(800, 950), both, RangeState::Kept)]), State::Kept);
        assert_eq!(state(hour(903), &[(at(800, 901), both, RangeState::Kept)]), State::Partly);
        assert_eq!(state(hour(903), &[(at(800, 900), both, RangeState::Kept)]), State::Lost);
        let thin = [(at(800, 901), both, RangeState::Kept), (at(901, 950), &["a"], RangeState::Thin)];
        let entry = seen(hour(903), &thin);
        assert_eq!((entry.state, entry.replicas, entry.bytes), (State::Thin, 1, 2 * HOUR));
    }

    #[test]
    fn holes_are_what_is_over_and_held_by_nobody() {
        let both: &[&str] = &["a", "b"];
        let parts = [
            (span(900 * HOUR + 1_000, 901 * HOUR), both, RangeState::Kept),
            (span(901 * HOUR + 5_000, 901 * HOUR + 10_000), both, RangeState::Kept),
        ];
        let entry = seen(ClusterTime(901 * HOUR + 10_000 + millis(EDGE)), &parts);
        assert_eq!(entry.missing_ms, 6_000);
        let holes = [span(900 * HOUR, 900 * HOUR + 1_000), span(901 * HOUR, 901 * HOUR + 5_000)];
        assert_eq!(entry.holes, holes);
        assert_eq!(seen(ClusterTime(903 * HOUR), &[]).missing_ms, 2 * HOUR);
        assert_eq!(seen(ClusterTime(900 * HOUR), &[]).missing_ms, 0);
    }
}
