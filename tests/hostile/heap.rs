//! How much memory the code under test holds: an allocator that counts, for each thread on its own, so that tests that run
//! side by side do not disturb each other.
#![expect(unsafe_code, reason = "a global allocator is an unsafe trait; this one only counts and passes on")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static LIVE: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

/// The system's allocator, counted.
pub(crate) struct Metered;

fn count(change: i64) {
    // A thread that ends frees after its counters are gone; nobody measures there.
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + change);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

fn bytes(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

// SAFETY: every call goes to the system's allocator with the arguments that came; counting allocates nothing.
unsafe impl GlobalAlloc for Metered {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(bytes(layout.size()));
        // SAFETY: the caller keeps the contract of `alloc`, which is the same one.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(bytes(layout.size()));
        // SAFETY: likewise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-bytes(layout.size()));
        // SAFETY: likewise; `pointer` came from `System`, which made all of them.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(bytes(size));
        // SAFETY: likewise.
        let moved = unsafe { System.realloc(pointer, layout, size) };
        count(-bytes(layout.size()));
        moved
    }
}

/// What a piece of work on this thread did to the heap, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Growth {
    /// Still held after it.
    pub(crate) live: i64,
    /// Held at the worst moment of it.
    pub(crate) peak: i64,
}

/// Measures what this thread does between its start and its stop.
#[must_use]
pub(crate) struct Meter {
    before: i64,
}

impl Meter {
    /// From now on.
    pub(crate) fn start() -> Self {
        let before = LIVE.get();
        PEAK.set(before);
        Self { before }
    }

    /// Until now.
    pub(crate) fn stop(self) -> Growth {
        Growth { live: LIVE.get() - self.before, peak: PEAK.get() - self.before }
    }
}

/// Does `work` and measures it.
pub(crate) fn measured<T>(work: impl FnOnce() -> T) -> (T, Growth) {
    let meter = Meter::start();
    let done = work();
    (done, meter.stop())
}

#[test]
fn the_meter_sees_what_is_held_and_what_was() {
    let (kept, growth) = measured(|| {
        drop(vec![0_u8; 1_000_000]);
        vec![0_u8; 1_000]
    });
    assert_eq!((kept.len(), growth), (1_000, Growth { live: 1_000, peak: 1_000_000 }));
}
