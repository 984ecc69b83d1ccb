//! The channel picker without its terminal: keys in, actions out, and a picture of the screen.
//!
//! ```text
//!  Choosing ──Enter──► Playing ──player left──► Choosing
//!      ▲ arrows move      │ arrows zap: at once, then at most every ZAP_SPACING, and to where they come to rest
//!      │ Tab              │ ←: the recording of what is on air, where there is one
//!      ▼                  ▼
//!   Shelf ──Enter──► a recording plays: its keys are the remote control's until it ends
//! ```

mod board;
mod guide;
mod help;
mod key;
mod palette;
mod shelf;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::tz::TimeZone;
use protocols::ids::ChannelId;
use protocols::p2_directory::{ChannelEntry, ChannelGuide, ChannelList, RecordingList};
use protocols::time::{ClusterTime, Time};
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Padding, Paragraph, TableState, Wrap};

use self::board::Board;
use self::guide::Guide;
use self::shelf::Shelf;
use crate::listing::{printable, remark};
use crate::remote_control;
use crate::when::clock;
pub use key::{Action, Key};
pub use palette::Palette;

/// Least time between two zaps while an arrow is held down.
pub const ZAP_SPACING: Duration = Duration::from_millis(300);
/// A channel's rate is taken so long after it was chosen.
const RATE_AFTER: Duration = Duration::from_secs(3);
/// Longest search text, in characters; more are not taken.
pub const SEARCH_MAX: usize = 60;
/// Rows that a page key moves.
const PAGE: usize = 10;
const PAGE_ROWS: isize = 10;
/// From this width on, in columns, the head says the network and the time.
const WIDE_HEAD: u16 = 60;

/// The picker.
#[derive(Debug)]
pub struct Picker {
    zone: TimeZone,
    palette: Palette,
    list: Option<ChannelList>,
    /// Where the list comes from, when not from the directory: for people.
    source: String,
    guide: Guide,
    search: String,
    /// Position among the channels that the search leaves.
    selected: usize,
    playing: Option<ChannelId>,
    last_zap: Option<Time>,
    zap_at: Option<Time>,
    status: String,
    /// How a recording goes that plays.
    progress: Option<String>,
    message: String,
    help: bool,
    /// The recordings, while they are looked at.
    shelf: Option<Shelf>,
    scroll: TableState,
}

impl Picker {
    /// One without a list, for somebody in `zone`.
    pub fn new(zone: TimeZone, palette: Palette) -> Self {
        Self {
            zone,
            palette,
            list: None,
            source: String::new(),
            guide: Guide::default(),
            search: String::new(),
            selected: 0,
            playing: None,
            last_zap: None,
            zap_at: None,
            status: String::new(),
            progress: None,
            message: String::new(),
            help: false,
            shelf: None,
            scroll: TableState::new(),
        }
    }

    /// Takes a list that has just come; what was selected stays selected.
    pub fn set_list(&mut self, now: Time, list: ChannelList) {
        self.guide.set_list(now, &list);
        self.replace_list(list, String::new());
    }

    /// Takes a list kept from an earlier run; `source` says so for people. Its date says nothing of the time now.
    pub fn set_kept_list(&mut self, list: ChannelList, source: String) {
        self.replace_list(list, source);
    }

    /// The line of numbers about what is played.
    pub fn set_status(&mut self, status: String) {
        self.status = status;
    }

    /// The rate at which what is on air comes in, bits per second; not taken while that may be the burst of its beginning.
    pub fn set_rate(&mut self, now: Time, rate_bps: u64) {
        let settled = self.last_zap.is_some_and(|at| at + RATE_AFTER <= now);
        if let Some(channel) = self.playing.filter(|_| settled) {
            self.guide.set_rate(channel, rate_bps);
        }
    }

    /// How a recording goes that plays; `None`: none does.
    pub fn set_progress(&mut self, progress: Option<String>) {
        if progress.is_some() {
            self.playing = None;
            self.zap_at = None;
        }
        self.progress = progress;
    }

    /// What is recorded, as of now: [`Action::List`] asked, or somebody thought that it is time to know.
    pub fn set_recordings(&mut self, now: Time, list: RecordingList) {
        if let Some(shelf) = &mut self.shelf {
            shelf.set(&list);
        }
        self.guide.set_recordings(now, list);
    }

    /// What is on and next, as of `time`.
    pub fn set_guide(&mut self, now: Time, time: ClusterTime, guide: Vec<ChannelGuide>) {
        self.guide.set_programmes(now, time, guide);
    }

    /// What is recorded cannot be told; who does not look at it need not know.
    pub fn set_no_recordings(&mut self, why: &str) {
        if self.shelf.is_some() {
            self.set_message(why);
        }
    }

    /// A line for what went wrong; empty when nothing is.
    pub fn set_message(&mut self, message: &str) {
        self.message = printable(message);
    }

    /// Nothing is played any more: the player was left.
    pub fn stopped(&mut self) {
        self.playing = None;
        self.zap_at = None;
        self.status.clear();
    }

    /// Takes a key.
    pub fn key(&mut self, now: Time, key: Key, out: &mut Vec<Action>) {
        if self.help && key != Key::Quit {
            self.help = false;
            return;
        }
        if self.shelf.is_some() {
            self.shelf_key(key, out);
            return;
        }
        let last = self.found().len().saturating_sub(1);
        match key {
            Key::Tab => {
                self.shelf = Some(Shelf::default());
                out.push(Action::List);
            }
            Key::Left => out.extend(self.playing.map(Action::Rewind)),
            Key::Up => self.go(now, self.selected.saturating_sub(1)),
            Key::Down => self.go(now, (self.selected + 1).min(last)),
            Key::PageUp => self.go(now, self.selected.saturating_sub(PAGE)),
            Key::PageDown => self.go(now, (self.selected + PAGE).min(last)),
            Key::Home => self.go(now, 0),
            Key::End => self.go(now, last),
            Key::Enter => self.zap(now, out),
            Key::Quit => out.push(Action::Quit),
            Key::Escape | Key::Character('q') if self.search.is_empty() => out.push(Action::Quit),
            Key::Escape => self.edit(String::clear),
            Key::Backspace => self.edit(|search| {
                search.pop();
            }),
            Key::Character('?') if self.search.is_empty() => self.help = true,
            Key::Character(c) if !c.is_control() && self.search.chars().count() < SEARCH_MAX => {
                self.edit(|search| search.push(c));
            }
            Key::Character(_) => {}
        }
        self.tick(now, out);
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Time, out: &mut Vec<Action>) {
        if self.zap_at.is_some_and(|at| at <= now) {
            self.zap(now, out);
        }
    }

    /// When to call [`Picker::tick`].
    pub fn deadline(&self) -> Option<Time> {
        self.zap_at
    }

    /// The name of a channel.
    pub fn name(&self, channel: ChannelId) -> Option<&str> {
        let entries = self.list.iter().flat_map(|list| &list.channels);
        entries.filter(|entry| entry.id == channel).map(|entry| entry.name.as_str()).next()
    }

    /// Whether somebody looks at the recordings.
    pub fn shows_recordings(&self) -> bool {
        self.shelf.is_some()
    }

    /// Draws the whole screen.
    pub fn draw(&mut self, now: Time, frame: &mut Frame<'_>) {
        let rows = [Constraint::Length(1), Constraint::Min(1), Constraint::Length(1), Constraint::Length(1)];
        let [head, body, line, foot] = Layout::vertical(rows).areas(frame.area());
        self.draw_head(now, frame, head);
        match &mut self.shelf {
            Some(shelf) => shelf.draw(frame, body, &self.zone, self.palette),
            None => self.draw_list(now, frame, body),
        }
        frame.render_widget(self.line(), line);
        frame.render_widget(self.foot(), foot);
        if self.help {
            help::draw(frame, body);
        }
    }

    fn replace_list(&mut self, list: ChannelList, source: String) {
        let selected = self.selected_channel();
        self.list = Some(list);
        self.source = source;
        self.select(selected);
    }

    fn shelf_key(&mut self, key: Key, out: &mut Vec<Action>) {
        let Some(shelf) = &mut self.shelf else { return };
        match key {
            Key::Up => shelf.go(-1),
            Key::Down => shelf.go(1),
            Key::PageUp => shelf.go(-PAGE_ROWS),
            Key::PageDown => shelf.go(PAGE_ROWS),
            Key::Home => shelf.go(isize::MIN),
            Key::End => shelf.go(isize::MAX),
            Key::Enter => {
                self.message.clear();
                out.extend(shelf.play());
            }
            Key::Tab | Key::Escape => self.shelf = None,
            Key::Quit | Key::Character('q') => out.push(Action::Quit),
            Key::Character('?') => self.help = true,
            Key::Backspace | Key::Left | Key::Character(_) => {}
        }
    }

    /// The channels that the search leaves: their id or a part of their name or group, whatever the case.
    fn found(&self) -> Vec<&ChannelEntry> {
        let text = self.search.trim_start_matches('/').to_lowercase();
        let entries = self.list.iter().flat_map(|list| &list.channels);
        let fits = |entry: &&ChannelEntry| {
            let names = [Some(&entry.name), entry.group.as_ref()];
            names.into_iter().flatten().any(|name| name.to_lowercase().contains(&text))
                || entry.id.to_string().starts_with(&text)
        };
        entries.filter(fits).collect()
    }

    fn selected_channel(&self) -> Option<ChannelId> {
        self.found().get(self.selected).map(|entry| entry.id)
    }

    fn select(&mut self, channel: Option<ChannelId>) {
        let found = self.found();
        let place = found.iter().position(|entry| Some(entry.id) == channel);
        self.selected = place.unwrap_or(self.selected.min(found.len().saturating_sub(1)));
    }

    fn edit(&mut self, change: impl FnOnce(&mut String)) {
        let selected = self.selected_channel();
        change(&mut self.search);
        self.select(selected);
    }

    fn go(&mut self, now: Time, to: usize) {
        let moved = self.selected != to;
        self.selected = to;
        if moved && self.playing.is_some() {
            self.zap_at = Some(self.last_zap.map_or(now, |last| now.max(last + ZAP_SPACING)));
        }
    }

    fn zap(&mut self, now: Time, out: &mut Vec<Action>) {
        self.zap_at = None;
        let Some(channel) = self.selected_channel() else { return };
        if self.playing == Some(channel) {
            return;
        }
        self.playing = Some(channel);
        self.last_zap = Some(now);
        self.message.clear();
        out.push(Action::Watch(channel));
    }

    /// Which of the two pages this is; whose channels, how many; what time it is.
    fn draw_head(&self, now: Time, frame: &mut Frame<'_>, area: Rect) {
        let (here, there) = (Style::new().bg(Color::Reset).remove_modifier(Modifier::REVERSED), Style::new());
        let (channels, recordings) = if self.shelf.is_some() { (there, here) } else { (here, there) };
        let mut spans = vec![
            Span::raw(" Masthead "),
            Span::styled(" Channels ", channels),
            Span::styled(" Recordings ", recordings),
        ];
        if area.width >= WIDE_HEAD {
            spans.push(Span::raw(format!(" {}", self.whose())));
        }
        frame.render_widget(Paragraph::new(Line::from(spans)).style(Palette::reversed()), area);
        if area.width >= WIDE_HEAD
            && let Some(date) = self.guide.date(now)
        {
            let time = clock(date, &self.zone);
            let width = 7.min(area.width);
            let right = Rect { x: area.right() - width, width, ..area };
            let time = Paragraph::new(format!("{time} ")).alignment(Alignment::Right);
            frame.render_widget(time.style(Palette::reversed()), right);
        }
    }

    fn whose(&self) -> String {
        let Some(list) = &self.list else { return "waiting for the channel list".to_owned() };
        let network = list.network.as_deref().unwrap_or("no network");
        let count = match (self.found().len(), list.channels.len()) {
            (_, 1) => "1 channel".to_owned(),
            (found, all) if found == all => format!("{all} channels"),
            (found, all) => format!("{found} of {all} channels"),
        };
        let source = if self.source.is_empty() { String::new() } else { format!(" · {}", self.source) };
        format!("{network} · {count}{source}")
    }

    fn draw_list(&mut self, now: Time, frame: &mut Frame<'_>, area: Rect) {
        let found = self.found();
        if found.is_empty() {
            let list = self.list.as_ref();
            let nothing = list.and_then(remark).unwrap_or_else(|| match list {
                None => "waiting for the channel list".to_owned(),
                Some(_) => format!("no channel has “{}” in its name or group", self.search),
            });
            let paragraph = Paragraph::new(nothing).wrap(Wrap { trim: true });
            frame.render_widget(paragraph.block(Block::new().padding(Padding::uniform(1))), area);
            return;
        }
        let board = Board {
            guide: &self.guide,
            zone: &self.zone,
            palette: self.palette,
            now,
            width: area.width,
            grouped: self.list.iter().flat_map(|list| &list.channels).any(|entry| entry.group.is_some()),
        };
        let table = board.table(&found, |entry| self.playing == Some(entry.id));
        let mut scroll = self.scroll;
        scroll.select(Some(self.selected));
        frame.render_stateful_widget(table, area, &mut scroll);
        self.scroll = scroll;
    }

    /// What is searched for, what went wrong, or what can be typed.
    fn line(&self) -> Line<'_> {
        if self.progress.is_some() && self.message.is_empty() {
            return Line::styled(format!(" {}", remote_control::HELP), Palette::dim());
        }
        if !self.search.is_empty() && self.shelf.is_none() {
            return Line::from(format!(" search: {}▏", self.search));
        }
        if !self.message.is_empty() {
            return Line::styled(format!(" {}", self.message), self.palette.tinted(Color::Yellow));
        }
        let keys = match self.playing {
            Some(channel) if self.guide.is_recorded(channel) => {
                " ↑↓ zap   ← back in time   Tab recordings   ? help   Esc quit"
            }
            Some(_) => " ↑↓ zap   Tab recordings   ? help   Esc quit",
            None => "",
        };
        Line::styled(keys, Palette::dim())
    }

    fn foot(&self) -> Paragraph<'_> {
        let text = if let Some(progress) = &self.progress {
            format!(" {progress}")
        } else if self.playing.is_some() {
            format!(" ▶ {}", self.status)
        } else if self.shelf.is_some() {
            " ↑↓ choose   Enter play   Tab channels   ? help   q quit".to_owned()
        } else {
            " ↑↓ choose   Enter play   Tab recordings   type to search   ? help   Esc quit".to_owned()
        };
        Paragraph::new(text).style(Palette::reversed())
    }
}
