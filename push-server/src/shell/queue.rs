//! What a data thread waits in: the kernel's event queue (epoll), whose timeout here is to the nanosecond and not to the
//! millisecond, since windows of fast channels are shorter than that. That takes Linux 5.11 (`epoll_pwait2`).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;

/// What became ready is told by the kernel so much at a time.
const EVENTS: usize = 256;
const WAKE: u64 = u64::MAX;
/// No wait is longer; who has nothing to wait for is woken for nothing once an hour.
const LONGEST: Duration = Duration::from_hours(1);

/// An event queue; what is waited for is known by its place.
#[derive(Debug)]
pub(super) struct Queue {
    epoll: OwnedFd,
    waker: Waker,
}

/// Ends a wait from another thread.
#[derive(Debug, Clone)]
pub(super) struct Waker(Arc<OwnedFd>);

impl Waker {
    pub(super) fn wake(&self) -> io::Result<()> {
        rustix::io::write(&*self.0, &1_u64.to_ne_bytes())?;
        Ok(())
    }
}

impl Queue {
    pub(super) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let waker = Waker(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?));
        // Told once for each wake, so that its count needs no reading.
        epoll::add(&epoll, &*waker.0, EventData::new_u64(WAKE), EventFlags::IN | EventFlags::ET)?;
        let queue = Self { epoll, waker };
        // A kernel that cannot wait so says it here, at start, and not in a data thread.
        queue.wait(Duration::ZERO, drop).map_err(|error| match error.kind() {
            io::ErrorKind::Unsupported => io::Error::new(
                error.kind(),
                "waiting to the nanosecond (epoll_pwait2) takes Linux 5.11 or newer",
            ),
            _ => error,
        })?;
        Ok(queue)
    }

    pub(super) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Has `source` end a wait whenever it can be read.
    pub(super) fn add(&self, source: impl AsFd, place: usize) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, source, EventData::new_u64(place as u64), EventFlags::IN)?)
    }

    /// Lets `source` end no wait any more.
    pub(super) fn remove(&self, source: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, source)?)
    }

    /// Waits for at most `patience`; calls `ready` with the place of each source that can be read.
    pub(super) fn wait(&self, patience: Duration, mut ready: impl FnMut(usize)) -> io::Result<()> {
        let timeout = Timespec::try_from(patience.min(LONGEST)).ok();
        let mut events = [MaybeUninit::uninit(); EVENTS];
        let ended = match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
            Ok((ended, _)) => ended,
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let places = ended.iter().map(|event| event.data.u64()).filter(|place| *place != WAKE);
        places.filter_map(|place| usize::try_from(place).ok()).for_each(&mut ready);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_can_be_read_and_the_waker_end_a_wait_and_a_source_removed_does_not() {
        let queue = Queue::new().unwrap();
        let (mut here, there) = UnixStream::pair().unwrap();
        queue.add(&there, 7).unwrap();
        here.write_all(b"x").unwrap();
        let mut ready = Vec::new();
        queue.wait(Duration::from_secs(10), |place| ready.push(place)).unwrap();
        assert_eq!(ready, [7]);
        queue.remove(&there).unwrap();
        queue.waker().wake().unwrap();
        queue.wait(Duration::from_secs(10), |place| ready.push(place)).unwrap();
        queue.wait(Duration::from_micros(1), |place| ready.push(place)).unwrap();
        assert_eq!(ready, [7]);
    }
}
