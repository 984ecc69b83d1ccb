//! The channels as a table: as many columns as there is room for.

use jiff::tz::TimeZone;
use protocols::p2_directory::{ChannelEntry, ChannelStatus};
use protocols::recording::Span as Dates;
use protocols::time::{ClusterTime, Time};
use ratatui::layout::Constraint;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Row, Table};

use super::guide::Guide;
use super::palette::Palette;
use crate::listing::printable;
use crate::meter::rate;
use crate::when::clock;

/// From this width on, in columns, rates are shown, and groups where there are any.
const RATE_FROM: u16 = 60;
/// Columns of a group.
const GROUP: u16 = 14;
/// From this width on what comes next has a column of its own.
const NEXT_FROM: u16 = 120;
/// Below this width there are names only.
const NOW_FROM: u16 = 40;

/// What the table is drawn from.
pub(super) struct Board<'a> {
    pub(super) guide: &'a Guide,
    pub(super) zone: &'a TimeZone,
    pub(super) palette: Palette,
    pub(super) now: Time,
    /// Columns of the screen.
    pub(super) width: u16,
    /// Whether any channel is of a group.
    pub(super) grouped: bool,
}

impl Board<'_> {
    /// The table of `found`; `playing` says which of them plays.
    pub(super) fn table(
        &self,
        found: &[&ChannelEntry],
        playing: impl Fn(&ChannelEntry) -> bool,
    ) -> Table<'static> {
        let id_width = found.iter().map(|entry| entry.id.to_string().len()).max().unwrap_or(1).max(3);
        let rows = found.iter().map(|entry| self.row(entry, id_width, playing(entry)));
        let rows: Vec<Row<'static>> = rows.collect();
        let table = Table::new(rows, self.widths(id_width));
        let head = self.head(id_width);
        table.header(head).column_spacing(1).row_highlight_style(Palette::reversed())
    }

    fn shows_groups(&self) -> bool {
        self.grouped && self.width >= RATE_FROM
    }

    fn widths(&self, id_width: usize) -> Vec<Constraint> {
        let id_width = u16::try_from(id_width).unwrap_or(10);
        let mut widths = vec![Constraint::Length(2), Constraint::Length(id_width), Constraint::Length(1)];
        match self.width {
            0..NOW_FROM => widths.push(Constraint::Fill(1)),
            NOW_FROM..NEXT_FROM if self.shows_groups() => {
                let name = Constraint::Length(self.width / 3 - 5);
                widths.extend([name, Constraint::Length(GROUP), Constraint::Fill(1)]);
            }
            NOW_FROM..NEXT_FROM => widths.extend([Constraint::Length(self.width / 3), Constraint::Fill(1)]),
            NEXT_FROM.. => {
                widths.push(Constraint::Length(32));
                widths.extend(self.shows_groups().then_some(Constraint::Length(GROUP)));
                widths.extend([Constraint::Fill(1), Constraint::Fill(1)]);
            }
        }
        if self.width >= RATE_FROM {
            widths.push(Constraint::Length(11));
        }
        widths
    }

    fn head(&self, id_width: usize) -> Row<'static> {
        let mut cells =
            vec![String::new(), format!("{:>id_width$}", "No."), String::new(), "Channel".to_owned()];
        cells.extend(self.shows_groups().then(|| "Group".to_owned()));
        if self.width >= NOW_FROM {
            cells.push("On now".to_owned());
        }
        if self.width >= NEXT_FROM {
            cells.push("Next".to_owned());
        }
        let mut cells: Vec<Cell<'static>> = cells.into_iter().map(Cell::from).collect();
        if self.width >= RATE_FROM {
            cells.push(Line::from("Rate ").right_aligned().into());
        }
        Row::new(cells).style(Palette::dim())
    }

    fn row(&self, entry: &ChannelEntry, id_width: usize, playing: bool) -> Row<'static> {
        let (mark, colour) = match &entry.status {
            ChannelStatus::Active => ("●", Color::Green),
            ChannelStatus::Inactive { .. } => ("○", Color::Red),
        };
        let name = Style::new().add_modifier(if playing { Modifier::BOLD } else { Modifier::empty() });
        let mut cells: Vec<Cell<'static>> = vec![
            if playing { " ▶" } else { "" }.into(),
            format!("{:>id_width$}", entry.id.to_string()).into(),
            Span::styled(mark, self.palette.tinted(colour)).into(),
            Span::styled(printable(&entry.name), name).into(),
        ];
        if self.shows_groups() {
            cells.push(entry.group.as_deref().map(printable).unwrap_or_default().into());
        }
        if self.width >= NOW_FROM {
            cells.push(self.now(entry).into());
        }
        if self.width >= NEXT_FROM {
            cells.push(self.next(entry).unwrap_or_default().into());
        }
        if self.width >= RATE_FROM {
            let rate = self.guide.rate_bps(entry.id).map(|bps| format!("{} ", rate(bps)));
            cells.push(Line::from(rate.unwrap_or_default()).right_aligned().into());
        }
        Row::new(cells)
    }

    /// Why it cannot be had; what is on, and until when; where there is no column for it, what comes next.
    fn now(&self, entry: &ChannelEntry) -> Line<'static> {
        if let ChannelStatus::Inactive { cause } = &entry.status {
            return Line::styled(printable(cause), Palette::dim());
        }
        let date = self.guide.date(self.now).unwrap_or(ClusterTime(0));
        match self.guide.on(self.now, entry.id) {
            Some(on) => {
                let left = if on.span.is_empty() { String::new() } else { left(on.span, date) };
                let title = Span::raw(printable(on.title));
                Line::from(vec![title, Span::styled(format!("  {left}"), Palette::dim())])
            }
            None if self.width < NEXT_FROM => self.next(entry).unwrap_or_default(),
            None => Line::default(),
        }
    }

    fn next(&self, entry: &ChannelEntry) -> Option<Line<'static>> {
        let next = self.guide.next(self.now, entry.id)?;
        let begins = format!("{} {}", clock(next.span.from, self.zone), printable(next.title));
        Some(Line::styled(begins, Palette::dim()))
    }
}

/// How long it goes on, in whole minutes, the last of which counts.
fn left(span: Dates, date: ClusterTime) -> String {
    format!("{} min left", span.to.since(date).as_secs().div_ceil(60))
}
