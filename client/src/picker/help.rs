//! The help: all that can be typed.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::widgets::{Block, Clear, Paragraph};

/// Each key and what it does; an empty line parts the list of channels from a recording that plays.
const TEXT: &str = "↑ ↓ PgUp PgDn Home End  choose; while playing: zap
Enter                   play
Tab                     recordings, and back
←                       15 s back, where what plays is recorded
letters, digits         search by name, group or number
/q  /?                  search for what begins with q or ?
Backspace, Esc          take the search back
Ctrl-Z                  pause the picker; fg goes on
q, Esc, Ctrl-C          quit

While a recording plays:
space                   pause, go on
← →   ↓ ↑               10 s back, on;  a minute back, on
f  b                    fast forward, rewind; again: faster
Home  End               to the beginning; to what is on air
q, Esc                  back to the list

● can be had now   ○ cannot, and why";

/// Draws it over `area`, as far as there is room.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect) {
    let wanted = TEXT.lines().map(|line| line.chars().count()).max().unwrap_or(0) + 4;
    let lines = TEXT.lines().count() + 2;
    let width = u16::try_from(wanted).unwrap_or(u16::MAX).min(area.width);
    let height = u16::try_from(lines).unwrap_or(u16::MAX).min(area.height);
    let place =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    frame.render_widget(Clear, place);
    let block = Block::bordered().title(" any key closes ").padding(ratatui::widgets::Padding::horizontal(1));
    frame.render_widget(Paragraph::new(TEXT).block(block), place);
}
