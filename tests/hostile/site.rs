//! A small site and everything genuine that is said in it, for attackers to record.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use media::Sequence;
use media::rtcp::generic_nack;
use media::rtp::{RtpHeader, RtpPacket};
use protocols::authority::{ClusterKey, LEASE_LIFETIME, Lease, RecordingLease};
use protocols::ids::{BootId, ChannelId, HostId, Revision};
use protocols::p4_control::{
    Command, CommandOrder, Configure, Configured, DestinationOrder, Interest, InterestAnswer,
    InterestVerdict, Kind, Missing, MissingNumbers, PlayOrder, PlayRepair, PlayRequest, PlayStart, Query,
    RecordPart, Repair, Report, ReportItem, Response, SessionId, seal,
};
use protocols::p6_broadcast::Announcement;
use protocols::recording::{Digest, Extent, RecordPeer, RecordingFault, Span};
use protocols::time::{ClusterTime, Time};
use serde::Serialize;

/// Cluster time at local time 0.
pub(crate) const WALL: ClusterTime = ClusterTime(1_800_000_000_000);
/// The channel that the tests watch.
pub(crate) const CHANNEL: ChannelId = ChannelId(1);
/// Boot id of the push server host.
pub(crate) const BOOT: BootId = BootId(0xb007);
/// Where the database server's datagrams come from.
pub(crate) const DATABASE: &str = "10.0.0.2:7404";
/// Where the push server's datagrams come from.
pub(crate) const HALL: &str = "10.0.1.1:7404";

/// The site's key.
pub(crate) fn cluster() -> ClusterKey {
    ClusterKey::new([7; 32])
}

/// Somebody else's key.
pub(crate) fn foreign() -> ClusterKey {
    ClusterKey::new([8; 32])
}

/// The push server host.
pub(crate) fn hall() -> HostId {
    "hall".parse().unwrap()
}

/// The cluster's time at local time `now`.
pub(crate) fn wall(now: Time) -> ClusterTime {
    WALL + now.since_origin()
}

/// A viewer and the destination of its network: the first three are of IPv4, the fourth of IPv6.
pub(crate) fn viewer(number: usize) -> (SocketAddr, IpAddr) {
    if number == 3 {
        return ("[fd00::7]:5000".parse().unwrap(), "ff15::1".parse().unwrap());
    }
    let last = u8::try_from(number % 200).unwrap();
    (SocketAddr::from(([10, 0, 1, 10 + last], 5_000)), IpAddr::from([239, 192, 1, last]))
}

/// What the database server of `key` says to [`hall`].
pub(crate) struct Commands {
    key: ClusterKey,
    sequence: u64,
}

impl Commands {
    /// From its third start on.
    pub(crate) fn new(key: ClusterKey) -> Self {
        Self { key, sequence: 0 }
    }

    fn command<B: Serialize>(&mut self, kind: Kind, host_boot: BootId, body: B) -> Vec<u8> {
        self.sequence += 1;
        let order = CommandOrder { start: 3, sequence: self.sequence };
        seal(kind, &Command { host: hall(), host_boot, order, body }, &self.key.host_key(&hall()))
    }

    pub(crate) fn query(&mut self, now: Time, host_boot: BootId, since: u64) -> Vec<u8> {
        self.command(Kind::Query, host_boot, Query { time: wall(now), since, padding: [0; 16] })
    }

    /// Part 0 of 2 is half a configuration.
    pub(crate) fn configure(&mut self, channel: ChannelId, revision: u64, parts: u8) -> Vec<u8> {
        let order = |number| DestinationOrder {
            address: viewer(number).1,
            interface: Some("eth0".to_owned()),
            ttl: 4,
            dscp: 34,
            window_ms: 10,
            broadcast: false,
            assigned: number != 2,
            membership: false,
            announce: false,
        };
        let destinations = (0..if parts == 0 { 0 } else { 4 }).map(order).collect();
        let body = Configure {
            channel,
            revision: Revision(revision),
            part: 0,
            parts,
            port: 7601,
            destinations,
            record: (parts > 0).then(record),
            session: None,
        };
        self.command(Kind::Configure, BOOT, body)
    }
}

/// An order to record, with one of each that it may list.
fn record() -> RecordPart {
    let span = Span { from: WALL, to: WALL + Duration::from_mins(1) };
    let peer = RecordPeer { host: "yard".parse().unwrap(), feed: "10.0.1.2:7403".parse().unwrap() };
    RecordPart { keep_s: 86_400, protected: vec![span], peers: vec![peer] }
}

/// A lease of viewer `number`.
pub(crate) fn lease(number: usize, expires: ClusterTime) -> Lease {
    let (client, destination) = viewer(number);
    Lease { client: client.ip(), channel: CHANNEL, destination, expires }
}

/// Interest of viewer `number` under `key`.
pub(crate) fn interest(key: &ClusterKey, now: Time, number: usize) -> Vec<u8> {
    let lease = lease(number, WALL + LEASE_LIFETIME);
    Interest { lease, time: wall(now) }.seal(&key.lease_key().secret(&lease))
}

/// Viewer `number` misses packets, under `key`.
pub(crate) fn repair(key: &ClusterKey, now: Time, number: usize) -> Vec<u8> {
    let lease = lease(number, WALL + LEASE_LIFETIME);
    let missing = vec![Missing { first: 7, following: 0b101 }, Missing { first: 90, following: 0 }];
    let repair = Repair { lease, time: wall(now), rtt_us: 2_000, ssrc: 0x5eed, missing };
    repair.seal(&key.lease_key().secret(&lease))
}

/// What viewer `number` may have played.
pub(crate) fn recording_lease(number: usize) -> RecordingLease {
    let (from, to) = (WALL, WALL + Duration::from_hours(1));
    let client = viewer(number).0.ip();
    RecordingLease { client, channel: CHANNEL, from, to, expires: WALL + LEASE_LIFETIME }
}

/// Viewer `number` has a recording played, under `key`.
pub(crate) fn play(key: &ClusterKey, now: Time, number: usize) -> Vec<u8> {
    let lease = recording_lease(number);
    let start = PlayStart::Date(WALL + Duration::from_mins(1));
    let order = PlayOrder::Play { start, until: lease.to, delta_p_ns: 2_105_600 };
    let request = PlayRequest { lease, time: wall(now), session: SessionId(7), sequence: 1, order };
    request.seal(&key.lease_key().recording_secret(&lease))
}

/// Viewer `number` misses packets of that, under `key`.
pub(crate) fn play_repair(key: &ClusterKey, now: Time, number: usize) -> Vec<u8> {
    let lease = recording_lease(number);
    let missing = MissingNumbers::cover([3, 4, 9, 200]);
    let repair = PlayRepair { lease, time: wall(now), session: SessionId(7), rtt_us: 2_000, missing };
    repair.seal(&key.lease_key().recording_secret(&lease))
}

/// A receiver of RTP misses packets of the stream `ssrc`: report and NACK.
pub(crate) fn nack(ssrc: u32) -> Vec<u8> {
    let report = [0x80, 201, 0, 1, 0, 0, 0, 7];
    [&report[..], &generic_nack(7, ssrc, &[(7, 0b101), (90, 0)])].concat()
}

/// What [`hall`] answers viewer 0 under `key`.
pub(crate) fn answer(key: &ClusterKey, now: Time, verdict: InterestVerdict) -> Vec<u8> {
    let secret = key.lease_key().secret(&lease(0, WALL + LEASE_LIFETIME));
    seal(Kind::InterestAnswer, &InterestAnswer { channel: CHANNEL, time: wall(now), verdict }, &secret)
}

/// Every verdict.
pub(crate) fn verdicts() -> [InterestVerdict; 4] {
    let extended = InterestVerdict::Extended { expires: WALL + LEASE_LIFETIME, masked_secret: [9; 32] };
    [extended, InterestVerdict::Clock, InterestVerdict::NotAssigned, InterestVerdict::Expired]
}

/// What [`hall`] reports under `key`, in answer to the command of number `sequence`.
pub(crate) fn report(key: &ClusterKey, sequence: u64, up_to: u64) -> Vec<u8> {
    let destination = |number| ReportItem::Destination {
        channel: CHANNEL,
        address: viewer(number).1,
        sending: true,
        packets: up_to,
        fault: None,
    };
    let server = ReportItem::Server { channel: CHANNEL, revision: Revision(1), fed: true, packets: up_to };
    let (from, to) = (WALL, WALL + Duration::from_mins(1));
    let (segments, bytes, digest) = (1, up_to, Digest::default());
    let extent = Extent { channel: CHANNEL, from, to, segments, bytes, digest };
    let held = [
        ReportItem::Recorder { fault: Some(RecordingFault::DiskFull) },
        ReportItem::Archive { channel: CHANNEL },
        ReportItem::Extent { slot: 0, extent },
        ReportItem::Vacant { channel: CHANNEL, slot: 1 },
    ];
    let items = [server, destination(0), destination(3)].into_iter().chain(held).collect();
    response(key, Kind::Report, sequence, Report { up_to, more: false, items })
}

/// Its acknowledgement of a configuration.
pub(crate) fn configured(key: &ClusterKey, sequence: u64) -> Vec<u8> {
    let body = Configured { channel: CHANNEL, part: 0, revision: Revision(1), in_force: Revision(1) };
    response(key, Kind::Configured, sequence, body)
}

fn response<B: Serialize>(key: &ClusterKey, kind: Kind, sequence: u64, body: B) -> Vec<u8> {
    let order = CommandOrder { start: 3, sequence };
    seal(kind, &Response { host: hall(), host_boot: BOOT, order, body }, &key.host_key(&hall()))
}

/// An announcement that interest in `channel` holds.
pub(crate) fn announcement(key: &ClusterKey, now: Time, channel: ChannelId) -> Vec<u8> {
    let held_for = Duration::from_millis(4_750);
    let announcement = Announcement { channel, held_for, boot_id: BOOT, time: wall(now) };
    announcement.seal(&key.announce_key(channel)).to_vec()
}

/// An RTP packet of the channel, whose payload tells its number.
pub(crate) fn rtp(number: u64) -> RtpPacket {
    let header = RtpHeader {
        marker: false,
        payload_type: 33,
        sequence: Sequence::of_extended(number),
        timestamp_90k: u32::try_from(number & 0xffff_ffff).unwrap(),
        ssrc: 0x5eed,
    };
    let mut payload = [0x47; 1316];
    payload[4..12].copy_from_slice(&number.to_be_bytes());
    RtpPacket::new(&header, &payload).unwrap()
}

/// One of each kind of everything, said under `key` about `now`: what an attacker records on the wires of a site, or makes
/// with a key of its own.
pub(crate) fn everything(key: &ClusterKey, now: Time) -> Vec<Vec<u8>> {
    let mut commands = Commands::new(key.clone());
    let mut all = vec![
        commands.query(now, BOOT, 0),
        commands.query(now, BootId(0), 7),
        commands.configure(CHANNEL, 1, 1),
        commands.configure(ChannelId(2), 9, 2),
        commands.configure(ChannelId(3), 9, 0),
        report(key, 1, 5),
        configured(key, 2),
        announcement(key, now, CHANNEL),
        announcement(key, now, ChannelId(2)),
        rtp(1).as_bytes().to_vec(),
    ];
    all.extend((0..4).map(|number| interest(key, now, number)));
    all.extend(verdicts().map(|verdict| answer(key, now, verdict)));
    all.extend([repair(key, now, 0), nack(0x5eed)]);
    all.extend([play(key, now, 0), play_repair(key, now, 0), play(key, now, 3)]);
    all
}
