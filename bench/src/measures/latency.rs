//! How long a packet is in the house: from its arrival at the acquisition server's input until its P6 datagram is on the
//! wire, while the push server carries little, half, and most of what it can.
//!
//! Packets are told by the numbers that the source puts into stuffing. The time begins when the datagram with the packet is
//! handed to the input's socket, so the wait for the window and for the datagram's other packets counts too. Measured is the
//! last of the channels.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use lab::timeline;
use protocols::ids::ChannelId;

use crate::arrivals::{Arrival, lost};
use crate::cbr::{DATAGRAM_BYTES, PACKETS};
use crate::figure::{Figure, quantile};
use crate::house::{FIRST_PORT, House, Plan, RECEIVER, Wire};
use crate::measures::Measure;
use crate::receiver::Receiver;
use crate::source::{self, Carriage, Source};
use crate::{Bench, Ground, Row, ground};

/// This measure.
pub const MEASURE: Measure = Measure {
    name: "latency",
    about: "input arrival to P6 on the wire, at 1 %, 50 % and 80 % of the load that one data thread carries",
    binaries: &["masthead-acquisition", "masthead-database-server", "masthead-push-server"],
    run,
};

const RATE_BPS: u64 = 5_000_000;
/// Watched streams from which the cost of one is learnt.
const TRIED_STREAMS: u32 = 600;
/// Shares of what the machine carries.
const SHARES: [f64; 3] = [0.01, 0.5, 0.8];
/// A percentile of 99.9 needs some thousands of packets.
const LEAST_PERIOD: Duration = Duration::from_secs(5);
/// Of the packets that must arrive for a run to count; what is missing shows as lost, or as a stream that stopped.
const LEAST_SHARE: f64 = 0.9;
const PATIENCE: Duration = Duration::from_secs(20);
/// From the first packet until everybody's interest is in and the threads have settled.
const SETTLE: Duration = Duration::from_secs(2);
/// The load is channels of so many destinations.
const LOAD_DESTINATIONS: u32 = 200;
/// The most channels that the load is made of, beside the one that is measured: acquisition takes in each.
const MAX_LOAD_CHANNELS: u32 = 60;

/// One run.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
    /// Share of one core that the push server used.
    busy: f64,
    packets: usize,
    lost: u64,
}

fn run(bench: &mut Bench) {
    let ground = bench.ground();
    let wire = Wire::lay(&ground);
    bench.progress("learns what a stream costs here");
    let Some(tried) = carry(bench, &ground, &wire, TRIED_STREAMS) else {
        bench.fault("no packet arrived");
        return;
    };
    let capacity = f64::from(TRIED_STREAMS) / tried.busy.max(1e-6);
    let most = MAX_LOAD_CHANNELS * LOAD_DESTINATIONS;
    bench.remark(format!(
        "latency: 100 % is {capacity:.0} streams of 5 Mb/s on one data thread, by the cost of {TRIED_STREAMS}."
    ));
    for share in bench.options.points(&SHARES, 2) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some thousands")]
        let streams = ((capacity * share) as u32).clamp(1, most);
        let mut outcomes = Vec::new();
        for run in 1..=bench.options.runs() {
            bench.progress(&format!(
                "{:.0} % load, {streams} streams, run {run} of {}",
                share * 100.0,
                bench.options.runs()
            ));
            match carry(bench, &ground, &wire, streams) {
                Some(outcome) => outcomes.push(outcome),
                None => bench.fault(format!("{:.0} % load, run {run}: the stream stopped", share * 100.0)),
            }
        }
        if outcomes.is_empty() {
            continue;
        }
        let lost: u64 = outcomes.iter().map(|outcome| outcome.lost).sum();
        if lost > 0 {
            bench.fault(format!("{:.0} % load: {lost} packets lost", share * 100.0));
        }
        bench.row(row(share, streams, &outcomes));
    }
}

/// One run with about `streams` watched besides the measured one.
fn carry(bench: &Bench, ground: &Ground, wire: &Wire, streams: u32) -> Option<Outcome> {
    let channels = streams.div_ceil(LOAD_DESTINATIONS);
    let plan = Plan {
        channels: u16::try_from(channels).expect("a few") + 1,
        destination: RECEIVER,
        load_destinations: streams.div_ceil(channels),
        window_ms: protocols::p4_control::DEFAULT_WINDOW_MS,
    };
    let house = House::open(ground, &plan);
    // The last channel of all: whoever serves channels in order serves it last.
    let last = plan.channels;
    let at = SocketAddrV4::new(RECEIVER, FIRST_PORT + last - 1);
    let receiver = Receiver::start(&wire.receiver, at, RECEIVER, RATE_BPS);
    let interface = Ipv4Addr::LOCALHOST;
    let source = |to| {
        Source::start(
            ground.host(),
            source::Plan { to, interface, rate_bps: RATE_BPS, carriage: Carriage::Raw },
        )
    };
    let inputs = plan.inputs();
    let _load = source(inputs[..inputs.len() - 1].to_vec());
    let measured = source(inputs[inputs.len() - 1..].to_vec());
    let load = (0..channels).flat_map(|channel| {
        ground::destinations(0, plan.load_destinations)
            .into_iter()
            .map(move |destination| (ChannelId(channel + 1), IpAddr::from(destination)))
    });
    let watched: Vec<_> = load.chain([(ChannelId(last.into()), IpAddr::from(RECEIVER))]).collect();
    let _crowd = house.watch(&watched);
    let begun = Instant::now();
    while receiver.count() == 0 {
        if begun.elapsed() > PATIENCE {
            return None;
        }
        timeline::lasts(Duration::from_millis(5));
    }
    timeline::lasts(SETTLE);
    receiver.take();
    let (begun, cpu) = (Instant::now(), house.cpu().read());
    timeline::lasts(bench.options.period().max(LEAST_PERIOD));
    let expected = begun.elapsed().as_secs_f64() * packets_per_second();
    let busy = house.cpu().read().saturating_sub(cpu).as_secs_f64() / begun.elapsed().as_secs_f64();
    let arrivals = receiver.take();
    #[expect(clippy::cast_precision_loss, reason = "packets of seconds")]
    if (arrivals.len() as f64) < LEAST_SHARE * expected {
        let words = house.push_server.last_words();
        bench.progress(&format!("{} of {expected:.0} packets arrived\n{words}", arrivals.len()));
        return None;
    }
    let mut delays = delays_ms(&arrivals, &measured.stop());
    Some(Outcome {
        p50_ms: quantile(&mut delays, 0.5),
        p99_ms: quantile(&mut delays, 0.99),
        p999_ms: quantile(&mut delays, 0.999),
        max_ms: quantile(&mut delays, 1.0),
        busy,
        packets: delays.len(),
        lost: lost(&arrivals),
    })
}

#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn packets_per_second() -> f64 {
    RATE_BPS as f64 / 8.0 / DATAGRAM_BYTES as f64
}

/// For each datagram whose packets are known: from the sending of the input datagram with the last of them to its arrival.
fn delays_ms(arrivals: &[Arrival], sent_ns: &[u64]) -> Vec<f64> {
    arrivals
        .iter()
        .filter_map(|arrival| {
            let (_, number) = arrival.numbered?;
            let sent = sent_ns.get(usize::try_from(number).ok()? / PACKETS)?;
            Some(Duration::from_nanos(arrival.time_ns.saturating_sub(*sent)).as_secs_f64() * 1e3)
        })
        .collect()
}

fn row(share: f64, streams: u32, outcomes: &[Outcome]) -> Row {
    let figure = |name: &str, unit: &str, value: fn(&Outcome) -> f64| {
        Figure::new(name, unit, outcomes.iter().map(value).collect())
    };
    #[expect(clippy::cast_precision_loss, reason = "packets of seconds")]
    let figures = vec![
        figure("p50", "ms", |outcome| outcome.p50_ms),
        figure("p99", "ms", |outcome| outcome.p99_ms),
        figure("p99.9", "ms", |outcome| outcome.p999_ms),
        figure("max", "ms", |outcome| outcome.max_ms),
        figure("push server busy", "% of a core", |outcome| outcome.busy * 100.0),
        figure("packets", "", |outcome| outcome.packets as f64),
        figure("lost", "packets", |outcome| outcome.lost as f64),
    ];
    let point = format!("{:.0} % load, {streams} streams", share * 100.0);
    Row { point, at: Some(share), sender: "Masthead".into(), figures, ..Row::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_counts_from_the_datagram_that_brought_the_last_packet() {
        let arrival = |number, time_ns| Arrival {
            time_ns,
            sequence: Some(1),
            payload_bytes: 1_316,
            numbered: Some((3, number)),
            pcr: None,
        };
        let delays = delays_ms(&[arrival(13, 5_000_000), arrival(99, 6_000_000)], &[1_000_000, 2_000_000]);
        assert_eq!(delays.len(), 1, "what was sent before the record is left out");
        assert!((delays[0] - 3.0).abs() < 1e-9);
    }
}
