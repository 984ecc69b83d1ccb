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

use protocols::p3_feed::{HEADER_BYTES, LENGTH_BYTES, MAX_PACKET_BYTES, SAMPLE_INTERVAL, length_prefix};

/// Rate of a channel unless a measure says otherwise.
pub const RATE_BPS: u64 = 5_000_000;
/// Bits of transport stream in a packet.
const PAYLOAD_BITS: u64 = 7 * 188 * 8;
/// A packet behind its RFC 4571 length.
pub type Frame = [u8; LENGTH_BYTES + MAX_PACKET_BYTES];
/// Longest that a packet may wait for a socket that takes nothing before it is given up and counted.
const STUCK_LIMIT: Duration = Duration::from_secs(2);

/// One channel's connection to a sender.
#[derive(Debug)]
pub struct Feed {
    stream: TcpStream,
    /// The sender asked for nothing but samples (P3's `Hold`).
    held: Arc<AtomicBool>,
    sampled: Option<Instant>,
}

impl Feed {
    /// A feed by `stream` that is held while `held` says so.
    pub fn new(stream: TcpStream, held: Arc<AtomicBool>) -> Self {
        Self { stream, held, sampled: None }
    }

    /// A feed that is never held.
    pub fn flowing(stream: TcpStream) -> Self {
        Self::new(stream, Arc::default())
    }

    /// Sends `frames`, or the header of the first alone now and then while the feed is held.
    fn send(&mut self, frames: &[u8]) {
        if !self.held.load(Ordering::Relaxed) {
            self.sampled = None;
            write_whole(&mut self.stream, frames);
        } else if self.sampled.is_none_or(|last| last.elapsed() >= SAMPLE_INTERVAL) {
            self.sampled = Some(Instant::now());
            let header = &frames[LENGTH_BYTES..][..HEADER_BYTES];
            write_whole(&mut self.stream, &[&length_prefix(header)[..], header].concat());
        }
    }
}

/// How packets of a channel come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Of the transport stream.
    pub rate_bps: u64,
    /// Packets that come together, at least 1.
    pub burst: u32,
}

/// Channels that are being fed. Stops when this goes.
#[derive(Debug)]
pub struct Feeder {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Vec<Feed>>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Packets of each channel.
    packets: AtomicU64,
    late_us: AtomicU64,
    stop: AtomicBool,
}

impl Feeder {
    /// Begins to feed one channel of `pace` into each of `feeds`, now, from the packet of number `first` on.
    pub fn start(feeds: Vec<Feed>, pace: Pace, first: u64) -> Self {
        let shared = Arc::new(Shared::default());
        let thread = std::thread::spawn({
            let shared = shared.clone();
            move || feed(feeds, pace, first, &shared)
        });
        Self { shared, thread: Some(thread) }
    }

    /// Packets of each channel until now.
    pub fn fed(&self) -> u64 {
        self.shared.packets.load(Ordering::Acquire)
    }

    /// The most that a packet was late by: much above a millisecond the machine is too busy to measure on.
    pub fn worst_lateness(&self) -> Duration {
        Duration::from_micros(self.shared.late_us.load(Ordering::Relaxed))
    }

    /// The most that a packet was late by since this was last asked.
    pub fn take_lateness(&self) -> Duration {
        Duration::from_micros(self.shared.late_us.swap(0, Ordering::Relaxed))
    }

    /// Stops after a whole round of all channels; gives the packets of each channel in all, and the feeds.
    pub fn stop(mut self) -> (u64, Vec<Feed>) {
        let feeds = self.end();
        (self.fed(), feeds)
    }

    fn end(&mut self) -> Vec<Feed> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.end();
    }
}

fn feed(mut feeds: Vec<Feed>, pace: Pace, first: u64, shared: &Shared) -> Vec<Feed> {
    let channels = u64::try_from(feeds.len()).expect("a few channels");
    let burst = u64::from(pace.burst);
    let begun = Instant::now();
    let mut frames = Vec::new();
    for round in 0.. {
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        for (index, feed) in (0_u64..).zip(&mut feeds) {
            let due_ns = (round * channels + index) * burst * PAYLOAD_BITS * 1_000_000_000
                / (pace.rate_bps * channels);
            wait_until(begun + Duration::from_nanos(due_ns), shared);
            frames.clear();
            for number in round * burst..(round + 1) * burst {
                frames.extend_from_slice(&frame(
                    first + number,
                    pace.rate_bps,
                    u32::try_from(index).unwrap_or(0),
                ));
            }
            feed.send(&frames);
        }
        shared.packets.fetch_add(burst, Ordering::Release);
    }
    feeds
}

fn wait_until(due: Instant, shared: &Shared) {
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
    let late = Instant::now().saturating_duration_since(due).as_micros();
    shared.late_us.fetch_max(u64::try_from(late).unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// Waits while the receiver does not read. What a closed connection does not take is missed at the far end.
fn write_whole(stream: &mut TcpStream, mut bytes: &[u8]) {
    let begun = Instant::now();
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(0) => return,
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock && begun.elapsed() < STUCK_LIMIT => {
                std::thread::sleep(Duration::from_micros(200));
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// RTP packet `number` of a channel, framed: seven null packets of transport stream.
pub fn frame(number: u64, rate_bps: u64, ssrc: u32) -> Frame {
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
