//! Cues as files that players read: `WebVTT` (W3C) and `SubRip`.

use std::fmt::Write;

use super::{Colour, Cue, Line, Style};

/// Which kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `.vtt`
    WebVtt,
    /// `.srt`
    SubRip,
}

/// Makes a file out of cues, one after the other.
#[derive(Debug, Clone)]
pub struct SubtitleFile {
    format: Format,
    written: u64,
}

impl SubtitleFile {
    /// A file of `format` without cues.
    pub fn new(format: Format) -> Self {
        Self { format, written: 0 }
    }

    /// What the file begins with.
    pub fn head(&self) -> &'static str {
        match self.format {
            Format::WebVtt => "WEBVTT\n\n",
            Format::SubRip => "",
        }
    }

    /// The next cue, with the empty line behind it.
    pub fn cue(&mut self, cue: &Cue) -> String {
        self.written = self.written.saturating_add(1);
        let mark = if self.format == Format::WebVtt { '.' } else { ',' };
        let (start, end) = (time(cue.start_90k, mark), time(cue.end_90k, mark));
        let mut text = match self.format {
            Format::WebVtt => {
                let top = cue.lines.first().map_or(0, |line| line.top_percent);
                format!("{start} --> {end} line:{top}%\n")
            }
            Format::SubRip => format!("{}\n{start} --> {end}\n", self.written),
        };
        for line in &cue.lines {
            self.line(line, &mut text);
        }
        text.push('\n');
        text
    }

    fn line(&self, line: &Line, text: &mut String) {
        let Style { italic, underline, colour } = line.style;
        let shade = match (self.format, colour) {
            (_, Colour::White) => None,
            (Format::WebVtt, colour) => Some((format!("<c.{}>", name(colour)), "</c>")),
            (Format::SubRip, colour) => Some((format!("<font color=\"{}\">", name(colour)), "</font>")),
        };
        if let Some((open, _)) = &shade {
            text.push_str(open);
        }
        let tags = [(italic, "<i>", "</i>"), (underline, "<u>", "</u>")];
        tags.iter().filter(|(is_set, ..)| *is_set).for_each(|(_, open, _)| text.push_str(open));
        for letter in line.text.chars() {
            match (self.format, letter) {
                (Format::WebVtt, '&') => text.push_str("&amp;"),
                (Format::WebVtt, '<') => text.push_str("&lt;"),
                (Format::WebVtt, '>') => text.push_str("&gt;"),
                // A line break or an escape would end the cue, or reach a terminal.
                (_, letter) if letter.is_control() => {}
                (_, letter) => text.push(letter),
            }
        }
        tags.iter().rev().filter(|(is_set, ..)| *is_set).for_each(|(.., close)| text.push_str(close));
        if let Some((_, close)) = shade {
            text.push_str(close);
        }
        text.push('\n');
    }
}

/// Hours, minutes, seconds and milliseconds.
fn time(at_90k: i64, mark: char) -> String {
    // To the nearest.
    let ms = (at_90k.max(0).saturating_add(45)) / 90;
    let mut text = String::with_capacity(12);
    let (s, ms) = (ms / 1_000, ms % 1_000);
    let _ = write!(text, "{:02}:{:02}:{:02}{mark}{ms:03}", s / 3_600, s / 60 % 60, s % 60);
    text
}

fn name(colour: Colour) -> &'static str {
    match colour {
        Colour::White => "white",
        Colour::Green => "lime",
        Colour::Blue => "blue",
        Colour::Cyan => "cyan",
        Colour::Red => "red",
        Colour::Yellow => "yellow",
        Colour::Magenta => "magenta",
        Colour::Black => "black",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::captions::Track;

    fn cue() -> Cue {
        let line =
            |text: &str, style| Line { text: text.to_owned(), style, top_percent: 80, left_percent: 10 };
        let slanted = Style { italic: true, colour: Colour::Yellow, ..Style::default() };
        Cue {
            track: Track::Line21(1),
            start_90k: 150_150,
            end_90k: 90_000 * 3_661 + 44,
            lines: vec![line("R & B <3", Style::default()), line("slanted", slanted)],
        }
    }

    #[test]
    fn a_cue_is_written_as_each_format_has_it() {
        let mut file = SubtitleFile::new(Format::WebVtt);
        let expected =
            "00:00:01.668 --> 01:01:01.000 line:80%\nR &amp; B &lt;3\n<c.yellow><i>slanted</i></c>\n\n";
        assert_eq!((file.head(), file.cue(&cue())), ("WEBVTT\n\n", expected.to_owned()));
        let mut file = SubtitleFile::new(Format::SubRip);
        let expected =
            "1\n00:00:01,668 --> 01:01:01,000\nR & B <3\n<font color=\"yellow\"><i>slanted</i></font>\n\n";
        assert_eq!((file.head(), file.cue(&cue())), ("", expected.to_owned()));
        assert!(file.cue(&cue()).starts_with("2\n"));
    }
}
