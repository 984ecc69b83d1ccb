//! A command line into words, without a shell: blanks separate, quotes and backslashes protect.

use thiserror::Error;

/// Why a text is no command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CommandError {
    /// Nothing in it.
    #[error("no command after `exec:`")]
    Empty,
    /// A quote that nothing closes.
    #[error("a {0} that is not closed")]
    OpenQuote(char),
    /// A backslash at the end.
    #[error("a backslash at the end, with nothing behind it to protect")]
    OpenBackslash,
}

/// The words of `text`. `'…'` protects everything, `"…"` and a backslash as in a POSIX shell; nothing is expanded.
pub fn split(text: &str) -> Result<Vec<String>, CommandError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            quote @ ('\'' | '"') => {
                let word = word.get_or_insert_default();
                quoted(&mut characters, quote, word)?;
            }
            '\\' => {
                let protected = characters.next().ok_or(CommandError::OpenBackslash)?;
                word.get_or_insert_default().push(protected);
            }
            plain => word.get_or_insert_default().push(plain),
        }
    }
    words.extend(word);
    if words.is_empty() { Err(CommandError::Empty) } else { Ok(words) }
}

fn quoted(characters: &mut std::str::Chars<'_>, quote: char, word: &mut String) -> Result<(), CommandError> {
    while let Some(character) = characters.next() {
        match character {
            end if end == quote => return Ok(()),
            '\\' if quote == '"' => match characters.next().ok_or(CommandError::OpenBackslash)? {
                protected @ ('"' | '\\' | '$' | '`') => word.push(protected),
                other => word.extend(['\\', other]),
            },
            plain => word.push(plain),
        }
    }
    Err(CommandError::OpenQuote(quote))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_would_and_nothing_is_expanded() {
        let words = split(r#"sh -c 'cat "$1"' x "a \"b\" \c" d\ e ''"#).unwrap();
        assert_eq!(words, ["sh", "-c", "cat \"$1\"", "x", "a \"b\" \\c", "d e", ""]);
    }

    #[test]
    fn faults_are_named() {
        assert_eq!(split("  "), Err(CommandError::Empty));
        assert_eq!(split("sh -c 'cat"), Err(CommandError::OpenQuote('\'')));
        assert_eq!(split("cat \\"), Err(CommandError::OpenBackslash));
    }
}
