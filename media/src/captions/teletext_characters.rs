//! Letters of teletext (ETSI EN 300 706 §15): the Latin set with its national options, its supplement, and accents.

/// Codes of G0 that national options replace.
const REPLACED: [u8; 13] = [0x23, 0x24, 0x40, 0x5b, 0x5c, 0x5d, 0x5e, 0x5f, 0x60, 0x7b, 0x7c, 0x7d, 0x7e];

type Option13 = [char; 13];

const ENGLISH: Option13 = ['£', '$', '@', '←', '½', '→', '↑', '#', '―', '¼', '‖', '¾', '÷'];
const GERMAN: Option13 = ['#', '$', '§', 'Ä', 'Ö', 'Ü', '^', '_', '°', 'ä', 'ö', 'ü', 'ß'];
const SWEDISH: Option13 = ['#', '¤', 'É', 'Ä', 'Ö', 'Å', 'Ü', '_', 'é', 'ä', 'ö', 'å', 'ü'];
const ITALIAN: Option13 = ['£', '$', 'é', '°', 'ç', '→', '↑', '#', 'ù', 'à', 'ò', 'è', 'ì'];
const FRENCH: Option13 = ['é', 'ï', 'à', 'ë', 'ê', 'ù', 'î', '#', 'è', 'â', 'ô', 'û', 'ç'];
const SPANISH: Option13 = ['ç', '$', '¡', 'á', 'é', 'í', 'ó', 'ú', '¿', 'ü', 'ñ', 'è', 'à'];
const CZECH: Option13 = ['#', 'ů', 'č', 'ť', 'ž', 'ý', 'í', 'ř', 'é', 'á', 'ě', 'ú', 'š'];
const POLISH: Option13 = ['#', 'ń', 'ą', 'Ż', 'Ś', 'Ł', 'ć', 'ó', 'ę', 'ż', 'ś', 'ł', 'ź'];
const TURKISH: Option13 = ['₺', 'ğ', 'İ', 'Ş', 'Ö', 'Ç', 'Ü', 'Ğ', 'ı', 'ş', 'ö', 'ç', 'ü'];
const CROATIAN: Option13 = ['#', 'Ë', 'Č', 'Ć', 'Ž', 'Đ', 'Š', 'ë', 'č', 'ć', 'ž', 'đ', 'š'];
const ROMANIAN: Option13 = ['#', '¤', 'Ţ', 'Â', 'Ş', 'Ă', 'Î', 'ı', 'ţ', 'â', 'ş', 'ă', 'î'];
const ESTONIAN: Option13 = ['#', 'õ', 'Š', 'Ä', 'Ö', 'Ž', 'Ü', 'Õ', 'š', 'ä', 'ö', 'ž', 'ü'];
const LETTISH: Option13 = ['#', '$', 'Š', 'ė', 'ę', 'Ž', 'č', 'ū', 'š', 'ą', 'ų', 'ž', 'į'];

/// Which set a page's letters are of (§15.2, table 32): a region of four bits, told by packets 28 or 29, and the page's
/// own three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct CharacterSet {
    /// 0 Western Europe, 1 with Polish, 2 with Turkish, 3 the Balkans, 4 the Baltic.
    pub(super) region: u8,
    /// C12 to C14.
    pub(super) national: u8,
}

impl CharacterSet {
    /// A letter of G0, 0x20 to 0x7f. Cyrillic, Greek, Arabic and Hebrew regions are read as Latin.
    pub(super) fn letter(self, code: u8) -> char {
        match REPLACED.iter().position(|&replaced| replaced == code) {
            Some(place) => self.option()[place],
            None if code == 0x7f => '■',
            None => char::from(code),
        }
    }

    fn option(self) -> &'static Option13 {
        match (self.region, self.national & 7) {
            (1, 0) => &POLISH,
            (2 | 6, 6) => &TURKISH,
            (3, 5) => &CROATIAN,
            (3, 7) => &ROMANIAN,
            (4, 2) => &ESTONIAN,
            (4, 3) => &LETTISH,
            (_, 1) => &GERMAN,
            (_, 2) => &SWEDISH,
            (_, 3) => &ITALIAN,
            (_, 4) => &FRENCH,
            (_, 5) => &SPANISH,
            (_, 6) => &CZECH,
            _ => &ENGLISH,
        }
    }
}

/// A letter of the Latin supplement G2 (table 38), 0x20 to 0x7f.
pub(super) fn supplementary(code: u8) -> char {
    const G2: [char; 96] = [
        ' ', '¡', '¢', '£', '$', '¥', '#', '§', '¤', '‘', '“', '«', '←', '↑', '→', '↓', //
        '°', '±', '²', '³', '×', 'µ', '¶', '·', '÷', '’', '”', '»', '¼', '½', '¾', '¿', //
        ' ', '`', '´', 'ˆ', '˜', '¯', '˘', '˙', '¨', '.', '˚', '¸', '_', '˝', '˛', 'ˇ', //
        '―', '¹', '®', '©', '™', '♪', '₠', '‰', 'α', ' ', ' ', ' ', '⅛', '⅜', '⅝', '⅞', //
        'Ω', 'Æ', 'Đ', 'ª', 'Ħ', ' ', 'Ĳ', 'Ŀ', 'Ł', 'Ø', 'Œ', 'º', 'Þ', 'Ŧ', 'Ŋ', 'ŉ', //
        'ĸ', 'æ', 'đ', 'ð', 'ħ', 'ı', 'ĳ', 'ŀ', 'ł', 'ø', 'œ', 'ß', 'þ', 'ŧ', 'ŋ', '■',
    ];
    G2[usize::from(code.wrapping_sub(0x20)).min(95)]
}

/// A Latin letter with a diacritical mark, 0 to 15 as the fourth column of G2 has them; without where there is no such letter.
pub(super) fn accented(letter: char, mark: u8) -> char {
    /// Letters and what they become, one after the other.
    const MARKED: [&str; 16] = [
        "",
        "AÀEÈIÌNǸOÒUÙaàeèiìnǹoòuù",
        "AÁCĆEÉIÍLĹNŃOÓRŔSŚUÚYÝZŹaácćeéiílĺnńoórŕsśuúyýzź",
        "AÂCĈEÊGĜHĤIÎJĴOÔSŜUÛWŴYŶaâcĉeêgĝhĥiîjĵoôsŝuûwŵyŷ",
        "AÃIĨNÑOÕUŨaãiĩnñoõuũ",
        "AĀEĒIĪOŌUŪaāeēiīoōuū",
        "AĂEĔGĞIĬOŎUŬaăeĕgğiĭoŏuŭ",
        "CĊEĖGĠIİZŻcċeėgġzż",
        "AÄEËIÏOÖUÜYŸaäeëiïoöuüyÿ",
        "AẠEẸIỊOỌUỤaạeẹiịoọuụ",
        "AÅUŮaåuů",
        "CÇGĢKĶLĻNŅRŖSŞTŢcçkķlļnņrŗsştţ",
        "",
        "OŐUŰoőuű",
        "AĄEĘIĮUŲaąeęiįuų",
        "CČDĎEĚLĽNŇRŘSŠTŤZŽcčdďeělľnňrřsštťzž",
    ];
    let pairs = MARKED[usize::from(mark & 15)].chars();
    let plain = pairs.clone().step_by(2);
    plain
        .zip(pairs.skip(1).step_by(2))
        .find(|(plain, _)| *plain == letter)
        .map_or(letter, |(_, marked)| marked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn national_letters_and_accents_are_found() {
        let german = CharacterSet { region: 0, national: 1 };
        assert_eq!(b"Gr}~e".map(|code| german.letter(code)), ['G', 'r', 'ü', 'ß', 'e']);
        assert_eq!(CharacterSet { region: 1, national: 0 }.letter(b'}'), 'ł');
        assert_eq!(CharacterSet::default().letter(b'#'), '£');
        assert_eq!(
            [accented('e', 2), accented('o', 13), accented('S', 15), accented('q', 1)],
            ['é', 'ő', 'Š', 'q']
        );
        assert_eq!([supplementary(0x7b), supplementary(0x55)], ['ß', '♪']);
    }
}
