//! How long a large site takes to load, and how long one question to it takes: `cargo bench -p masthead-protocols`.
//!
//! Prints medians; compares them with nothing, since a busy machine would fail it for no fault of ours. The figures of
//! a quiet machine stand in `docs/topology.md`.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock; nothing else here does")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use protocols::topology::Topology;

fn main() {
    let text = site(Site { channels: 1_000, networks: 100 });
    let load = median(21, || Topology::parse("site.toml", black_box(&text)).expect("the site is right"));
    println!("1,000 channels x 100 networks ({} kB of TOML)", text.len() / 1_000);
    println!("  parse, validate, index         {:>9.2} ms   goal < 100", load.as_secs_f64() * 1e3);

    let (topology, _) = Topology::parse("site.toml", &text).expect("the site is right");
    let fingerprint = median(21, || topology.fingerprint());
    println!("  fingerprint                    {:>9.2} ms", fingerprint.as_secs_f64() * 1e3);
    println!("  channel list for an address    {:>9.3} µs   goal < 10", question_us(&topology, 100));

    let text = site(Site { channels: 100, networks: 1_000 });
    let (topology, _) = Topology::parse("site.toml", &text).expect("the site is right");
    println!("100 channels x 1,000 networks");
    println!("  channel list for an address    {:>9.3} µs   goal < 10", question_us(&topology, 1_000));
}

/// Microseconds from a viewer's address to the channel list of its network.
fn question_us(topology: &Topology, networks: u32) -> f64 {
    const QUESTIONS: u32 = 10_000;
    let viewers: Vec<IpAddr> =
        (0..QUESTIONS).map(|number| viewer(number.wrapping_mul(7_919) % networks)).collect();
    let all = median(21, || {
        for viewer in &viewers {
            let network = topology.network_of(*viewer).expect("every viewer has a network");
            black_box(topology.channels_of(network));
        }
    });
    all.as_secs_f64() * 1e6 / f64::from(QUESTIONS)
}

fn median<T>(rounds: usize, mut work: impl FnMut() -> T) -> Duration {
    let mut times: Vec<Duration> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            black_box(work());
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[rounds / 2]
}

/// An address on the network with this number.
fn viewer(network: u32) -> IpAddr {
    let [.., high, low] = network.to_be_bytes();
    IpAddr::from([10, 1 + high, low, 77])
}

struct Site {
    channels: u32,
    networks: u32,
}

/// One push host for each network, each carrying every channel by multicast.
fn site(Site { channels, networks }: Site) -> String {
    let mut text = String::from("[database_server]\naddress = \"10.0.0.2\"\n\n");
    for server in 0..channels.div_ceil(10).min(8) {
        acquisition_server(&mut text, server, channels);
    }
    for id in 1..=channels {
        let mux = (id - 1) / 10;
        let (server, port) = (mux % 8, 7_600 + id);
        write!(
            text,
            "[[channel]]\nid = {id}\nname = \"Channel {id}\"\nacquisition_server = \"roof-{server}\"\n\
             input = \"mux-{mux}\"\nservice = {id}\nport = {port}\n\n"
        )
        .expect("a String takes all");
    }
    let list = (1..=channels).map(|id| id.to_string()).collect::<Vec<_>>().join(", ");
    for network in 0..networks {
        let [.., high, low] = network.to_be_bytes();
        let lan = format!("10.{}.{low}", 1 + high);
        write!(
            text,
            "[[push_server]]\nid = \"lan-{network}\"\naddress = \"{lan}.1\"\nchannels = [{list}]\n\
             record = {{ keep = \"7d\" }}\n\n  [[push_server.destination]]\n  address = \"239.192.0.1\"\n  \
             interface = \"{lan}.1\"\n  serves = [\"{lan}.0/24\", \"fd00:{network:x}::/64\"]\n\n"
        )
        .expect("a String takes all");
    }
    text
}

/// One of eight acquisition servers with every eighth multiplex.
fn acquisition_server(text: &mut String, server: u32, channels: u32) {
    writeln!(text, "[[acquisition_server]]\nid = \"roof-{server}\"\n").expect("a String takes all");
    for mux in (server..channels.div_ceil(10)).step_by(8) {
        let url = format!("rtp://239.192.9.{}:5004", mux % 256);
        writeln!(text, "  [[acquisition_server.input]]\n  id = \"mux-{mux}\"\n  url = \"{url}\"\n")
            .expect("a String takes all");
    }
}
