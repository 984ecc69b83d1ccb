//! All fuzz targets in one program: `MASTHEAD_FUZZ` names the one to run, `list` as the only argument lists them.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

mod captions;
mod inputs;
mod shapes;
mod streams;
mod tables;
mod words;

/// A target: takes any bytes, and neither panics nor grows beyond its limits.
type Target = fn(&[u8]);

static CHOSEN: OnceLock<Target> = OnceLock::new();

fn targets() -> Vec<(&'static str, Target)> {
    [tables::TARGETS, captions::TARGETS, streams::TARGETS, inputs::TARGETS, words::TARGETS].concat()
}

/// The target that the environment names; prints the list, and ends, where that is asked for.
fn chosen() -> Target {
    if std::env::args().nth(1).as_deref() == Some("list") {
        targets().iter().for_each(|(name, _)| println!("{name}"));
        std::process::exit(0);
    }
    let name = std::env::var("MASTHEAD_FUZZ").unwrap_or_default();
    match targets().iter().find(|(target, _)| *target == name) {
        Some((_, target)) => *target,
        None => {
            eprintln!(
                "MASTHEAD_FUZZ has to name a target: {:?}",
                targets().iter().map(|(name, _)| *name).collect::<Vec<_>>()
            );
            std::process::exit(2);
        }
    }
}

fuzz_target!(
    init: { CHOSEN.get_or_init(chosen); },
    |bytes: &[u8]| CHOSEN.get_or_init(chosen)(bytes)
);
