//! Boxes (ISO/IEC 14496-12 §4.2): a length, a name, and what is in it.

/// Writes boxes one after the other, one within the other.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A box with what `fill` writes.
    pub fn put(&mut self, name: [u8; 4], fill: impl FnOnce(&mut Self)) {
        let at = self.bytes.len();
        self.u32(0);
        self.bytes.extend_from_slice(&name);
        fill(self);
        let len = u32::try_from(self.bytes.len() - at).unwrap_or(u32::MAX);
        self.bytes[at..at + 4].copy_from_slice(&len.to_be_bytes());
    }

    /// A box with a version and flags (24 bits).
    pub fn put_full(&mut self, name: [u8; 4], (version, flags): (u8, u32), fill: impl FnOnce(&mut Self)) {
        self.put(name, |w| {
            w.u32(u32::from(version) << 24 | flags);
            fill(w);
        });
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// Two bytes, the higher first, as all that follows.
    pub fn u16(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// As they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// So many zeros.
    pub fn zeros(&mut self, count: usize) {
        self.bytes.resize(self.bytes.len() + count, 0);
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Writes over four bytes; nothing where there are none.
    pub fn patch_u32(&mut self, at: usize, value: u32) {
        if let Some(place) = self.bytes.get_mut(at..at + 4) {
            place.copy_from_slice(&value.to_be_bytes());
        }
    }

    /// What was written.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_know_their_length_and_nest() {
        let mut w = Writer::new();
        w.put(*b"moof", |w| w.put_full(*b"mfhd", (0, 0), |w| w.u32(7)));
        let expected = [
            0, 0, 0, 24, b'm', b'o', b'o', b'f', 0, 0, 0, 16, b'm', b'f', b'h', b'd', 0, 0, 0, 0, 0, 0, 0, 7,
        ];
        assert_eq!(w.finish(), expected);
    }
}
