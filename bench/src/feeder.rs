//! Plays an acquisition server's data side: channels of constant rate, each packet at its own time, written to TCP
//! connections framed by RFC 4571 as P3 frames them.
//!
//! One thread feeds all channels by one absolute schedule; channels are spread evenly over the time between two packets.

use std::io::{ErrorKind, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use protocols::p3_feed::{LENGTH_BYTES, MAX_PACKET_BYTES, length_prefix};

/// Rate of a channel unless a measure says otherwise.
pub const RATE_BPS: u64 = 5_000_000;
/// Bits of transport stream in a packet.
const PAYLOAD_BITS: u64 = 7 * 188 * 8;
/// Longest that a packet may wait for a socket that takes nothing before it is given up and counted.
const STUCK_LIMIT: Duration = Duration::from_secs(2);

/// Channels that are being fed. Stops when this goes.
#[derive(Debug)]
pub struct Feeder {
    fed: Arc<AtomicU64>,
    late_us: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<TcpStream>>>,
}

impl Feeder {
    /// Begins to feed one channel of `rate_bps` into each of `streams`, now.
    pub fn start(streams: Vec<TcpStream>, rate_bps: u64) -> Self {
        let (fed, late_us, stop): (Arc<AtomicU64>, Arc<AtomicU64>, Arc<AtomicBool>) = Default::default();
        let shared = Shared { fed: fed.clone(), late_us: late_us.clone(), stop: stop.clone() };
        let thread = std::thread::spawn(move || feed(streams, rate_bps, &shared));
        Self { fed, late_us, stop, thread: Some(thread) }
    }

    /// Packets of all channels together until now.
    pub fn fed(&self) -> u64 {
        self.fed.load(Ordering::Acquire)
    }

    /// The most that a packet was late by: much above a millisecond the machine is too busy to measure on.
    pub fn worst_lateness(&self) -> Duration {
        Duration::from_micros(self.late_us.load(Ordering::Relaxed))
    }

    /// Stops after a whole round of all channels; gives the packets fed in all, and the connections.
    pub fn stop(mut self) -> (u64, Vec<TcpStream>) {
        let streams = self.end();
        (self.fed(), streams)
    }

    fn end(&mut self) -> Vec<TcpStream> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.end();
    }
}

struct Shared {
    fed: Arc<AtomicU64>,
    late_us: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

fn feed(mut streams: Vec<TcpStream>, rate_bps: u64, shared: &Shared) -> Vec<TcpStream> {
    let channels = u64::try_from(streams.len()).expect("a few channels");
    let begun = Instant::now();
    for number in 0.. {
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        for (index, stream) in (0_u64..).zip(&mut streams) {
            let due_ns = (number * channels + index) * PAYLOAD_BITS * 1_000_000_000 / (rate_bps * channels);
            wait_until(begun + Duration::from_nanos(due_ns), shared);
            let frame = frame(number, rate_bps, u32::try_from(index).unwrap_or(0));
            if write_whole(stream, &frame) {
                shared.fed.fetch_add(1, Ordering::Release);
            }
        }
    }
    streams
}

fn wait_until(due: Instant, shared: &Shared) {
    let now = Instant::now();
    if let Some(early) = due.checked_duration_since(now) {
        std::thread::sleep(early);
    } else {
        let late = u64::try_from((now - due).as_micros()).unwrap_or(u64::MAX);
        shared.late_us.fetch_max(late, Ordering::Relaxed);
    }
}

/// Whether all of it went; waits while the receiver does not read.
fn write_whole(stream: &mut TcpStream, mut bytes: &[u8]) -> bool {
    let begun = Instant::now();
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(0) => return false,
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock && begun.elapsed() < STUCK_LIMIT => {
                std::thread::sleep(Duration::from_micros(200));
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
    true
}

/// RTP packet `number` of a channel, framed: seven null packets of transport stream.
pub fn frame(number: u64, rate_bps: u64, ssrc: u32) -> [u8; LENGTH_BYTES + MAX_PACKET_BYTES] {
    let mut bytes = [0xff; LENGTH_BYTES + MAX_PACKET_BYTES];
    let (prefix, packet) = bytes.split_at_mut(LENGTH_BYTES);
    prefix.copy_from_slice(&length_prefix(packet));
    packet[..2].copy_from_slice(&[0x80, 33]);
    packet[2..4].copy_from_slice(&number.to_be_bytes()[6..]);
    packet[4..8].copy_from_slice(&(number * PAYLOAD_BITS * 90_000 / rate_bps).to_be_bytes()[4..]);
    packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
    for transport in packet[12..].chunks_exact_mut(188) {
        transport[..4].copy_from_slice(&[0x47, 0x1f, 0xff, 0x10]);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_megabits_are_475_packets_a_second() {
        let stamp = |number| {
            let frame = frame(number, RATE_BPS, 1);
            u32::from_be_bytes(*frame[6..].first_chunk().unwrap())
        };
        assert_eq!(stamp(475) / 90, 1_000);
        assert_eq!(frame(1, RATE_BPS, 1)[..6], [0x05, 0x30, 0x80, 33, 0, 1]);
    }
}
