//! The words that parameters of `dvb://` take.

use std::fmt;

/// A closed list of words.
pub(super) trait Words: Copy + PartialEq + 'static {
    /// Each value with its names, the canonical one first.
    const ALL: &'static [(Self, &'static [&'static str])];
}

/// The value that `text` names, however it is spelt: `64QAM`, `qam64` and `QAM/64` are one word.
pub(super) fn find<W: Words>(text: &str) -> Option<W> {
    let wanted = bare(text);
    let named = |names: &[&str]| names.iter().any(|name| bare(name) == wanted);
    W::ALL.iter().find(|(_, names)| named(names)).map(|(value, _)| *value)
}

/// The first name.
fn name<W: Words>(value: W) -> &'static str {
    let found = W::ALL.iter().find(|(listed, _)| *listed == value);
    found.and_then(|(_, names)| names.first()).copied().unwrap_or_default()
}

/// Without case and separators, the number before the letters.
fn bare(text: &str) -> String {
    let text: String = text
        .chars()
        .take(MAX_WORD_CHARS)
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect();
    match text.strip_prefix("qam") {
        Some(order) if !order.is_empty() => format!("{order}qam"),
        _ => text,
    }
}

const MAX_WORD_CHARS: usize = 32;

macro_rules! words {
    ($(#[$doc:meta])* $list:ident { $($(#[$word_doc:meta])+ $value:ident = $($name:literal)|+,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $list {
            $($(#[$word_doc])+ $value,)+
        }

        impl Words for $list {
            const ALL: &'static [(Self, &'static [&'static str])] = &[$((Self::$value, &[$($name),+]),)+];
        }

        impl fmt::Display for $list {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(name(*self))
            }
        }
    };
}

words! {
    /// How a multiplex is sent.
    DvbSystem {
        /// Masts, ETSI EN 300 744.
        DvbT = "dvb-t",
        /// Masts, ETSI EN 302 755.
        DvbT2 = "dvb-t2",
        /// Cable, ETSI EN 300 429 (ITU-T J.83 annex A).
        DvbC = "dvb-c" | "dvb-c-a" | "dvbc/annex_a",
        /// Cable of North America (ITU-T J.83 annex B), "clear QAM".
        DvbCB = "dvb-c-b" | "dvbc/annex_b",
        /// Satellite, ETSI EN 300 421.
        DvbS = "dvb-s",
        /// Satellite, ETSI EN 302 307.
        DvbS2 = "dvb-s2",
        /// Masts of North America, ATSC A/53.
        Atsc = "atsc",
        /// Masts of Japan and South America, ARIB STD-B31.
        IsdbT = "isdb-t",
    }
}

impl DvbSystem {
    /// Whether a dish receives it.
    pub fn is_satellite(self) -> bool {
        matches!(self, Self::DvbS | Self::DvbS2)
    }

    /// Whether a tuner has to know how fast symbols come.
    pub(super) fn has_symbol_rate(self) -> bool {
        self.is_satellite() || self == Self::DvbC
    }
}

words! {
    /// A constellation.
    Modulation {
        /// 2 bits a symbol.
        Qpsk = "qpsk",
        /// 3 bits a symbol, in a ring.
        Psk8 = "8psk" | "psk8",
        /// 4 bits a symbol, in rings.
        Apsk16 = "16apsk" | "apsk16",
        /// 5 bits a symbol, in rings.
        Apsk32 = "32apsk" | "apsk32",
        /// 4 bits a symbol.
        Qam16 = "16qam",
        /// 5 bits a symbol.
        Qam32 = "32qam",
        /// 6 bits a symbol.
        Qam64 = "64qam",
        /// 7 bits a symbol.
        Qam128 = "128qam",
        /// 8 bits a symbol.
        Qam256 = "256qam",
        /// 8 levels, one sideband.
        Vsb8 = "8vsb" | "vsb8",
        /// 16 levels, one sideband.
        Vsb16 = "16vsb" | "vsb16",
    }
}

words! {
    /// How many of the bits sent are not there for repair.
    FecRate {
        /// 1/2.
        F1_2 = "1/2",
        /// 2/5.
        F2_5 = "2/5",
        /// 2/3.
        F2_3 = "2/3",
        /// 3/4.
        F3_4 = "3/4",
        /// 3/5.
        F3_5 = "3/5",
        /// 4/5.
        F4_5 = "4/5",
        /// 5/6.
        F5_6 = "5/6",
        /// 6/7.
        F6_7 = "6/7",
        /// 7/8.
        F7_8 = "7/8",
        /// 8/9.
        F8_9 = "8/9",
        /// 9/10.
        F9_10 = "9/10",
    }
}

words! {
    /// About how many thousand carriers.
    TransmissionMode {
        /// 1,024.
        K1 = "1k",
        /// 2,048.
        K2 = "2k",
        /// 4,096.
        K4 = "4k",
        /// 8,192.
        K8 = "8k",
        /// 16,384.
        K16 = "16k",
        /// 32,768.
        K32 = "32k",
    }
}

words! {
    /// How long the pause is, as part of a symbol.
    GuardInterval {
        /// 1/4.
        G1_4 = "1/4",
        /// 1/8.
        G1_8 = "1/8",
        /// 1/16.
        G1_16 = "1/16",
        /// 1/32.
        G1_32 = "1/32",
        /// 1/128.
        G1_128 = "1/128",
        /// 19/128.
        G19_128 = "19/128",
        /// 19/256.
        G19_256 = "19/256",
    }
}

words! {
    /// Which way a satellite's wave swings.
    Polarization {
        /// Horizontal.
        Horizontal = "h" | "horizontal",
        /// Vertical.
        Vertical = "v" | "vertical",
        /// Circular, left.
        Left = "l" | "left",
        /// Circular, right.
        Right = "r" | "right",
    }
}

words! {
    /// How steep the spectrum's edges are.
    Rolloff {
        /// 0.35.
        R35 = "0.35" | "35",
        /// 0.25.
        R25 = "0.25" | "25",
        /// 0.20.
        R20 = "0.20" | "0.2" | "20",
    }
}

words! {
    /// Whether there are pilot symbols.
    Pilot {
        /// There are.
        On = "on",
        /// There are none.
        Off = "off",
    }
}
