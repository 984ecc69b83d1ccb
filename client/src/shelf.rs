//! The picker's list of programme recordings: which there are, which is chosen.

use jiff::tz::TimeZone;
use protocols::p2_directory::{ProgrammeEntry, ProgrammeState, RecordingList};
use protocols::recording::RecordingId;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, List, ListItem, ListState, Padding, Paragraph, Wrap};

use crate::listing::printable;
use crate::when::local;

/// Recordings, the newest first.
#[derive(Debug, Default)]
pub struct Shelf {
    /// `None`: not known yet.
    programmes: Option<Vec<ProgrammeEntry>>,
    selected: usize,
    scroll: ListState,
}

impl Shelf {
    /// One whose list has not come yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the list; what was chosen stays chosen.
    pub fn set(&mut self, list: &RecordingList) {
        let selected = self.selected();
        let mut programmes = list.programmes.clone();
        programmes.sort_by_key(|programme| std::cmp::Reverse((programme.span.from, programme.id)));
        let place = programmes.iter().position(|programme| Some(programme.id) == selected);
        self.selected = place.unwrap_or(self.selected.min(programmes.len().saturating_sub(1)));
        self.programmes = Some(programmes);
    }

    /// Which is chosen.
    pub fn selected(&self) -> Option<RecordingId> {
        self.programmes.as_ref()?.get(self.selected).map(|programme| programme.id)
    }

    /// Moves by so many rows, as far as there are.
    pub fn go(&mut self, rows: isize) {
        let last = self.programmes.as_ref().map_or(0, Vec::len).saturating_sub(1);
        self.selected = self.selected.saturating_add_signed(rows).min(last);
    }

    /// Draws the list, with times of `zone`.
    pub fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, zone: &TimeZone) {
        let rows = self.programmes.as_deref().unwrap_or_default();
        if rows.is_empty() {
            let nothing = match self.programmes {
                None => "asking for the recordings",
                Some(_) => {
                    "nothing was ordered to be recorded: masthead-client record CHANNEL --to TIME --title TITLE"
                }
            };
            let paragraph = Paragraph::new(nothing).wrap(Wrap { trim: true });
            frame.render_widget(paragraph.block(Block::new().padding(Padding::uniform(1))), area);
            return;
        }
        let items: Vec<ListItem<'_>> =
            rows.iter().map(|programme| ListItem::new(row(programme, zone))).collect();
        let list = List::new(items).highlight_style(Style::new().add_modifier(Modifier::REVERSED));
        let mut scroll = self.scroll;
        scroll.select(Some(self.selected));
        frame.render_stateful_widget(list, area, &mut scroll);
        self.scroll = scroll;
    }
}

fn row(programme: &ProgrammeEntry, zone: &TimeZone) -> Line<'static> {
    let (mark, colour) = match programme.state {
        ProgrammeState::Scheduled => ("○", Color::Gray),
        ProgrammeState::Recording => ("●", Color::Red),
        ProgrammeState::Kept => ("●", Color::Green),
        ProgrammeState::Thin | ProgrammeState::Partly => ("●", Color::Yellow),
        ProgrammeState::Lost => ("○", Color::Red),
    };
    let minutes = programme.span.length().as_secs().div_ceil(60);
    Line::from(vec![
        Span::raw(format!("   {}  ", local(programme.span.from, zone))),
        Span::styled(mark, Style::new().fg(colour)),
        Span::raw(format!(" {:>4} min  {}", minutes, printable(&programme.title))),
        Span::styled(format!("  channel {}", programme.channel), Style::new().add_modifier(Modifier::DIM)),
    ])
}

#[cfg(test)]
mod tests {
    use protocols::ids::ChannelId;
    use protocols::recording::Span;
    use protocols::time::ClusterTime;

    use super::*;

    fn list(starts: &[u64]) -> RecordingList {
        let programme = |(place, start): (usize, &u64)| ProgrammeEntry {
            id: RecordingId(u32::try_from(place).unwrap() + 1),
            channel: ChannelId(1),
            span: Span { from: ClusterTime(*start), to: ClusterTime(*start + 60_000) },
            title: format!("Title {start}"),
            state: ProgrammeState::Kept,
            replicas: 1,
            recorders: 1,
            bytes: 0,
            missing_ms: 0,
            holes: Vec::new(),
        };
        let programmes = starts.iter().enumerate().map(programme).collect();
        RecordingList { time: ClusterTime(0), channels: Vec::new(), programmes, left_out: 0 }
    }

    #[test]
    fn the_newest_is_first_and_what_was_chosen_stays_chosen() {
        let mut shelf = Shelf::new();
        assert_eq!(shelf.selected(), None);
        shelf.set(&list(&[10, 30, 20]));
        assert_eq!(shelf.selected(), Some(RecordingId(2)));
        shelf.go(1);
        assert_eq!(shelf.selected(), Some(RecordingId(3)));
        shelf.set(&list(&[10, 30, 20, 40]));
        assert_eq!(shelf.selected(), Some(RecordingId(3)));
        shelf.go(100);
        assert_eq!(shelf.selected(), Some(RecordingId(1)));
        shelf.go(-100);
        assert_eq!(shelf.selected(), Some(RecordingId(4)));
    }
}
