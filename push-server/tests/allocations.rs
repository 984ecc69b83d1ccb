//! Allocations of a real data thread, on loopback: none per packet.
#![expect(clippy::disallowed_methods, reason = "this test runs the real host on real sockets")]
#![expect(clippy::unwrap_used, reason = "what a test itself has made unwraps")]

mod heap;
#[expect(dead_code, reason = "what the tests on loopback alone need")]
mod host;

use std::fs;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use host::{CHANNEL, Running, cluster, feed_in_time, order, receiver};
use protocols::p3_feed::Opened;
use push_server::path::COUNTERS_INTERVAL;

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

/// A 40 Mb/s channel has a packet each 0.26 ms.
const SPACING_90K: u32 = 23;
const WARM_UP_PACKETS: u64 = 2_000;
const COUNTED_PACKETS: u64 = 10_000;
const DESTINATIONS: u8 = 10;
const PATIENCE: Duration = Duration::from_secs(10);
/// What telling the driver a channel's counters may take: the list of its targets, and room in the queue.
const ALLOCATIONS_PER_COUNTERS: u64 = 2;

/// Goal: between orders, a data thread allocates only what it tells the driver, once a second for each channel. Method:
/// 10,000 packets to ten destinations, with the allocations of that thread counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_pass_through_a_data_thread_without_an_allocation() {
    let mut running = Running::start_single();
    let places: Vec<String> = (1..=DESTINATIONS).map(|last| format!("127.0.9.{last}")).collect();
    let first = receiver(&places[0], 0);
    let port = first.local_addr().unwrap().port();
    let _rest: Vec<UdpSocket> = places[1..].iter().map(|place| receiver(place, port)).collect();
    running.configure(port, places.iter().map(|place| order(place, "lo")).collect());
    let (mut stream, _session, opened) = running.feed(cluster(), CHANNEL).await.unwrap();
    assert_eq!(opened, Opened::Accepted);
    places.iter().for_each(|place| running.watch(place));
    let data_thread = thread_named("data-0");
    let now = || (Instant::now(), running.tallies[0].counts(), heap::allocations_of(data_thread));
    let mut before = now();
    feed_in_time(&mut stream, SPACING_90K, |sent| {
        if sent == WARM_UP_PACKETS {
            before = now();
        }
        if sent % 4_000 == 0 {
            places.iter().for_each(|place| running.interest(place.parse().unwrap()));
        }
        sent == WARM_UP_PACKETS + COUNTED_PACKETS
    })
    .await;
    let after = now();
    let (took, allocations) = (after.0 - before.0, after.2 - before.2);
    let (packets_in, packets_out) =
        (after.1.packets_in - before.1.packets_in, after.1.packets_out - before.1.packets_out);
    println!("{allocations} allocations, {packets_in} packets in, {packets_out} out, {took:?}");
    assert!(packets_in >= COUNTED_PACKETS * 9 / 10, "{packets_in} packets came");
    assert!(packets_out >= packets_in * u64::from(DESTINATIONS) * 9 / 10, "{packets_out} packets left");
    let allowed = ALLOCATIONS_PER_COUNTERS * tellings_within(took);
    assert!(allocations <= allowed, "{allocations} allocations, allowed {allowed} within {took:?}");
    running.stop().await;
}

/// How often the counters of one channel that flows are told at most.
fn tellings_within(time: Duration) -> u64 {
    u64::try_from(time.as_micros() / COUNTERS_INTERVAL.as_micros()).unwrap() + 1
}

/// The number of this process's thread with this name, which a thread gives itself a moment after it was made.
fn thread_named(name: &str) -> i32 {
    let has_name =
        |path: &PathBuf| fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == name);
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let mut threads =
            fs::read_dir("/proc/self/task").unwrap().map_while(|thread| Some(thread.ok()?.path()));
        if let Some(path) = threads.find(has_name) {
            return path.file_name().unwrap().to_str().unwrap().parse().unwrap();
        }
        std::thread::yield_now();
    }
    panic!("no thread {name} within {PATIENCE:?}");
}
