//! What is on the air for the laboratory's tuners: a transport stream at some frequencies, nothing at others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::packets::PACKET_BYTES;
use crate::timeline;

/// Transport packets that are sent on at a time.
const STEP_PACKETS: usize = 7;
/// How often a tuner without a signal looks for one.
const WITHOUT_SIGNAL: Duration = Duration::from_millis(20);

/// Streams by frequency, each sent at its constant rate again and again.
#[derive(Debug, Clone, Default)]
pub struct Broadcast {
    streams: BTreeMap<String, Arc<Stream>>,
}

/// One of them.
#[derive(Debug)]
pub struct Stream {
    packets: Vec<[u8; PACKET_BYTES]>,
    rate_bps: u64,
}

impl Broadcast {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// With `bytes` (whole packets) at `rate_bps` on `frequency`, which is named as the tuners' clients name it.
    #[must_use]
    pub fn with(mut self, frequency: &str, bytes: &[u8], rate_bps: u64) -> Self {
        let (packets, rest) = bytes.as_chunks::<PACKET_BYTES>();
        assert!(rest.is_empty(), "a transport stream is whole packets");
        self.streams.insert(frequency.into(), Arc::new(Stream { packets: packets.to_vec(), rate_bps }));
        self
    }

    /// What is sent on a frequency.
    pub fn stream(&self, frequency: &str) -> Option<Arc<Stream>> {
        self.streams.get(frequency).cloned()
    }

    /// Hands packets to `tuner`, at their time, until it answers `None`; it answers the frequency that it is tuned to, and is
    /// told when that began. A stream begins anew when a tuner comes to it.
    pub fn play(&self, mut tuner: impl FnMut(Instant, &[[u8; PACKET_BYTES]]) -> Option<String>) {
        let mut tuned = None;
        let (mut begun, mut sent) = (Instant::now(), 0_usize);
        let mut stream: Option<Arc<Stream>> = None;
        loop {
            let step: &[_] = match &stream {
                None => {
                    timeline::pause(WITHOUT_SIGNAL);
                    &[]
                }
                Some(stream) => {
                    let bits = u64::try_from(sent * PACKET_BYTES * 8).expect("a stream of this world");
                    let due =
                        begun + Duration::from_nanos(bits.saturating_mul(1_000_000_000) / stream.rate_bps);
                    timeline::pause(due.saturating_duration_since(Instant::now()));
                    let at = sent % stream.packets.len();
                    let step = &stream.packets[at..stream.packets.len().min(at + STEP_PACKETS)];
                    sent += step.len();
                    step
                }
            };
            let Some(wanted) = tuner(begun, step) else { return };
            if tuned.as_ref() != Some(&wanted) {
                stream = self.stream(&wanted);
                tuned = Some(wanted);
                (begun, sent) = (Instant::now(), 0);
            }
        }
    }
}
