//! Orders to live sessions at the control machine: what a lease lets through, what is answered, and that a held feed flows.
#![expect(clippy::unwrap_used, reason = "what a test itself has made unwraps")]

use crate::site;

use std::net::SocketAddr;

use protocols::authority::Lease;
use protocols::p3_feed::FeedOrder;
use protocols::p4_control::{LiveAnswer, LiveId, LiveOrder, LiveRequest, LiveVerdict, Sealed};
use protocols::time::{ClusterTime, Time};
use push_server::counters::Counters;
use push_server::holding::HOLD_AFTER;
use push_server::live::{Beginning, End, Event, Key, Order, Seam};
use push_server::plan::ChannelCounters;
use push_server::{FeedId, Input, Output, Reason};
use site::{CHANNEL, SSRC, Site, WALL, cluster, lease};

const CLIENT: &str = "10.0.1.7:5000";
const FAR: u64 = WALL + 12 * 3_600_000;
const BEGIN: LiveOrder = LiveOrder::Begin { burst_percent: 500 };

fn ms(ms: u64) -> Time {
    Time::from_ms(ms)
}

fn request(lease: Lease, time: u64, order: LiveOrder) -> LiveRequest {
    LiveRequest { lease, time: ClusterTime(time), session: LiveId(7), order }
}

fn sealed(request: &LiveRequest) -> Vec<u8> {
    request.seal(&cluster().lease_key().secret(&request.lease))
}

fn key() -> Key {
    Key { client: CLIENT.parse().unwrap(), id: LiveId(7) }
}

/// A site whose channel is fed.
fn fed() -> Site {
    let mut site = Site::configured();
    let _ = site.feed_opened(ms(0), 1);
    site.handle(
        ms(1),
        Input::Counters(ChannelCounters { channel: CHANNEL, packets: 1, flowing: true, targets: vec![] }),
    );
    site
}

/// What the client is told.
fn said(out: &[Output]) -> Vec<LiveVerdict> {
    let verdict = |output: &Output| match output {
        Output::Send { to, bytes } => {
            assert_eq!(*to, CLIENT.parse::<SocketAddr>().unwrap());
            let secret = cluster().lease_key().secret(&lease(1, FAR));
            let answer: LiveAnswer = Sealed::parse(bytes).unwrap().open(&secret).unwrap();
            assert_eq!(answer.session, LiveId(7));
            Some(answer.verdict)
        }
        _ => None,
    };
    out.iter().filter_map(verdict).collect()
}

fn begins(out: &[Output]) -> bool {
    let order = Order::Begin { key: key(), burst_percent: 500 };
    out.contains(&Output::Live { channel: CHANNEL, order })
}

#[test]
fn a_viewer_with_a_lease_has_a_session_begun_ended_and_answered() {
    let mut site = fed();
    let out = site.datagram_from(ms(2), CLIENT, &sealed(&request(lease(1, FAR), WALL, BEGIN)));
    assert!(begins(&out) && said(&out).is_empty(), "{out:?}");
    let beginning = Beginning { ssrc: SSRC, first: 5, newest: 9 };
    let out =
        site.handle(ms(3), Input::Live { channel: CHANNEL, event: Event::Begun { key: key(), beginning } });
    assert_eq!(said(&out), [LiveVerdict::Begun { ssrc: SSRC, first: 5, newest: 9 }]);
    assert!(!site.server.sending(CHANNEL, site::destination(1)), "no interest");
    let end = LiveOrder::End { ssrc: SSRC, first: 77 };
    let out = site.datagram_from(ms(4), CLIENT, &sealed(&request(lease(1, FAR), WALL, end)));
    let order = Order::End { key: key(), seam: Some(Seam { ssrc: SSRC, first: 77 }) };
    assert_eq!(out, [Output::Live { channel: CHANNEL, order }]);
    let ended = Event::Ended { key: key(), why: End::Ordered };
    assert_eq!(site.handle(ms(5), Input::Live { channel: CHANNEL, event: ended }), []);
}

#[test]
fn a_held_feed_flows_before_a_session_begins_and_is_held_ten_seconds_after_the_last() {
    let mut site = fed();
    site.run_until(ms(20_000));
    assert!(site.server.held(CHANNEL));
    let out = site.datagram_from(ms(20_000), CLIENT, &sealed(&request(lease(1, FAR), WALL + 20_000, BEGIN)));
    let flow = Output::TellFeed { channel: CHANNEL, feed: FeedId(1), order: FeedOrder::Flow };
    assert!(out[0] == flow && begins(&out[1..]), "{out:?}");
    assert_eq!(site.server.deadline(), Some((ms(23_000), Reason::Live)));
    let log = site.run_until(ms(60_000));
    let at =
        |wanted: &dyn Fn(&Output) -> bool| log.iter().find(|(_, output)| wanted(output)).map(|(at, _)| *at);
    let silent = Order::End { key: key(), seam: None };
    let ends = at(&|output| *output == Output::Live { channel: CHANNEL, order: silent });
    let holds = at(&|output| matches!(output, Output::TellFeed { order: FeedOrder::Hold, .. }));
    assert_eq!((ends, holds), (Some(ms(23_000)), Some(ms(23_000) + HOLD_AFTER)));
}

#[test]
fn what_is_wrong_with_a_genuine_order_is_answered_and_keeps_no_state() {
    let cases = [
        (request(lease(1, FAR), WALL + 10_002, BEGIN), LiveVerdict::Clock),
        (request(lease(1, WALL), WALL, BEGIN), LiveVerdict::Expired),
        (request(lease(3, FAR), WALL, BEGIN), LiveVerdict::NotCarried),
        (request(lease(1, FAR), WALL, LiveOrder::Begin { burst_percent: 0 }), LiveVerdict::Rate),
        (request(lease(1, FAR), WALL, LiveOrder::Begin { burst_percent: 1_001 }), LiveVerdict::Rate),
        (request(lease(1, FAR), WALL, LiveOrder::Keep), LiveVerdict::NoSession),
    ];
    for (request, expected) in cases {
        let mut site = fed();
        let before = site.server.deadline();
        let out = site.datagram_from(ms(1), CLIENT, &sealed(&request));
        let [Output::Send { bytes, .. }] = &out[..] else { panic!("{out:?}") };
        let secret = cluster().lease_key().secret(&request.lease);
        let answer: LiveAnswer = Sealed::parse(bytes).unwrap().open(&secret).unwrap();
        assert_eq!(answer.verdict, expected);
        assert_eq!(site.server.deadline(), before);
    }
    let mut unfed = Site::configured();
    let out = unfed.datagram_from(ms(1), CLIENT, &sealed(&request(lease(1, FAR), WALL, BEGIN)));
    assert_eq!(said(&out), [LiveVerdict::NotCarried]);
}

#[test]
fn an_order_that_is_not_genuine_is_counted_and_not_answered() {
    let counted = |from: &str, bytes: &[u8], count: fn(&Counters) -> u64| {
        let mut site = fed();
        assert_eq!(site.datagram_from(ms(1), from, bytes), []);
        count(&site.server.counters())
    };
    let genuine = sealed(&request(lease(1, FAR), WALL, BEGIN));
    let mut tampered = genuine.clone();
    tampered[44] ^= 1;
    assert_eq!(counted(CLIENT, &tampered, |counters| counters.forged), 1);
    let other_lease = request(lease(1, FAR), WALL, BEGIN).seal(&cluster().lease_key().secret(&lease(2, FAR)));
    assert_eq!(counted(CLIENT, &other_lease, |counters| counters.forged), 1);
    assert_eq!(counted("10.0.1.8:5000", &genuine, |counters| counters.other_address), 1);
    assert_eq!(counted(CLIENT, &genuine[..100], |counters| counters.malformed), 1);
    let end = LiveOrder::End { ssrc: SSRC, first: 1 };
    let unknown = sealed(&request(lease(1, FAR), WALL, end));
    assert_eq!(counted(CLIENT, &unknown, |counters| counters.live_unknown), 1);
    let mut fresh = Site::new();
    assert_eq!(fresh.datagram_from(Time::ZERO, CLIENT, &genuine), []);
    assert_eq!(fresh.server.counters().clock_unknown, 1);
}
