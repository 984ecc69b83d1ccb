//! The picker by its keys and its screens.

use protocols::guide::Event;
use protocols::p2_directory::{
    ChannelRecording, ChannelStatus, ProgrammeEntry, ProgrammeState, Range, RangeState,
};
use protocols::recording::{RecordingId, Span as Dates};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::*;
use crate::listing::Colour;

/// 2026-11-22 20:00 UTC.
const EIGHT: ClusterTime = ClusterTime(1_795_377_600_000);

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
    let mut picker = Picker::new(TimeZone::UTC, Palette::new(Colour::Off));
    picker.set_list(Time::ZERO, list(names));
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
    terminal.draw(|frame| picker.draw(Time::ZERO, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let row = |y| (0..columns).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..rows).map(row).collect()
}

#[test]
fn the_screen_lists_channels_with_status_and_cause() {
    let mut picker = picker(&["One", "Two"]);
    let rows = screen(&mut picker, 80, 24);
    assert_eq!(rows[0], " Masthead  Channels  Recordings  10.0.1.0/24 · 2 channels");
    assert_eq!(rows[1], "   No.   Channel                    On now                                 Rate");
    assert_eq!(rows[2], "     1 ● One");
    assert_eq!(rows[3], "     2 ○ Two                        roof is away");
    assert_eq!(rows[23], " ↑↓ choose   Enter play   Tab recordings   type to search   ? help   Esc quit");
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
    picker.set_list(Time::ZERO, shorter);
    assert_eq!(press(&mut picker, 0, &[Key::Enter]), [Action::Watch(ChannelId(3))]);
    picker.set_list(Time::ZERO, ChannelList::default());
    assert_eq!(press(&mut picker, 0, &[Key::Enter, Key::Down, Key::Up]), []);
}

#[test]
fn a_long_list_scrolls_and_small_screens_do_not_hurt() {
    let names: Vec<String> = (0..300).map(|n| format!("Channel {n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut picker = picker(&names);
    press(&mut picker, 0, &[Key::End]);
    assert_eq!(screen(&mut picker, 80, 24)[21], "   300 ● Channel 299");
    press(&mut picker, 0, &[Key::Up]);
    assert_eq!(screen(&mut picker, 80, 24)[21], "   300 ● Channel 299", "the page stays while it can");
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
    let rows = screen(&mut picker, 80, 24);
    assert_eq!(rows[23], " News ▶ 0:10 of 1:00");
    assert!(rows[22].contains("space pause") && rows[22].ends_with("q end"), "{}", rows[22]);
    picker.set_progress(None);
    assert!(screen(&mut picker, 80, 24)[23].contains("choose"), "the channel plays no more");
}

#[test]
fn an_empty_list_says_why() {
    let mut picker = picker(&[]);
    assert!(screen(&mut picker, 80, 24).iter().any(|row| row.contains("no channel is sent to 10.0.1.0/24")));
}

fn programme(id: u32, channel: u32, minutes: (u64, u64), title: &str) -> ProgrammeEntry {
    let at = |minute| ClusterTime(EIGHT.0 + minute * 60_000);
    ProgrammeEntry {
        id: RecordingId(id),
        channel: ChannelId(channel),
        span: Dates { from: at(minutes.0), to: at(minutes.1) },
        title: title.to_owned(),
        state: if minutes.0 == 0 { ProgrammeState::Recording } else { ProgrammeState::Scheduled },
        replicas: 1,
        recorders: 1,
        bytes: 0,
        missing_ms: 0,
        holes: Vec::new(),
    }
}

/// Channel 1 is recorded, 5 Mb/s; the news are on it, then a film; a quiz is to come on channel 3.
fn recordings() -> RecordingList {
    let span = Dates { from: ClusterTime(EIGHT.0 - 600_000), to: EIGHT };
    let range = Range {
        span,
        bytes: 375_000_000,
        replicas: 1,
        away: 0,
        state: RangeState::Kept,
        lacking: Vec::new(),
    };
    let kept = ChannelRecording {
        channel: ChannelId(1),
        name: "One".to_owned(),
        recorders: 1,
        faults: Vec::new(),
        ranges: vec![range],
    };
    RecordingList {
        time: EIGHT,
        channels: vec![kept],
        programmes: vec![
            programme(1, 1, (0, 15), "News"),
            programme(2, 1, (15, 105), "The long film"),
            programme(3, 3, (30, 60), "Quiz"),
            programme(4, 3, (1_500, 1_560), "Quiz of the day after"),
        ],
        left_out: 0,
    }
}

fn informed() -> Picker {
    let mut picker = picker(&["One", "Two", "Three"]);
    picker.set_recordings(Time::ZERO, recordings());
    picker
}

#[test]
fn what_is_on_and_next_and_the_rate_are_told_where_known_at_80_columns() {
    let rows = screen(&mut informed(), 80, 24);
    assert_eq!(rows[0], " Masthead  Channels  Recordings  10.0.1.0/24 · 3 channels                 20:00");
    assert_eq!(rows[2], "     1 ● One                        News  15 min left                 5.00 Mb/s");
    assert_eq!(rows[3], "     2 ○ Two                        roof is away");
    assert_eq!(rows[4], "     3 ● Three                      20:30 Quiz");
}

fn announced(minutes: (i64, u32), title: &str) -> Event {
    let start_unix_s = i64::try_from(EIGHT.0 / 1_000).unwrap() + minutes.0 * 60;
    Event { start_unix_s, duration_s: minutes.1 * 60, title: title.to_owned(), ..Event::default() }
}

#[test]
fn what_broadcasters_announce_is_told_before_what_was_ordered() {
    let mut picker = informed();
    let events = vec![announced((-10, 40), "Tour de France"), announced((30, 60), "The cyclist")];
    let guide = vec![
        ChannelGuide { channel: ChannelId(1), events },
        ChannelGuide { channel: ChannelId(3), events: vec![announced((0, 0), "Test card")] },
    ];
    picker.set_guide(Time::ZERO, EIGHT, guide);
    let rows = screen(&mut picker, 200, 24);
    let (on, next) = (rows[2].find("Tour de France  30 min left"), rows[2].find("20:30 The cyclist"));
    assert!(on.is_some() && on < next, "{}", rows[2]);
    assert!(rows[4].contains("Test card") && !rows[4].contains("min left"), "{}", rows[4]);
    assert_eq!(
        screen(&mut picker, 80, 24)[2],
        "     1 ● One                        Tour de France  30 min left       5.00 Mb/s"
    );
}

#[test]
fn a_wide_screen_has_a_column_for_what_is_next() {
    let rows = screen(&mut informed(), 200, 60);
    let (on, next) = (rows[2].find("News  15 min left"), rows[2].find("20:15 The long film"));
    assert!(on.is_some() && on < next, "{}", rows[2]);
    assert!(rows[1].contains("Next") && rows[2].ends_with("5.00 Mb/s"), "{}", rows[2]);
    assert!(rows[4].contains("20:30 Quiz"), "{}", rows[4]);
    assert!(rows[59].starts_with(" ↑↓ choose"), "{}", rows[59]);
}

#[test]
fn a_narrow_screen_keeps_number_status_and_name() {
    let rows = screen(&mut informed(), 30, 10);
    assert_eq!(rows[1], "   No.   Channel");
    assert_eq!(rows[2..5], ["     1 ● One", "     2 ○ Two", "     3 ● Three"]);
    let rows = screen(&mut informed(), 50, 10);
    assert!(rows[2].contains("News") && !rows[2].contains("Mb/s"), "{}", rows[2]);
}

#[test]
fn groups_have_a_column_where_there_are_any_and_can_be_searched_for() {
    let mut picker = picker(&["One", "Two", "Three"]);
    let mut grouped = list(&["One", "Two", "Three"]);
    grouped.channels[2].group = Some("Quiz and show".to_owned());
    picker.set_list(Time::ZERO, grouped);
    let rows = screen(&mut picker, 80, 24);
    assert_eq!(rows[1], "   No.   Channel               Group          On now                       Rate");
    assert_eq!(rows[4], "     3 ● Three                 Quiz and show");
    assert!(!screen(&mut picker, 59, 24)[1].contains("Group"));
    press(&mut picker, 0, &typed("quiz"));
    assert_eq!(press(&mut picker, 0, &[Key::Enter]), [Action::Watch(ChannelId(3))]);
}

#[test]
fn the_rate_received_stands_before_the_rate_recorded() {
    let mut picker = informed();
    press(&mut picker, 0, &[Key::Enter]);
    picker.set_rate(Time::from_ms(4_000), 0);
    picker.set_rate(Time::from_ms(2_000), 25_000_000);
    assert!(screen(&mut picker, 80, 24)[2].ends_with("5.00 Mb/s"), "nothing, and the burst, are no rates");
    picker.set_rate(Time::from_ms(4_000), 6_120_000);
    assert!(screen(&mut picker, 80, 24)[2].ends_with("6.12 Mb/s"));
}

#[test]
fn going_back_is_offered_only_where_there_is_something_to_go_back_in() {
    let mut picker = informed();
    press(&mut picker, 0, &[Key::Enter]);
    assert!(screen(&mut picker, 80, 24)[22].contains("← back in time"));
    press(&mut picker, 1_000, &[Key::End]);
    assert!(!screen(&mut picker, 80, 24)[22].contains("← back in time"));
}

#[test]
fn the_shelf_has_programmes_and_what_is_kept_of_channels_and_plays_both() {
    let mut picker = informed();
    assert_eq!(press(&mut picker, 0, &[Key::Tab]), [Action::List]);
    picker.set_recordings(Time::ZERO, recordings());
    let rows = screen(&mut picker, 80, 24);
    assert_eq!(rows[1], " From                  Recording                      Length Channel  State");
    assert_eq!(rows[2], " 2026-11-23 21:00:00 ○ Quiz of the day after         1:00:00 3        to come");
    assert_eq!(rows[5], " 2026-11-22 20:00:00 ● News                          0:15:00 1        recording");
    assert_eq!(rows[6], " 2026-11-22 19:50:00 ● all that is kept of One       0:10:00 1        kept");
    assert_eq!(press(&mut picker, 0, &[Key::End, Key::Enter]), [Action::PlayKept(ChannelId(1))]);
    assert_eq!(press(&mut picker, 0, &[Key::Up, Key::Enter]), [Action::Play(RecordingId(1))]);
    let rows = screen(&mut picker, 30, 10);
    assert!(rows[5].contains("News"), "{}", rows[5]);
}

#[test]
fn a_channel_whose_recording_has_just_begun_can_be_gone_back_in() {
    let mut picker = informed();
    press(&mut picker, 0, &[Key::Enter, Key::Tab]);
    let mut begun = recordings();
    begun.programmes.clear();
    begun.channels[0].ranges.clear();
    picker.set_recordings(Time::ZERO, begun.clone());
    assert!(screen(&mut picker, 80, 24)[2].starts_with(" just begun          ● all that is kept of One"));
    assert_eq!(press(&mut picker, 0, &[Key::Enter]), [Action::PlayKept(ChannelId(1))]);
    press(&mut picker, 0, &[Key::Tab]);
    assert!(screen(&mut picker, 80, 24)[22].contains("← back in time"));
    begun.channels[0].recorders = 0;
    picker.set_recordings(Time::ZERO, begun);
    assert!(!screen(&mut picker, 80, 24)[22].contains("← back in time"));
}

#[test]
fn what_was_chosen_on_the_shelf_stays_chosen_in_the_next_list() {
    let mut picker = informed();
    press(&mut picker, 0, &[Key::Tab]);
    picker.set_recordings(Time::ZERO, recordings());
    press(&mut picker, 0, &[Key::Down, Key::Down]);
    let mut more = recordings();
    more.programmes.push(programme(9, 3, (2_000, 2_001), "Later"));
    picker.set_recordings(Time::ZERO, more);
    assert_eq!(press(&mut picker, 0, &[Key::Enter]), [Action::Play(RecordingId(2))]);
    assert_eq!(press(&mut picker, 0, &[Key::PageDown, Key::Enter]), [Action::PlayKept(ChannelId(1))]);
    assert_eq!(press(&mut picker, 0, &[Key::PageUp, Key::Enter]), [Action::Play(RecordingId(9))]);
}

#[test]
fn that_recordings_cannot_be_told_is_said_to_who_looks_at_them_only() {
    let mut picker = picker(&["One"]);
    picker.set_no_recordings("no answer");
    assert!(!screen(&mut picker, 80, 24)[22].contains("no answer"));
    press(&mut picker, 0, &[Key::Tab]);
    picker.set_no_recordings("no answer");
    assert!(screen(&mut picker, 80, 24)[22].contains("no answer"));
}

#[test]
fn without_colours_not_one_cell_has_one_and_with_them_status_has() {
    let coloured = |colour| {
        let mut picker = Picker::new(TimeZone::UTC, Palette::new(colour));
        picker.set_list(Time::ZERO, list(&["One", "Two"]));
        picker.set_recordings(Time::ZERO, recordings());
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        let mut cells = 0;
        for key in [Key::Home, Key::Tab, Key::Character('?')] {
            press(&mut picker, 0, &[key]);
            picker.set_recordings(Time::ZERO, recordings());
            picker.set_message("something went wrong");
            terminal.draw(|frame| picker.draw(Time::ZERO, frame)).unwrap();
            let content = &terminal.backend().buffer().content;
            cells += content.iter().filter(|cell| (cell.fg, cell.bg) != (Color::Reset, Color::Reset)).count();
        }
        cells
    };
    assert_eq!(coloured(Colour::Off), 0);
    assert!(coloured(Colour::On) > 4);
}

#[test]
fn the_help_fits_80_columns_and_says_every_key() {
    let mut picker = picker(&["One"]);
    press(&mut picker, 0, &typed("?"));
    let text = screen(&mut picker, 80, 24).join("\n");
    for key in ["↑ ↓", "Enter", "Tab", "letters", "Ctrl-Z", "space", "f  b", "Home  End", "● can be had now"]
    {
        assert!(text.contains(key), "{key} is not in\n{text}");
    }
}
