//! `testcard:`: the built-in clip, for ever.

use media::looper::Looper;

use crate::paced_stream::{ENOUGH_PACKETS, PacedStream};

/// Drawn, encoded and multiplexed by the scripts beside it.
const CLIP: &[u8] = include_bytes!("../../../testcard/clip.ts");

/// The test card.
pub(crate) struct TestCard {
    looper: Looper<&'static [u8]>,
}

impl TestCard {
    pub(crate) fn open() -> Result<Self, String> {
        let looper = Looper::new(CLIP).map_err(|error| format!("the built-in test card: {error}"))?;
        Ok(Self { looper })
    }

    /// Adds as much as is wanted at a time.
    pub(crate) fn read(&mut self, stream: &mut PacedStream) {
        for packet in self.looper.by_ref().take(ENOUGH_PACKETS) {
            stream.push_packet(packet);
        }
    }
}
