//! A cable that loses, delays and holds back what it carries: a relay of ours between a host and its switch, since kernels
//! without `netem` have nothing that delays.
//!
//! ```text
//! host ── veth ── near │ a thread, packet sockets on both │ far ── veth ── switch
//! ```
//!
//! UDP datagrams may be lost; whatever else there is (ARP, IGMP, TCP) is late, and lost only where the bottleneck is full.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt,
    socket, sockopt,
};
use protocols::time::Time;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::lossy_link::{Direction, Nature};
use crate::namespace::Namespace;
use crate::timeline;

/// The relay's interface to the host.
pub(crate) const NEAR: &str = "near";
/// And to the switch.
pub(crate) const FAR: &str = "far";
/// How often the relay looks whether it should end, or became another.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// No frame is longer, since nothing is segmented later.
const LONGEST_FRAME: usize = 2_048;
/// A relay that is not run for a while must lose nothing by that.
const SOCKET_BUFFER_BYTES: usize = 8 << 20;

/// What is wrong with a cable.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// Each direction by itself.
    pub nature: Nature,
    /// Towards the host only.
    pub bottleneck: Option<Bottleneck>,
    /// What is lost depends on it, and on when frames come.
    pub seed: u64,
}

/// A slow piece of the way, with a queue in front of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bottleneck {
    /// Of whole frames.
    pub rate_bps: u64,
    /// What may wait; what comes when it is full is lost.
    pub queue_bytes: u64,
}

/// What one direction did, in frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Carried {
    /// Given to it.
    pub frames: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Lost because the bottleneck's queue was full.
    pub overflowed: u64,
}

/// A cable at work. It goes dead when this goes.
#[derive(Debug)]
pub struct Cable {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    ended: AtomicBool,
    /// What the cable is to become.
    fault: Mutex<Option<Fault>>,
    counted: Mutex<[Carried; 2]>,
}

impl Cable {
    /// A good cable through `middle`, which has the interfaces [`NEAR`] and [`FAR`].
    pub(crate) fn lay(middle: Arc<Namespace>) -> Self {
        for interface in [NEAR, FAR] {
            // The relay's own kernel has nothing to say here.
            middle.sysctl(&[&format!("net.ipv6.conf.{interface}.disable_ipv6=1")]);
            middle.run(format!("ip link set dev {interface} promisc on arp off up"));
        }
        let sockets = middle.enter(|| [NEAR, FAR].map(open));
        let shared = Arc::new(Shared::default());
        let thread = std::thread::spawn({
            let shared = shared.clone();
            move || {
                relay(&sockets, &shared);
                drop(middle);
            }
        });
        Self { shared, thread: Some(thread) }
    }

    /// From now on it is like this. What is on its way arrives as it would have.
    pub fn spoil(&self, fault: Fault) {
        *self.shared.fault.lock().expect("the relay never panics with it") = Some(fault);
        timeline::until("the cable is spoilt", Duration::from_secs(5), || {
            self.shared.fault.lock().expect("the relay never panics with it").is_none()
        });
    }

    /// What has gone towards the host, and what has come from it.
    pub fn carried(&self) -> [Carried; 2] {
        *self.shared.counted.lock().expect("the relay never panics with it")
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One direction: what is on its way, and what becomes of what comes.
#[derive(Debug, Default)]
struct Course {
    direction: Option<Direction>,
    bottleneck: Option<Bottleneck>,
    /// When the bottleneck has passed all that it took.
    free: Time,
    waiting: BinaryHeap<Reverse<(Time, u64, Vec<u8>)>>,
    carried: Carried,
}

impl Course {
    fn enter(&mut self, now: Time, frame: &[u8]) {
        self.carried.frames += 1;
        let arrives = match &mut self.direction {
            None => Some(now),
            Some(direction) if is_udp(frame) => direction.carry(now),
            Some(direction) => Some(direction.spare(now)),
        };
        let Some(arrives) = arrives else {
            self.carried.lost += 1;
            return;
        };
        let Some(held) = self.held(now, frame.len() as u64) else {
            self.carried.overflowed += 1;
            return;
        };
        self.waiting.push(Reverse((arrives + held, self.carried.frames, frame.to_vec())));
    }

    /// How long the bottleneck holds a frame; `None` when its queue is full.
    fn held(&mut self, now: Time, bytes: u64) -> Option<Duration> {
        let Some(Bottleneck { rate_bps, queue_bytes }) = self.bottleneck else { return Some(Duration::ZERO) };
        let span = |bytes: u64| Duration::from_micros(bytes * 8_000_000 / rate_bps);
        self.free = self.free.max(now);
        if self.free.since(now) + span(bytes) > span(queue_bytes) {
            return None;
        }
        self.free += span(bytes);
        Some(self.free.since(now))
    }

    fn leave(&mut self, now: Time) -> Option<Vec<u8>> {
        self.waiting.peek().filter(|Reverse((arrives, ..))| *arrives <= now)?;
        self.waiting.pop().map(|Reverse((.., frame))| frame)
    }

    fn deadline(&self) -> Option<Time> {
        self.waiting.peek().map(|Reverse((arrives, ..))| *arrives)
    }
}

/// Whether an Ethernet frame is UDP over IPv4, or over IPv6 without extensions.
fn is_udp(frame: &[u8]) -> bool {
    match frame.get(12..14) {
        Some([0x08, 0x00]) => frame.get(23) == Some(&17),
        Some([0x86, 0xdd]) => frame.get(20) == Some(&17),
        _ => false,
    }
}

/// A packet socket that sees what comes to `interface`, and does not see what it sends.
fn open(interface: &str) -> OwnedFd {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_NONBLOCK, SockProtocol::EthAll)
        .expect("root may open packet sockets");
    setsockopt(&socket, sockopt::RcvBufForce, &SOCKET_BUFFER_BYTES).expect("root may have any buffer");
    bind(socket.as_raw_fd(), &address_of(interface)).expect("the interface is there");
    socket
}

fn address_of(interface: &str) -> LinkAddr {
    let found = getifaddrs().expect("a namespace has interfaces").find_map(|entry| {
        let address = entry.address.filter(|_| entry.interface_name == interface)?;
        address.as_link_addr().copied()
    });
    found.unwrap_or_else(|| panic!("{interface} is not there"))
}

/// Carries frames until it is ended. `sockets`: to the host, to the switch.
fn relay(sockets: &[OwnedFd; 2], shared: &Shared) {
    let begun = Instant::now();
    let now = || Time::ZERO + begun.elapsed();
    // Towards the host, and from it.
    let mut courses = [Course::default(), Course::default()];
    let mut buffer = [0; LONGEST_FRAME];
    while !shared.ended.load(Ordering::Relaxed) {
        if let Some(fault) = shared.fault.lock().expect("nobody panics with it").take() {
            for (course, seed) in courses.iter_mut().zip([2 * fault.seed, 2 * fault.seed + 1]) {
                course.direction = Some(Direction::new(fault.nature, seed));
            }
            courses[0].bottleneck = fault.bottleneck;
        }
        wait(sockets, courses.iter().filter_map(Course::deadline).min().map(|at| at.since(now())));
        for (course, [from, to]) in courses.iter_mut().zip([[1, 0], [0, 1]]) {
            while let Ok(length) = recv(sockets[from].as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                course.enter(now(), &buffer[..length]);
            }
            while let Some(frame) = course.leave(now()) {
                // An interface that is down takes nothing, as a cable that is pulled.
                let _ = send(sockets[to].as_raw_fd(), &frame, MsgFlags::empty());
            }
        }
        *shared.counted.lock().expect("nobody panics with it") = [courses[0].carried, courses[1].carried];
    }
}

/// Waits for a frame from either side, or for the time when one is due.
fn wait(sockets: &[OwnedFd; 2], until: Option<Duration>) {
    let timeout = until.unwrap_or(LOOK_EVERY).min(LOOK_EVERY);
    let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(timeout.subsec_nanos()) };
    let mut ready = [0, 1].map(|side| PollFd::new(&sockets[side], PollFlags::IN));
    // Interrupted or not, what is there is looked at.
    let _ = poll(&mut ready, Some(&timeout));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lossy_link::Loss;

    fn frame(protocol: u8) -> Vec<u8> {
        let mut frame = vec![0; 1_000];
        (frame[12], frame[23]) = (0x08, protocol);
        frame
    }

    #[test]
    fn datagrams_are_lost_and_other_frames_are_only_late() {
        let loss = Loss::Independent(1.0);
        let nature = Nature { loss, round_trip: Duration::from_millis(20), jitter: Duration::ZERO };
        let mut course = Course { direction: Some(Direction::new(nature, 1)), ..Course::default() };
        course.enter(Time::from_ms(1), &frame(17));
        course.enter(Time::from_ms(1), &frame(6));
        assert_eq!(course.carried, Carried { frames: 2, lost: 1, overflowed: 0 });
        assert_eq!((course.deadline(), course.leave(Time::from_ms(10))), (Some(Time::from_ms(11)), None));
        assert_eq!(course.leave(Time::from_ms(11)), Some(frame(6)));
    }

    #[test]
    fn a_bottleneck_holds_back_what_it_can_and_loses_the_rest() {
        let bottleneck = Some(Bottleneck { rate_bps: 800_000, queue_bytes: 3_000 });
        let mut course = Course { bottleneck, ..Course::default() };
        for _ in 0..5 {
            course.enter(Time::ZERO, &frame(17));
        }
        assert_eq!(course.carried, Carried { frames: 5, lost: 0, overflowed: 2 });
        let left = |course: &mut Course, ms| std::iter::from_fn(|| course.leave(Time::from_ms(ms))).count();
        assert_eq!([9, 10, 29, 30].map(|ms| left(&mut course, ms)), [0, 1, 1, 1]);
        course.enter(Time::from_ms(40), &frame(17));
        assert_eq!(course.deadline(), Some(Time::from_ms(50)));
    }
}
