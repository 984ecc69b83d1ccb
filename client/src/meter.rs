//! What a viewing was like: rate, loss, where from; for the status line and for the summary at its end.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

use media::RtpPacket;
use media::continuity::ContinuityCheck;
use media::packet::Packet;
use protocols::time::Time;
use serde::Serialize;

use crate::viewer::{Counters, Notice};

/// Push servers that a summary names; more are not remembered.
pub const PUSH_SERVERS_MAX: usize = 64;
/// The rate is taken over this.
pub const RATE_WINDOW: Duration = Duration::from_secs(1);

/// Takes what the viewer hands on.
#[derive(Debug)]
pub struct Meter {
    started: Time,
    continuity: ContinuityCheck,
    first_packet: Option<Time>,
    push_servers: BTreeSet<String>,
    channel: Option<String>,
    push_server: Option<String>,
    problem: Option<String>,
    /// How long the newest zap took.
    zap: Option<Duration>,
    by_unicast: bool,
    bytes: u64,
    window: Window,
}

#[derive(Debug)]
struct Window {
    since: Time,
    bytes: u64,
    rate_bps: u64,
}

/// What the shell counts: it is not the viewer's business.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShellCounters {
    /// Packets that the output was too slow for.
    pub output_overflows: u64,
    /// Datagrams that arrived at joined groups, whatever they were.
    pub datagrams: u64,
    /// System calls that took them.
    pub receive_calls: u64,
}

/// The end of a viewing in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// From the start of the program to its end, s.
    pub duration_s: f64,
    /// RTP packets handed on.
    pub packets: u64,
    /// Bytes of transport stream handed on.
    pub bytes: u64,
    /// RTP packets that never came, or too late.
    pub lost: u64,
    /// RTP packets that came again.
    pub duplicates: u64,
    /// RTP packets that came after a later one and were put in order.
    pub reordered: u64,
    /// RTP packets that came when they had been given up.
    pub late: u64,
    /// RTP packets that came in time because they were asked for.
    pub repaired: u64,
    /// RTP packets asked for, each as often as it was.
    pub repairs_asked: u64,
    /// RTP packets that were sent again and came when they had been given up.
    pub repairs_late: u64,
    /// RTP packets that were sent again and were there already.
    pub repair_duplicates: u64,
    /// Breaks of continuity counters in what was handed on.
    pub continuity_errors: u64,
    /// Channels tuned to, one after the other.
    pub zaps: u64,
    /// Interests sent.
    pub interests_sent: u64,
    /// Interests left unsent because another client's was announced.
    pub interests_suppressed: u64,
    /// Announcements, answers and datagrams that were not genuine.
    pub bad_tags: u64,
    /// Packets that the output was too slow for.
    pub output_overflows: u64,
    /// Datagrams that arrived at joined groups, whatever they were.
    pub datagrams: u64,
    /// System calls that took them.
    pub receive_calls: u64,
    /// Push servers that channels were tuned to.
    pub push_servers: Vec<String>,
    /// From the start to the first packet, s.
    pub time_to_first_packet_s: Option<f64>,
    /// From the newest zap to its first whole random access picture, s.
    pub zap_time_s: Option<f64>,
    /// RTP packets that came by live sessions (P5).
    pub live_packets: u64,
    /// Live sessions begun.
    pub live_sessions: u64,
    /// Times that multicast did not arrive and unicast went on.
    pub unicast_stays: u64,
    /// Times that multicast took over from a live session.
    pub seams: u64,
    /// Multicast packets left to a live session that was far behind them.
    pub left_to_stream: u64,
}

impl Meter {
    /// A meter for a viewing that begins now.
    pub fn new(now: Time) -> Self {
        Self {
            started: now,
            continuity: ContinuityCheck::new(),
            first_packet: None,
            push_servers: BTreeSet::new(),
            channel: None,
            push_server: None,
            problem: None,
            zap: None,
            by_unicast: false,
            bytes: 0,
            window: Window { since: now, bytes: 0, rate_bps: 0 },
        }
    }

    /// Takes a packet that was handed on.
    pub fn packet(&mut self, now: Time, packet: &RtpPacket) {
        self.first_packet.get_or_insert(now);
        self.bytes += packet.payload().len() as u64;
        for bytes in packet.packets() {
            if let Ok(packet) = Packet::parse(bytes) {
                self.continuity.push(packet);
            }
        }
    }

    /// Takes what the user is told.
    pub fn notice(&mut self, notice: &Notice) {
        match notice {
            Notice::Tuned { channel, name, push_server, .. } => {
                let channel = format!("{channel} {name}");
                if self.channel.as_ref() != Some(&channel) {
                    self.channel = Some(channel);
                    (self.zap, self.by_unicast) = (None, false);
                    self.continuity.restart();
                }
                let push_server = push_server.to_string();
                if self.push_servers.len() < PUSH_SERVERS_MAX {
                    self.push_servers.insert(push_server.clone());
                }
                self.push_server = Some(push_server);
                self.problem = None;
            }
            Notice::Unavailable { reason, .. } => self.problem = Some(reason.clone()),
            Notice::Playing { .. } => self.problem = None,
            Notice::Zapped { took, .. } => self.zap = Some(*took),
            Notice::ByUnicast => self.by_unicast = true,
            Notice::ByBroadcast => self.by_unicast = false,
            Notice::NewStream => self.continuity.restart(),
            _ => {}
        }
    }

    /// Renews the rate; call about once a second.
    pub fn second(&mut self, now: Time) {
        let span = now.since(self.window.since);
        if span < RATE_WINDOW / 2 {
            return;
        }
        let span_us = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let bits = (self.bytes - self.window.bytes).saturating_mul(8);
        let rate_bps = bits.saturating_mul(1_000_000) / span_us;
        self.window = Window { since: now, bytes: self.bytes, rate_bps };
    }

    /// When the first packet was handed on.
    pub fn first_packet(&self) -> Option<Time> {
        self.first_packet
    }

    /// Bits per second handed on in the newest window.
    pub fn rate_bps(&self) -> u64 {
        self.window.rate_bps
    }

    /// One line: channel, rate, lost, duplicates, push server; how long the zap took, and whether it comes by unicast.
    pub fn status(&self, counters: &Counters) -> String {
        let Some(channel) = &self.channel else {
            return self.problem.clone().unwrap_or_else(|| "waiting for the directory".to_owned());
        };
        let mut line = format!(
            "{channel} · {} · lost {} · dup {} · {}",
            rate(self.window.rate_bps),
            counters.lost,
            counters.duplicates,
            self.push_server.as_deref().unwrap_or("?"),
        );
        if self.by_unicast {
            line.push_str(" by unicast");
        }
        if let Some(zap) = self.zap {
            let _ = write!(line, " · zap {} ms", zap.as_millis());
        }
        if let Some(problem) = &self.problem {
            let _ = write!(line, " · {problem}");
        }
        crate::listing::printable(&line)
    }

    /// The numbers at the end.
    pub fn summary(&self, now: Time, counters: &Counters, shell: ShellCounters) -> Summary {
        Summary {
            duration_s: seconds(now.since(self.started)),
            packets: counters.delivered,
            bytes: counters.delivered_bytes,
            lost: counters.lost,
            duplicates: counters.duplicates,
            reordered: counters.reordered,
            late: counters.late,
            repaired: counters.repaired,
            repairs_asked: counters.repairs_asked,
            repairs_late: counters.repairs_late,
            repair_duplicates: counters.repair_duplicates,
            continuity_errors: self.continuity.errors(),
            zaps: counters.zaps,
            interests_sent: counters.interests_sent,
            interests_suppressed: counters.interests_suppressed,
            bad_tags: counters.bad_tags,
            output_overflows: shell.output_overflows,
            datagrams: shell.datagrams,
            receive_calls: shell.receive_calls,
            push_servers: self.push_servers.iter().cloned().collect(),
            time_to_first_packet_s: self.first_packet.map(|at| seconds(at.since(self.started))),
            zap_time_s: self.zap.map(seconds),
            live_packets: counters.live_packets,
            live_sessions: counters.live_sessions,
            unicast_stays: counters.live_stays,
            seams: counters.seams,
            left_to_stream: counters.left_to_stream,
        }
    }
}

impl Summary {
    /// For people; ends with a line feed.
    pub fn text(&self) -> String {
        let first = match self.time_to_first_packet_s {
            Some(seconds) => format!("first packet after {seconds:.3} s"),
            None => "no packet arrived".to_owned(),
        };
        let from = match &self.push_servers[..] {
            [] => "none".to_owned(),
            servers => servers.join(", "),
        };
        let mut text = format!(
            "{:.1} s, {} packets, {} bytes; {first}\n\
             lost {}, repaired {}, duplicates {}, reordered {}, late {}, continuity errors {}\n\
             push servers: {from}; channels watched: {}; interests sent {}, suppressed {}\n",
            self.duration_s,
            self.packets,
            self.bytes,
            self.lost,
            self.repaired,
            self.duplicates,
            self.reordered,
            self.late,
            self.continuity_errors,
            self.zaps,
            self.interests_sent,
            self.interests_suppressed,
        );
        if let Some(zap) = self.zap_time_s {
            let _ = writeln!(
                text,
                "first picture {zap:.3} s after it was asked for; by unicast {} packets",
                self.live_packets
            );
        }
        if self.output_overflows > 0 {
            let _ = writeln!(text, "the output was too slow for {} packets", self.output_overflows);
        }
        text
    }

    /// For programs: one JSON object on one line, with a line feed.
    ///
    /// # Panics
    /// Never: all that it writes is JSON.
    pub fn json(&self) -> String {
        let text = serde_json::to_string(self).expect("text and finite numbers are JSON");
        format!("{text}\n")
    }
}

/// A rate for people.
pub fn rate(bps: u64) -> String {
    match bps {
        0..1_000_000 => format!("{} kb/s", bps / 1_000),
        _ => format!("{}.{:02} Mb/s", bps / 1_000_000, bps % 1_000_000 / 10_000),
    }
}

fn seconds(span: Duration) -> f64 {
    (span.as_secs_f64() * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::Sequence;
    use media::rtp::RtpHeader;
    use protocols::ids::ChannelId;

    fn packet(sequence: u16, counters: [u8; 2]) -> RtpPacket {
        let header = RtpHeader {
            marker: false,
            payload_type: 33,
            sequence: Sequence(sequence),
            timestamp_90k: 0,
            ssrc: 1,
        };
        let mut payload = [[0xff; 188]; 2];
        for (bytes, counter) in payload.iter_mut().zip(counters) {
            bytes[..4].copy_from_slice(&[0x47, 0x01, 0x00, 0x10 | counter]);
            bytes[4] = counter;
        }
        RtpPacket::new(&header, payload.as_flattened()).unwrap()
    }

    fn tuned(host: &str) -> Notice {
        Notice::Tuned {
            channel: ChannelId(1),
            name: "One".to_owned(),
            push_server: format!("{host}/1").parse().unwrap(),
            group: crate::viewer::Group {
                address: [239, 1, 2, 3].into(),
                port: 7601,
                local: [127, 0, 0, 1].into(),
            },
            cached: false,
        }
    }

    #[test]
    fn a_viewing_is_summed_up() {
        let mut meter = Meter::new(Time::from_ms(1_000));
        meter.notice(&tuned("hall"));
        meter.packet(Time::from_ms(1_250), &packet(1, [0, 1]));
        meter.packet(Time::from_ms(1_500), &packet(3, [4, 5]));
        meter.notice(&tuned("cellar"));
        meter.second(Time::from_ms(2_000));
        let counters =
            Counters { delivered: 2, delivered_bytes: 752, lost: 1, zaps: 1, ..Counters::default() };
        assert_eq!(meter.status(&counters), "1 One · 6 kb/s · lost 1 · dup 0 · cellar/1");
        meter.notice(&Notice::ByUnicast);
        meter.notice(&Notice::Zapped { channel: ChannelId(1), took: Duration::from_millis(43) });
        assert!(meter.status(&counters).ends_with("cellar/1 by unicast · zap 43 ms"));
        let summary = meter.summary(Time::from_ms(31_000), &counters, ShellCounters::default());
        assert_eq!(summary.continuity_errors, 1);
        assert_eq!(summary.push_servers, ["cellar/1", "hall/1"]);
        assert_eq!(summary.time_to_first_packet_s, Some(0.25));
        assert!(
            summary.text().starts_with("30.0 s, 2 packets, 752 bytes; first packet after 0.250 s\nlost 1,")
        );
        assert!(summary.text().contains("first picture 0.043 s after"), "{}", summary.text());
        assert!(summary.json().contains("\"lost\":1,"), "{}", summary.json());
    }

    #[test]
    fn a_zap_is_no_continuity_error() {
        let mut meter = Meter::new(Time::ZERO);
        meter.notice(&tuned("hall"));
        meter.packet(Time::ZERO, &packet(1, [0, 1]));
        let Notice::Tuned { name, push_server, group, cached, .. } = tuned("hall") else { unreachable!() };
        meter.notice(&Notice::Tuned { channel: ChannelId(2), name, push_server, group, cached });
        meter.packet(Time::ZERO, &packet(9, [7, 8]));
        assert_eq!(
            meter.summary(Time::ZERO, &Counters::default(), ShellCounters::default()).continuity_errors,
            0
        );
    }

    #[test]
    fn rates_read_well() {
        assert_eq!(rate(999_999), "999 kb/s");
        assert_eq!(rate(5_060_000), "5.06 Mb/s");
    }
}
