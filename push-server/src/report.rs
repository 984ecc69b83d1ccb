//! What has changed since the database server last asked: every change has a number, and a report carries those above
//! the number that the query names, oldest first. Nothing is forgotten by being reported, so a lost report, or a
//! database server that starts anew, costs nothing but another query.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Bound;

use protocols::ids::ChannelId;
use protocols::p4_control::ITEMS_PER_REPORT;

/// What a line of a report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The push server of a channel.
    Server(ChannelId),
    /// One of its destinations.
    Destination(ChannelId, IpAddr),
    /// The host's recorder.
    Recorder,
    /// That what is held of a channel is known.
    Archive(ChannelId),
    /// One slot of a channel's extents, perhaps vacant.
    Extent(ChannelId, u16),
}

/// The subjects of one report, and what its head says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Number of the newest change among `subjects`, or the number asked about when there is none.
    pub up_to: u64,
    /// Whether more changes wait.
    pub more: bool,
    /// At most [`ITEMS_PER_REPORT`]: changed ones oldest first, then unchanged ones in turn.
    pub subjects: Vec<Subject>,
}

/// The change numbers of everything that a host reports on.
#[derive(Debug, Default)]
pub struct ReportLog {
    newest: u64,
    by_subject: BTreeMap<Subject, u64>,
    by_number: BTreeMap<u64, Subject>,
    turn: Option<Subject>,
}

impl ReportLog {
    /// `subject` is new or has changed.
    pub fn changed(&mut self, subject: Subject) {
        self.newest += 1;
        if let Some(before) = self.by_subject.insert(subject, self.newest) {
            self.by_number.remove(&before);
        }
        self.by_number.insert(self.newest, subject);
    }

    /// `subject` is new, and will never change.
    pub fn changed_once(&mut self, subject: Subject) {
        if !self.by_subject.contains_key(&subject) {
            self.changed(subject);
        }
    }

    /// `subject` is gone and is reported no more.
    pub fn removed(&mut self, subject: Subject) {
        if let Some(number) = self.by_subject.remove(&subject) {
            self.by_number.remove(&number);
        }
    }

    /// The next report for somebody who has everything up to `since`.
    pub fn page(&mut self, since: u64) -> Page {
        // A number that this host never gave is from before its start: begin at the beginning.
        let since = if since > self.newest { 0 } else { since };
        let mut changes = self.by_number.range((Bound::Excluded(since), Bound::Unbounded));
        let mut page = Page { up_to: since, more: false, subjects: Vec::new() };
        for (number, subject) in changes.by_ref().take(ITEMS_PER_REPORT) {
            page.up_to = *number;
            page.subjects.push(*subject);
        }
        page.more = changes.next().is_some();
        self.fill(&mut page.subjects);
        page
    }

    /// Unchanged subjects with counters in turn, so that those stay fresh at the database server.
    fn fill(&mut self, subjects: &mut Vec<Subject>) {
        for _ in 0..self.by_subject.len().min(ITEMS_PER_REPORT) {
            if subjects.len() == ITEMS_PER_REPORT {
                return;
            }
            let after = self.turn.map_or(Bound::Unbounded, Bound::Excluded);
            let next = self.by_subject.range((after, Bound::Excluded(Subject::Recorder))).next();
            let next = next.or_else(|| self.by_subject.range(..Subject::Recorder).next());
            let next = next.map(|(subject, _)| *subject);
            self.turn = next;
            subjects.extend(next.filter(|subject| !subjects.contains(subject)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(channel: u32) -> Subject {
        Subject::Server(ChannelId(channel))
    }

    #[test]
    fn changes_come_oldest_first_and_again_until_they_are_acknowledged() {
        let mut log = ReportLog::default();
        log.changed(subject(2));
        log.changed(subject(1));
        log.changed(subject(2));
        let page = log.page(0);
        assert_eq!(page, Page { up_to: 3, more: false, subjects: vec![subject(1), subject(2)] });
        assert_eq!(log.page(0).up_to, 3);
        assert_eq!(log.page(2).subjects[0], subject(2));
    }

    #[test]
    fn many_changes_come_in_pages_and_none_is_left_out() {
        let mut log = ReportLog::default();
        (1..=50).for_each(|channel| log.changed(subject(channel)));
        let (mut since, mut seen, mut pages) = (0, Vec::new(), 0);
        loop {
            let page = log.page(since);
            since = page.up_to;
            seen.extend(page.subjects);
            pages += 1;
            if !page.more {
                break;
            }
        }
        seen.truncate(50);
        assert_eq!((pages, seen), (3, (1..=50).map(subject).collect()));
    }

    #[test]
    fn unchanged_subjects_take_turns() {
        let mut log = ReportLog::default();
        (1..=40).for_each(|channel| log.changed(subject(channel)));
        let mut seen: Vec<Subject> = (0..3).flat_map(|_| log.page(40).subjects).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 40);
    }

    #[test]
    fn what_is_removed_is_reported_no_more_and_strange_numbers_begin_anew() {
        let mut log = ReportLog::default();
        log.changed(subject(1));
        log.changed(subject(2));
        log.removed(subject(1));
        assert_eq!(log.page(0).subjects, vec![subject(2)]);
        assert_eq!(log.page(99), Page { up_to: 2, more: false, subjects: vec![subject(2)] });
    }
}
