//! A site of one host, `hall`, and what its database server and a client at 10.0.1.7 would say to it.

use std::net::IpAddr;

use protocols::authority::{ClusterKey, Lease, MacKey};
use protocols::ids::{BootId, ChannelId, HostId, Revision};
use protocols::p4_control::{
    Command, CommandOrder, Configure, DestinationOrder, Interest, InterestAnswer, InterestVerdict, Kind,
    Query, Report, Response, Sealed, seal,
};
use protocols::time::{ClusterTime, Time};
use push_server::{Config, FeedId, Input, Output, PushServer};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The channel that [`Site::configured`] carries.
pub(crate) const CHANNEL: ChannelId = ChannelId(1);
/// Cluster time at local time 0.
pub(crate) const WALL: u64 = 1_800_000_000_000;
/// Synchronisation source of the channel's packets.
pub(crate) const SSRC: u32 = 9;
const DATABASE: &str = "10.0.0.2:7404";
const CLIENT: &str = "10.0.1.7:5000";
const FAR: u64 = WALL + 12 * 3_600_000;

/// Destination 239.192.1.`last`.
pub(crate) fn destination(last: u8) -> IpAddr {
    IpAddr::from([239, 192, 1, last])
}

/// Addresses and whether they are sent to, over all plans in `out`.
pub(crate) fn sending_in_plans(out: &[Output]) -> Vec<(IpAddr, bool)> {
    let plans = out.iter().filter_map(|output| match output {
        Output::Plan { plan, .. } => Some(plan),
        _ => None,
    });
    plans.flat_map(|plan| plan.targets.iter().map(|target| (target.address, target.sending))).collect()
}

pub(crate) struct Site {
    pub(crate) server: PushServer,
    sequence: u64,
}

impl Site {
    /// A host that nobody has spoken to.
    pub(crate) fn new() -> Self {
        let config = Config { host: host(), key: ClusterKey::new([7; 32]) };
        Self { server: PushServer::new(config, BootId(0xb007)), sequence: 0 }
    }

    /// A host that knows the time and carries [`CHANNEL`] at destinations 1 and 2, both assigned.
    pub(crate) fn configured() -> Self {
        let mut site = Self::new();
        let query = site.query(site.boot_id().0, 0);
        site.datagram(Time::ZERO, &query);
        site.configure(Time::ZERO, 1, &[(1, true), (2, true)]);
        site
    }

    pub(crate) fn boot_id(&self) -> BootId {
        self.server.boot_id()
    }

    pub(crate) fn handle(&mut self, now: Time, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.server.handle(now, input, &mut out);
        out
    }

    pub(crate) fn datagram(&mut self, now: Time, bytes: &[u8]) -> Vec<Output> {
        self.datagram_from(now, DATABASE, bytes)
    }

    pub(crate) fn datagram_from(&mut self, now: Time, from: &str, bytes: &[u8]) -> Vec<Output> {
        self.handle(now, Input::Datagram { from: from.parse().unwrap(), bytes: bytes.to_vec() })
    }

    /// Ticks at every deadline up to `end`.
    pub(crate) fn run_until(&mut self, end: Time) -> Vec<(Time, Output)> {
        let mut log = Vec::new();
        while let Some((at, _)) = self.server.deadline().filter(|(at, _)| *at <= end) {
            log.extend(self.handle(at, Input::Tick).into_iter().map(|output| (at, output)));
        }
        log
    }

    fn command<B: Serialize>(&mut self, kind: Kind, host_boot: BootId, body: B) -> Vec<u8> {
        self.sequence += 1;
        let order = CommandOrder { start: 3, sequence: self.sequence };
        seal(kind, &Command { host: host(), host_boot, order, body }, &cluster().host_key(&host()))
    }

    pub(crate) fn query(&mut self, host_boot: u64, since: u64) -> Vec<u8> {
        let body = Query { time: ClusterTime(WALL), since, padding: [0; 16] };
        self.command(Kind::Query, BootId(host_boot), body)
    }

    pub(crate) fn report(&mut self, now: Time, since: u64) -> Report {
        let query = self.query(self.boot_id().0, since);
        match &self.datagram(now, &query)[..] {
            [Output::Send { bytes, .. }] => Self::response::<Report>(Kind::Report, bytes).body,
            out => panic!("{out:?}"),
        }
    }

    pub(crate) fn configure(&mut self, now: Time, revision: u64, destinations: &[(u8, bool)]) -> Vec<Output> {
        self.configure_channel(now, CHANNEL, revision, destinations)
    }

    pub(crate) fn configure_channel(
        &mut self,
        now: Time,
        channel: ChannelId,
        revision: u64,
        destinations: &[(u8, bool)],
    ) -> Vec<Output> {
        self.put(now, configure(channel, revision, destinations))
    }

    pub(crate) fn configure_datagram(&mut self, revision: u64, destinations: &[(u8, bool)]) -> Vec<u8> {
        self.command(Kind::Configure, self.boot_id(), configure(CHANNEL, revision, destinations))
    }

    /// Whatever configuration.
    pub(crate) fn put(&mut self, now: Time, body: Configure) -> Vec<Output> {
        let datagram = self.command(Kind::Configure, self.boot_id(), body);
        self.datagram(now, &datagram)
    }

    pub(crate) fn release(&mut self, now: Time, revision: u64) -> Vec<Output> {
        self.put(now, Configure { parts: 0, ..configure(CHANNEL, revision, &[]) })
    }

    pub(crate) fn response<B: DeserializeOwned>(kind: Kind, bytes: &[u8]) -> Response<B> {
        let sealed = Sealed::parse(bytes).unwrap();
        assert_eq!(sealed.kind, kind);
        sealed.open(&cluster().host_key(&host())).unwrap()
    }

    pub(crate) fn interest_datagram(last: u8, time: u64, expires: u64) -> Vec<u8> {
        let lease = lease(last, expires);
        Interest { lease, time: ClusterTime(time) }.seal(&cluster().lease_key().secret(&lease))
    }

    /// Genuine interest of the client in destination `last`, dated right.
    pub(crate) fn interest(&mut self, now: Time, last: u8) -> Vec<Output> {
        let datagram = Self::interest_datagram(last, WALL + now.as_us() / 1_000, FAR);
        self.datagram_from(now, CLIENT, &datagram)
    }

    pub(crate) fn secret_of(interest: &[u8]) -> MacKey {
        let lease = Interest::peek(&Sealed::parse(interest).unwrap()).unwrap().lease;
        cluster().lease_key().secret(&lease)
    }

    pub(crate) fn verdict(out: &[Output], last: u8) -> Option<InterestVerdict> {
        let secret = cluster().lease_key().secret(&lease(last, FAR));
        out.iter().find_map(|output| match output {
            Output::Send { bytes, .. } => Sealed::parse(bytes)
                .unwrap()
                .open::<InterestAnswer>(&secret)
                .ok()
                .map(|answer| answer.verdict),
            _ => None,
        })
    }

    pub(crate) fn feed_opened(&mut self, now: Time, feed: u64) -> Vec<Output> {
        let peer = "roof".parse().unwrap();
        self.handle(now, Input::FeedOpened { channel: CHANNEL, feed: FeedId(feed), peer, ssrc: SSRC })
    }
}

/// The key of the site.
pub(crate) fn cluster() -> ClusterKey {
    ClusterKey::new([7; 32])
}

/// The client's lease for destination `last`.
pub(crate) fn lease(last: u8, expires: u64) -> Lease {
    Lease {
        client: IpAddr::from([10, 0, 1, 7]),
        channel: CHANNEL,
        destination: destination(last),
        expires: ClusterTime(expires),
    }
}

fn host() -> HostId {
    "hall".parse().unwrap()
}

/// A whole configuration in one part, without recording.
pub(crate) fn configure(channel: ChannelId, revision: u64, destinations: &[(u8, bool)]) -> Configure {
    let order = |(last, assigned): &(u8, bool)| DestinationOrder {
        address: destination(*last),
        interface: None,
        ttl: 1,
        dscp: 34,
        window_ms: 10,
        broadcast: false,
        assigned: *assigned,
        membership: false,
        announce: false,
    };
    let destinations = destinations.iter().map(order).collect();
    Configure {
        channel,
        revision: Revision(revision),
        part: 0,
        parts: 1,
        port: 7601,
        destinations,
        record: None,
        session: None,
    }
}
