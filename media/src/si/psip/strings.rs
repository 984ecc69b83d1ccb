//! The multiple string structure: a text in several languages (A/65 §6.10).

use crate::si::descriptors::{counted, language};

/// Languages kept of one text; further ones are left out.
pub const LANGUAGES_MAX: usize = 8;

/// UTF-16 in a segment (table 6.41).
const MODE_UTF_16: u8 = 0x3f;

/// A text in the languages that it came in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MultipleString {
    /// Each with its language (ISO 639-2, lower case).
    pub texts: Vec<(Option<String>, String)>,
    /// Segments left out: compressed (the two Huffman tables of annex C are not decoded), or in a mode that is not known.
    pub not_decoded: u32,
}

impl MultipleString {
    /// Reads the structure; one that is torn gives what came before.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut read = Self::default();
        let Some((&strings, mut rest)) = bytes.split_first() else { return read };
        for _ in 0..strings {
            let Some((&[a, b, c, segments], after)) = rest.split_first_chunk::<4>() else { break };
            let mut text = String::new();
            rest = after;
            for _ in 0..segments {
                let Some((&[compression, mode], after)) = rest.split_first_chunk::<2>() else { break };
                let Some((segment, after)) = counted(after) else { break };
                rest = after;
                match decode(compression, mode, segment) {
                    Some(segment) => text.push_str(&segment),
                    None => read.not_decoded += 1,
                }
            }
            if read.texts.len() < LANGUAGES_MAX {
                read.texts.push((language([a, b, c]), text.trim().to_owned()));
            }
        }
        read
    }

    /// The text in the first language that says anything.
    pub fn first(&self) -> Option<&(Option<String>, String)> {
        self.texts.iter().find(|(_, text)| !text.is_empty())
    }
}

/// The text of a segment; `None` when it is compressed or of an unknown mode.
fn decode(compression: u8, mode: u8, bytes: &[u8]) -> Option<String> {
    // A mode is the high byte of each character, or says UTF-16; compression counts in mode 0 alone (table 6.40).
    let characters = match (compression, mode) {
        (0, 0x00..=0x06 | 0x09..=0x10 | 0x20..=0x27 | 0x30..=0x33) => {
            bytes.iter().map(|&byte| u16::from_be_bytes([mode, byte])).collect()
        }
        (0, MODE_UTF_16) => wide(bytes),
        _ => return None,
    };
    Some(utf_16(&characters))
}

/// Characters of two bytes each.
pub(super) fn wide(bytes: &[u8]) -> Vec<u16> {
    bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
}

/// Text without control characters; an end of line is a space.
pub(super) fn utf_16(characters: &[u16]) -> String {
    char::decode_utf16(characters.iter().copied())
        .map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER))
        .filter_map(|character| match character {
            '\n' => Some(' '),
            character => (!character.is_control()).then_some(character),
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One string of one segment.
    pub(crate) fn string(code: [u8; 3], text: &[u8]) -> Vec<u8> {
        let mut bytes = vec![1, code[0], code[1], code[2], 1, 0, 0, u8::try_from(text.len()).unwrap()];
        bytes.extend(text);
        bytes
    }

    #[test]
    fn languages_segments_and_modes_are_read() {
        let bytes = b"\x02eng\x02\x00\x00\x03One\x00\x3f\x04\x00 \x20\xacspa\x01\x00\x04\x01\x10";
        let read = MultipleString::parse(bytes);
        let expected =
            [(Some("eng".to_owned()), "One €".to_owned()), (Some("spa".to_owned()), "А".to_owned())];
        assert_eq!((&read.texts[..], read.not_decoded), (&expected[..], 0));
        assert_eq!(MultipleString::parse(&string(*b"ENG", b"Two")).first().unwrap().1, "Two");
    }

    #[test]
    fn compressed_segments_are_counted() {
        let read = MultipleString::parse(b"\x01eng\x02\x01\x00\x02ab\x00\x00\x01c");
        assert_eq!((read.first().unwrap().1.as_str(), read.not_decoded), ("c", 1));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(MultipleString::parse(&bytes).texts.len() <= LANGUAGES_MAX);
        }
    }
}
