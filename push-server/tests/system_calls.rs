//! System calls per packet of a real data thread, on loopback: counted, so that a busy machine changes little; a thread
//! that comes late makes fewer calls, not more.
#![expect(clippy::disallowed_methods, reason = "this test runs the real host on real sockets")]
#![expect(clippy::unwrap_used, reason = "what a test itself has made unwraps")]

#[expect(dead_code, reason = "what the tests on loopback alone need")]
mod host;

use std::net::UdpSocket;

use host::{CHANNEL, Running, cluster, feed_in_time, order, receiver};
use protocols::p3_feed::Opened;
use push_server::shell::tally::Counts;

/// A 5 Mb/s channel has a packet each 2.1 ms.
const SPACING_90K: u32 = 190;
const WARM_UP_PACKETS: u64 = 400;
const COUNTED_PACKETS: u64 = 1_000;
const DESTINATIONS: u8 = 10;

/// Goal: a channel of 5 Mb/s with windows of 10 ms costs one system call for each four packets at most, at each
/// destination and at its feed, announcements included. Method: two seconds of it in real time, to ten destinations.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_packets_or_more_go_with_each_system_call() {
    let mut running = Running::start_single();
    let places: Vec<String> = (1..=DESTINATIONS).map(|last| format!("127.0.8.{last}")).collect();
    let first = receiver(&places[0], 0);
    let port = first.local_addr().unwrap().port();
    // Nothing reads them; that they are there spares the host refusals.
    let _rest: Vec<UdpSocket> = places[1..].iter().map(|place| receiver(place, port)).collect();
    running.configure(port, places.iter().map(|place| order(place, "lo")).collect());
    let (mut stream, _session, opened) = running.feed(cluster(), CHANNEL).await.unwrap();
    assert_eq!(opened, Opened::Accepted);
    places.iter().for_each(|place| running.watch(place));
    let mut before = Counts::default();
    feed_in_time(&mut stream, SPACING_90K, |sent| {
        if sent == WARM_UP_PACKETS {
            before = running.tallies[0].counts();
        }
        if sent % 400 == 0 {
            places.iter().for_each(|place| running.interest(place.parse().unwrap()));
        }
        sent == WARM_UP_PACKETS + COUNTED_PACKETS
    })
    .await;
    let after = running.tallies[0].counts();
    let turns = after.turns - before.turns;
    let (reads, packets_in) = (after.reads - before.reads, after.packets_in - before.packets_in);
    let (sends, packets_out) = (after.sends - before.sends, after.packets_out - before.packets_out);
    println!("{turns} turns; {reads} reads of {packets_in} packets; {sends} sends of {packets_out} packets");
    assert!(packets_in >= COUNTED_PACKETS * 9 / 10, "{packets_in} packets came");
    assert!(packets_out >= packets_in * u64::from(DESTINATIONS) * 9 / 10, "{packets_out} packets left");
    assert!(reads * 4 <= packets_in, "{reads} reads of {packets_in} packets");
    assert!(sends * 4 <= packets_out, "{sends} sends of {packets_out} packets");
    let alone = after.lone_announcements - before.lone_announcements;
    println!("{alone} announcements alone");
    // Some eighty were due; where a stalled machine holds up the batch that one was to ride with, it leaves alone.
    assert!(alone <= 20, "{alone} announcements left by a system call of their own");
    assert!(turns <= reads + packets_in / 8, "{turns} turns for {reads} reads");
    running.stop().await;
}
