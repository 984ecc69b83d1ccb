//! What repair leaves of the losses of real links, and what it costs: the real daemons and clients, each client behind a
//! cable of its own that loses both ways.
//!
//! All losses and modes are measured beside each other, each with a channel of its own, because what viewers of one channel
//! ask for shares a budget, and is broadcast when two ask at once.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use lab::lossy_link::{Loss, Nature};
use lab::wire::WireCounter;
use lab::{Cable, Command, Fault, Host, Process, timeline};
use serde::Deserialize;

use crate::figure::Figure;
use crate::house::{FIRST_PORT, House, SERVERS, Wire};
use crate::measures::{Measure, WHOLE_SITE};
use crate::source::{self, Carriage, Source};
use crate::{Bench, Ground, Row};

/// This measure.
pub const MEASURE: Measure = Measure {
    name: "repair",
    about: "what repair leaves of the losses of links of 1, 20 and 40 ms, and what is sent again for it",
    binaries: WHOLE_SITE,
    run,
};

const RATE_BPS: u64 = 5_000_000;
/// Residues of one in a hundred thousand need some ten thousand packets to be seen.
const LEAST_PERIOD: Duration = Duration::from_mins(2);
const QUICK_PERIOD: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(30);
/// Frames that show that a channel flows.
const FLOWING: u64 = 300;
/// What was lost last is repaired, or given up, within this.
const SETTLE: Duration = Duration::from_secs(2);
const END_LIMIT: Duration = Duration::from_secs(5);
/// Losses that chance may add to what a target allows, whatever the length of the run.
const BY_CHANCE: u64 = 3;
/// Of the repairs, may come too late.
const MOST_LATE: f64 = 0.01;

/// Round-trip time, and how long a gap may stay open there.
const LINKS: [(u64, u64); 3] = [(1, 100), (20, 200), (40, 500)];
const MODES: [&str; 2] = ["deadline", "one"];

/// How a link loses, both ways.
#[derive(Debug, Clone, Copy)]
struct Losing {
    name: &'static str,
    loss: Loss,
    /// Most that mode `deadline` may leave, of all packets.
    residual: f64,
    /// Most that it may have sent again, as a multiple of the losses.
    overhead: f64,
}

const LOSSES: [Losing; 5] = [
    Losing { name: "1 %", loss: Loss::Independent(0.01), residual: 1e-5, overhead: 1.5 },
    Losing { name: "5 %", loss: Loss::Independent(0.05), residual: 1e-5, overhead: 1.5 },
    Losing { name: "10 %", loss: Loss::Independent(0.10), residual: 1e-4, overhead: 1.5 },
    Losing { name: "5 % in bursts of 20 ms", loss: bursts(20), residual: 1e-4, overhead: 2.0 },
    Losing { name: "5 % in bursts of 100 ms", loss: bursts(100), residual: 5e-4, overhead: 2.0 },
];

/// Half of what comes in a bad time is lost.
const fn bursts(bad_ms: u64) -> Loss {
    Loss::Bursts { share: 0.05, bad: Duration::from_millis(bad_ms), bad_loss: 0.5 }
}

/// One link and the mode of its viewer.
#[derive(Debug, Clone, Copy)]
struct Cell {
    losing: Losing,
    round_trip_ms: u64,
    hold_ms: u64,
    mode: &'static str,
    /// From 1: its channel, and the end of its viewer's address.
    number: u8,
}

/// A viewer at work, and what is counted of its link.
struct Viewing {
    cell: Cell,
    cable: Cable,
    client: Process,
    host: Host,
    /// Packets of the channel and packets sent again, before any is lost, and packets of the channel that arrive.
    counters: Option<[WireCounter; 3]>,
}

/// The end of a viewing in the client's own numbers.
#[derive(Debug, Deserialize)]
struct Summary {
    lost: u64,
    repaired: u64,
    repairs_asked: u64,
    repairs_late: u64,
}

/// What came of a cell.
#[derive(Debug)]
struct Outcome {
    cell: Cell,
    packets: u64,
    sent_again: u64,
    lost_by_link: u64,
    summary: Summary,
}

impl Cell {
    fn address(self) -> Ipv4Addr {
        let [a, b, c, _] = SERVERS.octets();
        Ipv4Addr::new(a, b, c, 100 + self.number)
    }

    fn input(self) -> std::net::SocketAddrV4 {
        std::net::SocketAddrV4::new(Ipv4Addr::LOCALHOST, 6_000 + u16::from(self.number))
    }

    fn fault(self) -> Fault {
        let (loss, round_trip) = (self.losing.loss, Duration::from_millis(self.round_trip_ms));
        let nature = Nature { loss, round_trip, jitter: round_trip / 40 };
        Fault { nature, bottleneck: None, seed: self.number.into() }
    }

    fn client(self, cache: &std::path::Path) -> Command {
        Command::line(&format!(
            "masthead-client --database {SERVERS} --format json --fast-start off --repair {} --hold-ms {} watch {} --output /dev/null",
            self.mode, self.hold_ms, self.number
        ))
        .env("XDG_CACHE_HOME", cache)
    }
}

fn run(bench: &mut Bench) {
    let asked = bench.options.points(&LINKS.map(|(round_trip_ms, _)| round_trip_ms), 1);
    let links: Vec<(u64, u64)> = LINKS.into_iter().filter(|(rtt_ms, _)| asked.contains(rtt_ms)).collect();
    if links.is_empty() {
        bench.fault("its points are round-trip times in ms: 1, 20, 40");
        return;
    }
    let period = if bench.options.quick { QUICK_PERIOD } else { bench.options.period().max(LEAST_PERIOD) };
    for (round_trip_ms, hold_ms) in links {
        bench.progress(&format!("{round_trip_ms} ms"));
        for outcome in measure(bench, &cells(round_trip_ms, hold_ms), period) {
            judge(bench, &outcome);
            bench.row(row(&outcome));
        }
    }
    bench.remark(format!(
        "repair: {} viewers beside each other for {} s, {RATE_BPS} b/s each; jitter of a fortieth of the round trip each way.",
        LOSSES.len() * MODES.len(),
        period.as_secs()
    ));
}

/// Every loss and mode on one link.
fn cells(round_trip_ms: u64, hold_ms: u64) -> Vec<Cell> {
    let kinds = LOSSES.into_iter().flat_map(|losing| MODES.map(|mode| (losing, mode)));
    kinds
        .zip(1..)
        .map(|((losing, mode), number)| Cell { losing, round_trip_ms, hold_ms, mode, number })
        .collect()
}

fn measure(bench: &mut Bench, cells: &[Cell], period: Duration) -> Vec<Outcome> {
    let ground = bench.ground();
    let wire = Wire::lay(&ground);
    bench.progress(&format!("lays {} cables", cells.len()));
    let hosts: Vec<(Host, Cable)> = cells.iter().map(|cell| plug(&ground, &wire, *cell)).collect();
    let _house = House::open_with(&ground, &topology(cells));
    let to = cells.iter().map(|cell| cell.input()).collect();
    let plan =
        source::Plan { to, interface: Ipv4Addr::LOCALHOST, rate_bps: RATE_BPS, carriage: Carriage::Raw };
    let source = Source::start(ground.host(), plan);
    let mut viewings: Vec<Viewing> = cells
        .iter()
        .zip(hosts)
        .map(|(cell, (host, cable))| {
            let cache = ground.lab().path(&format!("cache-{}", cell.number));
            Viewing { cell: *cell, cable, client: host.spawn(cell.client(&cache)), host, counters: None }
        })
        .collect();
    for Viewing { cable, client, cell, .. } in &viewings {
        let flows = || (cable.carried()[0].frames > FLOWING).then_some(());
        timeline::obtain_or(&format!("channel {} flows", cell.number), PATIENCE, flows, || {
            client.last_words()
        });
    }
    bench.progress(&format!("loses for {} s", period.as_secs()));
    for Viewing { cell, counters, cable, host, .. } in &mut viewings {
        let of_channel = format!("udp dport {}", FIRST_PORT - 1 + u16::from(cell.number));
        let sent = |filter: &str| {
            wire.lan().sent_by(ground.host(), &format!("ip daddr {} {filter}", cell.address()))
        };
        *counters = Some([sent(&of_channel), sent("udp sport 7405"), wire.lan().heard_by(host, &of_channel)]);
        cable.spoil(cell.fault());
    }
    timeline::lasts(period);
    bench.late(source.take_lateness(), "source");
    let ended: Vec<(Viewing, [u64; 3])> = viewings.into_iter().map(mend).collect();
    timeline::lasts(SETTLE);
    ended.into_iter().map(|(viewing, counted)| end(viewing, counted)).collect()
}

fn plug(ground: &Ground, wire: &Wire, cell: Cell) -> (Host, Cable) {
    let host = ground.lab().host(&format!("viewer{}", cell.number));
    let cable = ground.lab().attach_by_cable(&host, wire.lan(), &cell.address().to_string());
    (host, cable)
}

/// Counts what was sent, what was sent again and what was lost, and mends the link.
fn mend(mut viewing: Viewing) -> (Viewing, [u64; 3]) {
    let counters = viewing.counters.take().expect("it is counted");
    let mut good = viewing.cell.fault();
    good.nature.loss = Loss::Independent(0.0);
    viewing.cable.spoil(good);
    let [sent, again, arrived] = counters.map(|counter| counter.packets());
    (viewing, [sent, again, sent.saturating_sub(arrived)])
}

/// Ends a viewing that has got its last repairs.
fn end(viewing: Viewing, [packets, sent_again, lost_by_link]: [u64; 3]) -> Outcome {
    let Viewing { cell, mut client, .. } = viewing;
    client.interrupt(END_LIMIT);
    let told = std::fs::read(client.stdout()).expect("its file is ours");
    let summary =
        serde_json::from_slice(&told).unwrap_or_else(|error| panic!("{error}: {}", client.last_words()));
    Outcome { cell, packets, sent_again, lost_by_link, summary }
}

/// A channel and a destination for each cell.
fn topology(cells: &[Cell]) -> String {
    let mut text =
        format!("[database_server]\naddress = \"{SERVERS}\"\n\n[[acquisition_server]]\nid = \"roof\"\n");
    let mut line = |arguments: std::fmt::Arguments<'_>| {
        text.write_fmt(arguments).expect("a String takes everything");
    };
    for cell in cells {
        let (number, input) = (cell.number, cell.input());
        line(format_args!(
            "[[acquisition_server.input]]\nid = \"input-{number}\"\nurl = \"udp://{input}\"\n"
        ));
    }
    for Cell { number, .. } in cells {
        line(format_args!(
            "[[channel]]\nid = {number}\nname = \"{number}\"\nacquisition_server = \"roof\"\ninput = \"input-{number}\"\n"
        ));
    }
    let ids: Vec<u8> = cells.iter().map(|cell| cell.number).collect();
    line(format_args!("[[push_server]]\nid = \"hall\"\naddress = \"{SERVERS}\"\nchannels = {ids:?}\n"));
    for cell in cells {
        let address = cell.address();
        line(format_args!(
            "[[push_server.destination]]\naddress = \"{address}\"\nserves = [\"{address}/32\"]\n"
        ));
    }
    text
}

/// Share of `all`.
fn share(part: u64, all: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "packets of minutes")]
    let share = part as f64 / all.max(1) as f64;
    share
}

impl Outcome {
    fn late(&self) -> f64 {
        share(self.summary.repairs_late, self.summary.repaired + self.summary.repairs_late)
    }

    fn name(&self) -> String {
        format!("{}, rtt {} ms, mode {}", self.cell.losing.name, self.cell.round_trip_ms, self.cell.mode)
    }
}

/// Mode `deadline` keeps its targets.
fn judge(bench: &mut Bench, outcome: &Outcome) {
    let Outcome { cell, packets, sent_again, lost_by_link, summary } = outcome;
    if cell.mode != "deadline" {
        return;
    }
    let name = outcome.name();
    #[expect(clippy::cast_precision_loss, reason = "packets of minutes")]
    let (most_left, most_sent) = (
        cell.losing.residual * *packets as f64 + BY_CHANCE as f64,
        cell.losing.overhead * *lost_by_link as f64,
    );
    #[expect(clippy::cast_precision_loss, reason = "packets of minutes")]
    if summary.lost as f64 > most_left {
        bench.fault(format!("{name}: {} of {packets} packets never came", summary.lost));
    }
    #[expect(clippy::cast_precision_loss, reason = "packets of minutes")]
    if *sent_again as f64 > most_sent {
        bench.fault(format!("{name}: {sent_again} packets sent again for {lost_by_link} that were lost"));
    }
    if outcome.late() > MOST_LATE {
        bench.fault(format!("{name}: {:.2} % of the repairs came too late", 100.0 * outcome.late()));
    }
}

fn row(outcome: &Outcome) -> Row {
    let Outcome { cell, packets, sent_again, lost_by_link, summary } = outcome;
    let percent = |name: &str, share: f64| Figure::single(name, "%", 100.0 * share);
    let figures = vec![
        Figure::single("left", "per million", 1e6 * share(summary.lost, *packets)),
        percent("lost by the link", share(*lost_by_link, *packets)),
        percent("sent again", share(*sent_again, *packets)),
        percent("asked for", share(summary.repairs_asked, *packets)),
        percent("came too late", outcome.late()),
        Figure::single("packets", "", share(*packets, 1)),
    ];
    #[expect(clippy::cast_precision_loss, reason = "some ms")]
    let at = Some(cell.round_trip_ms as f64);
    let point = format!("{}, {} ms", cell.losing.name, cell.round_trip_ms);
    Row { point, at, sender: cell.mode.into(), figures, ..Row::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topology_of_many_cells_is_one() {
        let text = topology(&cells(20, 200));
        let parsed = protocols::topology::Topology::parse("topology.toml", &text);
        assert!(parsed.is_ok(), "{parsed:?}");
    }
}
