//! The time of each hot path, for each of what it is counted by: `cargo bench -p masthead-hot-paths [FILTER]`.
//!
//! Compares with nothing: what may not grow is gated by counts (`tests/costs.rs`). Figures of a quiet machine stand in
//! `docs/micro-benchmarks.md`.

use divan::Bencher;
use divan::counter::ItemsCount;
use hot_paths::{HotPath, all};

fn main() {
    divan::main();
}

#[divan::bench(args = all(), min_time = 0.2)]
fn hot_path(bencher: Bencher, path: HotPath) {
    let step = (path.prepare)();
    bencher.counter(ItemsCount::new(path.units_per_step)).bench_local(step);
}
