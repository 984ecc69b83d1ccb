//! The whole host on loopback: a real feed, real interest, and what really arrives at a host, a group and a broadcast
//! address. Waits for what happens, with a limit; asserts no absolute time.
#![expect(clippy::disallowed_methods, reason = "this test runs the real host on real sockets")]
#![expect(clippy::unwrap_used, reason = "what a test itself has made unwraps")]

use crate::host;

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use host::{
    CHANNEL, LIMIT, Running, answer, cluster, feed_order, options, order, packet, receiver, send, show,
};
use link::frames::LinkError;
use link::session;
use link::udp::{self, Listen};
use protocols::authority::ClusterKey;
use protocols::ids::Revision;
use protocols::p3_feed::{FeedOrder, Opened};
use protocols::p4_control::{Configure, Configured, DestinationFault, Kind, ReportItem, Response};
use protocols::p6_broadcast::Announcement;
use protocols::preamble::{MAX_OPENING_BYTES, Refusal};
use push_server::shell::{Host, Options};
use tokio::io::AsyncWriteExt;

/// The next datagram but for genuine announcements is packet `n`.
fn expect_packet(socket: &UdpSocket, n: u16) {
    let (key, mut bytes) = (cluster().announce_key(CHANNEL), [0; 2_000]);
    loop {
        let len = socket.recv(&mut bytes).unwrap();
        if Announcement::open(&bytes[..len], &key).is_none() {
            assert_eq!(u16::from_be_bytes([bytes[2], bytes[3]]), n);
            assert!(bytes[..len] == packet(n), "bytes changed");
            return;
        }
    }
}

/// Waits until the data plane sends there: an announcement comes.
fn expect_announcement(socket: &UdpSocket) {
    let (key, mut bytes) = (cluster().announce_key(CHANNEL), [0; 2_000]);
    let len = socket.recv(&mut bytes).unwrap();
    assert!(Announcement::open(&bytes[..len], &key).is_some(), "{len} bytes that are no announcement");
}

fn is_silent(socket: &UdpSocket) -> bool {
    socket.set_nonblocking(true).unwrap();
    let silent = socket.recv(&mut [0; 2_000]).is_err();
    socket.set_nonblocking(false).unwrap();
    silent
}

const GROUP_V6: &str = "ff15::7:1";

/// An interface with IPv6 groups, which Linux's loopback has not: named in a network namespace made for this test.
fn ipv6_interface() -> Option<String> {
    std::env::var("MASTHEAD_TEST_IPV6_INTERFACE").ok()
}

const PLACES: [&str; 3] = ["127.0.0.1", "127.255.255.255", "239.255.78.1"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_fed_arrives_byte_for_byte_where_somebody_watches_and_nowhere_else() {
    let mut running = Running::start();
    let first = receiver(PLACES[0], 0);
    let port = first.local_addr().unwrap().port();
    let sockets = [first, receiver(PLACES[1], port), receiver(PLACES[2], port)];
    let acknowledged =
        running.configure(port, PLACES.iter().map(|place| order(place, "127.0.0.1")).collect());
    assert_eq!(acknowledged.in_force, Revision(1));
    let (mut stream, _session, opened) = running.feed(cluster(), CHANNEL).await.unwrap();
    assert_eq!(opened, Opened::Accepted);
    send(&mut stream, 0..5).await;
    running.until_reported(|item| {
        matches!(item, ReportItem::Server { fed: true, packets: 5, .. }).then_some(())
    });
    assert!(sockets.iter().all(is_silent), "sent although nobody watches");
    for (watched, (place, socket)) in PLACES.iter().zip(&sockets).enumerate() {
        running.watch(place);
        // The newest packet comes at once, though no other is fed.
        let newest = u16::try_from(4 + 5 * watched).unwrap();
        expect_packet(socket, newest);
        send(&mut stream, newest + 1..newest + 6).await;
        for n in newest + 1..newest + 6 {
            for socket in &sockets[..=watched] {
                expect_packet(socket, n);
            }
        }
        assert!(sockets[watched + 1..].iter().all(is_silent), "sent where nobody watches");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_without_the_key_and_a_channel_not_carried_are_refused() {
    let running = Running::start();
    let stranger = running.feed(ClusterKey::new([8; 32]), CHANNEL).await;
    assert!(matches!(stranger, Err(LinkError::Unauthenticated)), "{stranger:?}");
    let (_stream, _session, opened) = running.feed(cluster(), CHANNEL).await.unwrap();
    assert_eq!(opened, Opened::Refused(Refusal::NotConfigured(CHANNEL)));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_feed_takes_the_place_of_the_older_which_is_told() {
    let mut running = Running::start();
    let socket = receiver("239.255.78.2", 0);
    let port = socket.local_addr().unwrap().port();
    running.configure(port, vec![order("239.255.78.2", "lo")]);
    let (mut older, mut session, _) = running.feed(cluster(), CHANNEL).await.unwrap();
    running.watch("239.255.78.2");
    expect_announcement(&socket);
    send(&mut older, 0..3).await;
    (0..3).for_each(|n| expect_packet(&socket, n));
    let (mut newer, _session, opened) = running.feed(cluster(), CHANNEL).await.unwrap();
    assert_eq!(opened, Opened::Accepted);
    assert_eq!(answer(&mut older, &mut session).await, Opened::Refused(Refusal::Replaced));
    // It repeats two packets, which are not sent twice.
    send(&mut newer, 1..6).await;
    (3..6).for_each(|n| expect_packet(&socket, n));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_interface_is_reported_and_hurts_no_other_destination() {
    let mut running = Running::start();
    let socket = receiver("239.255.78.3", 0);
    let port = socket.local_addr().unwrap().port();
    running.configure(port, vec![order("239.255.78.3", "lo"), order("239.255.78.4", "eth99")]);
    let fault = running.until_reported(|item| match item {
        ReportItem::Destination { address, fault: Some(fault), .. } => Some((*address, *fault)),
        _ => None,
    });
    assert_eq!(fault, ("239.255.78.4".parse().unwrap(), DestinationFault::NoInterface));
    let (mut stream, _session, _) = running.feed(cluster(), CHANNEL).await.unwrap();
    running.watch("239.255.78.4");
    running.watch("239.255.78.3");
    expect_announcement(&socket);
    send(&mut stream, 0..3).await;
    (0..3).for_each(|n| expect_packet(&socket, n));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_named() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = Host::bind(Options { control_port: port, ..options() }).unwrap_err().to_string();
    assert!(error.contains(&format!("UDP port {port} on 127.0.0.1")), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ipv6_is_served_like_ipv4() {
    if UdpSocket::bind("[::1]:0").is_err() {
        println!("skipped: this host has no IPv6");
        return;
    }
    let loopback: IpAddr = "::1".parse().unwrap();
    let mut running = Running::start_at(loopback, loopback);
    let first = receiver("::1", 0);
    let port = first.local_addr().unwrap().port();
    let mut sockets = vec![("::1", first)];
    let interface = ipv6_interface();
    if let Some(name) = &interface {
        let address = GROUP_V6.parse().unwrap();
        let socket =
            udp::receive(&Listen { address, port, interface: Some(name.clone()), source: None }).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        sockets.push((GROUP_V6, socket));
    } else {
        println!("without groups: MASTHEAD_TEST_IPV6_INTERFACE names no interface");
    }
    let interface_of = |place: &str| if place == GROUP_V6 { interface.as_deref().unwrap() } else { "lo" };
    running.configure(port, sockets.iter().map(|(place, _)| order(place, interface_of(place))).collect());
    let (mut stream, _session, opened) = running.feed(cluster(), CHANNEL).await.unwrap();
    assert_eq!(opened, Opened::Accepted);
    for (place, socket) in &sockets {
        running.watch(place);
        expect_announcement(socket);
    }
    send(&mut stream, 0..5).await;
    for (_, socket) in &sockets {
        (0..5).for_each(|n| expect_packet(socket, n));
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_on_every_address_hears_ipv4_too() {
    let mut running = Running::start_at("::".parse().unwrap(), Ipv4Addr::LOCALHOST.into());
    let socket = receiver("239.255.78.5", 0);
    let port = socket.local_addr().unwrap().port();
    running.configure(port, vec![order("239.255.78.5", "lo")]);
    let (mut stream, _session, _) = running.feed(cluster(), CHANNEL).await.unwrap();
    running.watch("239.255.78.5");
    expect_announcement(&socket);
    send(&mut stream, 0..3).await;
    (0..3).for_each(|n| expect_packet(&socket, n));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_falls_silent_or_breaks_the_framing_is_closed_and_reported() {
    let mut running = Running::start();
    running.configure(7_999, vec![order("239.255.78.6", "lo")]);
    let fed = |wanted| {
        move |item: &ReportItem| {
            matches!(item, ReportItem::Server { fed, .. } if *fed == wanted).then_some(())
        }
    };
    let (mut silent, mut session, _) = running.feed(cluster(), CHANNEL).await.unwrap();
    send(&mut silent, 0..1).await;
    running.until_reported(fed(true));
    running.until_reported(fed(false));
    assert_eq!(
        session::read_sealed(&mut silent, &mut session.opener, MAX_OPENING_BYTES).await.unwrap(),
        None
    );
    let (mut broken, mut session, _) = running.feed(cluster(), CHANNEL).await.unwrap();
    send(&mut broken, 1..2).await;
    running.until_reported(fed(true));
    broken.write_all(&[0xff, 0xff]).await.unwrap();
    running.until_reported(fed(false));
    assert_eq!(
        session::read_sealed(&mut broken, &mut session.opener, MAX_OPENING_BYTES).await.unwrap(),
        None
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_nobody_needs_is_held_and_flows_for_the_first_viewer_without_a_gap() {
    let mut running = Running::start();
    let socket = receiver("239.255.78.7", 0);
    let port = socket.local_addr().unwrap().port();
    running.configure(port, vec![order("239.255.78.7", "lo")]);
    let (mut stream, mut session, _) = running.feed(cluster(), CHANNEL).await.unwrap();
    let mut n = 0;
    {
        let (mut reader, mut writer) = stream.split();
        let ordered = feed_order(&mut reader, &mut session);
        tokio::pin!(ordered);
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        let order = loop {
            tokio::select! {
                order = &mut ordered => break order,
                _ = pace.tick() => {
                    send(&mut writer, n..n + 1).await;
                    n += 1;
                    assert!(n < 2_000, "not held");
                }
            }
        };
        assert_eq!(order, FeedOrder::Hold);
    }
    show(&mut stream, n + 9).await;
    running.until_reported(|item| matches!(item, ReportItem::Server { fed: true, .. }).then_some(()));
    running.watch("239.255.78.7");
    assert_eq!(feed_order(&mut stream, &mut session).await, FeedOrder::Flow);
    // What was on its way when it was told; then the newest, as each stretch of holding ends.
    show(&mut stream, n + 20).await;
    show(&mut stream, n + 21).await;
    send(&mut stream, n + 21..n + 31).await;
    (n + 21..n + 31).for_each(|n| expect_packet(&socket, n));
    running.stop().await;
}

/// Prints the time from the sending of a first interest to the arrival of the first packet, over 200 destinations.
/// `cargo test --release -p masthead-push-server --test loopback -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures, asserts nothing"]
async fn time_from_first_interest_to_first_packet() {
    let mut running = Running::start();
    let places: Vec<String> = (1..=200).map(|last| format!("127.0.7.{last}")).collect();
    let first = receiver(&places[0], 0);
    let port = first.local_addr().unwrap().port();
    let sockets: Vec<UdpSocket> =
        std::iter::once(first).chain(places[1..].iter().map(|place| receiver(place, port))).collect();
    for (part, some) in (0_u8..).zip(places.chunks(10)) {
        let destinations = some.iter().map(|place| order(place, "lo")).collect();
        let body = Configure {
            channel: CHANNEL,
            revision: Revision(1),
            part,
            parts: 20,
            port,
            destinations,
            record: None,
            session: None,
        };
        let _: Response<Configured> = running.ask(Kind::Configure, body);
    }
    let (mut stream, _session, _) = running.feed(cluster(), CHANNEL).await.unwrap();
    let feeding = tokio::spawn(async move {
        for n in 0..u16::MAX {
            send(&mut stream, n..n + 1).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    running.until_reported(|item| matches!(item, ReportItem::Server { fed: true, .. }).then_some(()));
    let mut times = Vec::new();
    for (place, socket) in places.iter().zip(&sockets) {
        let begun = Instant::now();
        running.interest(place.parse().unwrap());
        socket.recv(&mut [0; 2_000]).unwrap();
        times.push(begun.elapsed());
    }
    feeding.abort();
    times.sort_unstable();
    println!(
        "first interest to first packet: p50 {:?}, p99 {:?}, max {:?}",
        times[100], times[198], times[199]
    );
    running.stop().await;
}
