//! Any number of viewers, reduced to the interest that they show: one for each channel at each destination.

use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use protocols::authority::{ClusterKey, Lease, MacKey};
use protocols::ids::ChannelId;
use protocols::p4_control::Interest;
use protocols::time::ClusterTime;

/// Each destination is shown interest this often: less than [`protocols::p4_control::INTEREST_TIMEOUT`].
const INTEREST_EVERY: Duration = Duration::from_millis(3_500);
/// Interests sent at once before the push server is given a moment: its socket holds some hundreds.
const VOLLEY: usize = 32;
/// No lease ends while a bench runs.
const LEASE_MS: u64 = 12 * 3_600_000;
/// How often the thread looks whether it should end.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The viewers. They go, and what they watched falls silent, when this goes.
#[derive(Debug)]
pub struct Crowd {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    /// Shows interest in each of `watched` to the push server that `socket` is connected to: in all at once, then in each
    /// again in good time. The leases are made here, out of the cluster's `key`, as the database server makes them.
    pub fn start(key: &ClusterKey, watched: &[(ChannelId, IpAddr)], socket: UdpSocket) -> Self {
        let client = socket.local_addr().expect("it is connected").ip();
        let (leases, expires) = (key.lease_key(), ClusterTime(cluster_time().0 + LEASE_MS));
        let all: Vec<(Lease, MacKey)> = watched
            .iter()
            .map(|(channel, destination)| {
                let lease = Lease { client, channel: *channel, destination: *destination, expires };
                (lease, leases.secret(&lease))
            })
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let stop = stop.clone();
            move || watch(&all, &socket, &stop)
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn watch(all: &[(Lease, MacKey)], socket: &UdpSocket, stop: &AtomicBool) {
    socket.set_nonblocking(true).expect("any socket can");
    for volley in all.chunks(VOLLEY) {
        volley.iter().for_each(|one| show(one, socket));
        std::thread::sleep(Duration::from_millis(1));
    }
    let begun = Instant::now();
    for (round, (number, one)) in (0_u32..).flat_map(|round| (0_u32..).zip(all).map(move |one| (round, one)))
    {
        let count = u32::try_from(all.len()).expect("some thousands");
        let due = begun + INTEREST_EVERY * round + INTEREST_EVERY * number / count;
        while Instant::now() < due {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(due.saturating_duration_since(Instant::now()).min(LOOK_EVERY));
        }
        show(one, socket);
    }
}

fn show((lease, secret): &(Lease, MacKey), socket: &UdpSocket) {
    let interest = Interest { lease: *lease, time: cluster_time() };
    let _ = socket.send(&interest.seal(secret));
    let mut answer = [0; 256];
    while socket.recv(&mut answer).is_ok() {}
}

/// The time that a database server on this machine tells everybody.
pub fn cluster_time() -> ClusterTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    ClusterTime(u64::try_from(since.as_millis()).expect("it is not the year 500,000,000"))
}
