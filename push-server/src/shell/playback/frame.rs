//! Packets that were read, and the memory that they lie in: transport packets as they came from the file, many packets to a
//! block, blocks used again.

use std::sync::{Arc, Mutex, PoisonError};

use media::rtp;

/// Blocks that may wait to be used again however few are in use; 125 kB each, for 200 ms at 5 Mb/s. Sessions that read at
/// the same moments need as many at once as have gone home since: as many as are in use may wait, and the memory of more
/// is given back.
const SPARE_BLOCKS: usize = 64;

/// An RTP packet of a recording. Cloning it copies no payload.
#[derive(Debug, Clone)]
pub(in crate::shell) struct Frame {
    pub(super) header: [u8; rtp::HEADER_BYTES],
    pub(super) block: Arc<Block>,
    pub(super) from: u32,
    pub(super) len: u32,
}

impl Frame {
    /// The transport packets.
    pub(super) fn payload(&self) -> &[u8] {
        let from = self.from as usize;
        &self.block.bytes[from..from + self.len as usize]
    }
}

/// Transport packets of consecutive RTP packets.
#[derive(Debug)]
pub(super) struct Block {
    bytes: Vec<u8>,
    home: Arc<Blocks>,
}

impl Drop for Block {
    fn drop(&mut self) {
        let mut spare = self.home.spare.lock().unwrap_or_else(PoisonError::into_inner);
        spare.push(std::mem::take(&mut self.bytes));
        // Each block that is in use holds its home.
        spare.truncate(SPARE_BLOCKS.max(Arc::strong_count(&self.home)));
    }
}

/// Where blocks come from.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    spare: Mutex<Vec<Vec<u8>>>,
}

impl Blocks {
    /// A block of `len` bytes that `fill` has filled.
    pub(super) fn filled<E>(
        self: &Arc<Self>,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Block, E> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut bytes = spare.unwrap_or_default();
        if bytes.len() < len {
            bytes.resize(len, 0);
        }
        // Made before it is filled, so that it goes home either way.
        let mut block = Block { bytes, home: self.clone() };
        fill(&mut block.bytes[..len])?;
        Ok(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_blocks_wait_as_are_in_use_and_a_few_when_none_is() {
        let blocks = Arc::new(Blocks::default());
        let take = |count: usize| -> Vec<Block> {
            let block = |_| {
                blocks.filled(10, |bytes| {
                    bytes.fill(7);
                    Ok::<(), ()>(())
                })
            };
            (0..count).map(|at| block(at).unwrap()).collect()
        };
        let spare = || blocks.spare.lock().unwrap().len();
        let (mut first, second) = (take(300), take(300));
        first.truncate(0);
        assert_eq!(spare(), 300);
        let again = take(300);
        assert_eq!(spare(), 0, "all of them are used again");
        drop((again, second));
        assert_eq!(spare(), SPARE_BLOCKS);
    }
}
