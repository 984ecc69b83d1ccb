//! The picker's recordings: which there are, which is chosen.

use std::time::Duration;

use jiff::tz::TimeZone;
use protocols::ids::ChannelId;
use protocols::p2_directory::{ChannelRecording, ProgrammeEntry, ProgrammeState, RangeState, RecordingList};
use protocols::recording::{RecordingId, Span as Dates};
use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::Color;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Padding, Paragraph, Row, Table, TableState, Wrap};

use super::key::Action;
use super::palette::Palette;
use crate::listing::printable;
use crate::recording_list::length;
use crate::when::local;

/// From this width on, in columns, lengths and channels are shown.
const ALL_FROM: u16 = 64;

/// What can be played, and what was ordered: programmes, the newest first; then what is kept of channels, by id.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// `None`: not known yet.
    items: Option<Vec<Item>>,
    selected: usize,
    scroll: TableState,
}

/// What makes one item the same in the next list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Programme(RecordingId),
    Kept(ChannelId),
}

#[derive(Debug)]
struct Item {
    name: Name,
    /// `None`: it has just begun.
    dates: Option<Dates>,
    title: String,
    channel: ChannelId,
    mark: (&'static str, Color, &'static str),
}

impl Shelf {
    /// Takes the list; what was chosen stays chosen.
    pub(super) fn set(&mut self, list: &RecordingList) {
        let selected = self.chosen().map(|item| item.name);
        let mut programmes: Vec<&ProgrammeEntry> = list.programmes.iter().collect();
        programmes.sort_by_key(|programme| std::cmp::Reverse((programme.span.from, programme.id)));
        let mut items: Vec<Item> = programmes.into_iter().map(Item::of_programme).collect();
        items.extend(list.channels.iter().filter_map(Item::of_channel));
        let place = items.iter().position(|item| Some(item.name) == selected);
        self.selected = place.unwrap_or(self.selected.min(items.len().saturating_sub(1)));
        self.items = Some(items);
    }

    /// What plays the one that is chosen.
    pub(super) fn play(&self) -> Option<Action> {
        self.chosen().map(|item| match item.name {
            Name::Programme(id) => Action::Play(id),
            Name::Kept(channel) => Action::PlayKept(channel),
        })
    }

    /// Moves by so many rows, as far as there are.
    pub(super) fn go(&mut self, rows: isize) {
        let last = self.items.as_ref().map_or(0, Vec::len).saturating_sub(1);
        self.selected = self.selected.saturating_add_signed(rows).min(last);
    }

    /// Draws the list, with times of `zone`.
    pub(super) fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, zone: &TimeZone, palette: Palette) {
        let items = self.items.as_deref().unwrap_or_default();
        if items.is_empty() {
            let nothing = match self.items {
                None => "asking for the recordings",
                Some(_) => {
                    "nothing is recorded here, and nothing was ordered: masthead-client record CHANNEL --to TIME \
                     --title TITLE; `record` in the topology keeps channels"
                }
            };
            let paragraph = Paragraph::new(nothing).wrap(Wrap { trim: true });
            frame.render_widget(paragraph.block(Block::new().padding(Padding::uniform(1))), area);
            return;
        }
        let all = area.width >= ALL_FROM;
        let rows: Vec<Row<'static>> = items.iter().map(|item| item.row(zone, palette, all)).collect();
        let mut widths = vec![Constraint::Length(20), Constraint::Length(1), Constraint::Fill(1)];
        let mut head = vec![Cell::from(" From"), Cell::from(""), Cell::from("Recording")];
        if all {
            widths.extend([Constraint::Length(9), Constraint::Length(8), Constraint::Length(10)]);
            head.extend(["   Length", "Channel", "State"].map(Cell::from));
        }
        let table = Table::new(rows, widths).header(Row::new(head).style(Palette::dim()));
        let mut scroll = self.scroll;
        scroll.select(Some(self.selected));
        frame.render_stateful_widget(
            table.column_spacing(1).row_highlight_style(Palette::reversed()),
            area,
            &mut scroll,
        );
        self.scroll = scroll;
    }

    fn chosen(&self) -> Option<&Item> {
        self.items.as_ref()?.get(self.selected)
    }
}

impl Item {
    fn of_programme(programme: &ProgrammeEntry) -> Self {
        let mark = match programme.state {
            ProgrammeState::Scheduled => ("○", Color::Gray, "to come"),
            ProgrammeState::Recording => ("●", Color::Red, "recording"),
            ProgrammeState::Kept => ("●", Color::Green, "kept"),
            ProgrammeState::Thin => ("●", Color::Yellow, "thin"),
            ProgrammeState::Partly => ("●", Color::Yellow, "partly"),
            ProgrammeState::Lost => ("○", Color::Red, "lost"),
        };
        Self {
            name: Name::Programme(programme.id),
            dates: Some(programme.span),
            title: printable(&programme.title),
            channel: programme.channel,
            mark,
        }
    }

    /// All that is kept of a channel, or that it is being recorded: what is newest is listed a minute late.
    fn of_channel(kept: &ChannelRecording) -> Option<Self> {
        let dates = match (kept.ranges.first(), kept.ranges.last()) {
            (Some(first), Some(last)) => Some(Dates { from: first.span.from, to: last.span.to }),
            _ if kept.faults.len() < usize::from(kept.recorders) => None,
            _ => return None,
        };
        let whole =
            kept.ranges.iter().all(|range| !matches!(range.state, RangeState::Thin | RangeState::Differs));
        let mark = if whole { ("●", Color::Green, "kept") } else { ("●", Color::Yellow, "thin") };
        Some(Self {
            name: Name::Kept(kept.channel),
            dates,
            title: format!("all that is kept of {}", printable(&kept.name)),
            channel: kept.channel,
            mark,
        })
    }

    fn row(&self, zone: &TimeZone, palette: Palette, all: bool) -> Row<'static> {
        let (mark, colour, state) = self.mark;
        let from = self.dates.map_or_else(|| "just begun".to_owned(), |dates| local(dates.from, zone));
        let mut cells: Vec<Cell<'static>> = vec![
            format!(" {from}").into(),
            Span::styled(mark, palette.tinted(colour)).into(),
            self.title.clone().into(),
        ];
        if all {
            // To the second: the rest is of no use to who chooses.
            let whole = self.dates.map(|dates| length(Duration::from_secs(dates.length().as_secs())));
            cells.push(Line::from(whole.unwrap_or_default()).right_aligned().into());
            cells.push(self.channel.to_string().into());
            cells.push(Span::styled(state, Palette::dim()).into());
        }
        Row::new(cells)
    }
}
