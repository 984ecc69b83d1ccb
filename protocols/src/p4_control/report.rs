//! Query and report: the database server learns how a host is, and what has changed there.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{ChannelId, Revision};
use crate::recording::{Extent, RecordingFault};
use crate::time::ClusterTime;

/// How often the database server queries each host.
pub const QUERY_INTERVAL: Duration = Duration::from_millis(250);
/// A host that has answered nothing for this long is taken for dead.
pub const HOST_TIMEOUT: Duration = Duration::from_secs(1);
/// Items in one report.
pub const ITEMS_PER_REPORT: usize = 18;

/// "How are you, and what has changed?"
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// The cluster's time, by which the host sets its cluster clock.
    pub time: ClusterTime,
    /// The highest [`Report::up_to`] that the database server has.
    pub since: u64,
    /// Makes the query as long as the empty report that may answer it.
    pub padding: [u8; 16],
}

/// What has changed at a host, oldest change first, and a few unchanged items in turn so that counters stay fresh.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Number of the newest change in this report; give it back in the next query.
    pub up_to: u64,
    /// More changes wait: query again at once.
    pub more: bool,
    /// At most [`ITEMS_PER_REPORT`].
    pub items: Vec<ReportItem>,
}

/// One line of a report. Counters run from the host's start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReportItem {
    /// A push server.
    Server {
        /// Its channel.
        channel: ChannelId,
        /// The configuration that it carries out.
        revision: Revision,
        /// Whether packets arrive by P3.
        fed: bool,
        /// RTP packets received by P3.
        packets: u64,
    },
    /// One of its destinations.
    Destination {
        /// The channel.
        channel: ChannelId,
        /// The destination.
        address: IpAddr,
        /// Whether packets are being sent: interest holds.
        sending: bool,
        /// RTP packets sent.
        packets: u64,
        /// Why it cannot be sent to, though it should be: a missing interface, no permission.
        fault: Option<DestinationFault>,
    },
    /// The host's recorder; told once it has something to say.
    Recorder {
        /// Why it does not record, though it should.
        fault: Option<RecordingFault>,
    },
    /// The host knows what it holds of a channel that it records: once no more changes wait, all its extents have been
    /// told, and what is known from earlier lives of it counts no more.
    Archive {
        /// The channel.
        channel: ChannelId,
    },
    /// One extent.
    Extent {
        /// Names it for as long as it grows, shrinks or joins with others; below [`crate::recording::MAX_EXTENTS`].
        slot: u16,
        /// What is held.
        extent: Extent,
    },
    /// An extent is gone.
    Vacant {
        /// Its channel.
        channel: ChannelId,
        /// Its slot.
        slot: u16,
    },
}

/// What is wrong with a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DestinationFault {
    /// The interface named in the topology does not exist at the host.
    NoInterface,
    /// The operating system forbids it.
    NotPermitted,
    /// No route, or the interface is down.
    Unreachable,
    /// Another error of the operating system.
    Other,
    /// The host has more to send than it can, and sheds whole channels, the newest first.
    Overloaded,
    /// It can be sent to, but members of the group, who should count as viewers, cannot be heard.
    Deaf,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::ClusterKey;
    use crate::codec::encode;
    use crate::ids::{BootId, HostId};
    use crate::p4_control::{Command, CommandOrder, Kind, MAX_DATAGRAM_BYTES, Response, seal};
    use crate::recording::Digest;

    fn cluster() -> ClusterKey {
        ClusterKey::new([7; 32])
    }

    #[test]
    fn an_empty_report_is_no_longer_than_the_query() {
        let host: HostId = "hall".parse().unwrap();
        let key = cluster().host_key(&host);
        let query = Query { time: ClusterTime(1), since: 0, padding: [0; 16] };
        let order = CommandOrder { start: 1, sequence: 1 };
        let command = Command { host: host.clone(), host_boot: BootId(0), order, body: query };
        let response = Response { host, host_boot: BootId(1), order, body: Report::default() };
        assert!(seal(Kind::Report, &response, &key).len() <= seal(Kind::Query, &command, &key).len());
    }

    #[test]
    fn the_largest_report_fits_a_datagram() {
        let host: HostId = "h".repeat(32).parse().unwrap();
        let key = cluster().host_key(&host);
        let order = CommandOrder { start: 1, sequence: 1 };
        let item = ReportItem::Destination {
            channel: ChannelId(1),
            address: "ff15::1".parse().unwrap(),
            sending: true,
            packets: 1,
            fault: Some(DestinationFault::Other),
        };
        for item in [item, extent()] {
            let body = Report { up_to: 1, more: true, items: vec![item; ITEMS_PER_REPORT] };
            let response = Response { host: host.clone(), host_boot: BootId(1), order, body };
            assert!(seal(Kind::Report, &response, &key).len() <= MAX_DATAGRAM_BYTES);
        }
    }

    fn extent() -> ReportItem {
        let extent = Extent {
            channel: ChannelId(7),
            from: ClusterTime(1),
            to: ClusterTime(2),
            segments: 3,
            bytes: 4,
            digest: Digest([5; 16]),
        };
        ReportItem::Extent { slot: 6, extent }
    }

    #[test]
    fn items_of_a_recorder_on_the_wire() {
        let mut expected = vec![4, 0, 0, 0, 6, 0];
        expected.extend(encode(&7_u32));
        expected.extend([1_u64, 2].iter().flat_map(encode));
        expected.extend(encode(&3_u32));
        expected.extend(encode(&4_u64));
        expected.extend([5; 16]);
        assert_eq!(encode(&extent()), expected);
        let full = ReportItem::Recorder { fault: Some(RecordingFault::DiskFull) };
        assert_eq!(encode(&full), [2, 0, 0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(encode(&ReportItem::Archive { channel: ChannelId(7) }), [3, 0, 0, 0, 7, 0, 0, 0]);
        assert_eq!(
            encode(&ReportItem::Vacant { channel: ChannelId(7), slot: 6 }),
            [5, 0, 0, 0, 7, 0, 0, 0, 6, 0]
        );
    }
}
