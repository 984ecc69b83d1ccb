//! The last known channel list, as it is kept on disk for the time when the directory is away.
//!
//! ```text
//! file   "MASTHEAD CHANNELS 2\n" | bincode of Kept: wall clock when it was kept (ms since 1970), ChannelList
//! ```
//!
//! It holds the secrets of leases, so only its owner may read it; where it lies and that nobody else reads it is the
//! shell's part. A file that cannot be read is as good as none: it is only a cache.

use std::time::Duration;

use protocols::codec;
use protocols::p2_directory::ChannelList;
use protocols::preamble::MAX_P2_ANSWER_BYTES;
use protocols::time::ClusterTime;
use serde::{Deserialize, Serialize};

/// Largest file read: a list is at most one answer of the directory.
pub const MAX_FILE_BYTES: usize = HEADER.len() + MAX_BODY_BYTES;

const MAX_BODY_BYTES: usize = MAX_P2_ANSWER_BYTES + 64;
const HEADER: &[u8] = b"MASTHEAD CHANNELS 2\n";

/// A list and when it was kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// This host's wall clock then.
    pub wall: ClusterTime,
    /// The list.
    pub list: ChannelList,
}

impl Kept {
    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        [HEADER, &codec::encode(self)].concat()
    }

    /// What the file's bytes say; `None` when they are damaged or of another version.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        codec::decode::<Self, MAX_BODY_BYTES>(bytes.strip_prefix(HEADER)?).ok()
    }

    /// How old the list is at `wall`.
    pub fn age(&self, wall: ClusterTime) -> Duration {
        wall.since(self.wall)
    }

    /// The cluster's time at `wall`, by this host's clock: right as far as that has run evenly since.
    pub fn cluster_time(&self, wall: ClusterTime) -> ClusterTime {
        self.list.time + self.age(wall)
    }
}

/// The name of the file for the database server `address`: no two addresses share one, and none leaves the folder.
pub fn file_name(address: &str) -> String {
    let letters = address.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' => char::from(byte).to_string(),
        other => format!("_{other:02x}"),
    });
    format!("{}.channels", letters.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Kept {
        let list = ChannelList { time: ClusterTime(5_000), ..ChannelList::default() };
        Kept { wall: ClusterTime(1_000), list }
    }

    #[test]
    fn a_kept_list_reads_as_written() {
        assert_eq!(Kept::decode(&kept().encode()), Some(kept()));
    }

    #[test]
    fn the_cluster_time_goes_on_with_the_wall_clock() {
        assert_eq!(kept().cluster_time(ClusterTime(61_000)), ClusterTime(65_000));
        assert_eq!(kept().age(ClusterTime(500)), Duration::ZERO, "a clock set back makes no list young");
    }

    #[test]
    fn damaged_files_are_none() {
        let bytes = kept().encode();
        for end in 0..bytes.len() {
            assert_eq!(Kept::decode(&bytes[..end]), None);
        }
        assert_eq!(Kept::decode(&[&bytes[..], b"x"].concat()), None);
        assert_eq!(Kept::decode(b"MASTHEAD CHANNELS 2\n"), None);
    }

    #[test]
    fn file_names_are_distinct_and_stay_in_their_folder() {
        assert_eq!(file_name("10.0.0.2:7402"), "10.0.0.2_3a7402.channels");
        assert_eq!(file_name("../x"), ".._2fx.channels");
        assert_ne!(file_name("a_3a"), file_name("a:"));
    }
}
