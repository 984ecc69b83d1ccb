//! How often each thread allocates: the system's allocator, counted in a table that every thread can read.
#![expect(unsafe_code, reason = "a global allocator is an unsafe trait; this one only counts and passes on")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};

/// Threads that can be told apart; those that come later are not counted.
const THREADS: usize = 256;

static ALLOCATIONS: [AtomicU64; THREADS] = [const { AtomicU64::new(0) }; THREADS];
static NUMBERS: [AtomicI32; THREADS] = [const { AtomicI32::new(0) }; THREADS];
static NEXT_LINE: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static LINE: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The counting allocator.
pub(crate) struct Counting;

/// Allocations and reallocations of the thread with this number so far.
pub(crate) fn allocations_of(thread: i32) -> u64 {
    let line = NUMBERS.iter().position(|number| number.load(Ordering::Relaxed) == thread);
    line.map_or(0, |line| ALLOCATIONS[line].load(Ordering::Relaxed))
}

fn count() {
    // A thread that ends has no line any more; nobody counts there.
    let _ = LINE.try_with(|held| {
        let line = held.get().unwrap_or_else(|| {
            let line = NEXT_LINE.fetch_add(1, Ordering::Relaxed);
            held.set(Some(line));
            if let Some(number) = NUMBERS.get(line) {
                number.store(rustix::thread::gettid().as_raw_nonzero().get(), Ordering::Relaxed);
            }
            line
        });
        if let Some(allocations) = ALLOCATIONS.get(line) {
            allocations.fetch_add(1, Ordering::Relaxed);
        }
    });
}

// SAFETY: every call goes to the system's allocator with the arguments that came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`, which is the same one.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: likewise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: likewise; `pointer` came from `System`, which made all of them.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: likewise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[test]
fn each_allocation_and_each_growth_of_a_thread_is_counted() {
    let this = rustix::thread::gettid().as_raw_nonzero().get();
    let before = allocations_of(this);
    let mut kept = Vec::with_capacity(10);
    kept.extend([1_u8; 10]);
    assert_eq!(allocations_of(this) - before, 1);
    kept.push(2);
    assert_eq!(allocations_of(this) - before, 2);
}
