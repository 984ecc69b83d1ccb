//! From screens to cues: what stood on one track's screen, from when to when.

use super::{Cue, Event, Line, Track};

/// A command that clears the way begins what is painted after it, unless the first letter comes later than this: 1 s.
const LEAD_90K: i64 = 90_000;

/// One track's screen.
#[derive(Debug)]
pub(super) struct Presenter {
    track: Track,
    /// When what is shown was first shown, and its lines; none: nothing is.
    shown: Option<(i64, Vec<Line>)>,
    /// What is shown was painted and is not told of.
    is_untold: bool,
    /// The lines that were told last.
    told: Vec<String>,
    /// When the way was cleared for what is painted next.
    cleared_90k: Option<i64>,
}

impl Presenter {
    pub(super) fn new(track: Track) -> Self {
        Self { track, shown: None, is_untold: false, told: Vec::new(), cleared_90k: None }
    }

    /// The screen shows `lines` from now on, whole.
    pub(super) fn show(&mut self, at_90k: i64, lines: Vec<Line>, events: &mut Vec<Event>) {
        if self.is_same(&lines) {
            return;
        }
        self.end(at_90k, events);
        if !lines.is_empty() {
            let texts = texts(&lines);
            self.told.clone_from(&texts);
            events.push(Event::Said { track: self.track, lines: texts });
            self.shown = Some((at_90k, lines));
        }
    }

    /// What was painted is whole; from now on the screen shows `lines` of it, and more will be painted.
    pub(super) fn roll(&mut self, at_90k: i64, lines: Vec<Line>, events: &mut Vec<Event>) {
        self.end(at_90k, events);
        self.cleared_90k = Some(at_90k);
        if !lines.is_empty() {
            self.shown = Some((at_90k, lines));
        }
    }

    /// Letters were painted: the screen shows `lines`, as one with what it showed.
    pub(super) fn paint(&mut self, at_90k: i64, lines: Vec<Line>, events: &mut Vec<Event>) {
        if lines.is_empty() {
            self.end(at_90k, events);
            return;
        }
        self.is_untold = true;
        let began_90k = self.shown.take().map(|(began_90k, _)| began_90k);
        let cleared_90k = self.cleared_90k.filter(|cleared| (0..=LEAD_90K).contains(&(at_90k - cleared)));
        self.shown = Some((began_90k.or(cleared_90k).unwrap_or(at_90k), lines));
    }

    /// A command that what is painted next follows.
    pub(super) fn clear_the_way(&mut self, at_90k: i64) {
        self.cleared_90k = Some(at_90k);
    }

    /// The screen is empty from now on.
    pub(super) fn erase(&mut self, at_90k: i64, events: &mut Vec<Event>) {
        self.end(at_90k, events);
        self.cleared_90k = None;
        self.told.clear();
    }

    fn end(&mut self, at_90k: i64, events: &mut Vec<Event>) {
        let Some((start_90k, lines)) = self.shown.take() else { return };
        if std::mem::take(&mut self.is_untold) {
            let texts = texts(&lines);
            // Lines that rolled up were told when they were below.
            let rolled = (0..=texts.len().min(self.told.len())).rev();
            let kept = rolled.into_iter().find(|&kept| self.told.ends_with(texts.get(..kept).unwrap_or(&[])));
            let new = texts.get(kept.unwrap_or(0)..).unwrap_or(&[]).to_vec();
            if !new.is_empty() {
                events.push(Event::Said { track: self.track, lines: new });
            }
            self.told = texts;
        }
        if at_90k > start_90k {
            events.push(Event::Cue(Cue { track: self.track, start_90k, end_90k: at_90k, lines }));
        }
    }

    fn is_same(&self, lines: &[Line]) -> bool {
        match &self.shown {
            Some((_, shown)) => !self.is_untold && shown == lines,
            None => lines.is_empty(),
        }
    }
}

fn texts(lines: &[Line]) -> Vec<String> {
    lines.iter().map(|line| line.text.clone()).collect()
}
