//! What of a recording can be played now, and by whom, the best first.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::net::IpAddr;

use protocols::ids::{ChannelId, HostId};
use protocols::p2_directory::{
    MAX_PLAY_HOLES, MAX_PLAY_SERVERS, OPEN_END, PlayServer, PlayTarget, PresentationRefusal as Refusal,
};
use protocols::recording::Span;
use protocols::time::ClusterTime;
use protocols::topology::{NetworkId, PushHost, Topology};

use super::book::Book;
use super::held::Held;
use super::programmes::{holes, millis};
use super::{Catalogue, EDGE, Sight, count, recorders};
use crate::assignment::rank;
use crate::presence::Host;

/// Who wants to play what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) target: PlayTarget,
    /// The caller.
    pub(crate) client: IpAddr,
    /// Its network.
    pub(crate) network: &'a NetworkId,
    /// Whether hosts that have not been heard in this life may still speak up, and count as if they had.
    pub(crate) in_grace: bool,
}

/// What can be played.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Playable {
    pub(crate) channel: ChannelId,
    /// The programme recording's.
    pub(crate) title: Option<String>,
    /// What was asked for, to [`OPEN_END`] when no end was.
    pub(crate) asked: Span,
    /// What of it can be had.
    pub(crate) span: Span,
    /// Whether more is to come.
    pub(crate) growing: bool,
    /// What within nobody holds, ascending.
    pub(crate) holes: Vec<Span>,
    /// Mean of what is held, bytes/s; 0: nothing is.
    pub(crate) rate_bytes_per_s: u64,
    /// The best first; at least one.
    pub(crate) servers: Vec<PlayServer>,
}

impl Catalogue {
    /// What can be played of what is asked for.
    pub(crate) fn playable(
        &mut self,
        question: &Question<'_>,
        sight: Sight<'_>,
    ) -> Result<Playable, Refusal> {
        let (channel, asked, title) = self.asked(question, sight.topology)?;
        if recorders(channel, sight.topology).next().is_none() {
            return Err(Refusal::NotRecorded(channel));
        }
        if asked.is_empty() {
            return Err(Refusal::EndsTooEarly);
        }
        if asked.from > sight.time {
            return Err(Refusal::NotBegun);
        }
        let recording = self.recording(channel, question, sight);
        let parts = parts(self.channels.get_mut(&channel).map(Book::held).unwrap_or_default(), asked);
        let edge = Edge::new(asked, &recording, sight.time);
        let span = edge.span(&parts).ok_or_else(|| none_held(channel, asked, sight))?;
        let covered = Span::merged(parts.iter().map(|part| part.span));
        Ok(Playable {
            channel,
            title,
            asked,
            span,
            growing: edge.grows,
            holes: longest(holes(Span { to: span.to.min(edge.certain_to), ..span }, &covered)),
            rate_bytes_per_s: rate(&parts),
            servers: servers(channel, &parts, &edge, question, sight)?,
        })
    }

    /// Channel, dates and title of what is asked for, if it is on the caller's list.
    fn asked(
        &self,
        question: &Question<'_>,
        topology: &Topology,
    ) -> Result<(ChannelId, Span, Option<String>), Refusal> {
        let listed = topology.channels_of(question.network);
        match question.target {
            PlayTarget::Programme(id) => {
                let programme = self.programmes.get(id).filter(|known| listed.contains(&known.channel));
                let programme = programme.ok_or(Refusal::UnknownRecording(id))?;
                Ok((programme.channel, programme.span, Some(programme.title.clone())))
            }
            PlayTarget::Channel { channel, from, to } if listed.contains(&channel) => {
                Ok((channel, Span { from, to: to.unwrap_or(OPEN_END) }, None))
            }
            PlayTarget::Channel { channel, .. } => Err(Refusal::UnknownChannel(channel)),
        }
    }

    /// Hosts that record `channel`, or did so until packets failed to come, as far as they have told.
    fn recording(&self, channel: ChannelId, question: &Question<'_>, sight: Sight<'_>) -> BTreeSet<HostId> {
        let records = |host: &&PushHost| {
            let known = sight.presence.get(&host.id);
            let server = known.and_then(|known| known.server(channel));
            // Where packets fail to come the segment that they would have completed is held, and not told.
            let fed = server.is_some_and(|server| server.fed || server.packets > 0);
            let unheard = known.is_none_or(|known| known.boot.is_none());
            answers(known, question) && (fed || unheard) && !self.faults.contains_key(&host.id)
        };
        recorders(channel, sight.topology).filter(records).map(|host| host.id.clone()).collect()
    }
}

/// What is held of what is asked for, cut to it.
fn parts(held: &[Held], asked: Span) -> Vec<Held> {
    let first = held.partition_point(|held| held.span.to <= asked.from);
    let within = held[first..].iter().take_while(|held| held.span.from < asked.to);
    let cut = |held: &Held| {
        let span = held.span.overlap(asked);
        let (part, whole) = (span.length().as_millis(), held.span.length().as_millis().max(1));
        let bytes = u64::try_from(u128::from(held.bytes) * part / whole).unwrap_or(u64::MAX);
        Held { span, bytes, ..held.clone() }
    };
    within.map(cut).collect()
}

/// The newest minutes, of which more is held than has been told.
struct Edge<'a> {
    asked: Span,
    /// Who records at this moment.
    recording: &'a BTreeSet<HostId>,
    /// What is newer may be held though nobody has told.
    newest: ClusterTime,
    /// Where that ends, if it is asked for and somebody records.
    live_to: Option<ClusterTime>,
    grows: bool,
    /// What is not held before this is held by nobody.
    certain_to: ClusterTime,
}

impl<'a> Edge<'a> {
    fn new(asked: Span, recording: &'a BTreeSet<HostId>, time: ClusterTime) -> Self {
        let newest = ClusterTime(time.0.saturating_sub(millis(EDGE)));
        let somebody = !recording.is_empty();
        Self {
            asked,
            recording,
            newest,
            live_to: (somebody && asked.to > newest).then(|| asked.to.min(time)),
            grows: somebody && asked.to > time,
            certain_to: if somebody { newest } else { OPEN_END },
        }
    }

    /// What can be had when `parts` are known to be held; `None`: nothing.
    fn span(&self, parts: &[Held]) -> Option<Span> {
        let first = parts.first().map(|part| part.span.from);
        let last = parts.last().map(|part| part.span.to);
        let from = first.or_else(|| self.live_to.map(|_| self.asked.from.max(self.newest)))?;
        let to = last.max(self.live_to)?;
        Some(Span { from, to })
    }

    /// Whether `host` holds, or may be taken to hold, all of `parts`.
    fn holds_all(&self, host: &HostId, parts: &[Held]) -> bool {
        let due = if self.recording.contains(host) { self.newest } else { OPEN_END };
        parts.iter().all(|part| part.span.from >= due || part.holders.contains(host))
    }
}

/// Why nothing is held.
fn none_held(channel: ChannelId, asked: Span, sight: Sight<'_>) -> Refusal {
    let keep = recorders(channel, sight.topology).filter_map(|host| host.record).map(|record| record.keep);
    match keep.max() {
        Some(keep) if asked.to + keep <= sight.time => Refusal::Expired,
        _ => Refusal::NothingHeld,
    }
}

fn rate(parts: &[Held]) -> u64 {
    let bytes: u128 = parts.iter().map(|part| u128::from(part.bytes)).sum();
    let ms: u128 = parts.iter().map(|part| part.span.length().as_millis()).sum();
    u64::try_from(bytes * 1_000 / ms.max(1)).unwrap_or(u64::MAX)
}

/// The longest of `holes`, in their order.
fn longest(mut holes: Vec<Span>) -> Vec<Span> {
    if holes.len() > MAX_PLAY_HOLES {
        holes.sort_by_key(|hole| Reverse(hole.length()));
        holes.truncate(MAX_PLAY_HOLES);
        holes.sort_unstable();
    }
    holes
}

/// Who can play, the best first.
fn servers(
    channel: ChannelId,
    parts: &[Held],
    edge: &Edge<'_>,
    question: &Question<'_>,
    sight: Sight<'_>,
) -> Result<Vec<PlayServer>, Refusal> {
    let holders = parts.iter().flat_map(|part| &part.holders);
    let recording = edge.live_to.map(|_| edge.recording).into_iter().flatten();
    let all: BTreeSet<&HostId> = holders.chain(recording).collect();
    let carriers = sight.topology.carriers(channel, question.network);
    let serves = |id: &HostId| carriers.iter().any(|(host, _)| host == id);
    let name = question.client.to_canonical().to_string();
    let mut found: Vec<_> = all
        .iter()
        .filter(|host| answers(sight.presence.get(host), question))
        .filter_map(|host| sight.topology.hosts.get(*host))
        .map(|host| {
            let holds_all = edge.holds_all(&host.id, parts);
            let near = common_prefix(host.address, question.client);
            let order =
                Reverse((holds_all, !host.drain, serves(&host.id), near, rank(channel, &name, &host.id)));
            (order, PlayServer { host: host.id.clone(), control: host.control(), holds_all })
        })
        .collect();
    if found.is_empty() {
        return Err(Refusal::NoServer { holders: count(all.len()) });
    }
    found.sort_by_key(|(order, _)| *order);
    Ok(found.into_iter().map(|(_, server)| server).take(MAX_PLAY_SERVERS).collect())
}

/// Whether a host answers, or may still turn out to.
fn answers(host: Option<&Host>, question: &Question<'_>) -> bool {
    host.is_some_and(|host| host.alive || (question.in_grace && host.boot.is_none()))
}

/// Leading bits that two addresses of one family have in common; 0 for two families.
fn common_prefix(a: IpAddr, b: IpAddr) -> u32 {
    match (a.to_canonical(), b.to_canonical()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use protocols::recording::RecordingId;

    use super::super::trial::{Bench, MINUTE, NOW, ONE, SITE, span};
    use super::*;
    use crate::record::Remembered;

    const VIEWER: &str = "10.0.1.7";

    /// Hosts that count as answering and recording.
    fn bench() -> Bench {
        let mut bench = Bench::new(Remembered::default());
        bench.await_hosts(SITE);
        bench
    }

    /// From so many minutes before now, to so many or for as long as there is more.
    fn since(from: u64, to: Option<u64>) -> PlayTarget {
        let ago = |minutes| span(minutes, minutes).from;
        PlayTarget::Channel { channel: ONE, from: ago(from), to: to.map(ago) }
    }

    fn names(playable: &Playable) -> Vec<(&str, bool)> {
        playable.servers.iter().map(|server| (server.host.as_str(), server.holds_all)).collect()
    }

    #[test]
    fn who_holds_all_that_is_asked_for_comes_first() {
        let mut bench = bench();
        bench.tell("hall", &[(0, 600, 0)]);
        bench.tell("yard", &[(0, 600, 300)]);
        let playable = bench.playable(VIEWER, since(500, Some(100))).unwrap();
        assert_eq!(names(&playable), [("hall", true), ("yard", false)]);
        assert_eq!((playable.asked, playable.span), (span(500, 100), span(500, 100)));
        assert!(!playable.growing && playable.holes.is_empty());
        // Of what both hold, each is the first of some clients.
        let first = |n: u8, bench: &mut Bench| {
            let playable = bench.playable(&format!("10.0.1.{n}"), since(500, Some(400))).unwrap();
            assert!(playable.servers.iter().all(|server| server.holds_all));
            playable.servers[0].host.clone()
        };
        let hall = (1..=200).filter(|n| first(*n, &mut bench).as_str() == "hall").count();
        assert!((70..=130).contains(&hall), "{hall} of 200");
    }

    #[test]
    fn of_equals_the_one_that_serves_the_clients_network_comes_first_and_then_the_nearest() {
        let (hall, yard) = SITE.split_once("id = \"yard\"").unwrap();
        let far = yard.replace("10.0.1.", "10.0.2.");
        let text = format!("{hall}id = \"yard\"{far}");
        let mut bench = bench();
        bench.await_hosts(&text);
        bench.tell("hall", &[(0, 600, 0)]);
        bench.tell("yard", &[(0, 600, 0)]);
        let first = |client: &str, bench: &mut Bench| {
            bench.playable(client, since(500, Some(400))).unwrap().servers[0].host.to_string()
        };
        for n in 1..20 {
            assert_eq!(first(&format!("10.0.1.{n}"), &mut bench), "hall");
            assert_eq!(first(&format!("10.0.2.{n}"), &mut bench), "yard");
        }
        let bits = |a: &str, b: &str| common_prefix(a.parse().unwrap(), b.parse().unwrap());
        assert_eq!((bits("10.0.1.1", "10.0.1.1"), bits("10.0.1.1", "::ffff:10.0.1.0")), (32, 31));
        assert_eq!((bits("fd00::1", "fd00::1"), bits("fd00::1", "10.0.1.1")), (128, 0));
    }

    #[test]
    fn a_recording_that_grows_goes_to_the_present_though_the_newest_is_not_told_yet() {
        let mut bench = bench();
        bench.tell("hall", &[(0, 600, 1)]);
        bench.tell("yard", &[(0, 600, 2)]);
        let playable = bench.playable(VIEWER, since(10, None)).unwrap();
        assert!(playable.growing && playable.servers.iter().all(|server| server.holds_all));
        assert_eq!((playable.span, playable.asked.to, playable.holes), (span(10, 0), OPEN_END, vec![]));
        let all = PlayTarget::Channel { channel: ONE, from: ClusterTime(0), to: None };
        assert_eq!(bench.playable(VIEWER, all).unwrap().span, span(600, 0));
        // Only just begun: nothing is told at all.
        bench.tell("hall", &[]);
        bench.tell("yard", &[]);
        let begun = bench.playable(VIEWER, all).unwrap();
        assert_eq!((begun.span, begun.servers.len(), begun.rate_bytes_per_s), (span(3, 0), 2, 0));
        // Hosts of which nothing is known do not record.
        bench.tell("hall", &[(0, 600, 1)]);
        bench.presence = crate::presence::Presence::new();
        assert_eq!(bench.playable(VIEWER, all), Err(Refusal::NoServer { holders: 1 }));
    }

    #[test]
    fn a_host_with_a_full_disk_does_not_make_a_recording_grow() {
        let mut bench = bench();
        bench.tell("hall", &[(0, 600, 1)]);
        for host in ["hall", "yard"] {
            let fault = Some(protocols::recording::RecordingFault::DiskFull);
            assert!(bench.catalogue.fault(&host.parse().unwrap(), fault));
        }
        let playable = bench.playable(VIEWER, since(10, None)).unwrap();
        assert_eq!((playable.growing, playable.span), (false, span(10, 1)));
        assert_eq!(names(&playable), [("hall", true)]);
    }

    #[test]
    fn holes_are_told_but_for_the_newest_minutes() {
        let mut bench = bench();
        bench.tell("hall", &[(0, 600, 300), (1, 200, 100), (2, 90, 4)]);
        let playable = bench.playable(VIEWER, since(700, None)).unwrap();
        let holes = [span(300, 200), span(100, 90), span(4, 3)];
        assert_eq!((playable.span, &playable.holes[..]), (span(600, 0), &holes[..]));
        let many =
            |n: u64| Span { from: ClusterTime(n * 10), to: ClusterTime(n * 10 + 1 + u64::from(n > 5)) };
        let kept = longest((0..70).map(many).collect());
        assert_eq!((kept.len(), kept[0], kept[1]), (MAX_PLAY_HOLES, many(6), many(7)));
    }

    #[test]
    fn what_cannot_be_played_is_refused_with_its_reason() {
        let mut bench = bench();
        bench.tell("hall", &[(0, 600, 300)]);
        let mut refused = |target| bench.playable(VIEWER, target).map(|_| ()).unwrap_err();
        assert_eq!(refused(since(100, Some(50))), Refusal::NothingHeld);
        assert_eq!(refused(since(50, Some(50))), Refusal::EndsTooEarly);
        assert_eq!(refused(since(50, Some(100))), Refusal::EndsTooEarly);
        let week = 7 * 24 * 60;
        assert_eq!(refused(since(week + 100, Some(week + 1))), Refusal::Expired);
        assert_eq!(refused(PlayTarget::Programme(RecordingId(9))), Refusal::UnknownRecording(RecordingId(9)));
        let (from, to) = (ClusterTime(NOW.0 + MINUTE), None);
        assert_eq!(refused(PlayTarget::Channel { channel: ONE, from, to }), Refusal::NotBegun);
        let channel = ChannelId(9);
        assert_eq!(refused(PlayTarget::Channel { channel, from, to }), Refusal::UnknownChannel(channel));
        bench.await_hosts(&SITE.replace("record = { keep = \"7d\" }", ""));
        assert_eq!(bench.playable(VIEWER, since(500, None)), Err(Refusal::NotRecorded(ONE)));
    }

    #[test]
    fn a_programme_is_played_as_far_as_it_is_held() {
        let mut bench = bench();
        bench.tell("hall", &[(0, 600, 300)]);
        let programme = bench.record(400, 200).unwrap();
        let playable = bench.playable(VIEWER, PlayTarget::Programme(programme.id)).unwrap();
        assert_eq!((playable.asked, playable.span), (span(400, 200), span(400, 300)));
        assert_eq!(playable.title.as_deref(), Some("News"));
        bench.tell("hall", &[]);
        let lost = bench.playable(VIEWER, PlayTarget::Programme(programme.id));
        assert_eq!(lost, Err(Refusal::NothingHeld));
    }
}
