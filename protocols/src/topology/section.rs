//! One TOML table, read key by key; whatever is wrong with it is found and told, and reading goes on.

use std::ops::{Range, RangeInclusive};
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::FaultKind;
use super::findings::Findings;
use super::nearest::nearest;

/// What a table is called in messages, and which keys it may have.
pub(super) struct Shape {
    /// A phrase: ``in [[channel]]``.
    pub(super) phrase: &'static str,
    /// Every key that is read.
    pub(super) keys: &'static [&'static str],
}

/// A table of the file.
pub(super) struct Section<'t, 'i> {
    shape: &'static Shape,
    /// What a missing key is reported at: the header, or the braces.
    pub(super) span: Range<usize>,
    table: &'t DeTable<'i>,
    /// Keys that a mistyped one was probably meant to be; they are not told as missing too.
    mistyped: Vec<&'static str>,
}

impl<'t, 'i> Section<'t, 'i> {
    /// Takes the table in hand and tells its unknown keys.
    pub(super) fn open(
        shape: &'static Shape,
        span: Range<usize>,
        table: &'t DeTable<'i>,
        findings: &mut Findings<'_>,
    ) -> Self {
        let mut mistyped = Vec::new();
        for key in table.keys().filter(|key| !shape.keys.contains(&key.get_ref().as_ref())) {
            let written = key.get_ref();
            let absent = shape.keys.iter().copied().filter(|known| !table.contains_key(*known));
            let suggestion = nearest(written, absent);
            mistyped.extend(suggestion);
            let kind = FaultKind::UnknownKey {
                key: written.chars().take(MAX_SHOWN_CHARS).collect(),
                section: shape.phrase,
                suggestion,
                known: shape.keys,
            };
            findings.fault(key.span(), kind);
        }
        Self { shape, span, table, mistyped }
    }

    /// The value of a key that may be missing.
    pub(super) fn value(&self, key: &'static str) -> Option<&'t Spanned<DeValue<'i>>> {
        debug_assert!(self.shape.keys.contains(&key), "{key} is not in the shape");
        self.table.get(key)
    }

    /// Tells that `key` is missing, if it is.
    pub(super) fn require(&self, key: &'static str, example: &'static str, findings: &mut Findings<'_>) {
        if self.value(key).is_none() && !self.mistyped.contains(&key) {
            let kind = FaultKind::MissingKey { key, section: self.shape.phrase, example };
            findings.fault(self.span.clone(), kind);
        }
    }

    /// A string.
    pub(super) fn text(&self, key: &'static str, findings: &mut Findings<'_>) -> Option<Spanned<&'t str>> {
        text_of(key, self.value(key)?, findings)
    }

    /// A string that parses.
    pub(super) fn parsed<T: FromStr>(
        &self,
        key: &'static str,
        findings: &mut Findings<'_>,
        fault: impl FnOnce(&str, T::Err) -> FaultKind,
    ) -> Option<Spanned<T>> {
        let text = self.text(key, findings)?;
        parse_text(&text, findings, fault)
    }

    /// Where a key says `true`; nothing where it says `false`, or is missing.
    pub(super) fn flag(&self, key: &'static str, findings: &mut Findings<'_>) -> Option<Range<usize>> {
        let value = self.value(key)?;
        let DeValue::Boolean(set) = value.get_ref() else {
            findings.fault(value.span(), wrong_type(key, "true or false", value.get_ref()));
            return None;
        };
        set.then(|| value.span())
    }

    /// An integer within `range`.
    pub(super) fn number(
        &self,
        key: &'static str,
        range: RangeInclusive<u32>,
        findings: &mut Findings<'_>,
    ) -> Option<Spanned<u32>> {
        number_of(key, self.value(key)?, range, findings)
    }

    /// An array; empty if the key is missing or is none.
    pub(super) fn list(
        &self,
        key: &'static str,
        expected: &'static str,
        findings: &mut Findings<'_>,
    ) -> &'t [Spanned<DeValue<'i>>] {
        let Some(value) = self.value(key) else { return &[] };
        if let DeValue::Array(array) = value.get_ref() {
            array.as_ref()
        } else {
            findings.fault(value.span(), wrong_type(key, expected, value.get_ref()));
            &[]
        }
    }

    /// The tables of an array of tables; elements that are none are told and left out.
    pub(super) fn sections(
        &self,
        key: &'static str,
        expected: &'static str,
        shape: &'static Shape,
        findings: &mut Findings<'_>,
    ) -> Vec<Section<'t, 'i>> {
        let values = self.list(key, expected, findings);
        values.iter().filter_map(|value| open_value(key, expected, shape, value, findings)).collect()
    }

    /// A single table.
    pub(super) fn section(
        &self,
        key: &'static str,
        expected: &'static str,
        shape: &'static Shape,
        findings: &mut Findings<'_>,
    ) -> Option<Section<'t, 'i>> {
        open_value(key, expected, shape, self.value(key)?, findings)
    }
}

fn open_value<'t, 'i>(
    key: &'static str,
    expected: &'static str,
    shape: &'static Shape,
    value: &'t Spanned<DeValue<'i>>,
    findings: &mut Findings<'_>,
) -> Option<Section<'t, 'i>> {
    if let DeValue::Table(table) = value.get_ref() {
        return Some(Section::open(shape, value.span(), table, findings));
    }
    findings.fault(value.span(), wrong_type(key, expected, value.get_ref()));
    None
}

/// A value as a string.
pub(super) fn text_of<'t>(
    key: &'static str,
    value: &'t Spanned<DeValue<'_>>,
    findings: &mut Findings<'_>,
) -> Option<Spanned<&'t str>> {
    let text = value.get_ref().as_str();
    if text.is_none() {
        findings.fault(value.span(), wrong_type(key, "a string", value.get_ref()));
    }
    text.map(|text| Spanned::new(value.span(), text))
}

/// A string as what it stands for.
pub(super) fn parse_text<T: FromStr>(
    text: &Spanned<&str>,
    findings: &mut Findings<'_>,
    fault: impl FnOnce(&str, T::Err) -> FaultKind,
) -> Option<Spanned<T>> {
    match text.get_ref().parse() {
        Ok(value) => Some(Spanned::new(text.span(), value)),
        Err(error) => {
            findings.fault(text.span(), fault(text.get_ref(), error));
            None
        }
    }
}

/// A value as an integer within `range`.
pub(super) fn number_of(
    key: &'static str,
    value: &Spanned<DeValue<'_>>,
    range: RangeInclusive<u32>,
    findings: &mut Findings<'_>,
) -> Option<Spanned<u32>> {
    let DeValue::Integer(integer) = value.get_ref() else {
        findings.fault(value.span(), wrong_type(key, "a whole number", value.get_ref()));
        return None;
    };
    let number = u32::from_str_radix(integer.as_str(), integer.radix()).ok();
    let Some(number) = number.filter(|number| range.contains(number)) else {
        let written = findings.source.written(&value.span()).chars().take(MAX_SHOWN_CHARS).collect();
        let kind = FaultKind::OutOfRange { key, written, low: *range.start(), high: *range.end() };
        findings.fault(value.span(), kind);
        return None;
    };
    Some(Spanned::new(value.span(), number))
}

/// The fault of a value that is of another type than `expected`.
pub(super) fn wrong_type(key: &'static str, expected: &'static str, value: &DeValue<'_>) -> FaultKind {
    let found = match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    FaultKind::WrongType { key, expected, found }
}

/// How much of a wrong value or key a message repeats.
pub(super) const MAX_SHOWN_CHARS: usize = 64;
