//! The acquisition server in Prometheus' words. `docs/metrics.md` lists them.

use std::time::Instant;

use link::metrics::{Exposition, Kind};
use protocols::health::Indicator;
use protocols::p1_registration::{ChannelReport, FeedState, InputState, Poll};

/// What the driver knows at one moment.
#[derive(Debug, Clone)]
pub(super) struct Measures {
    pub(super) started: Instant,
    pub(super) registered: bool,
    pub(super) ignored_events: u64,
    pub(super) guide_events_left_out: u64,
    pub(super) report: Poll,
}

/// All metrics as text.
pub(super) fn text(measures: &Measures) -> String {
    exposition(measures).into_text()
}

fn exposition(measures: &Measures) -> Exposition {
    let mut out = Exposition::new();
    out.process("acquisition", env!("CARGO_PKG_VERSION"), measures.started);
    let help = "Whether the database server is connected.";
    out.gauge("masthead_acquisition_registered", help, measures.registered);
    let help = "Version of the topology that the plan in force was made from.";
    out.gauge("masthead_acquisition_plan_generation", help, measures.report.generation.0);
    let help = "Events of channels or feeds that the plan does not hold any more.";
    out.counter("masthead_acquisition_ignored_events_total", help, measures.ignored_events);
    let help = "Programmes left out of the guide for a limit.";
    let left_out = measures.guide_events_left_out;
    out.counter("masthead_acquisition_guide_events_left_out_total", help, left_out);
    let channels = &measures.report.channels;
    let ids: Vec<String> = channels.iter().map(|channel| channel.channel.to_string()).collect();
    let all = || ids.iter().zip(channels);
    let labels = &["channel"];
    let help = "Whether the channel's input delivers.";
    let mut inputs = out.family(Kind::Gauge, "masthead_acquisition_input_delivering", labels, help);
    all().for_each(|(id, channel)| inputs.add(&[id], channel.input == InputState::Delivering));
    let help = "Which source the channel is taken from: 0 its own input, else so many-th of its backups.";
    let mut sources = out.family(Kind::Gauge, "masthead_acquisition_source", labels, help);
    all().for_each(|(id, channel)| sources.add(&[id], u64::from(channel.source)));
    let help = "Changes from one source of the channel to another.";
    let mut switches = out.family(Kind::Counter, "masthead_acquisition_switches_total", labels, help);
    all().for_each(|(id, channel)| switches.add(&[id], channel.switches));
    let help = "Rate of the channel's transport stream over the last second.";
    let mut rates = out.family(Kind::Gauge, "masthead_acquisition_rate_bits_per_second", labels, help);
    all().for_each(|(id, channel)| rates.add(&[id], channel.rate_bps));
    let help = "Packets made of the channel.";
    let mut packets = out.family(Kind::Counter, "masthead_acquisition_packets_total", labels, help);
    all().for_each(|(id, channel)| packets.add(&[id], channel.packets));
    health(&ids, channels, &mut out);
    let labels = &["channel", "push_server"];
    let feeds = || all().flat_map(|(id, channel)| channel.feeds.iter().map(move |feed| (id, feed)));
    let help = "Whether the push server takes the channel.";
    let mut connected = out.family(Kind::Gauge, "masthead_acquisition_feed_connected", labels, help);
    feeds()
        .for_each(|(id, feed)| connected.add(&[id, feed.host.as_str()], feed.state == FeedState::Connected));
    let help = "Packets dropped because the connection to the push server could not keep up.";
    let name = "masthead_acquisition_feed_dropped_packets_total";
    let mut dropped = out.family(Kind::Counter, name, labels, help);
    feeds().for_each(|(id, feed)| dropped.add(&[id, feed.host.as_str()], feed.dropped_packets));
    out
}

/// How the channels' streams fare.
fn health(ids: &[String], channels: &[ChannelReport], out: &mut Exposition) {
    let all = || ids.iter().zip(channels);
    let help = "How often an indicator of TR 101 290 was seen in the channel's stream.";
    let labels = &["channel", "indicator"];
    let mut seen = out.family(Kind::Counter, "masthead_acquisition_indicator_total", labels, help);
    for (id, channel) in all() {
        Indicator::ALL.iter().for_each(|&what| seen.add(&[id, what.name()], channel.health.count(what)));
    }
    let labels = &["channel"];
    let help = "Transport packets missing in the channel's stream by their continuity counters.";
    let name = "masthead_acquisition_lost_transport_packets_total";
    let mut lost = out.family(Kind::Counter, name, labels, help);
    all().for_each(|(id, channel)| lost.add(&[id], channel.health.lost_packets));
    let delivered = || all().filter_map(|(id, channel)| Some((id, channel.health.delivery?)));
    let help = "Delay factor of the channel's input in the last second (RFC 4445).";
    let name = "masthead_acquisition_delay_factor_seconds";
    let mut factors = out.family(Kind::Gauge, name, labels, help);
    delivered().for_each(|(id, index)| factors.add(&[id], f64::from(index.delay_factor_us) / 1e6));
    let help = "Transport packets of the channel missing in the last second (RFC 4445).";
    let mut rates = out.family(Kind::Gauge, "masthead_acquisition_media_loss_rate", labels, help);
    delivered().for_each(|(id, index)| rates.add(&[id], u64::from(index.lost_packets)));
    let tuned = || all().filter_map(|(id, channel)| Some((id, channel.signal?)));
    let help = "Whether the channel's tuner demodulates a multiplex.";
    let mut locks = out.family(Kind::Gauge, "masthead_acquisition_signal_locked", labels, help);
    tuned().for_each(|(id, signal)| locks.add(&[id], signal.locked));
    let help = "Strength of the signal at the channel's tuner, as the device tells it.";
    let name = "masthead_acquisition_signal_strength_percent";
    let mut strengths = out.family(Kind::Gauge, name, labels, help);
    tuned()
        .filter_map(|(id, signal)| Some((id, signal.strength_percent?)))
        .for_each(|(id, percent)| strengths.add(&[id], u64::from(percent)));
    let help = "Quality of the signal at the channel's tuner, as the device tells it.";
    let name = "masthead_acquisition_signal_quality_percent";
    let mut qualities = out.family(Kind::Gauge, name, labels, help);
    tuned()
        .filter_map(|(id, signal)| Some((id, signal.quality_percent?)))
        .for_each(|(id, percent)| qualities.add(&[id], u64::from(percent)));
}

#[cfg(test)]
mod tests {
    use protocols::health::{HealthReport, IndicatorReport};
    use protocols::ids::ChannelId;
    use protocols::p1_registration::FeedReport;
    use protocols::time::ClusterTime;

    use super::*;

    fn measures() -> Measures {
        let feed =
            FeedReport { host: "hall".parse().unwrap(), state: FeedState::Connected, dropped_packets: 3 };
        let channel = ChannelReport {
            channel: ChannelId(1),
            input: InputState::Delivering,
            source: 0,
            switches: 0,
            packets: 9,
            rate_bps: 5_000_000,
            feeds: vec![feed],
            health: HealthReport {
                indicators: vec![IndicatorReport {
                    indicator: Indicator::Crc,
                    count: 4,
                    last: ClusterTime(1),
                }],
                ..HealthReport::default()
            },
            signal: None,
        };
        let report = Poll { channels: vec![channel], ..Poll::default() };
        Measures {
            started: Instant::now(),
            registered: true,
            ignored_events: 0,
            guide_events_left_out: 0,
            report,
        }
    }

    /// Goal: the one table says what is really served. To mend it, copy the rows that the failure shows.
    #[test]
    fn the_table_of_metrics_says_what_an_acquisition_server_serves() {
        let document = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md"));
        let wrong = exposition(&measures()).undocumented(document, &["masthead_acquisition_"]);
        assert!(wrong.is_empty(), "docs/metrics.md is not right:\n{wrong}");
    }

    #[test]
    fn every_indicator_is_told_also_those_that_were_never_seen() {
        let text = text(&measures());
        let line = |what, count| {
            format!("\nmasthead_acquisition_indicator_total{{channel=\"1\",indicator=\"{what}\"}} {count}\n")
        };
        assert!(text.contains(&line("crc_error", 4)) && text.contains(&line("pat_error", 0)), "{text}");
    }

    #[test]
    fn what_a_push_server_lost_is_told_by_channel_and_push_server() {
        let line =
            "\nmasthead_acquisition_feed_dropped_packets_total{channel=\"1\",push_server=\"hall\"} 3\n";
        let text = text(&measures());
        assert!(text.contains(line), "{text}");
    }
}
