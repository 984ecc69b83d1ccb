//! The channel picker without its terminal: keys in, actions out, and a picture of the screen.
//!
//! ```text
//!  Choosing ──Enter──► Playing ──player left──► Choosing
//!      ▲ arrows move      │ arrows zap: at once, then at most every ZAP_SPACING, and to where they come to rest
//!      │ Tab              │ ←: the recording of what is on air, where there is one
//!      ▼                  ▼
//!   Shelf ──Enter──► a recording plays: its keys are the remote control's until it ends
//! ```

use std::time::Duration;

use jiff::tz::TimeZone;
use protocols::ids::ChannelId;
use protocols::p2_directory::{ChannelEntry, ChannelList, ChannelStatus, RecordingList};
use protocols::recording::RecordingId;
use protocols::time::Time;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, List, ListItem, ListState, Paragraph, Wrap};

use crate::listing::{printable, remark};
use crate::remote_control;
use crate::shelf::Shelf;

/// Least time between two zaps while an arrow is held down.
pub const ZAP_SPACING: Duration = Duration::from_millis(300);
/// Longest search text, in characters; more are not taken.
pub const SEARCH_MAX: usize = 60;
/// Rows that a page key moves.
const PAGE: usize = 10;
const PAGE_ROWS: isize = 10;

/// A key that means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// One up.
    Up,
    /// One down.
    Down,
    /// Ten up.
    PageUp,
    /// Ten down.
    PageDown,
    /// To the first.
    Home,
    /// To the last.
    End,
    /// Play.
    Enter,
    /// Back: out of the help, out of the search, out of the program.
    Escape,
    /// Takes a character of the search away.
    Backspace,
    /// To the recordings, and back.
    Tab,
    /// Back in what is on air.
    Left,
    /// Text.
    Character(char),
    /// Out of the program, whatever else.
    Quit,
}

/// What the shell must do.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Play this channel, instead of any other.
    Watch(ChannelId),
    /// Find out what is recorded: [`Picker::set_recordings`].
    List,
    /// Play this recording, instead of anything else.
    Play(RecordingId),
    /// Play what was just on air of the channel that plays, from its recording.
    Rewind(ChannelId),
    /// End.
    Quit,
}

/// The picker.
#[derive(Debug, Default)]
pub struct Picker {
    list: Option<ChannelList>,
    /// Where the list comes from, when not from the directory: for people.
    source: String,
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
    scroll: ListState,
}

impl Picker {
    /// One without a list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a list; `source` says where it comes from when that matters. What was selected stays selected.
    pub fn set_list(&mut self, list: ChannelList, source: &str) {
        let selected = self.selected_channel();
        self.list = Some(list);
        source.clone_into(&mut self.source);
        self.select(selected);
    }

    /// The line of numbers about what is played.
    pub fn set_status(&mut self, status: String) {
        self.status = status;
    }

    /// How a recording goes that plays; `None`: none does.
    pub fn set_progress(&mut self, progress: Option<String>) {
        if progress.is_some() {
            self.playing = None;
            self.zap_at = None;
        }
        self.progress = progress;
    }

    /// What is recorded.
    pub fn set_recordings(&mut self, list: &RecordingList) {
        if let Some(shelf) = &mut self.shelf {
            shelf.set(list);
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
        if let Some(shelf) = &mut self.shelf {
            match key {
                Key::Up => shelf.go(-1),
                Key::Down => shelf.go(1),
                Key::PageUp => shelf.go(-PAGE_ROWS),
                Key::PageDown => shelf.go(PAGE_ROWS),
                Key::Home => shelf.go(isize::MIN),
                Key::End => shelf.go(isize::MAX),
                Key::Enter => out.extend(shelf.selected().map(Action::Play)),
                Key::Tab | Key::Escape => self.shelf = None,
                Key::Quit | Key::Character('q') => out.push(Action::Quit),
                Key::Character('?') => self.help = true,
                Key::Backspace | Key::Left | Key::Character(_) => {}
            }
            return;
        }
        let last = self.found().len().saturating_sub(1);
        match key {
            Key::Tab => {
                self.shelf = Some(Shelf::new());
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

    /// Draws the whole screen.
    pub fn draw(&mut self, frame: &mut Frame<'_>) {
        let rows = [Constraint::Length(1), Constraint::Min(1), Constraint::Length(1), Constraint::Length(1)];
        let [head, body, line, foot] = Layout::vertical(rows).areas(frame.area());
        frame.render_widget(self.head(), head);
        match &mut self.shelf {
            Some(shelf) => shelf.draw(frame, body, &TimeZone::system()),
            None => self.draw_list(frame, body),
        }
        frame.render_widget(self.search_line(), line);
        frame.render_widget(self.foot(), foot);
        if self.help {
            draw_help(frame, body);
        }
    }

    /// The channels that the search leaves: their id or a part of their name, whatever the case.
    fn found(&self) -> Vec<&ChannelEntry> {
        let text = self.search.trim_start_matches('/').to_lowercase();
        let entries = self.list.iter().flat_map(|list| &list.channels);
        let fits = |entry: &&ChannelEntry| {
            entry.name.to_lowercase().contains(&text) || entry.id.to_string().starts_with(&text)
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

    fn head(&self) -> Paragraph<'_> {
        let text = match &self.list {
            None => " Masthead · waiting for the channel list".to_owned(),
            Some(list) => {
                let network = list.network.as_deref().unwrap_or("no network");
                let source =
                    if self.source.is_empty() { String::new() } else { format!(" · {}", self.source) };
                format!(" Masthead · {network} · {} channels{source}", list.channels.len())
            }
        };
        Paragraph::new(text).style(Style::new().add_modifier(Modifier::REVERSED))
    }

    fn draw_list(&mut self, frame: &mut Frame<'_>, area: Rect) {
        let found = self.found();
        if found.is_empty() {
            let list = self.list.as_ref();
            let nothing = list.and_then(remark).unwrap_or_else(|| match list {
                None => String::new(),
                Some(_) => format!("no channel has “{}” in its name", self.search),
            });
            let paragraph = Paragraph::new(nothing).wrap(Wrap { trim: true });
            frame.render_widget(
                paragraph.block(Block::new().padding(ratatui::widgets::Padding::uniform(1))),
                area,
            );
            return;
        }
        let id_width = found.iter().map(|entry| entry.id.to_string().len()).max().unwrap_or(1).max(3);
        let items: Vec<ListItem<'_>> = found
            .iter()
            .map(|entry| ListItem::new(row(entry, id_width, self.playing == Some(entry.id))))
            .collect();
        let list = List::new(items).highlight_style(Style::new().add_modifier(Modifier::REVERSED));
        let mut scroll = self.scroll;
        scroll.select(Some(self.selected));
        frame.render_stateful_widget(list, area, &mut scroll);
        self.scroll = scroll;
    }

    fn search_line(&self) -> Line<'_> {
        if self.progress.is_some() && self.message.is_empty() {
            return Line::styled(
                format!(" {}", remote_control::HELP),
                Style::new().add_modifier(Modifier::DIM),
            );
        }
        if !self.search.is_empty() {
            return Line::from(format!(" search: {}▏", self.search));
        }
        Line::styled(format!(" {}", self.message), Style::new().fg(Color::Yellow))
    }

    fn foot(&self) -> Paragraph<'_> {
        let text = if let Some(progress) = &self.progress {
            format!(" {progress}")
        } else if self.playing.is_some() {
            format!(" ▶ {}", self.status)
        } else if self.shelf.is_some() {
            " ↑↓ choose   Enter play   Tab channels   ? help   q quit".to_owned()
        } else {
            " ↑↓ choose   Enter play   type to search   ? help   Esc quit".to_owned()
        };
        Paragraph::new(text).style(Style::new().add_modifier(Modifier::REVERSED))
    }
}

fn row(entry: &ChannelEntry, id_width: usize, playing: bool) -> Line<'static> {
    let (mark, colour, cause) = match &entry.status {
        ChannelStatus::Active => ("●", Color::Green, String::new()),
        ChannelStatus::Inactive { cause } => ("○", Color::Red, format!("  {}", printable(cause))),
    };
    let name = Style::new().add_modifier(if playing { Modifier::BOLD } else { Modifier::empty() });
    Line::from(vec![
        Span::raw(if playing { " ▶ " } else { "   " }),
        Span::raw(format!("{:>id_width$}  ", entry.id.to_string())),
        Span::styled(mark, Style::new().fg(colour)),
        Span::styled(format!(" {}", printable(&entry.name)), name),
        Span::styled(cause, Style::new().add_modifier(Modifier::DIM)),
    ])
}

fn draw_help(frame: &mut Frame<'_>, area: Rect) {
    const TEXT: &str = "↑ ↓ PgUp PgDn Home End  choose; while playing: zap\n\
                        Enter                   play\n\
                        Tab                     recordings, and back\n\
                        ←                       back in what is on air\n\
                        letters, digits         search by name or id\n\
                        /q                      search for what begins with q or ?\n\
                        Backspace, Esc          take the search back\n\
                        q, Esc, Ctrl-C          quit\n\n\
                        ● can be had now   ○ cannot, and why";
    let (width, height) = (62.min(area.width), 12.min(area.height));
    let place =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(TEXT).block(Block::bordered().title(" any key closes ")), place);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn list(names: &[&str]) -> ChannelList {
        let entry = |(place, name): (usize, &&str)| ChannelEntry {
            id: ChannelId(u32::try_from(place).unwrap() + 1),
            name: (*name).to_owned(),
            status: match *name {
                "Two" => ChannelStatus::Inactive { cause: "roof is away".to_owned() },
                _ => ChannelStatus::Active,
            },
            tuning: None,
            group: None,
            logo: None,
        };
        ChannelList {
            network: Some("10.0.1.0/24".to_owned()),
            channels: names.iter().enumerate().map(entry).collect(),
            ..ChannelList::default()
        }
    }

    fn picker(names: &[&str]) -> Picker {
        let mut picker = Picker::new();
        picker.set_list(list(names), "");
        picker
    }

    fn press(picker: &mut Picker, ms: u64, keys: &[Key]) -> Vec<Action> {
        let mut out = Vec::new();
        for key in keys {
            picker.key(Time::from_ms(ms), *key, &mut out);
        }
        out
    }

    fn typed(text: &str) -> Vec<Key> {
        text.chars().map(Key::Character).collect()
    }

    /// The screen's rows without trailing spaces.
    fn screen(picker: &mut Picker, columns: u16, rows: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| picker.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let row = |y| (0..columns).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
        (0..rows).map(row).collect()
    }

    #[test]
    fn the_screen_lists_channels_with_status_and_cause() {
        let mut picker = picker(&["One", "Two"]);
        let rows = screen(&mut picker, 80, 24);
        assert_eq!(rows[0], " Masthead · 10.0.1.0/24 · 2 channels");
        assert_eq!(rows[1], "     1  ● One");
        assert_eq!(rows[2], "     2  ○ Two  roof is away");
        assert_eq!(rows[23], " ↑↓ choose   Enter play   type to search   ? help   Esc quit");
    }

    #[test]
    fn typing_searches_names_and_ids_and_enter_plays_what_is_left() {
        let mut picker = picker(&["One", "Two", "Three"]);
        assert_eq!(press(&mut picker, 0, &typed("THR")), []);
        assert_eq!(screen(&mut picker, 80, 24)[22], " search: THR▏");
        assert_eq!(press(&mut picker, 0, &[Key::Enter]), [Action::Watch(ChannelId(3))]);
        assert_eq!(press(&mut picker, 0, &[Key::Escape]), [], "the search is taken back first");
        press(&mut picker, 0, &typed("2"));
        assert_eq!(press(&mut picker, 0, &[Key::Enter]), [Action::Watch(ChannelId(2))]);
    }

    #[test]
    fn q_quits_but_can_be_searched_for() {
        assert_eq!(press(&mut picker(&["One"]), 0, &typed("q")), [Action::Quit]);
        let mut picker = picker(&["One", "Quiz"]);
        assert_eq!(press(&mut picker, 0, &typed("/q")), []);
        assert_eq!(press(&mut picker, 0, &[Key::Enter]), [Action::Watch(ChannelId(2))]);
        assert_eq!(press(&mut picker, 0, &[Key::Quit]), [Action::Quit]);
    }

    #[test]
    fn arrows_only_move_until_something_plays_and_then_they_zap() {
        let mut picker = picker(&["One", "Two", "Three"]);
        assert_eq!(press(&mut picker, 0, &[Key::Down]), []);
        assert_eq!(press(&mut picker, 0, &[Key::Enter]), [Action::Watch(ChannelId(2))]);
        assert_eq!(press(&mut picker, 1_000, &[Key::Down]), [Action::Watch(ChannelId(3))]);
        assert_eq!(press(&mut picker, 1_000, &[Key::Down]), [], "there is no further one");
        picker.stopped();
        assert_eq!(press(&mut picker, 9_000, &[Key::Up]), []);
    }

    #[test]
    fn a_held_arrow_zaps_at_once_then_seldom_and_to_where_it_comes_to_rest() {
        let mut picker = picker(&["One", "Two", "Three", "Four", "Five"]);
        assert_eq!(press(&mut picker, 0, &[Key::Enter]), [Action::Watch(ChannelId(1))]);
        assert_eq!(press(&mut picker, 400, &[Key::Down]), [Action::Watch(ChannelId(2))]);
        assert_eq!(press(&mut picker, 430, &[Key::Down, Key::Down, Key::Down]), []);
        assert_eq!(picker.deadline(), Some(Time::from_ms(700)));
        let mut out = Vec::new();
        picker.tick(Time::from_ms(700), &mut out);
        assert_eq!(out, [Action::Watch(ChannelId(5))]);
        assert_eq!(picker.deadline(), None);
    }

    #[test]
    fn a_new_list_keeps_the_selection_on_its_channel() {
        let mut picker = picker(&["One", "Two", "Three"]);
        press(&mut picker, 0, &[Key::End]);
        let mut shorter = list(&["One", "Two", "Three"]);
        shorter.channels.remove(0);
        picker.set_list(shorter, "");
        assert_eq!(press(&mut picker, 0, &[Key::Enter]), [Action::Watch(ChannelId(3))]);
        picker.set_list(ChannelList::default(), "");
        assert_eq!(press(&mut picker, 0, &[Key::Enter, Key::Down, Key::Up]), []);
    }

    #[test]
    fn a_long_list_scrolls_and_small_screens_do_not_hurt() {
        let names: Vec<String> = (0..300).map(|n| format!("Channel {n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut picker = picker(&names);
        press(&mut picker, 0, &[Key::End]);
        assert_eq!(screen(&mut picker, 80, 24)[21], "   300  ● Channel 299");
        press(&mut picker, 0, &[Key::Up]);
        assert_eq!(screen(&mut picker, 80, 24)[21], "   300  ● Channel 299", "the page stays while it can");
        press(&mut picker, 0, &typed("?"));
        for (columns, rows) in [(1, 1), (20, 3), (80, 4), (300, 100)] {
            screen(&mut picker, columns, rows);
        }
    }

    #[test]
    fn the_foot_shows_what_plays_and_help_opens_and_closes() {
        let mut picker = picker(&["One"]);
        press(&mut picker, 0, &[Key::Enter]);
        picker.set_status("1 One · 5.00 Mb/s · lost 0 · dup 0 · hall/1".to_owned());
        assert_eq!(screen(&mut picker, 80, 24)[23], " ▶ 1 One · 5.00 Mb/s · lost 0 · dup 0 · hall/1");
        press(&mut picker, 0, &typed("?"));
        assert!(screen(&mut picker, 80, 24).iter().any(|row| row.contains("any key closes")));
        assert_eq!(press(&mut picker, 0, &[Key::Escape]), [], "closes the help only");
        assert!(!screen(&mut picker, 80, 24).iter().any(|row| row.contains("any key closes")));
    }

    #[test]
    fn recordings_are_a_tab_away_and_what_is_on_air_rewinds() {
        let mut picker = picker(&["One"]);
        assert_eq!(press(&mut picker, 0, &[Key::Left]), [], "nothing plays");
        press(&mut picker, 0, &[Key::Enter]);
        assert_eq!(press(&mut picker, 0, &[Key::Left]), [Action::Rewind(ChannelId(1))]);
        assert_eq!(press(&mut picker, 0, &[Key::Tab, Key::Enter]), [Action::List], "the list has not come");
        assert!(screen(&mut picker, 80, 24).iter().any(|row| row.contains("asking for the recordings")));
        assert_eq!(press(&mut picker, 0, &[Key::Tab, Key::Quit]), [Action::Quit]);
    }

    #[test]
    fn the_foot_shows_how_a_recording_goes_and_its_keys() {
        let mut picker = picker(&["One"]);
        press(&mut picker, 0, &[Key::Enter]);
        picker.set_progress(Some("News ▶ 0:10 of 1:00".to_owned()));
        let rows = screen(&mut picker, 120, 24);
        assert_eq!(rows[23], " News ▶ 0:10 of 1:00");
        assert!(rows[22].contains("space pause"), "{}", rows[22]);
        picker.set_progress(None);
        assert!(screen(&mut picker, 80, 24)[23].contains("choose"), "the channel plays no more");
    }

    #[test]
    fn an_empty_list_says_why() {
        let mut picker = picker(&[]);
        assert!(
            screen(&mut picker, 80, 24).iter().any(|row| row.contains("no channel is sent to 10.0.1.0/24"))
        );
    }
}
