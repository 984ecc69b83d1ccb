//! `masthead-hot-paths NAME WARM-UP COUNTED`: sets a hot path up, does so many steps of it to warm up and so many to be
//! counted, and ends. Run by `tests/costs.rs` under callgrind, which collects within [`counted_steps`] only.

use std::env;
use std::process::ExitCode;

use hot_paths::Step;

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let path = arguments.next().and_then(|name| hot_paths::named(&name));
    let mut steps = || arguments.next().and_then(|steps| steps.parse::<u64>().ok());
    let (Some(path), Some(warm_up), Some(counted)) = (path, steps(), steps()) else {
        eprintln!("usage: masthead-hot-paths NAME WARM-UP COUNTED, where NAME is one of");
        hot_paths::all().iter().for_each(|path| eprintln!("  {path}"));
        return ExitCode::from(2);
    };
    let mut step = (path.prepare)();
    (0..warm_up).for_each(|_| step());
    counted_steps(&mut step, counted);
    ExitCode::SUCCESS
}

/// Known to callgrind by its name.
#[inline(never)]
fn counted_steps(step: &mut Step, steps: u64) {
    (0..steps).for_each(|_| step());
}
