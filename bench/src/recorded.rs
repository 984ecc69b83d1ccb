//! Recordings made without a recorder: segments of constant rate, laid down as `docs/recording.md` says.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use media::Sequence;
use media::rtp::{PAYLOAD_TYPE_MP2T, RtpHeader};
use protocols::ids::ChannelId;
use protocols::time::ClusterTime;

/// Packets of a second: 5 Mb/s.
pub const PACKETS_PER_SECOND: u32 = 475;
/// Bytes of transport stream in a packet.
pub const PAYLOAD_BYTES: usize = 7 * 188;
/// Packets of a segment of a minute.
pub const SEGMENT_PACKETS: u32 = PACKETS_PER_SECOND * 60;
/// Where each recording begins: 2026-11-22, 05:12 UTC.
const BEGIN_S: u64 = 1_795_324_320;
const DAY: &str = "2026-11-22";
const FIRST_MINUTE: u32 = 12;
/// A random access point each second, whose picture has so many packets.
const PICTURE_PACKETS: u32 = 35;
const SSRC: u32 = 0x5eed_0000;

/// What lies in a folder: the same minutes of some channels.
#[derive(Debug, Clone, Copy)]
pub struct Recorded {
    /// Channels, from 1 on.
    pub channels: u32,
    /// Minutes of each, at most 40.
    pub minutes: u32,
}

impl Recorded {
    /// Writes it into the data folder of a push server.
    pub fn write(&self, data: &Path) -> io::Result<()> {
        for channel in 1..=self.channels {
            for minute in 0..self.minutes {
                let path = path(data, channel, minute);
                fs::create_dir_all(path.parent().expect("the day's folder"))?;
                let (ts, index) = segment(channel, minute);
                fs::write(path.with_extension("ts"), ts)?;
                fs::write(path.with_extension("index"), index)?;
            }
        }
        Ok(())
    }

    /// The files of transport packets, channel by channel.
    pub fn files(&self, data: &Path) -> Vec<PathBuf> {
        let of =
            |channel| (0..self.minutes).map(move |minute| path(data, channel, minute).with_extension("ts"));
        (1..=self.channels).flat_map(of).collect()
    }

    /// The date of the packet `seconds` from the beginning, and that of the end.
    pub fn date(seconds: u64) -> ClusterTime {
        ClusterTime((BEGIN_S + seconds) * 1_000)
    }

    /// Where its last packet ends.
    pub fn end(&self) -> ClusterTime {
        Self::date(u64::from(self.minutes) * 60)
    }

    /// The `index`-th channel, round and round.
    pub fn channel(&self, index: u32) -> ChannelId {
        ChannelId(index % self.channels + 1)
    }
}

fn path(data: &Path, channel: u32, minute: u32) -> PathBuf {
    let number = minute * SEGMENT_PACKETS;
    let stem = format!("05{:02}00-{:08x}-{number}", FIRST_MINUTE + minute, SSRC + channel);
    data.join("recordings").join(channel.to_string()).join(DAY).join(stem)
}

/// Transport packets and index of one segment.
fn segment(channel: u32, minute: u32) -> (Vec<u8>, Vec<u8>) {
    let (ssrc, first) = (SSRC + channel, minute * SEGMENT_PACKETS);
    let date_ms = (BEGIN_S + u64::from(minute) * 60) * 1_000;
    let mut index = b"MHIX\x01\0\0\0".to_vec();
    index.extend([channel.to_le_bytes(), ssrc.to_le_bytes()].concat());
    index.extend([u64::from(first).to_le_bytes(), date_ms.to_le_bytes(), [0; 8]].concat());
    index.extend(check(&index));
    let (mut ts, mut hash) = (Vec::new(), blake3::Hasher::new());
    for number in 0..SEGMENT_PACKETS {
        let timestamp_90k =
            (u64::from(first + number) * 90_000 / u64::from(PACKETS_PER_SECOND)) & 0xffff_ffff;
        let timestamp_90k = u32::try_from(timestamp_90k).expect("cut to 32 bits");
        let date_10ms = u16::try_from(number / PACKETS_PER_SECOND * 100).expect("a minute");
        let flags = match number % PACKETS_PER_SECOND {
            0 => 2,
            PICTURE_PACKETS => 4,
            _ => 0,
        };
        index.extend([timestamp_90k.to_le_bytes(), number.to_le_bytes()].concat());
        index.extend(date_10ms.to_le_bytes());
        index.extend([7, flags]);
        let sequence = Sequence::of_extended(u64::from(first + number));
        let header =
            RtpHeader { marker: false, payload_type: PAYLOAD_TYPE_MP2T, sequence, timestamp_90k, ssrc };
        let mut payload = [number.to_le_bytes()[0]; PAYLOAD_BYTES];
        payload.iter_mut().step_by(188).for_each(|byte| *byte = 0x47);
        hash.update(&header.encode());
        hash.update(&payload);
        ts.extend(payload);
    }
    index.extend(b"MHEN\0\0\0\0");
    index.extend([SEGMENT_PACKETS.to_le_bytes(), [0; 4]].concat());
    index.extend([(date_ms + 60_000).to_le_bytes(), (ts.len() as u64).to_le_bytes()].concat());
    index.extend(hash.finalize().as_bytes());
    index.extend(check(&index));
    (ts, index)
}

fn check(before: &[u8]) -> [u8; 8] {
    *blake3::hash(before).as_bytes().first_chunk().expect("32 bytes")
}
