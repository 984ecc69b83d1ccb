//! Captions of CTA-608 (line 21): byte pairs of one field in, the screens of its two channels out.
//!
//! ```text
//! pop-on:   RCL ─► letters into the hidden memory ──EOC──► memories change places
//! roll-up:  RU2 … RU4 ─► letters into the shown memory's base row ──CR──► rows go up
//! paint-on: RDC ─► letters into the shown memory
//! ```

use super::presenter::Presenter;
use super::{Cell, Colour, Event, Line, Style, Track, line, percent};

/// Rows of the screen (§ 6.2 of CTA-608).
const ROWS: usize = 15;
/// Its columns.
const COLUMNS: usize = 32;

/// The row that roll-up begins in: the lowest.
const BASE_ROW: usize = ROWS - 1;
/// Characters are shown between a tenth and nine tenths of the picture.
const SAFE_PERCENT: u8 = 10;

/// One field: two channels of captions, and data about the programme that are left out.
#[derive(Debug)]
pub(super) struct Line21 {
    channels: [Channel; 2],
    /// The channel that control codes named last.
    current: usize,
    /// The newest control code, which is not carried out again when it comes twice.
    last: Option<[u8; 2]>,
    /// Extended data services are being sent, which no letter belongs to that comes now.
    is_xds: bool,
    parity_errors: u64,
}

#[derive(Debug)]
struct Channel {
    mode: Option<Mode>,
    shown: Memory,
    hidden: Memory,
    row: usize,
    column: usize,
    style: Style,
    presenter: Presenter,
    /// Something came that makes text of its own.
    was_heard: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    PopOn,
    /// So many rows.
    RollUp(usize),
    PaintOn,
    /// Text that is no captions.
    Text,
}

type Memory = [[Option<Cell>; COLUMNS]; ROWS];

const EMPTY: Memory = [[None; COLUMNS]; ROWS];

impl Line21 {
    /// A field whose channels are CC`first` and the next one.
    pub(super) fn new(first: u8) -> Self {
        let channel = |number| Channel {
            mode: None,
            shown: EMPTY,
            hidden: EMPTY,
            row: BASE_ROW,
            column: 0,
            style: Style::default(),
            presenter: Presenter::new(Track::Line21(number)),
            was_heard: false,
        };
        Self {
            channels: [channel(first), channel(first + 1)],
            current: 0,
            last: None,
            is_xds: false,
            parity_errors: 0,
        }
    }

    /// Takes the pair of the picture that is shown at `at_90k`.
    pub(super) fn push(&mut self, at_90k: i64, pair: [u8; 2], events: &mut Vec<Event>) {
        if pair.iter().any(|byte| byte.count_ones().is_multiple_of(2)) {
            self.parity_errors += 1;
            return;
        }
        let [first, second] = pair.map(|byte| byte & 0x7f);
        match first {
            0 => {}
            0x01..=0x0f => (self.is_xds, self.last) = (first != 0x0f, None),
            0x10..=0x1f => {
                self.is_xds = false;
                if self.last.take() == Some([first, second]) {
                    return;
                }
                self.last = Some([first, second]);
                self.current = usize::from(first >> 3 & 1);
                if let Some(channel) = self.channels.get_mut(self.current) {
                    channel.control(at_90k, [first & 0x17, second], events);
                }
            }
            _ if self.is_xds => {}
            _ => {
                self.last = None;
                if let Some(channel) = self.channels.get_mut(self.current) {
                    [first, second].into_iter().filter(|&code| code >= 0x20).for_each(|code| {
                        channel.write(at_90k, basic(code), events);
                    });
                }
            }
        }
    }

    /// What is shown is shown no longer; nothing that comes continues what came.
    pub(super) fn end(&mut self, at_90k: i64, events: &mut Vec<Event>) {
        for channel in &mut self.channels {
            channel.presenter.erase(at_90k, events);
            (channel.mode, channel.shown, channel.hidden) = (None, EMPTY, EMPTY);
        }
        (self.last, self.is_xds) = (None, false);
    }

    /// Whether each of the channels has captions.
    pub(super) fn heard(&self) -> [bool; 2] {
        self.channels.each_ref().map(|channel| channel.was_heard)
    }

    /// Pairs dropped because a byte had even parity.
    pub(super) fn parity_errors(&self) -> u64 {
        self.parity_errors
    }
}

impl Channel {
    /// A control code, as it is for the first channel of a field.
    fn control(&mut self, at_90k: i64, code: [u8; 2], events: &mut Vec<Event>) {
        match code {
            [0x10, 0x40..=0x5f] | [0x11..=0x17, 0x40..=0x7f] => self.preamble(at_90k, code, events),
            [0x11, 0x20..=0x2f] => self.mid_row(at_90k, code[1], events),
            [0x11, 0x30..=0x3f] => self.write(at_90k, special(code[1]), events),
            [0x12 | 0x13, 0x20..=0x3f] => {
                // It stands in place of a plain letter that was sent for receivers that do not know it.
                self.column = self.column.saturating_sub(1);
                self.write(at_90k, extended(code), events);
            }
            // The second one is the same in the second field.
            [0x14 | 0x15, command @ 0x20..=0x2f] => self.command(at_90k, command, events),
            [0x17, columns @ 0x21..=0x23] => {
                self.column = (self.column + usize::from(columns - 0x20)).min(COLUMNS - 1);
            }
            _ => {}
        }
    }

    fn command(&mut self, at_90k: i64, command: u8, events: &mut Vec<Event>) {
        match command {
            // RCL
            0x20 => self.mode = Some(Mode::PopOn),
            // BS
            0x21 if self.column > 0 => {
                self.column -= 1;
                self.put(None);
                self.repaint(at_90k, events);
            }
            // DER
            0x24 => {
                let (row, column) = (self.row, self.column);
                if let Some(cells) = self.memory().and_then(|memory| memory[row].get_mut(column..)) {
                    cells.fill(None);
                }
                self.repaint(at_90k, events);
            }
            // RU2, RU3, RU4
            0x25..=0x27 => self.roll_up_by(at_90k, usize::from(command - 0x23), events),
            // RDC
            0x29 => {
                self.mode = Some(Mode::PaintOn);
                self.presenter.clear_the_way(at_90k);
            }
            // TR, RTD
            0x2a | 0x2b => self.mode = Some(Mode::Text),
            // EDM
            0x2c => {
                self.shown = EMPTY;
                self.presenter.erase(at_90k, events);
                self.presenter.clear_the_way(at_90k);
            }
            // CR
            0x2d => self.carriage_return(at_90k, events),
            // ENM
            0x2e => self.hidden = EMPTY,
            // EOC
            0x2f => {
                std::mem::swap(&mut self.shown, &mut self.hidden);
                self.mode = Some(Mode::PopOn);
                self.presenter.show(at_90k, lines(&self.shown), events);
            }
            _ => {}
        }
    }

    fn roll_up_by(&mut self, at_90k: i64, rows: usize, events: &mut Vec<Event>) {
        if !matches!(self.mode, Some(Mode::RollUp(_))) {
            (self.shown, self.hidden) = (EMPTY, EMPTY);
            (self.row, self.column) = (BASE_ROW, 0);
            self.presenter.erase(at_90k, events);
        }
        self.mode = Some(Mode::RollUp(rows));
    }

    fn carriage_return(&mut self, at_90k: i64, events: &mut Vec<Event>) {
        let Some(Mode::RollUp(rows)) = self.mode else { return };
        let base = self.row;
        let top = (base + 1).saturating_sub(rows);
        let before = std::mem::replace(&mut self.shown, EMPTY);
        (top..base).for_each(|row| self.shown[row] = before[row + 1]);
        self.column = 0;
        self.presenter.roll(at_90k, lines(&self.shown), events);
    }

    /// Preamble address code: where, and how what follows looks.
    fn preamble(&mut self, at_90k: i64, [first, second]: [u8; 2], events: &mut Vec<Event>) {
        let is_lower = second & 0x20 != 0;
        let upper = match first {
            0x10 => 10,
            0x11 => 0,
            0x12 => 2,
            0x13 => 11,
            0x14 => 13,
            0x15 => 4,
            0x16 => 6,
            _ => 8,
        };
        let row = upper + usize::from(is_lower);
        if let Some(Mode::RollUp(rows)) = self.mode
            && row != self.row
        {
            self.move_base(rows, row);
            self.repaint(at_90k, events);
        }
        (self.row, self.column) = (row, 0);
        self.style = Style { underline: second & 1 != 0, ..Style::default() };
        let attribute = second >> 1 & 0x0f;
        match attribute {
            0..=6 => self.style.colour = colour(attribute),
            7 => self.style.italic = true,
            indent => self.column = usize::from(indent - 8) * 4,
        }
    }

    /// The rows that roll go where the new base row is.
    fn move_base(&mut self, rows: usize, base: usize) {
        let from = self.row;
        let before = std::mem::replace(&mut self.shown, EMPTY);
        for up in 0..rows.min(from + 1).min(base + 1) {
            self.shown[base - up] = before[from - up];
        }
    }

    fn mid_row(&mut self, at_90k: i64, code: u8, events: &mut Vec<Event>) {
        // It takes the place of a space.
        self.write(at_90k, ' ', events);
        self.style.underline = code & 1 != 0;
        match code >> 1 & 7 {
            7 => self.style.italic = true,
            attribute => (self.style.colour, self.style.italic) = (colour(attribute), false),
        }
    }

    fn write(&mut self, at_90k: i64, letter: char, events: &mut Vec<Event>) {
        let cell = Cell { letter, style: self.style };
        if !self.put(Some(cell)) {
            return;
        }
        self.was_heard = true;
        self.column = (self.column + 1).min(COLUMNS - 1);
        self.repaint(at_90k, events);
    }

    /// Writes where the cursor is; false where nothing is to be written.
    fn put(&mut self, cell: Option<Cell>) -> bool {
        let (row, column) = (self.row, self.column);
        let place = self.memory().and_then(|memory| memory.get_mut(row)?.get_mut(column));
        place.is_some_and(|place| {
            *place = cell;
            true
        })
    }

    /// The memory that is written into.
    fn memory(&mut self) -> Option<&mut Memory> {
        match self.mode? {
            Mode::PopOn => Some(&mut self.hidden),
            Mode::RollUp(_) | Mode::PaintOn => Some(&mut self.shown),
            Mode::Text => None,
        }
    }

    fn repaint(&mut self, at_90k: i64, events: &mut Vec<Event>) {
        if matches!(self.mode, Some(Mode::RollUp(_) | Mode::PaintOn)) {
            self.presenter.paint(at_90k, lines(&self.shown), events);
        }
    }
}

fn lines(memory: &Memory) -> Vec<Line> {
    let safe = |part, whole| SAFE_PERCENT + percent(part, whole) / 10 * 8;
    let rows = memory.iter().enumerate();
    rows.filter_map(|(row, cells)| line(cells, safe(row, ROWS), |column| safe(column, COLUMNS))).collect()
}

fn colour(attribute: u8) -> Colour {
    match attribute {
        1 => Colour::Green,
        2 => Colour::Blue,
        3 => Colour::Cyan,
        4 => Colour::Red,
        5 => Colour::Yellow,
        6 => Colour::Magenta,
        _ => Colour::White,
    }
}

/// The basic characters: ASCII, but for these.
fn basic(code: u8) -> char {
    match code {
        0x27 => '’',
        0x2a => 'á',
        0x5c => 'é',
        0x5e => 'í',
        0x5f => 'ó',
        0x60 => 'ú',
        0x7b => 'ç',
        0x7c => '÷',
        0x7d => 'Ñ',
        0x7e => 'ñ',
        0x7f => '█',
        code => char::from(code),
    }
}

/// Special characters, 0x30 to 0x3f; the tenth is a space that lets the picture through.
fn special(code: u8) -> char {
    const SPECIAL: [char; 16] =
        ['®', '°', '½', '¿', '™', '¢', '£', '♪', 'à', ' ', 'è', 'â', 'ê', 'î', 'ô', 'û'];
    SPECIAL[usize::from(code & 15)]
}

/// Extended characters, 0x20 to 0x3f of two sets.
fn extended([set, code]: [u8; 2]) -> char {
    const SPANISH_AND_FRENCH: [char; 32] = [
        'Á', 'É', 'Ó', 'Ú', 'Ü', 'ü', '‘', '¡', '*', '\'', '—', '©', '℠', '•', '“', '”', //
        'À', 'Â', 'Ç', 'È', 'Ê', 'Ë', 'ë', 'Î', 'Ï', 'ï', 'Ô', 'Ù', 'ù', 'Û', '«', '»',
    ];
    const PORTUGUESE_GERMAN_AND_DANISH: [char; 32] = [
        'Ã', 'ã', 'Í', 'Ì', 'ì', 'Ò', 'ò', 'Õ', 'õ', '{', '}', '\\', '^', '_', '|', '~', //
        'Ä', 'ä', 'Ö', 'ö', 'ß', '¥', '¤', '¦', 'Å', 'å', 'Ø', 'ø', '┌', '┐', '└', '┘',
    ];
    let set = if set == 0x12 { SPANISH_AND_FRENCH } else { PORTUGUESE_GERMAN_AND_DANISH };
    set[usize::from(code & 31)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::captions::Cue;

    const RCL: [u8; 2] = [0x14, 0x20];
    const EDM: [u8; 2] = [0x14, 0x2c];
    const CR: [u8; 2] = [0x14, 0x2d];
    const ENM: [u8; 2] = [0x14, 0x2e];
    const EOC: [u8; 2] = [0x14, 0x2f];
    const RU2: [u8; 2] = [0x14, 0x25];
    const RDC: [u8; 2] = [0x14, 0x29];
    const ROW_15: [u8; 2] = [0x14, 0x70];

    /// Pairs without parity, one each 3,000 ticks from 0 on; texts of the cues and their times in pairs.
    fn cues(pairs: &[[u8; 2]]) -> Vec<(i64, i64, Vec<String>)> {
        let (_, events) = decode(pairs);
        let cue = |event| match event {
            Event::Cue(Cue { start_90k, end_90k, lines, .. }) => {
                Some((start_90k / 3_000, end_90k / 3_000, lines.into_iter().map(|line| line.text).collect()))
            }
            Event::Said { .. } => None,
        };
        events.into_iter().filter_map(cue).collect()
    }

    fn decode(pairs: &[[u8; 2]]) -> (Line21, Vec<Event>) {
        let (mut field, mut events) = (Line21::new(1), Vec::new());
        let odd = |byte: u8| if byte.count_ones().is_multiple_of(2) { byte | 0x80 } else { byte };
        for (at_90k, pair) in (0..).step_by(3_000).zip(pairs) {
            field.push(at_90k, pair.map(odd), &mut events);
        }
        (field, events)
    }

    fn texts<const N: usize>(lines: [&str; N]) -> Vec<String> {
        lines.map(str::to_owned).to_vec()
    }

    #[test]
    fn pop_on_shows_what_was_loaded_when_the_memories_change_places() {
        let pairs = [RCL, RCL, ENM, ENM, ROW_15, *b"HI", EOC, EOC, [0, 0], RCL, ROW_15, *b"YO", EOC, EDM];
        // Without a second ENM the hidden memory has what was shown before the first EOC: nothing.
        assert_eq!(cues(&pairs), [(6, 12, texts(["HI"])), (12, 13, texts(["YO"]))]);
    }

    #[test]
    fn roll_up_begins_with_the_carriage_return_and_keeps_its_rows() {
        let pairs = [RU2, CR, ROW_15, *b"ON", *b"E\0", CR, *b"TW", *b"O\0", CR, *b"3\0", EDM];
        let expected = [(1, 5, texts(["ONE"])), (5, 8, texts(["ONE", "TWO"])), (8, 10, texts(["TWO", "3"]))];
        assert_eq!(cues(&pairs), expected);
        let (_, events) = decode(&pairs);
        let said: Vec<_> = events
            .into_iter()
            .filter_map(|event| match event {
                Event::Said { lines, .. } => Some(lines),
                Event::Cue(_) => None,
            })
            .collect();
        assert_eq!(said, [texts(["ONE"]), texts(["TWO"]), texts(["3"])], "each line is told once");
    }

    #[test]
    fn paint_on_is_one_cue_until_it_is_erased() {
        let pairs = [EDM, RDC, ROW_15, *b"AB", *b"CD", [0x14, 0x21], *b"!\0", EDM];
        assert_eq!(cues(&pairs), [(1, 7, texts(["ABC!"]))]);
    }

    #[test]
    fn accents_specials_styles_and_places_are_as_they_were_sent() {
        // Row 1 from column 8, two on; U, then Ü in its place; a note; italics.
        let pairs = [
            RCL,
            [0x11, 0x54],
            [0x17, 0x22],
            *b"U\0",
            [0x12, 0x24],
            [0x11, 0x37],
            [0x11, 0x2e],
            *b"it",
            EOC,
            EDM,
        ];
        let (_, events) = decode(&pairs);
        let Some(Event::Cue(cue)) = events.last() else { panic!("{events:?}") };
        let [line] = &cue.lines[..] else { panic!("{cue:?}") };
        assert_eq!(line.text, "Ü♪ it");
        assert_eq!((line.top_percent, line.left_percent), (10, 34));
        assert_eq!(line.style, Style::default(), "its first letter is upright");
    }

    #[test]
    fn other_channels_text_mode_and_programme_data_are_kept_apart() {
        let pairs = [
            // CC2 loads; CC1 is in text mode; XDS says something.
            [0x1c, 0x20],
            [0x1c, 0x70],
            *b"C2",
            [0x14, 0x2b],
            *b"TX",
            [0x01, 0x03],
            *b"XD",
            [0x0f, 0x10],
            *b"TT",
            [0x1c, 0x2f],
            [0x1c, 0x2c],
        ];
        let (field, events) = decode(&pairs);
        let Some(Event::Cue(cue)) = events.last() else { panic!("{events:?}") };
        assert_eq!((cue.track, &cue.lines[0].text[..]), (Track::Line21(2), "C2"));
        assert_eq!(field.heard(), [false, true]);
    }

    #[test]
    fn a_damaged_pair_says_nothing_and_is_counted() {
        let (mut field, mut events) = (Line21::new(1), Vec::new());
        for pair in [[0x94, 0x29], [0x94, 0x70], [0x41, 0xc2], [0x94, 0x2c]] {
            field.push(0, pair, &mut events);
        }
        assert_eq!((field.parity_errors(), events.len()), (1, 0));
    }

    proptest! {
        #[test]
        fn no_pairs_panic(pairs in proptest::collection::vec(any::<[u8; 2]>(), 0..300)) {
            let (mut field, events) = decode(&pairs);
            prop_assert!(events.len() <= 2 * pairs.len());
            field.end(0, &mut Vec::new());
        }

        #[test]
        fn no_control_codes_panic(codes in proptest::collection::vec((0x10_u8..0x20, 0x20_u8..0x80), 0..300)) {
            let pairs: Vec<[u8; 2]> = codes.into_iter().flat_map(|(a, b)| [[a, b], *b"XY"]).collect();
            decode(&pairs);
        }
    }
}
