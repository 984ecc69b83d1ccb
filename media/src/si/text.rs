//! Text of DVB tables (ETSI EN 300 468 annex A): whose bytes they are, the first of them say.
//!
//! | first bytes | table |
//! |---|---|
//! | 0x20 to 0xff | ISO/IEC 6937 with the euro sign (figure A.1) |
//! | 0x01 to 0x07, 0x09 to 0x0b | ISO/IEC 8859-5 to -11, -13 to -15 |
//! | 0x10 0x00 N | ISO/IEC 8859-N |
//! | 0x11 | ISO/IEC 10646, two bytes each |
//! | 0x12, 0x13, 0x14 | KS X 1001, GB 2312, Big5 |
//! | 0x15 | UTF-8 |

use encoding_rs::{
    BIG5, EUC_KR, Encoding, GBK, ISO_8859_2, ISO_8859_3, ISO_8859_4, ISO_8859_5, ISO_8859_6, ISO_8859_7,
    ISO_8859_8, ISO_8859_10, ISO_8859_13, ISO_8859_14, ISO_8859_15, WINDOWS_874, WINDOWS_1252, WINDOWS_1254,
};

/// Control code for the end of a line (table A.1), in tables of one byte and, with 0xe0 before it, of two.
const LINE_END: u8 = 0x8a;

/// The text that the bytes mean. What no table has becomes U+FFFD; control codes go, an end of line becomes a space.
pub fn decode(bytes: &[u8]) -> String {
    let Some((&first, rest)) = bytes.split_first() else { return String::new() };
    match first {
        0x10 => {
            let Some((&[high, low], rest)) = rest.split_first_chunk::<2>() else { return String::new() };
            one_byte(u16::from_be_bytes([high, low]), rest)
        }
        // 0x01 is part 5, and so on: the parts 1 to 4 are written with three bytes (table A.3).
        0x01..=0x0b => one_byte(u16::from(first) + 4, rest),
        0x11 => tidy(rest.chunks_exact(2).map(|pair| {
            char::from_u32(u32::from(u16::from_be_bytes([pair[0], pair[1]])))
                .unwrap_or(char::REPLACEMENT_CHARACTER)
        })),
        0x12 => several_bytes(EUC_KR, rest),
        0x13 => several_bytes(GBK, rest),
        0x14 => several_bytes(BIG5, rest),
        0x15 => tidy(String::from_utf8_lossy(rest).chars()),
        // One more byte says which of the registered encodings it is (0x1f), or the value is reserved.
        0x1f => iso_6937(rest.get(1..).unwrap_or(&[])),
        0x00..=0x1f => iso_6937(rest),
        _ => iso_6937(bytes),
    }
}

/// ISO/IEC 8859 part `part`.
fn one_byte(part: u16, bytes: &[u8]) -> String {
    // The Windows tables differ from the parts in 0x80 to 0x9f alone, which are control codes here.
    let table: &Encoding = match part {
        2 => ISO_8859_2,
        3 => ISO_8859_3,
        4 => ISO_8859_4,
        5 => ISO_8859_5,
        6 => ISO_8859_6,
        7 => ISO_8859_7,
        8 => ISO_8859_8,
        9 => WINDOWS_1254,
        10 => ISO_8859_10,
        11 => WINDOWS_874,
        13 => ISO_8859_13,
        14 => ISO_8859_14,
        15 => ISO_8859_15,
        _ => WINDOWS_1252,
    };
    let characters: Vec<u8> = bytes.iter().copied().filter_map(without_controls).collect();
    tidy(table.decode_without_bom_handling(&characters).0.chars())
}

fn several_bytes(table: &'static Encoding, bytes: &[u8]) -> String {
    tidy(table.decode_without_bom_handling(bytes).0.chars())
}

/// A byte of a table of one byte each; an end of line as a space.
fn without_controls(byte: u8) -> Option<u8> {
    match byte {
        LINE_END => Some(b' '),
        0x80..=0x9f => None,
        byte => Some(byte),
    }
}

/// Drops what is no character: C0, C1, and the control codes of two bytes (U+E080 to U+E09F).
fn tidy(characters: impl Iterator<Item = char>) -> String {
    characters
        .filter_map(|character| match character {
            '\u{e08a}' | '\u{8a}' | '\n' => Some(' '),
            '\u{e080}'..='\u{e09f}' => None,
            character if character.is_control() => None,
            character => Some(character),
        })
        .collect()
}

/// ISO/IEC 6937 as figure A.1 has it: an accent stands before its letter.
fn iso_6937(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut accent = None;
    for byte in bytes.iter().copied().filter_map(without_controls) {
        if let 0xc1..=0xcf = byte {
            accent = Some(byte);
            continue;
        }
        let character = match byte {
            0x20..=0x7e => char::from(byte),
            0xa0..=0xff => match UPPER_HALF.chars().nth(usize::from(byte - 0xa0)) {
                Some(character) => character,
                None => char::REPLACEMENT_CHARACTER,
            },
            _ => continue,
        };
        match accent.take().and_then(accented) {
            None => text.push(character),
            Some((mark, pairs)) => match composed(pairs, character) {
                Some(composed) => text.push(composed),
                // A space bears an accent that stands alone.
                None => text.extend([character, mark]),
            },
        }
    }
    text
}

/// The combining mark of an accent byte, and the letters that it makes one character with.
fn accented(byte: u8) -> Option<(char, &'static str)> {
    ACCENTS.iter().find(|(accent, ..)| *accent == byte).map(|&(_, mark, pairs)| (mark, pairs))
}

/// `pairs` are a letter and the letter with its accent, again and again.
fn composed(pairs: &str, letter: char) -> Option<char> {
    let mut pairs = pairs.chars();
    while let (Some(plain), Some(composed)) = (pairs.next(), pairs.next()) {
        if plain == letter {
            return Some(composed);
        }
    }
    None
}

/// Bytes 0xa0 to 0xff of figure A.1; what it leaves empty is U+FFFD.
const UPPER_HALF: &str = "\u{a0}¡¢£€¥\u{fffd}§¤‘“«←↑→↓°±²³×µ¶·÷’”»¼½¾¿\
    \u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\
    —¹®©™♪¬¦\u{fffd}\u{fffd}\u{fffd}\u{fffd}⅛⅜⅝⅞ΩÆĐªĦ\u{fffd}ĲĿŁØŒºÞŦŊŉĸæđðħıĳŀłøœßþŧŋ\u{ad}";

/// Accents (0xc1 to 0xcf): the combining mark, and which letters have a character of their own with it.
const ACCENTS: [(u8, char, &str); 14] = [
    (0xc1, '\u{300}', "AÀEÈIÌNǸOÒUÙWẀYỲaàeèiìnǹoòuùwẁyỳ"),
    (0xc2, '\u{301}', "AÁCĆEÉGǴIÍKḰLĹMḾNŃOÓPṔRŔSŚUÚWẂYÝZŹaácćeégǵiíkḱlĺmḿnńoópṕrŕsśuúwẃyýzź"),
    (0xc3, '\u{302}', "AÂCĈEÊGĜHĤIÎJĴOÔSŜUÛWŴYŶZẐaâcĉeêgĝhĥiîjĵoôsŝuûwŵyŷzẑ"),
    (0xc4, '\u{303}', "AÃEẼIĨNÑOÕUŨVṼYỸaãeẽiĩnñoõuũvṽyỹ"),
    (0xc5, '\u{304}', "AĀEĒGḠIĪOŌUŪYȲaāeēgḡiīoōuūyȳ"),
    (0xc6, '\u{306}', "AĂEĔGĞIĬOŎUŬaăeĕgğiĭoŏuŭ"),
    (0xc7, '\u{307}', "AȦBḂCĊDḊEĖFḞGĠHḢIİMṀNṄOȮPṖRṘSṠTṪWẆXẊYẎZŻaȧbḃcċdḋeėfḟgġhḣmṁnṅoȯpṗrṙsṡtṫwẇxẋyẏzż"),
    (0xc8, '\u{308}', "AÄEËHḦIÏOÖUÜWẄXẌYŸaäeëhḧiïoötẗuüwẅxẍyÿ"),
    (0xc9, '\u{308}', "AÄEËIÏOÖUÜYŸaäeëiïoöuüyÿ"),
    (0xca, '\u{30a}', "AÅUŮaåuůwẘyẙ"),
    (0xcb, '\u{327}', "CÇDḐEȨGĢHḨKĶLĻNŅRŖSŞTŢcçdḑeȩgģhḩkķlļnņrŗsştţ"),
    (0xcd, '\u{30b}', "OŐUŰoőuű"),
    (0xce, '\u{328}', "AĄEĘIĮOǪUŲaąeęiįoǫuų"),
    (0xcf, '\u{30c}', "AǍCČDĎEĚGǦHȞIǏKǨLĽNŇOǑRŘSŠTŤUǓZŽaǎcčdďeěgǧhȟiǐjǰkǩlľnňoǒrřsštťuǔzž"),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_bytes_choose_the_table() {
        assert_eq!(decode(b"Das Erste"), "Das Erste");
        assert_eq!(decode(b"\x05T\xfcrk\xe7e \xfe"), "Türkçe ş");
        assert_eq!(decode(b"\x01\xb0\xd1\xd2"), "Абв");
        assert_eq!(decode(b"\x10\x00\x02\xa3\xf3d\xbc"), "Łódź");
        assert_eq!(decode(b"\x0b10 \xa4"), "10 €");
        assert_eq!(decode(b"\x11\x00A\x20\xac"), "A€");
        assert_eq!(decode(b"\x13\xd6\xd0"), "中");
        assert_eq!(decode("\u{15}Grüße".as_bytes()), "Grüße");
        assert_eq!(decode(b""), "");
    }

    /// As `iconv -f ISO6937 -t UTF-8` of the GNU C library says, composed.
    #[test]
    fn accents_of_6937_stand_before_their_letter() {
        assert_eq!(decode(b"Gr\xc8u\xfbe"), "Grüße");
        assert_eq!(decode(b"T\xc2el\xc2e \xcfcesk\xc2y \xf8\xc4n"), "Télé český łñ");
        assert_eq!(decode(b"5 \xa4 \xaaq\xba \xcex\xc2"), "5 € “q” x\u{328}");
        assert_eq!(UPPER_HALF.chars().count(), 96);
    }

    #[test]
    fn control_codes_go_and_an_end_of_line_becomes_a_space() {
        assert_eq!(decode(b"\x86One\x87\x8aTwo"), "One Two");
        assert_eq!(decode(b"\x05\x86One\x87\x8aTwo"), "One Two");
        assert_eq!(decode("\u{15}\u{e086}One\u{e087}\u{e08a}Two\u{7}".as_bytes()), "One Two");
        assert_eq!(decode(b"\x11\xe0\x86\x00O"), "O");
    }

    proptest! {
        #[test]
        fn no_bytes_panic_or_leave_a_control_character(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(!decode(&bytes).chars().any(char::is_control));
        }
    }
}
