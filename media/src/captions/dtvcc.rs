//! Captions of CTA-708: packets out of triplets, services out of packets, the windows of a service out of its codes.

use super::presenter::Presenter;
use super::user_data::TripletKind;
use super::{Cell, Colour, Event, Line, Style, Track, line, percent};

/// Services that are read: the standard has receivers read so many (§ 4.5.1); what others say is left out.
pub(super) const SERVICES_MAX: usize = 6;
/// Largest caption channel packet (§5).
const PACKET_BYTES_MAX: usize = 128;
/// What a service says and has not been carried out: as much as the standard has its input buffer hold (§ 8.4.10.1).
const INPUT_BYTES_MAX: usize = 128;
/// Windows of a service.
const WINDOWS: usize = 8;
/// Rows of a window: four bits count them.
const ROWS_MAX: usize = 16;
/// Its columns: six bits.
const COLUMNS_MAX: usize = 64;
/// Rows and columns of the grid that windows are anchored in: 75 by 210 for wide pictures.
const GRID: (u8, u8) = (75, 210);
/// Rows of text on a whole screen.
const SCREEN_ROWS: usize = 15;
/// A tenth of a second, which delays are counted in.
const TENTH_90K: i64 = 9_000;

/// All services of one stream.
#[derive(Debug)]
pub(super) struct Dtvcc {
    packet: Vec<u8>,
    services: Vec<Service>,
    torn: u64,
}

#[derive(Debug)]
struct Service {
    input: Vec<u8>,
    /// Nothing is carried out until then.
    delay_90k: Option<i64>,
    windows: [Option<Window>; WINDOWS],
    current: usize,
    presenter: Presenter,
    was_heard: bool,
}

#[derive(Debug, Clone)]
struct Window {
    is_visible: bool,
    /// Place of its upper edge and its left one, in percent of the picture.
    top_percent: u8,
    left_percent: u8,
    rows: usize,
    columns: usize,
    cells: Vec<Vec<Option<Cell>>>,
    row: usize,
    column: usize,
    style: Style,
    is_wrapping: bool,
    is_right_to_left: bool,
}

/// What a code does to the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    /// Nothing that is seen.
    None,
    /// Letters came to what is seen.
    Painted,
    /// What was painted is whole, and more will follow.
    Rolled,
    /// The screen is another at once.
    Shown,
}

impl Dtvcc {
    pub(super) fn new() -> Self {
        let service = |number| Service {
            input: Vec::new(),
            delay_90k: None,
            windows: Default::default(),
            current: 0,
            presenter: Presenter::new(Track::Service(number)),
            was_heard: false,
        };
        Self { packet: Vec::new(), services: (1..).take(SERVICES_MAX).map(service).collect(), torn: 0 }
    }

    /// Takes a pair of bytes of the picture that is shown at `at_90k`.
    pub(super) fn push(&mut self, at_90k: i64, kind: TripletKind, pair: [u8; 2], events: &mut Vec<Event>) {
        match kind {
            TripletKind::PacketStart => {
                self.torn += u64::from(!self.packet.is_empty());
                self.packet.clear();
            }
            TripletKind::PacketData if !self.packet.is_empty() => {}
            _ => return,
        }
        self.packet.extend_from_slice(&pair);
        let Some(&head) = self.packet.first() else { return };
        let size = match usize::from(head & 0x3f) {
            0 => PACKET_BYTES_MAX,
            pairs => 2 * pairs,
        };
        if self.packet.len() >= size {
            let packet = std::mem::take(&mut self.packet);
            self.packet(at_90k, packet.get(1..size).unwrap_or(&[]), events);
        }
    }

    /// Lets time pass: what was delayed until then is carried out.
    pub(super) fn pass(&mut self, at_90k: i64, events: &mut Vec<Event>) {
        self.services.iter_mut().for_each(|service| service.carry_out(at_90k, events));
    }

    /// What is shown is shown no longer; nothing that comes continues what came.
    pub(super) fn end(&mut self, at_90k: i64, events: &mut Vec<Event>) {
        self.packet.clear();
        for service in &mut self.services {
            service.reset();
            service.presenter.erase(at_90k, events);
        }
    }

    /// Numbers of the services that said something.
    pub(super) fn heard(&self) -> impl Iterator<Item = u8> {
        (1..).zip(&self.services).filter(|(_, service)| service.was_heard).map(|(number, _)| number)
    }

    /// Packets that another began before the end of.
    pub(super) fn torn(&self) -> u64 {
        self.torn
    }

    /// Service blocks (§6).
    fn packet(&mut self, at_90k: i64, mut rest: &[u8], events: &mut Vec<Event>) {
        while let Some((&head, after)) = rest.split_first() {
            let (mut number, size) = (usize::from(head >> 5), usize::from(head & 0x1f));
            let mut block = after;
            if number == 7 && size > 0 {
                let Some((&extended, after)) = after.split_first() else { return };
                (number, block) = (usize::from(extended & 0x3f), after);
            }
            // A null block: the rest is padding.
            if number == 0 {
                return;
            }
            let Some((block, next)) = block.split_at_checked(size) else { return };
            if let Some(service) = self.services.get_mut(number - 1) {
                service.input.extend_from_slice(block);
                service.carry_out(at_90k, events);
            }
            rest = next;
        }
    }
}

impl Service {
    /// Carries out the codes that are whole, unless they are to wait.
    fn carry_out(&mut self, at_90k: i64, events: &mut Vec<Event>) {
        if self.is_waiting(at_90k) {
            return;
        }
        let input = std::mem::take(&mut self.input);
        let mut rest = &input[..];
        while let Some(len) = code_len(rest).filter(|&len| len <= rest.len()) {
            let (code, next) = rest.split_at(len);
            rest = next;
            let change = self.code(code, at_90k, events);
            self.present(change, at_90k, events);
            if self.delay_90k.is_some() {
                break;
            }
        }
        self.input = rest.to_vec();
        // A code is shorter than that; only a delay makes them more.
        if self.input.len() > INPUT_BYTES_MAX {
            self.delay_90k = None;
            self.input.clear();
        }
    }

    fn is_waiting(&mut self, at_90k: i64) -> bool {
        let Some(until_90k) = self.delay_90k else { return false };
        let codes = std::iter::successors(Some(&self.input[..]), |rest| rest.get(code_len(rest)?..));
        let is_called_off =
            codes.take_while(|rest| !rest.is_empty()).any(|rest| matches!(rest[0], 0x8e | 0x8f));
        let is_over = at_90k >= until_90k || is_called_off || self.input.len() >= INPUT_BYTES_MAX;
        if is_over {
            self.delay_90k = None;
        }
        !is_over
    }

    /// Carries out one whole code.
    fn code(&mut self, code: &[u8], at_90k: i64, events: &mut Vec<Event>) -> Change {
        match *code {
            [0x08] => self.edit(Window::back),
            [0x0c] => self.edit_at_once(Window::clear),
            [0x0d] => self.carriage_return(at_90k, events),
            [0x0e] => self.edit(Window::clear_row),
            [0x10, code] => g2_or_g3(code).map_or(Change::None, |letter| self.write(letter, at_90k, events)),
            [0x18, high, low] => match char::from_u32(u32::from(u16::from_be_bytes([high, low]))) {
                Some(letter) => self.write(letter, at_90k, events),
                None => Change::None,
            },
            [letter @ (0x20..=0x7f | 0xa0..=0xff)] => self.write(g0_or_g1(letter), at_90k, events),
            [window @ 0x80..=0x87] => {
                self.current = usize::from(window & 7);
                Change::None
            }
            [0x88, windows] => self.each(windows, |window| window.iter_mut().for_each(Window::clear)),
            [0x89, windows] => self.each(windows, |window| set_visible(window, |_| true)),
            [0x8a, windows] => self.each(windows, |window| set_visible(window, |_| false)),
            [0x8b, windows] => self.each(windows, |window| set_visible(window, |was| !was)),
            [0x8c, windows] => self.each(windows, |window| *window = None),
            [0x8d, tenths] => {
                self.delay_90k = Some(at_90k.saturating_add(TENTH_90K * i64::from(tenths)));
                Change::None
            }
            [0x8f] => {
                self.reset();
                Change::Shown
            }
            [0x90, _, font] => {
                self.style(|style| (style.italic, style.underline) = (font & 0x80 != 0, font & 0x40 != 0))
            }
            [0x91, foreground, ..] => self.style(|style| style.colour = colour(foreground & 0x3f)),
            [0x92, row, column] => {
                if let Some(window) = self.window() {
                    window.row = usize::from(row & 15).min(window.rows - 1);
                    window.column = usize::from(column & 63).min(window.columns - 1);
                }
                Change::None
            }
            [0x97, _, _, attributes, _] => {
                if let Some(window) = self.window() {
                    window.is_wrapping = attributes & 0x40 != 0;
                    window.is_right_to_left = attributes >> 4 & 3 == 1;
                }
                Change::None
            }
            [id @ 0x98..=0x9f, first, top, left, rows, columns, styles] => {
                self.define(usize::from(id & 7), [first, top, left, rows, columns, styles])
            }
            _ => Change::None,
        }
    }

    fn present(&mut self, change: Change, at_90k: i64, events: &mut Vec<Event>) {
        match change {
            Change::None => {}
            Change::Painted => self.presenter.paint(at_90k, self.lines(), events),
            Change::Rolled => self.presenter.roll(at_90k, self.lines(), events),
            Change::Shown => match self.lines() {
                lines if lines.is_empty() => self.presenter.erase(at_90k, events),
                lines => self.presenter.show(at_90k, lines, events),
            },
        }
    }

    fn define(&mut self, id: usize, [first, top, left, rows, columns, _]: [u8; 6]) -> Change {
        let is_relative = top & 0x80 != 0;
        let of = |place: u8, grid: u8| {
            if is_relative { place.min(99) } else { percent(place.into(), grid.into()) }
        };
        let (anchor, rows) = (rows >> 4, usize::from(rows & 15) + 1);
        let columns = (usize::from(columns & 63) + 1).min(COLUMNS_MAX);
        let height_percent = percent(rows, SCREEN_ROWS);
        // Anchors are upper, middle, lower; left, middle, right.
        let up = [0, height_percent / 2, height_percent][usize::from(anchor / 3).min(2)];
        let width_percent = percent(columns, 42);
        let back = [0, width_percent / 2, width_percent][usize::from(anchor % 3)];
        let (top_percent, left_percent) =
            (of(top & 0x7f, GRID.0).saturating_sub(up), of(left, GRID.1).saturating_sub(back));
        let Some(place) = self.windows.get_mut(id) else { return Change::None };
        let is_visible = first & 0x20 != 0;
        self.current = id;
        let window = place.get_or_insert_with(|| Window {
            is_visible,
            top_percent,
            left_percent,
            rows: 0,
            columns: 0,
            cells: Vec::new(),
            row: 0,
            column: 0,
            style: Style::default(),
            is_wrapping: false,
            is_right_to_left: false,
        });
        let is_other = (window.rows, window.columns) != (rows, columns);
        let was_visible = std::mem::replace(&mut window.is_visible, is_visible);
        (window.top_percent, window.left_percent) = (top_percent, left_percent);
        (window.rows, window.columns) = (rows, columns);
        if is_other {
            window.cells.resize(rows.min(ROWS_MAX), Vec::new());
            window.cells.iter_mut().for_each(|row| row.resize(columns, None));
            (window.row, window.column) = (window.row.min(rows - 1), window.column.min(columns - 1));
        }
        if was_visible != is_visible || is_visible && is_other { Change::Shown } else { Change::None }
    }

    fn each(&mut self, windows: u8, mut change: impl FnMut(&mut Option<Window>)) -> Change {
        let named = self.windows.iter_mut().enumerate().filter(|(id, _)| windows >> id & 1 == 1);
        named.for_each(|(_, window)| change(window));
        Change::Shown
    }

    fn edit(&mut self, change: impl FnOnce(&mut Window)) -> Change {
        let Some(window) = self.window() else { return Change::None };
        change(window);
        if window.is_visible { Change::Painted } else { Change::None }
    }

    fn edit_at_once(&mut self, change: impl FnOnce(&mut Window)) -> Change {
        if self.edit(change) == Change::None { Change::None } else { Change::Shown }
    }

    fn style(&mut self, change: impl FnOnce(&mut Style)) -> Change {
        if let Some(window) = self.window() {
            change(&mut window.style);
        }
        Change::None
    }

    fn carriage_return(&mut self, at_90k: i64, events: &mut Vec<Event>) -> Change {
        let Some(window) = self.window() else { return Change::None };
        window.next_row();
        if !window.is_visible {
            return Change::None;
        }
        self.present(Change::Rolled, at_90k, events);
        Change::None
    }

    fn write(&mut self, letter: char, at_90k: i64, events: &mut Vec<Event>) -> Change {
        self.was_heard = true;
        let Some(window) = self.window() else { return Change::None };
        if window.is_wrapping && window.column >= window.columns {
            let _ = self.carriage_return(at_90k, events);
        }
        self.edit(|window| window.write(letter))
    }

    fn window(&mut self) -> Option<&mut Window> {
        self.windows.get_mut(self.current)?.as_mut()
    }

    fn reset(&mut self) {
        (self.windows, self.current) = (Default::default(), 0);
        (self.delay_90k, self.input) = (None, Vec::new());
    }

    /// What is seen of all windows, from above.
    fn lines(&self) -> Vec<Line> {
        let visible = self.windows.iter().flatten().filter(|window| window.is_visible);
        let mut lines: Vec<Line> = visible.flat_map(Window::lines).collect();
        lines.sort_by_key(|line| line.top_percent);
        lines
    }
}

impl Window {
    fn write(&mut self, letter: char) {
        let cell = Cell { letter, style: self.style };
        if let Some(place) = self.cells.get_mut(self.row).and_then(|row| row.get_mut(self.column)) {
            *place = Some(cell);
        }
        self.column = if self.is_right_to_left {
            self.column.saturating_sub(1)
        } else {
            (self.column + 1).min(self.columns)
        };
    }

    fn back(&mut self) {
        self.column = if self.is_right_to_left { self.column + 1 } else { self.column.saturating_sub(1) };
        self.column = self.column.min(self.columns - 1);
        if let Some(place) = self.cells.get_mut(self.row).and_then(|row| row.get_mut(self.column)) {
            *place = None;
        }
    }

    fn clear(&mut self) {
        self.cells.iter_mut().for_each(|row| row.fill(None));
        (self.row, self.column) = (0, 0);
    }

    fn clear_row(&mut self) {
        if let Some(row) = self.cells.get_mut(self.row) {
            row.fill(None);
        }
        self.column = 0;
    }

    /// Goes to the next row, for which rows go up where it is below the last.
    fn next_row(&mut self) {
        self.column = if self.is_right_to_left { self.columns - 1 } else { 0 };
        if self.row + 1 < self.rows {
            self.row += 1;
            return;
        }
        self.cells.rotate_left(1);
        if let Some(row) = self.cells.last_mut() {
            row.fill(None);
        }
    }

    fn lines(&self) -> Vec<Line> {
        let down = |row| self.top_percent.saturating_add(percent(row, SCREEN_ROWS)).min(99);
        let left = |column| self.left_percent.saturating_add(percent(column, 42)).min(99);
        self.cells.iter().enumerate().filter_map(|(row, cells)| line(cells, down(row), left)).collect()
    }
}

fn set_visible(window: &mut Option<Window>, visible: impl Fn(bool) -> bool) {
    if let Some(window) = window {
        window.is_visible = visible(window.is_visible);
    }
}

/// How long the code is that `bytes` begin with (§7.1); `None` while that cannot be told.
fn code_len(bytes: &[u8]) -> Option<usize> {
    Some(match *bytes.first()? {
        0x10 => 1 + extended_len(bytes.get(1..)?)?,
        0x00..=0x0f | 0x20..=0x87 | 0x8e | 0x8f | 0x93..=0x96 | 0xa0..=0xff => 1,
        0x11..=0x17 | 0x88..=0x8d => 2,
        0x18..=0x1f | 0x90 | 0x92 => 3,
        0x91 => 4,
        0x97 => 5,
        0x98..=0x9f => 7,
    })
}

/// The same behind EXT1: C2, G2, C3, G3.
fn extended_len(bytes: &[u8]) -> Option<usize> {
    Some(match *bytes.first()? {
        0x00..=0x07 | 0x20..=0x7f | 0xa0..=0xff => 1,
        0x08..=0x0f => 2,
        0x10..=0x17 => 3,
        0x18..=0x1f => 4,
        0x80..=0x87 => 5,
        0x88..=0x8f => 6,
        // Of variable length: five bits tell it.
        0x90..=0x9f => 2 + usize::from(*bytes.get(1)? & 0x1f),
    })
}

/// G0 is ASCII but for the last, G1 is ISO 8859-1.
fn g0_or_g1(code: u8) -> char {
    if code == 0x7f { '♪' } else { char::from(code) }
}

fn g2_or_g3(code: u8) -> Option<char> {
    Some(match code {
        0x20 | 0x21 => ' ',
        0x25 => '…',
        0x2a => 'Š',
        0x2c => 'Œ',
        0x30 => '█',
        0x31 => '‘',
        0x32 => '’',
        0x33 => '“',
        0x34 => '”',
        0x35 => '•',
        0x39 => '™',
        0x3a => 'š',
        0x3c => 'œ',
        0x3d => '℠',
        0x3f => 'Ÿ',
        0x76 => '⅛',
        0x77 => '⅜',
        0x78 => '⅝',
        0x79 => '⅞',
        0x7a => '│',
        0x7b => '┐',
        0x7c => '└',
        0x7d => '─',
        0x7e => '┘',
        0x7f => '┌',
        // The one letter of G3: an icon for closed captions.
        0xa0 => '🅭',
        // What a receiver does not know it shows as this (§7.1.8).
        0x22..=0x75 | 0xa1..=0xff => '_',
        _ => return None,
    })
}

/// Two bits each of red, green and blue, to the nearest of the eight corners.
fn colour(rgb: u8) -> Colour {
    let is_on = |shift: u8| rgb >> shift & 3 >= 2;
    match (is_on(4), is_on(2), is_on(0)) {
        (true, true, true) => Colour::White,
        (false, true, false) => Colour::Green,
        (false, false, true) => Colour::Blue,
        (false, true, true) => Colour::Cyan,
        (true, false, false) => Colour::Red,
        (true, true, false) => Colour::Yellow,
        (true, false, true) => Colour::Magenta,
        (false, false, false) => Colour::Black,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::captions::Cue;

    /// Window 0: two rows of 32, lower middle, not visible.
    const DEFINE: [u8; 7] = [0x98, 0x18, 0xda, 50, 0x71, 31, 0x09];
    const VISIBLE: u8 = 0x20;

    /// A packet of one block of service 1, as triplets.
    fn packet(dtvcc: &mut Dtvcc, at_90k: i64, service: u8, bytes: &[u8]) -> Vec<Event> {
        let size = u8::try_from(bytes.len()).unwrap();
        let pairs = (bytes.len() + 2).div_ceil(2);
        let mut body = vec![u8::try_from(pairs).unwrap(), service << 5 | size];
        body.extend_from_slice(bytes);
        body.resize(pairs * 2, 0);
        let mut events = Vec::new();
        for (n, pair) in body.chunks_exact(2).enumerate() {
            let kind = if n == 0 { TripletKind::PacketStart } else { TripletKind::PacketData };
            dtvcc.push(at_90k, kind, [pair[0], pair[1]], &mut events);
        }
        events
    }

    fn cues(events: Vec<Event>) -> Vec<(i64, i64, Vec<String>)> {
        let cue = |event| match event {
            Event::Cue(Cue { start_90k, end_90k, lines, .. }) => {
                Some((start_90k, end_90k, lines.into_iter().map(|line| line.text).collect()))
            }
            Event::Said { .. } => None,
        };
        events.into_iter().filter_map(cue).collect()
    }

    fn texts<const N: usize>(lines: [&str; N]) -> Vec<String> {
        lines.map(str::to_owned).to_vec()
    }

    #[test]
    fn a_hidden_window_is_shown_at_once_and_hidden_again() {
        let mut dtvcc = Dtvcc::new();
        assert_eq!(packet(&mut dtvcc, 0, 1, &[&DEFINE[..], b"TWO\x0dLINES\x03"].concat()), []);
        assert_eq!(
            packet(&mut dtvcc, 10, 1, &[0x89, 1]),
            [Event::Said { track: Track::Service(1), lines: texts(["TWO", "LINES"]) }]
        );
        assert_eq!(cues(packet(&mut dtvcc, 30, 1, &[0x8a, 1])), [(10, 30, texts(["TWO", "LINES"]))]);
        assert_eq!(dtvcc.heard().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_visible_window_takes_line_after_line_and_rolls_up_when_it_is_full() {
        let mut dtvcc = Dtvcc::new();
        let mut define = DEFINE;
        define[1] |= VISIBLE;
        let mut events = packet(&mut dtvcc, 0, 2, &define);
        events.extend(packet(&mut dtvcc, 0, 2, b"ONE"));
        events.extend(packet(&mut dtvcc, 5, 2, b"\x0dTWO"));
        events.extend(packet(&mut dtvcc, 9, 2, b"\x0dTHREE"));
        events.extend(packet(&mut dtvcc, 12, 2, &[0x8c, 0xff]));
        assert_eq!(
            cues(events),
            [(0, 5, texts(["ONE"])), (5, 9, texts(["ONE", "TWO"])), (9, 12, texts(["TWO", "THREE"]))]
        );
    }

    #[test]
    fn codes_that_are_torn_over_blocks_are_put_together() {
        let mut dtvcc = Dtvcc::new();
        let bytes =
            [&DEFINE[..], &[0x90, 5, 0x80, 0x91, 0x30, 0, 0, 0x92, 1, 4], b"\x10\x25\xe9", &[0x89, 1]]
                .concat();
        for byte in bytes {
            packet(&mut dtvcc, 0, 1, &[byte]);
        }
        let events = packet(&mut dtvcc, 9, 1, &[0x8f]);
        let [Event::Cue(cue)] = &events[..] else { panic!("{events:?}") };
        assert_eq!(cue.lines[0].text, "…é");
        assert_eq!(cue.lines[0].style, Style { italic: true, underline: false, colour: Colour::Red });
    }

    #[test]
    fn a_delay_holds_codes_back_until_it_is_over_or_called_off() {
        let mut dtvcc = Dtvcc::new();
        let mut events = packet(&mut dtvcc, 0, 1, &[&DEFINE[..], b"A", &[0x8d, 10, 0x89, 1]].concat());
        dtvcc.pass(89_999, &mut events);
        assert_eq!(events, []);
        dtvcc.pass(90_000, &mut events);
        assert_eq!(events.len(), 1);
        assert_eq!(packet(&mut dtvcc, 90_000, 1, &[0x8d, 10, 0x8a, 1]), []);
        assert_eq!(cues(packet(&mut dtvcc, 99_000, 1, &[0x8e])), [(90_000, 99_000, texts(["A"]))]);
    }

    #[test]
    fn services_beyond_the_sixth_are_left_out_and_torn_packets_counted() {
        let mut dtvcc = Dtvcc::new();
        let mut events = Vec::new();
        // Service 9 by an extended header, then service 1 defines nothing.
        for (kind, pair) in [
            (TripletKind::PacketData, [1, 2]),
            (TripletKind::PacketStart, [0x03, 0xe2]),
            (TripletKind::PacketStart, [0x03, 0xe2]),
            (TripletKind::PacketData, [0x09, b'A']),
            (TripletKind::PacketData, [b'B', 0]),
        ] {
            dtvcc.push(0, kind, pair, &mut events);
        }
        assert_eq!((dtvcc.torn(), dtvcc.heard().count(), events.len()), (1, 0, 0));
    }

    proptest! {
        #[test]
        fn no_service_panics_or_grows(blocks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..30), 0..60)) {
            let mut dtvcc = Dtvcc::new();
            for (at_90k, block) in (0..).step_by(3_000).zip(&blocks) {
                packet(&mut dtvcc, at_90k, 1, block);
                let service = &dtvcc.services[0];
                prop_assert!(service.input.len() <= INPUT_BYTES_MAX);
                for window in service.windows.iter().flatten() {
                    prop_assert!(window.cells.len() <= ROWS_MAX && window.cells.iter().all(|row| row.len() <= COLUMNS_MAX));
                }
            }
            dtvcc.end(0, &mut Vec::new());
        }

        #[test]
        fn no_triplets_panic(triplets in proptest::collection::vec((any::<bool>(), any::<[u8; 2]>()), 0..200)) {
            let (mut dtvcc, mut events) = (Dtvcc::new(), Vec::new());
            for (starts, pair) in triplets {
                let kind = if starts { TripletKind::PacketStart } else { TripletKind::PacketData };
                dtvcc.push(0, kind, pair, &mut events);
                prop_assert!(dtvcc.packet.len() <= PACKET_BYTES_MAX);
            }
        }
    }
}
