//! A channel goes from a data thread that has come to carry more to one that carries less, on loopback, while it is sent.
#![expect(clippy::disallowed_methods, reason = "this test runs the real host on real sockets")]
#![expect(clippy::unwrap_used, reason = "what a test itself has made unwraps")]

use crate::host;

use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use host::{Running, cluster, feed_in_time, order, receiver};
use protocols::ids::ChannelId;
use protocols::p3_feed::Opened;

/// A 20 Mb/s channel.
const SPACING_90K: u32 = 48;
/// Packets fed after the move.
const BEYOND: u64 = 500;
/// Packets fed at most: interest that is not renewed ends after five seconds.
const MOST_PACKETS: u64 = 8_000;
const BUSY: [(ChannelId, &str); 2] = [(ChannelId(1), "127.0.9.1"), (ChannelId(3), "127.0.9.3")];

/// Numbers of the RTP packets that arrive until nothing has for half a second; announcements, which are RTCP, apart.
fn numbers(socket: &UdpSocket) -> Vec<u16> {
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let (mut bytes, mut numbers) = ([0; 2_000], Vec::new());
    loop {
        match socket.recv(&mut bytes) {
            Ok(len) if len > 200 => numbers.push(u16::from_be_bytes([bytes[2], bytes[3]])),
            Ok(_) => {}
            Err(_) if numbers.is_empty() => {}
            Err(_) => return numbers,
        }
    }
}

/// Goal: a move loses, repeats and reorders nothing. Method: two threads; channels 1 and 3, which are busy, come to the
/// first and channel 2, which is idle, to the second, so one of the busy ones must move.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_changes_its_thread_loses_repeats_and_reorders_nothing() {
    let mut running = Running::start();
    running.configure_channel(ChannelId(1), 7_681, vec![order(BUSY[0].1, "lo")]);
    running.configure_channel(ChannelId(2), 7_682, vec![order("127.0.9.2", "lo")]);
    running.configure_channel(ChannelId(3), 7_681, vec![order(BUSY[1].1, "lo")]);
    let mut feeds = Vec::new();
    let mut listeners = Vec::new();
    for (channel, place) in BUSY {
        let (stream, session, opened) = running.feed(cluster(), channel).await.unwrap();
        assert_eq!(opened, Opened::Accepted);
        feeds.push((stream, session));
        let socket = receiver(place, 7_681);
        running.watch_channel(channel, place);
        listeners.push(thread::spawn(move || numbers(&socket)));
    }
    let moved = || running.tallies.iter().map(|tally| tally.counts().channels_taken_over).sum::<u64>();
    let until = || {
        let (mut moved_at, moved) = (None, &moved);
        move |sent: u64| {
            if moved_at.is_none() && moved() > 0 {
                moved_at = Some(sent);
            }
            moved_at.is_some_and(|at| sent >= at + BEYOND) || sent == MOST_PACKETS
        }
    };
    let [(first, _), (second, _)] = &mut feeds[..] else { panic!("two feeds") };
    tokio::join!(feed_in_time(first, SPACING_90K, until()), feed_in_time(second, SPACING_90K, until()));
    assert_eq!(moved(), 1, "channels that changed their thread");
    for listener in listeners {
        let numbers = listener.join().unwrap();
        assert!(numbers.len() as u64 > BEYOND, "{} packets", numbers.len());
        for pair in numbers.windows(2) {
            assert_eq!(pair[0].wrapping_add(1), pair[1], "after {} packets", numbers.len());
        }
    }
    running.stop().await;
}
