//! What a host holds of a channel, for the report: maximal rows of whole segments, each going on where the one before ends.

use protocols::ids::ChannelId;
use protocols::recording::{Digest, Extent};
use protocols::time::ClusterTime;

use super::segment::Segment;

/// The rows in `segments` of `channel`, which come by name; those that are damaged do not come. Rows that last no
/// millisecond are left out.
pub fn extents<'a>(channel: ChannelId, segments: impl IntoIterator<Item = &'a Segment>) -> Vec<Extent> {
    let mut rows: Vec<(Extent, blake3::Hasher)> = Vec::new();
    let mut before: Option<&Segment> = None;
    for segment in segments.into_iter().filter(|segment| segment.is_whole()) {
        match rows.last_mut().filter(|_| before.is_some_and(|before| segment.continues(before))) {
            Some((row, hasher)) => {
                row.to = ClusterTime(segment.end_date_ms);
                row.segments += 1;
                row.bytes += segment.length_bytes;
                hasher.update(&segment.hash);
            }
            None => rows.push(row(channel, segment)),
        }
        before = Some(segment);
    }
    let finished = |(row, hasher): (Extent, blake3::Hasher)| {
        let (digest, _) =
            hasher.finalize().as_bytes().split_first_chunk().map(|(first, rest)| (*first, rest))?;
        Some(Extent { digest: Digest(digest), ..row }).filter(Extent::is_sound)
    };
    rows.into_iter().filter_map(finished).collect()
}

fn row(channel: ChannelId, segment: &Segment) -> (Extent, blake3::Hasher) {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&segment.hash);
    let row = Extent {
        channel,
        from: ClusterTime(segment.date_ms),
        to: ClusterTime(segment.end_date_ms),
        segments: 1,
        bytes: segment.length_bytes,
        digest: Digest::default(),
    };
    (row, hasher)
}

#[cfg(test)]
mod tests {
    use super::super::segment::SegmentName;
    use super::*;

    const CHANNEL: ChannelId = ChannelId(4);

    fn segment(ssrc: u32, number: u64, packets: u32, missing: u32) -> Segment {
        let date_ms = number * 10;
        Segment {
            name: SegmentName::new(ssrc, number, date_ms),
            date_ms,
            end_date_ms: date_ms + u64::from(packets + missing) * 10,
            packets,
            missing,
            length_bytes: u64::from(packets),
            hash: [u8::try_from(number / 100).unwrap(); 32],
        }
    }

    fn rows(segments: &[Segment]) -> Vec<(u64, u64, u32)> {
        extents(CHANNEL, segments).iter().map(|row| (row.from.0, row.to.0, row.segments)).collect()
    }

    #[test]
    fn segments_that_go_on_make_a_row_and_holes_and_sources_end_it() {
        let all = [
            segment(1, 100, 100, 0),
            segment(1, 200, 100, 0),
            segment(1, 300, 90, 10),
            segment(1, 400, 100, 0),
            segment(2, 500, 100, 0),
            segment(2, 600, 100, 0),
            segment(2, 701, 99, 0),
        ];
        assert_eq!(rows(&all), [(1_000, 3_000, 2), (4_000, 5_000, 1), (5_000, 7_000, 2), (7_010, 8_000, 1)]);
        assert_eq!(rows(&[]), []);
        assert_eq!((extents(CHANNEL, &all)[0].bytes, extents(CHANNEL, &all)[0].channel), (200, CHANNEL));
    }

    #[test]
    fn equal_rows_have_equal_digests_and_another_hash_another() {
        let all = [segment(1, 100, 100, 0), segment(1, 200, 100, 0)];
        let mut other = all;
        other[1].hash[31] ^= 1;
        assert_eq!(extents(CHANNEL, &all), extents(CHANNEL, &all));
        assert_ne!(extents(CHANNEL, &all)[0].digest, extents(CHANNEL, &other)[0].digest);
        assert_ne!(extents(CHANNEL, &all)[0].digest, extents(CHANNEL, &all[..1])[0].digest);
    }
}
