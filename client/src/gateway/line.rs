//! Places the packets of one channel in a line without end: where decoding may begin, and where nothing continues.

use media::RtpPacket;
use media::Sequence;
use media::packet::{PACKET_BYTES, Packet, PacketBytes};
use media::psi::{PAT_PID, ProgrammeTable};
use media::random_access::{Place, RandomAccess, RandomAccessFinder};

/// RTP time that leaps by more than this, or runs backwards, is another stream's: 5 s.
pub const LEAP_90K: u32 = 450_000;
/// Packets of PAT and PMT that are kept; of larger tables the first.
const TABLE_PACKETS_MAX: usize = 16;

/// A packet in its place.
#[derive(Debug, Clone, Copy)]
pub struct Placed<'a> {
    /// Its place; numbers count on for ever.
    pub place: Place,
    /// Whether it continues what came before, but for losses.
    pub continues: bool,
    /// A random access point that is known with this packet; it begins here or a few packets before.
    pub point: Option<RandomAccess>,
    /// Transport packets.
    pub payload: &'a [u8],
}

/// The line.
#[derive(Debug)]
pub struct Line {
    finder: RandomAccessFinder,
    table: ProgrammeTable,
    /// The packets of the newest PAT and PMTs, by PID.
    tables: Vec<(u16, Vec<PacketBytes>)>,
    last: Option<Last>,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    ssrc: u32,
    sequence: Sequence,
    place: Place,
}

impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}

impl Line {
    /// One that has seen nothing.
    pub fn new() -> Self {
        Self {
            finder: RandomAccessFinder::new(None),
            table: ProgrammeTable::new(),
            tables: Vec::new(),
            last: None,
        }
    }

    /// Takes the next packet, in order.
    pub fn push<'a>(&mut self, packet: &'a RtpPacket) -> Placed<'a> {
        let header = packet.header();
        let followed = self.last.filter(|last| {
            let step = header.timestamp_90k.wrapping_sub(last.place.timestamp_90k);
            last.ssrc == header.ssrc && !header.marker && step <= LEAP_90K
        });
        let number = match (followed, self.last) {
            (Some(last), _) => {
                last.place.number + u64::from(header.sequence.0.wrapping_sub(last.sequence.0).max(1))
            }
            // A number left out tells the finder that what has begun does not go on.
            (None, Some(last)) => last.place.number + 2,
            (None, None) => 0,
        };
        let place = Place { number, timestamp_90k: header.timestamp_90k };
        let first = self.last.is_none();
        self.last = Some(Last { ssrc: header.ssrc, sequence: header.sequence, place });
        for bytes in packet.packets() {
            self.keep_tables(bytes);
        }
        let found = self.finder.push(place, packet.payload());
        Placed {
            place,
            continues: followed.is_some() || first,
            point: found.point,
            payload: packet.payload(),
        }
    }

    /// PAT and PMTs as they came last; empty while there were none.
    pub fn tables(&self) -> Vec<u8> {
        self.tables.iter().flat_map(|(_, packets)| packets.as_flattened()).copied().collect()
    }

    fn keep_tables(&mut self, bytes: &PacketBytes) {
        let Ok(packet) = Packet::parse(bytes) else { return };
        let pid = packet.pid();
        let is_known = pid == PAT_PID || self.tables.iter().any(|(known, _)| *known == pid);
        if is_known || self.table.programmes().values().any(|programme| programme.pmt_pid == pid) {
            if !self.tables.iter().any(|(known, _)| *known == pid) && self.tables.len() < TABLE_PACKETS_MAX {
                self.tables.push((pid, Vec::new()));
            }
            if let Some((_, packets)) = self.tables.iter_mut().find(|(known, _)| *known == pid) {
                if packet.payload_unit_start() {
                    packets.clear();
                }
                // The rest of a table of which the beginning was not seen is no table.
                if (packet.payload_unit_start() || !packets.is_empty()) && packets.len() < TABLE_PACKETS_MAX {
                    packets.push(*bytes);
                }
            }
        }
        if self.table.push(packet) {
            let programmes = self.table.programmes();
            self.tables.retain(|(pid, _)| {
                *pid == PAT_PID || programmes.values().any(|programme| programme.pmt_pid == *pid)
            });
        }
    }
}

/// Where in a payload its first PAT is, in bytes.
pub fn pat_at(payload: &[u8]) -> Option<usize> {
    let packets = payload.as_chunks::<PACKET_BYTES>().0;
    let is_pat = |bytes: &PacketBytes| {
        Packet::parse(bytes).is_ok_and(|packet| packet.pid() == PAT_PID && packet.payload_unit_start())
    };
    packets.iter().position(is_pat).map(|place| place * PACKET_BYTES)
}

#[cfg(test)]
pub(crate) mod tests {
    use media::looper::Looper;
    use media::rtp::{PACKETS_MAX, PAYLOAD_TYPE_MP2T, RtpHeader};

    use super::*;

    const CLIP: &[u8] =
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../acquisition/testcard/clip.ts"));

    /// So many RTP packets of the test card, from its beginning; their time as its rate is: 10 transport packets are 1500 ticks.
    pub(crate) fn testcard(count: usize) -> Vec<RtpPacket> {
        let packets: Vec<PacketBytes> = Looper::new(CLIP).unwrap().take(count * PACKETS_MAX).collect();
        let groups = packets.chunks(PACKETS_MAX).enumerate();
        let of = |(place, group): (usize, &[PacketBytes])| {
            #[expect(clippy::cast_possible_truncation, reason = "numbers of a short test")]
            let header = RtpHeader {
                marker: false,
                payload_type: PAYLOAD_TYPE_MP2T,
                sequence: Sequence(place as u16),
                timestamp_90k: (place * PACKETS_MAX * 150) as u32,
                ssrc: 7,
            };
            RtpPacket::new(&header, group.as_flattened()).unwrap()
        };
        groups.map(of).collect()
    }

    #[test]
    fn points_are_found_and_tables_are_kept() {
        let mut line = Line::new();
        let mut points = 0;
        for packet in &testcard(2_000) {
            let placed = line.push(packet);
            assert!(placed.continues);
            points += usize::from(placed.point.is_some());
        }
        assert!(points > 3, "{points}");
        assert_eq!(line.tables().len(), 2 * PACKET_BYTES);
        assert_eq!(pat_at(&line.tables()), Some(0));
    }

    #[test]
    fn another_source_a_leap_and_a_marker_do_not_continue_a_loss_does() {
        let packets = testcard(4);
        let with = |change: &dyn Fn(&mut RtpHeader)| {
            let mut line = Line::new();
            let _ = line.push(&packets[0]);
            let mut header = packets[2].header();
            change(&mut header);
            let packet = RtpPacket::new(&header, packets[2].payload()).unwrap();
            let placed = line.push(&packet);
            (placed.continues, placed.place.number)
        };
        assert_eq!(with(&|_| ()), (true, 2));
        assert_eq!(with(&|header| header.ssrc = 8), (false, 2));
        assert_eq!(with(&|header| header.marker = true), (false, 2));
        assert_eq!(with(&|header| header.timestamp_90k = u32::MAX - 5), (false, 2));
    }
}
