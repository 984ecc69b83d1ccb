//! One group on one network: whether somebody there wants it from us (RFC 3376 §6.4, RFC 3810 §7.4).
//!
//! The standards keep a timer for each source; of all sources only one matters here, our own.
//!
//! ```text
//! Include (nobody, or who named us) ──exclude report──► Exclude (who wants all but some) ──no report──► Include
//! ```

use protocols::time::Time;

use super::timing::Timing;
use super::wire::{Record, RecordKind, Version};

/// Who is there.
#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    mode: Mode,
    /// Until when hosts of an older version are taken to be present: IGMPv1, then IGMPv2 or MLDv1.
    older: [Option<Time>; 2],
    /// Queries about the group, and about us as source of it, that are still to be sent.
    asks: [Option<Ask>; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Hosts want the sources that they named; ours until then.
    Include { until: Option<Time> },
    /// Until then there are hosts that want all sources but some.
    Exclude { until: Time, ours: Ours },
}

impl Default for Mode {
    fn default() -> Self {
        Self::Include { until: None }
    }
}

/// Our source where hosts exclude some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ours {
    /// Nobody named it: it is wanted.
    Unnamed,
    /// Somebody wants it, until then.
    Requested(Time),
    /// Nobody does.
    Excluded,
}

/// A query that is repeated.
#[derive(Debug, Clone, Copy)]
struct Ask {
    next: Time,
    left: u32,
}

/// What a querier must ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// About the group; the flag is the S flag.
    Group(bool),
    /// About us as source of it.
    Source(bool),
}

/// On whose behalf a group acts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules<'t> {
    pub(super) timing: &'t Timing,
    /// Whether we are the querier, who alone asks and lowers timers by itself.
    pub(super) querier: bool,
}

impl Group {
    /// Whether somebody wants the group from us.
    pub(super) fn wanted(&self) -> bool {
        match self.mode {
            Mode::Include { until } => until.is_some(),
            Mode::Exclude { ours, .. } => ours != Ours::Excluded,
        }
    }

    /// Takes what a report says of the group.
    pub(super) fn hear(&mut self, now: Time, record: Record, rules: Rules<'_>) {
        let present = now + rules.timing.older_host_present_interval();
        match record.version {
            Version::One => self.older[0] = Some(present),
            Version::Two => self.older[1] = Some(present),
            Version::Three => {}
        }
        let Some((kind, listed)) = self.compatible(record) else { return };
        let gmi = now + rules.timing.group_membership_interval();
        let mut ask = (false, false);
        self.mode = match self.mode {
            Mode::Include { until } => {
                let requested = until.is_some();
                match kind {
                    RecordKind::IsInclude | RecordKind::Allow | RecordKind::ToInclude if listed => {
                        Mode::Include { until: Some(gmi) }
                    }
                    RecordKind::IsExclude | RecordKind::ToExclude => {
                        ask.1 = kind == RecordKind::ToExclude && listed && requested;
                        let ours = match until {
                            Some(until) if listed => Ours::Requested(until),
                            None if listed => Ours::Excluded,
                            _ => Ours::Unnamed,
                        };
                        Mode::Exclude { until: gmi, ours }
                    }
                    RecordKind::ToInclude => {
                        ask.1 = requested;
                        self.mode
                    }
                    RecordKind::Block => {
                        ask.1 = listed && requested;
                        self.mode
                    }
                    RecordKind::IsInclude | RecordKind::Allow => self.mode,
                }
            }
            Mode::Exclude { until, ours } => match kind {
                RecordKind::IsInclude | RecordKind::Allow | RecordKind::ToInclude => {
                    let requested = matches!(ours, Ours::Requested(_));
                    let leaves = kind == RecordKind::ToInclude;
                    ask = (leaves, leaves && requested && !listed);
                    Mode::Exclude { until, ours: if listed { Ours::Requested(gmi) } else { ours } }
                }
                RecordKind::IsExclude | RecordKind::ToExclude => {
                    let ours = match ours {
                        _ if !listed => Ours::Unnamed,
                        Ours::Unnamed if kind == RecordKind::IsExclude => Ours::Requested(gmi),
                        Ours::Unnamed => Ours::Requested(until),
                        named => named,
                    };
                    ask.1 = kind == RecordKind::ToExclude && listed && ours != Ours::Excluded;
                    Mode::Exclude { until: gmi, ours }
                }
                RecordKind::Block => {
                    let ours = if listed && ours == Ours::Unnamed { Ours::Requested(until) } else { ours };
                    ask.1 = listed && ours != Ours::Excluded;
                    Mode::Exclude { until, ours }
                }
            },
        };
        if rules.querier {
            self.ask(now, ask, rules.timing);
        }
    }

    /// What a report means while hosts of an older version are there (RFC 3376 §7.3.2, RFC 3810 §8.3.2).
    fn compatible(&self, record: Record) -> Option<(RecordKind, bool)> {
        let oldest = match self.older {
            [Some(_), _] => Version::One,
            [None, Some(_)] => Version::Two,
            [None, None] => Version::Three,
        };
        match record.kind {
            RecordKind::Block if oldest < Version::Three => None,
            // Hosts of the first version cannot answer a query that others' leaves cause.
            RecordKind::ToInclude if oldest == Version::One => None,
            RecordKind::ToExclude if oldest < Version::Three => Some((RecordKind::ToExclude, false)),
            kind => Some((kind, record.lists_us)),
        }
    }

    /// Asks once more at once, without anybody having left: a group that is listened to from now on.
    pub(super) fn ask_who_is_there(&mut self, now: Time) {
        self.asks[0] = Some(Ask { next: now, left: 1 });
    }

    /// Begins to ask, and lowers the timers so that who does not answer is gone.
    fn ask(&mut self, now: Time, (group, source): (bool, bool), timing: &Timing) {
        let again = Some(Ask { next: now, left: timing.query_count() });
        if group {
            self.asks[0] = again;
            self.lower_group(now, timing);
        }
        if source {
            self.asks[1] = again;
            self.lower_source(now, timing);
        }
    }

    /// Another querier's question, whose answers decide (RFC 3376 §6.6.1). `source`: whether it names us, if any.
    pub(super) fn overhear(&mut self, now: Time, source: Option<bool>, timing: &Timing) {
        match source {
            None => self.lower_group(now, timing),
            Some(true) => self.lower_source(now, timing),
            Some(false) => {}
        }
    }

    fn lower_group(&mut self, now: Time, timing: &Timing) {
        let latest = now + timing.last_member_query_time();
        if let Mode::Exclude { until, .. } = &mut self.mode {
            *until = latest.min(*until);
        }
    }

    fn lower_source(&mut self, now: Time, timing: &Timing) {
        let latest = now + timing.last_member_query_time();
        match &mut self.mode {
            Mode::Include { until: Some(until) } | Mode::Exclude { ours: Ours::Requested(until), .. } => {
                *until = latest.min(*until);
            }
            Mode::Include { until: None } | Mode::Exclude { .. } => {}
        }
    }

    /// Ends what has run out at `now`, and tells which question is due.
    pub(super) fn advance(&mut self, now: Time, rules: Rules<'_>) -> Vec<Asked> {
        for present in &mut self.older {
            *present = present.filter(|until| *until > now);
        }
        if let Mode::Exclude { ours: ours @ Ours::Requested(_), .. } = &mut self.mode
            && matches!(*ours, Ours::Requested(until) if until <= now)
        {
            *ours = Ours::Excluded;
        }
        if let Mode::Exclude { until, ours } = self.mode
            && until <= now
        {
            let until = if let Ours::Requested(until) = ours { Some(until) } else { None };
            self.mode = Mode::Include { until };
        }
        if let Mode::Include { until } = &mut self.mode {
            *until = until.filter(|until| *until > now);
        }
        let mut asked = Vec::new();
        for index in 0..2 {
            let Some(ask) = self.asks[index].filter(|ask| ask.next <= now) else { continue };
            let left = ask.left - 1;
            let next = now + rules.timing.last_member_query_interval;
            self.asks[index] = (left > 0).then_some(Ask { next, left });
            if rules.querier {
                // Who has answered since is not to be doubted again (RFC 3376 §6.6.3).
                let suppress = self.left(now, index) > rules.timing.last_member_query_time();
                asked.push(if index == 0 { Asked::Group(suppress) } else { Asked::Source(suppress) });
            }
        }
        asked
    }

    fn left(&self, now: Time, index: usize) -> std::time::Duration {
        let until = match (index, self.mode) {
            (1, Mode::Include { until }) => until,
            (0, Mode::Exclude { until, .. }) | (1, Mode::Exclude { ours: Ours::Requested(until), .. }) => {
                Some(until)
            }
            _ => None,
        };
        until.map(|until| until.since(now)).unwrap_or_default()
    }

    /// When [`Self::advance`] has something to do next.
    pub(super) fn deadline(&self) -> Option<Time> {
        let mode = match self.mode {
            Mode::Include { until } => until,
            Mode::Exclude { until, ours: Ours::Requested(source) } => Some(until.min(source)),
            Mode::Exclude { until, .. } => Some(until),
        };
        let asks = self.asks.iter().flatten().map(|ask| ask.next);
        mode.into_iter().chain(asks).min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TIMING: Timing = Timing {
        robustness: 2,
        query_interval: Duration::from_secs(125),
        query_response_interval: Duration::from_secs(10),
        last_member_query_interval: Duration::from_secs(1),
    };
    const QUERIER: Rules<'static> = Rules { timing: &TIMING, querier: true };

    fn at(s: u64) -> Time {
        Time::from_ms(s * 1000)
    }

    fn record(kind: RecordKind, lists_us: bool, version: Version) -> Record {
        Record { kind, group: "239.1.1.1".parse().unwrap(), lists_us, version }
    }

    fn v3(kind: RecordKind, lists_us: bool) -> Record {
        record(kind, lists_us, Version::Three)
    }

    fn heard(records: &[(u64, Record)]) -> Group {
        let mut group = Group::default();
        for (s, record) in records {
            group.hear(at(*s), *record, QUERIER);
        }
        group
    }

    #[test]
    fn a_member_is_there_until_260_s_after_its_last_report() {
        let mut group =
            heard(&[(0, v3(RecordKind::ToExclude, false)), (100, v3(RecordKind::IsExclude, false))]);
        assert_eq!(group.advance(at(359), QUERIER), []);
        assert!(group.wanted());
        assert_eq!(group.deadline(), Some(at(360)));
        assert_eq!(group.advance(at(360), QUERIER), []);
        assert!(!group.wanted());
        assert_eq!(group.deadline(), None);
    }

    #[test]
    fn who_leaves_is_asked_for_twice_and_gone_after_2_s() {
        let mut group =
            heard(&[(0, v3(RecordKind::ToExclude, false)), (10, v3(RecordKind::ToInclude, false))]);
        assert_eq!(group.advance(at(10), QUERIER), [Asked::Group(false)]);
        assert!(group.wanted());
        assert_eq!(group.advance(at(11), QUERIER), [Asked::Group(false)]);
        assert!(group.wanted());
        assert_eq!(group.advance(at(12), QUERIER), []);
        assert!(!group.wanted());
    }

    #[test]
    fn another_member_answers_and_is_not_doubted_again() {
        let mut group =
            heard(&[(0, v3(RecordKind::ToExclude, false)), (10, v3(RecordKind::ToInclude, false))]);
        assert_eq!(group.advance(at(10), QUERIER), [Asked::Group(false)]);
        group.hear(at(10), v3(RecordKind::IsExclude, false), QUERIER);
        assert_eq!(group.advance(at(11), QUERIER), [Asked::Group(true)]);
        group.advance(at(20), QUERIER);
        assert!(group.wanted());
        assert_eq!(group.deadline(), Some(at(270)));
    }

    #[test]
    fn who_is_no_querier_waits_for_the_queriers_question() {
        let rules = Rules { timing: &TIMING, querier: false };
        let mut group = heard(&[(0, v3(RecordKind::ToExclude, false))]);
        group.hear(at(10), v3(RecordKind::ToInclude, false), rules);
        assert_eq!(group.advance(at(13), rules), []);
        assert!(group.wanted());
        group.overhear(at(13), None, &TIMING);
        assert_eq!(group.advance(at(15), rules), []);
        assert!(!group.wanted());
    }

    #[test]
    fn a_join_of_our_source_counts_and_of_another_does_not() {
        assert!(heard(&[(0, v3(RecordKind::Allow, true))]).wanted());
        assert!(heard(&[(0, v3(RecordKind::IsInclude, true))]).wanted());
        assert!(!heard(&[(0, v3(RecordKind::Allow, false))]).wanted());
        assert!(!heard(&[(0, v3(RecordKind::IsExclude, true))]).wanted());
    }

    #[test]
    fn who_blocks_our_source_is_asked_about_it() {
        let mut group = heard(&[(0, v3(RecordKind::Allow, true)), (10, v3(RecordKind::Block, true))]);
        assert_eq!(group.advance(at(10), QUERIER), [Asked::Source(false)]);
        assert_eq!(group.advance(at(11), QUERIER), [Asked::Source(false)]);
        assert!(group.wanted());
        group.advance(at(12), QUERIER);
        assert!(!group.wanted());
    }

    #[test]
    fn who_wants_only_us_stays_when_who_wanted_all_is_gone() {
        let mut group = heard(&[(0, v3(RecordKind::ToExclude, false)), (200, v3(RecordKind::Allow, true))]);
        group.advance(at(260), QUERIER);
        assert!(group.wanted());
        group.advance(at(460), QUERIER);
        assert!(!group.wanted());
    }

    #[test]
    fn hosts_of_version_2_leave_and_of_version_1_do_not() {
        let two = |kind| record(kind, false, Version::Two);
        let mut group = heard(&[(0, two(RecordKind::IsExclude)), (10, two(RecordKind::ToInclude))]);
        assert_eq!(group.advance(at(10), QUERIER), [Asked::Group(false)]);
        let one = record(RecordKind::IsExclude, false, Version::One);
        let mut group = heard(&[(0, one), (10, two(RecordKind::ToInclude))]);
        assert_eq!(group.advance(at(259), QUERIER), []);
        assert!(group.wanted());
        group.advance(at(260), QUERIER);
        assert!(!group.wanted());
    }

    #[test]
    fn sources_do_not_count_while_hosts_of_version_2_are_there() {
        let two = record(RecordKind::IsExclude, false, Version::Two);
        let group =
            heard(&[(0, two), (1, v3(RecordKind::Block, true)), (2, v3(RecordKind::ToExclude, true))]);
        assert!(group.wanted());
        assert_eq!(group.asks.iter().flatten().count(), 0);
    }
}
