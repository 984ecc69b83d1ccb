//! What can be measured: a file per measure, and its line in [`ALL`].

pub mod client;
pub mod directory;
pub mod fan_out;
pub mod latency;
pub mod many_channels;
pub mod memory;
pub mod playback;
pub mod repair;
pub mod saturation;
pub mod smoothness;
pub mod start_up;
pub mod system_calls;
pub mod threads;
pub mod trial;
pub mod zap;

use crate::Bench;

/// One measure.
#[derive(Debug, Clone, Copy)]
pub struct Measure {
    /// Its name on the command line and in results.
    pub name: &'static str,
    /// What it shows, in a line.
    pub about: &'static str,
    /// Our programs that it runs, which must stand beside the bench.
    pub binaries: &'static [&'static str],
    /// Measures: rows, remarks and faults go to the bench. A panic is a failed measure, and others go on.
    pub run: fn(&mut Bench),
}

/// The programs of a site and of its viewers.
const WHOLE_SITE: &[&str] =
    &["masthead-acquisition", "masthead-client", "masthead-database-server", "masthead-push-server"];

/// All measures, in the order in which they run.
pub const ALL: &[Measure] = &[
    fan_out::MEASURE,
    many_channels::MEASURE,
    system_calls::MEASURE,
    threads::MEASURE,
    saturation::MEASURE,
    start_up::MEASURE,
    smoothness::MEASURE,
    latency::MEASURE,
    client::MEASURE,
    zap::MEASURE,
    directory::MEASURE,
    memory::MEASURE,
    repair::MEASURE,
    playback::MEASURE,
];
