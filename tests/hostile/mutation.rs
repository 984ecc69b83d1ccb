//! Spoils bytes: what an attacker who has recorded everything, or nothing, might send.

use serde::ser::{Serialize, SerializeTuple, Serializer};

/// Where a format keeps its kind, version and lengths: bytes that are worth changing on their own.
const HEADER_BYTES: usize = 16;
/// Longest random input.
const RANDOM_BYTES: usize = 1_600;

/// Makes inputs out of genuine ones; never a genuine one itself.
pub(crate) struct Mutator {
    random: fastrand::Rng,
    genuine: Vec<Vec<u8>>,
    input: Vec<u8>,
    limit: usize,
}

impl Mutator {
    /// Makes inputs of up to `limit` bytes.
    pub(crate) fn new(random: fastrand::Rng, limit: usize) -> Self {
        Self { random, genuine: Vec::new(), input: Vec::with_capacity(limit), limit }
    }

    /// One more recording to spoil. Recordings beyond the `most` newest are forgotten.
    pub(crate) fn record(&mut self, bytes: &[u8], most: usize) {
        if self.genuine.len() >= most {
            let forgotten = self.random.usize(..self.genuine.len());
            self.genuine.swap_remove(forgotten);
        }
        self.genuine.push(bytes.to_vec());
    }

    /// The next input.
    pub(crate) fn spoil(&mut self) -> &[u8] {
        loop {
            self.change();
            if !self.genuine.contains(&self.input) {
                return &self.input;
            }
        }
    }

    fn change(&mut self) {
        self.input.clear();
        let kinds = if self.genuine.is_empty() { 1 } else { 10 };
        if let Some(base) = self.random.choice(&self.genuine) {
            self.input.extend_from_slice(base);
        }
        match self.random.u8(..kinds) {
            0 => self.anything(),
            1 => self.flip(1),
            2 => self.flip(16),
            3 => self.cut(),
            4 => self.extend(),
            5 => self.splice(),
            6 => self.rewrite_header(),
            7 => self.extreme_number(),
            8 => self.tail(),
            _ => {
                self.extreme_number();
                self.flip(2);
                self.cut();
            }
        }
        self.input.truncate(self.limit);
    }

    fn anything(&mut self) {
        let most = if self.random.bool() { 64 } else { RANDOM_BYTES };
        let len = self.random.usize(..=most.min(self.limit));
        // The head of something genuine, sometimes, so that it passes the first checks.
        let kept = if self.random.bool() { self.random.usize(..=8) } else { 0 };
        self.input.truncate(kept);
        let random = &mut self.random;
        self.input.extend((0..len).map(|_| random.u8(..)));
    }

    fn flip(&mut self, most: usize) {
        for _ in 0..self.random.usize(1..=most) {
            if let Some(at) = self.place() {
                self.input[at] ^= 1 << self.random.u8(..8);
            }
        }
    }

    fn cut(&mut self) {
        let len = self.random.usize(..=self.input.len());
        self.input.truncate(len);
    }

    fn extend(&mut self) {
        let byte = if self.random.bool() { 0 } else { self.random.u8(..) };
        let len = self.input.len() + self.random.usize(1..64);
        self.input.resize(len, byte);
    }

    fn splice(&mut self) {
        self.cut();
        if let Some(other) = self.random.choice(&self.genuine) {
            let from = if self.random.bool() { self.input.len() } else { self.random.usize(..=other.len()) };
            self.input.extend_from_slice(other.get(from..).unwrap_or_default());
        }
    }

    fn rewrite_header(&mut self) {
        let most = self.input.len().min(HEADER_BYTES);
        if most > 0 {
            let at = self.random.usize(..most);
            self.input[at] = self.random.u8(..);
        }
    }

    /// Eight or four bytes somewhere become a number that lengths and times should fear.
    fn extreme_number(&mut self) {
        let numbers = [0, 1, u64::MAX, u64::MAX / 2, 1 << 63, 1 << 32, u64::from(u32::MAX), 1 << 20, 1_200];
        let number = *self.random.choice(&numbers).unwrap();
        let bytes = if self.random.bool() { number.to_le_bytes() } else { number.to_be_bytes() };
        let len = if self.random.bool() { 8 } else { 4 };
        if let Some(at) = self.place() {
            let to = (at + len).min(self.input.len());
            self.input[at..to].copy_from_slice(&bytes[..to - at]);
        }
    }

    /// Another end: all of a tag, where there is one.
    fn tail(&mut self) {
        let random = &mut self.random;
        self.input.iter_mut().rev().take(16).for_each(|byte| *byte = random.u8(..));
    }

    fn place(&mut self) -> Option<usize> {
        (!self.input.is_empty()).then(|| self.random.usize(..self.input.len()))
    }
}

/// Bytes that encode to themselves: a body of the tester's own making under a genuine seal.
pub(crate) struct Raw<'a>(pub(crate) &'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        self.0.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
        tuple.end()
    }
}

/// `text` (of `Debug`) without the named fields: what a machine counts is not what it knows.
pub(crate) fn without(mut text: String, fields: &[&str]) -> String {
    for field in fields {
        let name = format!("{field}: ");
        while let Some(from) = text.find(&name) {
            let end = end_of_value(&text[from..]) + from;
            text.replace_range(from..end, "");
        }
    }
    text
}

/// Length of a field's name and value: up to a comma or a closing brace at its own depth.
fn end_of_value(text: &str) -> usize {
    let mut depth = 0;
    for (at, character) in text.char_indices() {
        match character {
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' if depth == 0 => return at,
            '}' | ']' | ')' => depth -= 1,
            ',' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[test]
fn counters_are_left_out_and_nothing_else() {
    let text = "A { x: 1, counters: C { a: 1, b: (2, 3) }, y: [1, 2] }".to_owned();
    assert_eq!(without(text.clone(), &["counters"]), "A { x: 1,  y: [1, 2] }");
    assert_eq!(without(text, &["y", "a"]), "A { x: 1, counters: C {  b: (2, 3) }, }");
}

#[test]
fn nothing_genuine_comes_out_of_the_mutator_and_everything_else_does() {
    let mut mutator = Mutator::new(fastrand::Rng::with_seed(1), 100);
    mutator.record(b"M4..a genuine datagram", 9);
    let inputs: std::collections::BTreeSet<Vec<u8>> = (0..10_000).map(|_| mutator.spoil().to_vec()).collect();
    assert!(inputs.len() > 5_000 && !inputs.contains(&b"M4..a genuine datagram"[..]));
}
