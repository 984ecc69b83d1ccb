//! What one data thread carries at most, and what it does beyond: offered load is raised in steps to twice the limit.
//!
//! The load runs on the same processors and must be a small part. It costs something for each packet of a feed (building it,
//! TCP) and for each destination (an interest every 3.5 s), and what leaves is the product of both. So few packets come in at
//! many destinations each: 10 Mb/s is the least rate that fills whole batches within the default window, and whole channels are
//! shed, so that a channel may be no more than a few hundredths of the limit; the limit then says how many destinations.
//!
//! Below the limit nothing is lost. Beyond, whole channels are shed: those that are carried arrive whole, and together they
//! stay near the most that was ever carried.

use std::time::{Duration, Instant};

use lab::timeline;

use crate::cpu::CpuClock;
use crate::feeder::Pace;
use crate::figure::Figure;
use crate::measures::Measure;
use crate::measures::trial::{self, Contender, Entry};
use crate::rig::{Load, Rig};
use crate::{Bench, Ground, Row};

/// This measure.
pub const MEASURE: Measure = Measure {
    name: "saturation",
    about: "offered load raised to twice the limit of one data thread: carried, shed, lost",
    binaries: &["masthead-push-server"],
    run,
};

/// Offered, in percent of the limit.
const STEPS: [u32; 9] = [25, 50, 75, 90, 100, 110, 125, 150, 200];
/// Up to this part of the limit (as it was estimated) a loss is a fault.
const SAFE: f64 = 0.75;
/// One data thread's limit in channels: a channel is a few hundredths of it, so that shedding by channels is fine enough.
/// Their destinations are as many as make it so.
const LIMIT_CHANNELS: u32 = 24;
/// Destinations of a channel at most: sockets are not without limit.
const MOST_DESTINATIONS: u32 = 250;
/// The least rate at which a window is a whole batch. Packets come many together: to wake up for a few would cost the load more
/// than to write them.
const PACE: Pace = Pace { rate_bps: 10_000_000, burst: 16 };
/// What the cost of a packet is estimated with.
const PROBE: [u32; 2] = [4, 200];
/// Shedding settles within this.
const SETTLE: Duration = Duration::from_secs(9);
/// A window's packets, and a little more: by so much counters of destinations that carry the same may differ.
const WINDOW_SHARE: f64 = 0.02;

/// What was carried of an offered load, once it had settled.
#[derive(Debug, Clone, Copy)]
pub struct Carried {
    /// Packets of all destinations.
    pub packets_per_second: f64,
    /// The same in channels.
    pub channels: f64,
    /// Channels that the push server reports as shed.
    pub shed: u32,
    /// CPU time, in cores.
    pub cores: f64,
    /// CPU time of the load: the feeds and the viewers' interest, in cores.
    pub load_cores: f64,
    /// Channels that were neither carried whole nor left alone: none, if the rule is kept.
    pub torn: u32,
}

fn run(bench: &mut Bench) {
    let ground = bench.ground();
    let destinations = destinations(bench, &ground);
    bench.remark(format!(
        "saturation: a channel is {} Mb/s at {destinations} destinations, of which one data thread should carry \
         {LIMIT_CHANNELS} by what {} cost; the load that is offered runs on the same processors.",
        PACE.rate_bps / 1_000_000,
        PROBE[0]
    ));
    let mut peak: Vec<f64> = Vec::new();
    for percent in bench.options.points(&STEPS, 2) {
        let step = f64::from(percent) / 100.0;
        let channels = channels(step);
        let point = format!("{percent} % of the limit, {channels} channels");
        let mut runs = Vec::new();
        for run in 1..=bench.options.runs() {
            bench.progress(&format!("{point}, run {run} of {}", bench.options.runs()));
            let carried = carry(bench, &ground, &load(channels, destinations, 1));
            if step <= SAFE && (carried.shed > 0 || carried.torn > 0) {
                bench.fault(format!("{point}: {} channels shed, {} torn", carried.shed, carried.torn));
            }
            runs.push(carried);
        }
        row(bench, &point, step, &runs, &mut peak);
    }
}

fn row(bench: &mut Bench, point: &str, step: f64, runs: &[Carried], peak: &mut Vec<f64>) {
    let each = |figure: fn(&Carried) -> f64| runs.iter().map(figure).collect::<Vec<f64>>();
    let carried = each(|carried| carried.packets_per_second);
    peak.resize(carried.len(), 0.0);
    for (peak, carried) in peak.iter_mut().zip(&carried) {
        *peak = peak.max(*carried);
    }
    let figures = vec![
        Figure::new("carried", "packets/s", carried).compared("peak so far", peak),
        Figure::new("carried", "channels", each(|carried| carried.channels)),
        Figure::new("shed", "channels", each(|carried| f64::from(carried.shed))),
        Figure::new("torn", "channels", each(|carried| f64::from(carried.torn))),
        Figure::new("CPU", "cores", each(|carried| carried.cores)),
        Figure::new("CPU of the load", "cores", each(|carried| carried.load_cores)),
    ];
    bench.row(Row {
        point: point.into(),
        at: Some(step),
        sender: "Masthead".into(),
        figures,
        ..Row::default()
    });
}

/// The load of this measure.
pub fn load(channels: u32, destinations: u32, data_threads: u16) -> Load {
    Load { pace: PACE, data_threads, ..Load::new(channels, destinations) }
}

/// How many destinations a channel must have so that `LIMIT_CHANNELS` keep one data thread busy all the time.
pub fn destinations(bench: &mut Bench, ground: &Ground) -> u32 {
    bench.progress("what a packet costs");
    let probe = load(PROBE[0], PROBE[1], 1);
    let outcome = trial::carry(bench, ground, &Entry::new(Contender::Masthead, probe));
    let packets_per_second = 1e9 / outcome.cpu_ns_per_packet(&probe).max(1.0);
    let destinations = packets_per_second / (f64::from(LIMIT_CHANNELS) * probe.packets_per_second());
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and MOST_DESTINATIONS"
    )]
    let whole = destinations.round().clamp(1.0, f64::from(MOST_DESTINATIONS)) as u32;
    whole
}

/// Channels that are `part` of one data thread's limit.
pub fn channels(part: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small part or multiple")]
    let whole = (f64::from(LIMIT_CHANNELS) * part).round().max(1.0) as u32;
    whole
}

/// Offers `load`, lets it settle, and looks.
pub fn carry(bench: &Bench, ground: &Ground, load: &Load) -> Carried {
    let mut rig = Rig::start(ground, *load);
    let (clocks, own_clock) = (rig.cpu(), CpuClock::of(std::process::id()));
    let feeder = rig.feed();
    timeline::lasts(SETTLE);
    let before = rig.reported();
    let (begun, cpu, traffic, own) = (Instant::now(), clocks.read(), ground.traffic(), own_clock.read());
    timeline::lasts(bench.options.period());
    let (cpu, traffic, own, period) = (
        clocks.read().saturating_sub(cpu),
        ground.traffic().since(traffic),
        own_clock.read().saturating_sub(own),
        begun.elapsed(),
    );
    let after = rig.reported();
    drop(feeder);
    #[expect(clippy::cast_precision_loss, reason = "bytes of seconds")]
    let packets = traffic.payload_bytes() as f64 / 1_328.0;
    let packets_per_second = packets / period.as_secs_f64();
    let channel = load.packets_per_second() * f64::from(load.destinations);
    Carried {
        packets_per_second,
        channels: packets_per_second / channel,
        shed: u32::try_from(after.overloaded.len()).expect("a few dozen"),
        cores: cpu.as_secs_f64() / period.as_secs_f64(),
        load_cores: own.as_secs_f64() / period.as_secs_f64(),
        torn: torn(&before.packets, &after.packets),
    }
}

/// Channels of which some destinations got clearly more than others between two reports.
fn torn(before: &Packets, after: &Packets) -> u32 {
    let channels = after.iter().filter(|(channel, after)| {
        let none = Vec::new();
        let before = before.get(channel).unwrap_or(&none);
        let grown = after.iter().zip(before).map(|(after, before)| after - before);
        let (least, most) =
            grown.fold((u64::MAX, 0), |(least, most), grown| (least.min(grown), most.max(grown)));
        #[expect(clippy::cast_precision_loss, reason = "packets of seconds")]
        let apart = most.saturating_sub(least) as f64 > most as f64 * WINDOW_SHARE + 32.0;
        apart
    });
    u32::try_from(channels.count()).expect("a few dozen")
}

/// Packets sent to each destination of each channel.
type Packets = std::collections::BTreeMap<protocols::ids::ChannelId, Vec<u64>>;

#[cfg(test)]
mod tests {
    use super::*;
    use protocols::ids::ChannelId;

    #[test]
    fn a_channel_is_torn_when_its_destinations_differ() {
        let before = Packets::from([(ChannelId(1), vec![10, 10]), (ChannelId(2), vec![10, 10])]);
        let after = Packets::from([(ChannelId(1), vec![1_000, 1_008]), (ChannelId(2), vec![1_000, 10])]);
        assert_eq!(torn(&before, &after), 1);
    }
}
