//! Feeds that nobody needs, with literal times: what their acquisition server is told, and what the data plane makes of
//! what it shows.
#![expect(clippy::unwrap_used, reason = "what a test itself has made unwraps")]

use crate::site;

use std::time::Duration;

use protocols::p3_feed::{FeedOrder, HEADER_BYTES, SAMPLE_INTERVAL, STALL_TIMEOUT};
use protocols::p4_control::ReportItem;
use protocols::time::Time;
use push_server::holding::HOLD_AFTER;
use push_server::path::{ChannelPath, Pace};
use push_server::plan::ChannelCounters;
use push_server::ring::Run;
use push_server::{FeedId, Input, Output, Reason};
use site::{CHANNEL, Site, destination};

fn ms(ms: u64) -> Time {
    Time::from_ms(ms)
}

fn flowing(flowing: bool) -> Input {
    Input::Counters(ChannelCounters { channel: CHANNEL, packets: 1, flowing, targets: vec![] })
}

/// What feeds were told, and when.
fn told(log: &[(Time, Output)]) -> Vec<(Time, u64, FeedOrder)> {
    let order = |(at, output): &(Time, Output)| match output {
        Output::TellFeed { channel, feed, order } if *channel == CHANNEL => {
            Some((*at, feed.0, order.clone()))
        }
        _ => None,
    };
    log.iter().filter_map(order).collect()
}

#[test]
fn a_feed_that_nobody_needs_is_held_ten_seconds_after_it_began() {
    let mut site = Site::configured();
    site.feed_opened(ms(1_000), 7);
    assert_eq!(site.server.deadline(), Some((ms(11_000), Reason::Holding)));
    assert_eq!(told(&site.run_until(ms(60_000))), [(ms(11_000), 7, FeedOrder::Hold)]);
    assert!(site.server.held(CHANNEL));
    assert_eq!(site.server.counters().feeds_held, 1);
}

#[test]
fn a_held_feed_flows_before_the_plan_of_the_first_viewer_and_is_held_ten_seconds_after_the_last() {
    let mut site = Site::configured();
    site.feed_opened(ms(0), 7);
    site.run_until(ms(20_000));
    let out = site.interest(ms(20_000), 1);
    let flow = Output::TellFeed { channel: CHANNEL, feed: FeedId(7), order: FeedOrder::Flow };
    assert_eq!(out[0], flow);
    assert!(matches!(&out[1], Output::Plan { .. }));
    assert_eq!(site::sending_in_plans(&out), [(destination(1), true), (destination(2), false)]);
    // A second destination needs no word, and the feed flows until neither is sent to.
    assert!(site.interest(ms(22_000), 2).iter().all(|output| !matches!(output, Output::TellFeed { .. })));
    let log = site.run_until(ms(60_000));
    assert_eq!(told(&log), [(ms(27_000) + HOLD_AFTER, 7, FeedOrder::Hold)]);
    assert_eq!(site.server.counters().feeds_flowed, 1);
}

#[test]
fn a_held_channel_counts_as_fed_until_nothing_shows_that_its_input_delivers() {
    let mut site = Site::configured();
    site.feed_opened(ms(0), 7);
    site.handle(ms(1), flowing(true));
    site.run_until(ms(20_000));
    assert!(site.server.held(CHANNEL) && site.server.fed(CHANNEL));
    let fed = |site: &mut Site, now| {
        let items = site.report(now, 0).items;
        items.iter().any(|item| matches!(item, ReportItem::Server { fed: true, .. }))
    };
    assert!(fed(&mut site, ms(20_000)));
    site.handle(ms(21_000), flowing(false));
    assert!(!fed(&mut site, ms(21_000)));
}

#[test]
fn a_new_feed_and_a_channel_given_up_begin_from_nothing() {
    let mut site = Site::configured();
    site.feed_opened(ms(0), 7);
    site.run_until(ms(10_000));
    site.feed_opened(ms(12_000), 8);
    assert!(!site.server.held(CHANNEL));
    site.handle(ms(12_001), Input::FeedClosed { channel: CHANNEL, feed: FeedId(7) });
    assert_eq!(told(&site.run_until(ms(30_000))), [(ms(22_000), 8, FeedOrder::Hold)]);
    site.handle(ms(31_000), Input::FeedClosed { channel: CHANNEL, feed: FeedId(8) });
    assert!(site.interest(ms(32_000), 1).iter().all(|output| !matches!(output, Output::TellFeed { .. })));
    site.feed_opened(ms(33_000), 9);
    site.release(ms(34_000), 2);
    assert_eq!(told(&site.run_until(ms(90_000))), []);
}

const NOTHING: [u16; 0] = [];

/// Packet `n` of a stream of 475 packets a second.
fn packet(n: u64) -> Vec<u8> {
    let mut bytes = vec![0x80, 33];
    bytes.extend(u16::try_from(n % 65_536).unwrap().to_be_bytes());
    bytes.extend(u32::try_from(n * 90_000 / 475 % (1 << 32)).unwrap().to_be_bytes());
    bytes.extend(0xabcd_u32.to_be_bytes());
    bytes.extend([u8::try_from(n % 251).unwrap(); 7 * 188]);
    bytes
}

fn header(n: u64) -> Vec<u8> {
    packet(n)[..HEADER_BYTES].to_vec()
}

/// A path with one destination, and the plans that the site makes of it.
struct Plane {
    site: Site,
    path: ChannelPath,
}

impl Plane {
    fn new() -> Self {
        let mut plane = Self { site: Site::configured(), path: ChannelPath::new(CHANNEL) };
        let out = plane.site.configure(ms(0), 2, &[(1, true)]);
        plane.plans(ms(0), out);
        plane
    }

    fn plans(&mut self, now: Time, out: Vec<Output>) {
        for output in out {
            if let Output::Plan { plan, .. } = output {
                self.path.apply(now, plan);
            }
        }
    }

    fn watch(&mut self, now: Time) {
        let out = self.site.interest(now, 1);
        self.plans(now, out);
    }

    /// Sequence numbers of what leaves now.
    fn sent(&mut self, now: Time) -> Vec<u16> {
        let mut sent = Vec::new();
        self.path.drain(now, &mut |_, runs| {
            sent.extend(
                runs.iter().flat_map(Run::packets).map(|packet| u16::from_be_bytes([packet[2], packet[3]])),
            );
            runs.iter().map(Run::len).sum()
        });
        sent
    }
}

#[test]
fn who_resumes_a_held_channel_gets_a_stream_without_a_gap_at_its_beginning() {
    let mut plane = Plane::new();
    for n in 0..5 {
        plane.path.feed(ms(n), &packet(n));
    }
    assert_eq!(plane.sent(ms(5)), NOTHING);
    // Half a second later the ring's last packet is fresh still, but the stream has gone on without it.
    plane.path.feed(ms(300), &header(100));
    assert_eq!(plane.path.pace(ms(300)), Pace::Every(SAMPLE_INTERVAL));
    plane.watch(ms(400));
    assert_eq!(plane.sent(ms(400)), NOTHING, "neither an old packet nor a header");
    assert_eq!(plane.path.pace(ms(400)), Pace::Arrival, "the first leaves as it comes");
    // A sample that was on its way, and what flows.
    plane.path.feed(ms(401), &header(150));
    assert_eq!(plane.sent(ms(401)), NOTHING);
    plane.path.feed(ms(402), &header(151));
    plane.path.feed(ms(402), &packet(151));
    assert_eq!(plane.sent(ms(402)), [151]);
    plane.path.feed(ms(404), &packet(152));
    plane.path.feed(ms(406), &packet(153));
    assert_eq!(plane.sent(ms(420)), [152, 153]);
    assert_eq!(plane.path.packets(), 8, "headers are no packets");
}

#[test]
fn a_channel_held_for_hours_takes_no_new_packet_for_a_repeated_one() {
    let mut plane = Plane::new();
    plane.path.feed(ms(0), &packet(0));
    // Timestamps have come round by half: by the clock of RTP these packets are before the first.
    let hours = (1 << 31) / 90_000 + 600;
    let first = hours * 475 / 65_536 * 65_536 - 5;
    let at = |n: u64| ms(n * 1_000 / 475);
    plane.path.feed(at(first), &header(first));
    plane.site.run_until(at(first));
    plane.path.apply(at(first), std::sync::Arc::clone(plane.path.plan()));
    for n in first..first + 9 {
        plane.path.feed(at(n), &packet(n));
    }
    assert_eq!((plane.path.packets(), plane.path.drops().repeated), (10, 0));
}

#[test]
fn samples_show_that_a_channel_flows_and_their_absence_that_it_does_not() {
    let mut plane = Plane::new();
    plane.path.feed_opened();
    for n in 0..50 {
        let now = ms(0) + SAMPLE_INTERVAL * u32::try_from(n).unwrap();
        plane.path.feed(now, &header(95 * n));
        let told = plane.path.counters_due(now);
        assert!(told.is_none_or(|counters| counters.flowing && counters.packets == 0), "{n}");
    }
    let last = ms(0) + SAMPLE_INTERVAL * 49;
    let limit = STALL_TIMEOUT + SAMPLE_INTERVAL;
    let looks = (1..).map(|n| last + Duration::from_millis(100 * n));
    let seen = looks
        .take_while(|now| now.since(last) <= limit)
        .find(|now| plane.path.counters_due(*now).is_some_and(|counters| !counters.flowing));
    assert_eq!(seen, Some(last + STALL_TIMEOUT));
}
