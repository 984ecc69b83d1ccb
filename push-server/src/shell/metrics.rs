//! The push server in Prometheus' words. `docs/metrics.md` lists them.

use std::time::Instant;

use link::metrics::{Exposition, Kind};
use protocols::counters::Described;

use super::playback;
use super::tally::Counts;
use crate::server::ChannelNumbers;

/// What the driver knows at one moment.
#[derive(Debug, Clone)]
pub(super) struct Measures {
    pub(super) started: Instant,
    /// Of the machine.
    pub(super) counters: Vec<Described>,
    /// Of each data thread.
    pub(super) threads: Vec<Counts>,
    pub(super) playback: playback::Counts,
    /// Of the recorder; empty where there is none.
    pub(super) recorder: Vec<Described>,
    /// Of replication; empty where there is none.
    pub(super) replication: Vec<Described>,
    pub(super) repairs_dropped: u64,
    pub(super) plays_dropped: u64,
    pub(super) members_dropped: u64,
    pub(super) channels: Vec<ChannelNumbers>,
}

/// All metrics as text.
pub(super) fn text(measures: &Measures) -> String {
    exposition(measures).into_text()
}

fn exposition(measures: &Measures) -> Exposition {
    let mut out = Exposition::new();
    out.process("push", env!("CARGO_PKG_VERSION"), measures.started);
    out.counters("masthead_push", &measures.counters);
    threads(&measures.threads, &mut out);
    let help = "Requests for repair dropped because a data thread had too many.";
    out.counter("masthead_push_repairs_dropped_total", help, measures.repairs_dropped);
    out.gauge("masthead_push_playback_sessions", "Recordings being played.", measures.playback.sessions);
    out.counters("masthead_push_playback", &measures.playback.counters.described());
    let help = "Datagrams of playback that the operating system did not take.";
    out.counter("masthead_push_playback_not_taken_total", help, measures.playback.not_taken);
    let help = "What hosts said of their groups, dropped because the driver did not keep up.";
    out.counter("masthead_push_members_dropped_total", help, measures.members_dropped);
    let help = "Orders to sessions dropped because the playback thread had too many.";
    out.counter("masthead_push_playback_dropped_total", help, measures.plays_dropped);
    out.counters("masthead_push_recorder", &measures.recorder);
    out.counters("masthead_push_replication", &measures.replication);
    channels(&measures.channels, &mut out);
    out
}

fn threads(threads: &[Counts], out: &mut Exposition) {
    let all: Vec<Vec<Described>> = threads.iter().map(Counts::described).collect();
    for (n, counter) in Counts::default().described().iter().enumerate() {
        let name = format!("masthead_push_thread_{}_total", counter.name);
        let mut samples = out.family(Kind::Counter, &name, &["thread"], &counter.text());
        for (thread, counters) in all.iter().enumerate() {
            samples.add(&[&thread.to_string()], counters[n].count);
        }
    }
}

fn channels(channels: &[ChannelNumbers], out: &mut Exposition) {
    let ids: Vec<String> = channels.iter().map(|channel| channel.channel.to_string()).collect();
    let all = || ids.iter().zip(channels);
    let labels = &["channel"];
    let mut fed =
        out.family(Kind::Gauge, "masthead_push_fed", labels, "Whether the channel's packets arrive.");
    all().for_each(|(id, channel)| fed.add(&[id], channel.fed));
    let help = "Whether the channel's feed was told to hold, since nobody watches.";
    let mut held = out.family(Kind::Gauge, "masthead_push_held", labels, help);
    all().for_each(|(id, channel)| held.add(&[id], channel.held));
    let help = "Whether the channel is to be recorded.";
    let mut recorded = out.family(Kind::Gauge, "masthead_push_recorded", labels, help);
    all().for_each(|(id, channel)| recorded.add(&[id], channel.recorded));
    let help = "Packets of the channel received from its acquisition server.";
    let mut packets = out.family(Kind::Counter, "masthead_push_received_packets_total", labels, help);
    all().for_each(|(id, channel)| packets.add(&[id], channel.packets));
    let labels = &["channel", "destination"];
    let places: Vec<_> = all()
        .flat_map(|(id, channel)| channel.destinations.iter().map(move |place| (id, place)))
        .map(|(id, place)| (id, place.address.to_string(), place))
        .collect();
    let help = "Whether the channel is being sent to the destination.";
    let mut sending = out.family(Kind::Gauge, "masthead_push_sending", labels, help);
    places.iter().for_each(|(id, address, place)| sending.add(&[id, address], place.sending));
    let help = "Packets of the channel sent to the destination.";
    let mut sent = out.family(Kind::Counter, "masthead_push_sent_packets_total", labels, help);
    places.iter().for_each(|(id, address, place)| sent.add(&[id, address], place.packets));
    let help = "Whether the destination cannot be sent to.";
    let mut faults = out.family(Kind::Gauge, "masthead_push_destination_fault", labels, help);
    places.iter().for_each(|(id, address, place)| faults.add(&[id, address], place.fault.is_some()));
}

#[cfg(test)]
mod tests {
    use protocols::ids::ChannelId;

    use super::super::{recorder, replication};
    use super::*;
    use crate::server::DestinationNumbers;

    fn measures() -> Measures {
        let place = DestinationNumbers {
            address: "239.192.1.1".parse().unwrap(),
            sending: true,
            packets: 7,
            fault: None,
        };
        let channel = ChannelNumbers {
            channel: ChannelId(1),
            fed: true,
            held: false,
            recorded: false,
            packets: 8,
            destinations: vec![place],
        };
        Measures {
            started: Instant::now(),
            counters: crate::counters::Counters::default().described(),
            threads: vec![Counts::default(); 2],
            playback: playback::Counts::default(),
            recorder: recorder::status::Counts::default().described(),
            replication: replication::Counts::default().described(),
            repairs_dropped: 0,
            plays_dropped: 0,
            members_dropped: 0,
            channels: vec![channel],
        }
    }

    /// Goal: the one table says what is really served. To mend it, copy the rows that the failure shows.
    #[test]
    fn the_table_of_metrics_says_what_a_push_server_serves() {
        let document = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md"));
        let wrong = exposition(&measures()).undocumented(document, &["masthead_push_"]);
        assert!(wrong.is_empty(), "docs/metrics.md is not right:\n{wrong}");
    }

    #[test]
    fn what_is_sent_where_is_told_by_channel_and_destination() {
        let text = text(&measures());
        let line = "\nmasthead_push_sent_packets_total{channel=\"1\",destination=\"239.192.1.1\"} 7\n";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("\nmasthead_push_thread_turns_total{thread=\"1\"} 0\n"), "{text}");
    }
}
