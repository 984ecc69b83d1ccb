//! What has been found so far while a file is read: its faults and warnings.

use std::ops::Range;

use super::MAX_FAULTS;
use super::fault::{Fault, FaultKind, Faults};
use super::place::Source;
use super::warning::{Warning, WarningKind};

/// Collects; reading goes on after each fault so that all are told at once.
pub(super) struct Findings<'a> {
    pub(super) source: &'a Source<'a>,
    faults: Vec<Fault>,
    /// Faults past [`MAX_FAULTS`].
    omitted: usize,
    warnings: Vec<Warning>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(source: &'a Source<'a>) -> Self {
        Self { source, faults: Vec::new(), omitted: 0, warnings: Vec::new() }
    }

    pub(super) fn fault(&mut self, span: Range<usize>, kind: FaultKind) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(Fault { kind, place: self.source.place(span) });
        } else {
            self.omitted += 1;
        }
    }

    /// Warnings past [`MAX_FAULTS`] are dropped: nobody reads so many, and none is an error.
    pub(super) fn warn(&mut self, span: Range<usize>, kind: WarningKind) {
        if self.warnings.len() < MAX_FAULTS {
            self.warnings.push(Warning { kind, place: self.source.place(span) });
        }
    }

    pub(super) fn has_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    /// The outcome and warnings of a good file, or the faults of a bad one, in the order of the file. Without an
    /// outcome there is a fault.
    pub(super) fn finish<T>(mut self, outcome: Option<T>) -> Result<(T, Vec<Warning>), Faults> {
        if let Some(outcome) = outcome
            && self.faults.is_empty()
        {
            self.warnings.sort_by_key(|warning| warning.place.span.start);
            return Ok((outcome, self.warnings));
        }
        debug_assert!(!self.faults.is_empty(), "a file without faults has an outcome");
        self.faults.sort_by_key(|fault| fault.place.span.start);
        if self.omitted > 0 {
            let end = self.source.place(usize::MAX..usize::MAX);
            self.faults.push(Fault { kind: FaultKind::MoreFaults(self.omitted), place: end });
        }
        Err(Faults(self.faults))
    }
}
