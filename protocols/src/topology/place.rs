//! Where in the file something stands, and how that is shown to the person who wrote it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A stretch of the file: what a fault or a warning points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Name of the file, as the caller gave it.
    pub file: Arc<str>,
    /// Byte offsets into the text; empty at the end of the file.
    pub span: Range<usize>,
    /// Line of the first byte, from 1.
    pub line: usize,
    /// Column of the first byte in characters, from 1.
    pub column: usize,
    /// The line itself, shortened to a window of [`EXCERPT_BYTES`] when it is longer.
    excerpt: String,
    /// White space that brings the caret under the first character; tabs stay tabs.
    indent: String,
    /// Carets to draw, at least one, never past the end of the excerpt.
    carets: usize,
}

impl Place {
    /// Writes the line, numbered, and the carets below it.
    pub(super) fn write_excerpt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        writeln!(f, "{gutter} |")?;
        writeln!(f, "{number} | {}", self.excerpt)?;
        writeln!(f, "{gutter} | {}{}", self.indent, "^".repeat(self.carets))
    }
}

/// `file:line:column`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// The file being read, and where its lines begin.
pub(super) struct Source<'a> {
    file: Arc<str>,
    text: &'a str,
    line_starts: Vec<usize>,
}

impl<'a> Source<'a> {
    pub(super) fn new(file: &str, text: &'a str) -> Self {
        let after_newlines =
            text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { file: file.into(), text, line_starts: std::iter::once(0).chain(after_newlines).collect() }
    }

    /// Line of a byte offset, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    /// The text of a span, as written.
    pub(super) fn written(&self, span: &Range<usize>) -> &'a str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    /// Any span becomes a place inside the file: offsets are cut to its length and to whole characters.
    pub(super) fn place(&self, span: Range<usize>) -> Place {
        let start = self.text.floor_char_boundary(span.start);
        let end = self.text.floor_char_boundary(span.end).max(start);
        let line = self.line(start);
        let line_start = self.line_starts[line - 1];
        let rest = &self.text[line_start..];
        let line_text = rest.split('\n').next().unwrap_or_default().trim_end_matches('\r');
        let at = (start - line_start).min(line_text.len());
        let to = (end - line_start).clamp(at, line_text.len());

        let from = line_text.floor_char_boundary(window_start(line_text.len(), at));
        let until = line_text.floor_char_boundary(from + EXCERPT_BYTES);
        let lead = if from > 0 { "…" } else { "" };
        let tail = if until < line_text.len() { "…" } else { "" };
        let shown = format!("{lead}{}{tail}", &line_text[from..until]);
        let before = format!("{lead}{}", &line_text[from..at]);
        Place {
            file: Arc::clone(&self.file),
            span: start..end,
            line,
            column: self.text[line_start..start].chars().count() + 1,
            excerpt: shown
                .chars()
                .map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c })
                .collect(),
            indent: before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect(),
            carets: line_text[at..to.min(until).max(at)].chars().count().max(1),
        }
    }
}

/// Where the window over a long line begins, so that `at` is inside it.
fn window_start(line_bytes: usize, at: usize) -> usize {
    if line_bytes <= EXCERPT_BYTES { 0 } else { at.saturating_sub(EXCERPT_BYTES / 2) }
}

/// Longest piece of a line that a message repeats.
pub const EXCERPT_BYTES: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_tabs_keep_the_caret_in_place() {
        let source = Source::new("t", "a = 1\n\tü = 2 # x\n");
        let place = source.place(7..9);
        assert_eq!((place.line, place.column), (2, 2));
        assert_eq!((place.excerpt.as_str(), place.indent.as_str(), place.carets), ("\tü = 2 # x", "\t", 1));
        assert_eq!(source.place(10..11).column, 4);
    }

    #[test]
    fn a_long_line_is_shown_as_a_window_around_the_fault() {
        let text = format!("channels = [{}9999]", "1, ".repeat(1000));
        let at = text.find("9999").unwrap();
        let place = Source::new("t", &text).place(at..at + 4);
        assert_eq!(place.column, at + 1);
        assert!(place.excerpt.chars().count() <= EXCERPT_BYTES + 2, "{}", place.excerpt);
        let caret = place.indent.chars().count();
        assert_eq!(place.excerpt.chars().skip(caret).take(4).collect::<String>(), "9999");
        assert_eq!(place.carets, 4);
    }

    #[test]
    fn a_span_outside_the_file_is_brought_into_it() {
        let place = Source::new("t", "é").place(1..70);
        assert_eq!((place.span, place.line, place.column), (0..2, 1, 1));
        assert_eq!(Source::new("t", "").place(5..9).span, 0..0);
    }
}
