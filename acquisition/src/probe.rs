//! What a stream is made of and how whole it is, as `masthead-acquisition probe` tells it.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use media::Packet;
use media::continuity::ContinuityCheck;
use media::packet::{NULL_PID, PACKET_BYTES, PacketBytes};
use media::psi::{PrivateData, ProgrammeTable};
use protocols::time::Time;
use serde_json::json;

use crate::signal::Signal;

/// Counts a stream's packets. Memory is bounded by the number of PIDs there are.
#[derive(Debug, Default)]
pub struct Probe {
    first: Option<Time>,
    last: Time,
    transport_errors: u64,
    continuity: ContinuityCheck,
    pids: BTreeMap<u16, Pid>,
    programmes: ProgrammeTable,
}

/// What was counted of one PID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pid {
    /// Its packets.
    pub packets: u64,
    /// Those of them that are scrambled.
    pub scrambled: u64,
}

/// What the input itself tells beside its packets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Circumstances {
    /// How long it took to open: for a tuner, until it had a lock.
    pub opened_after: Duration,
    /// Of a tuner, at the end.
    pub signal: Option<Signal>,
    /// How often packets were no longer where they belong.
    pub sync_errors: u64,
    /// How often a buffer ran over.
    pub overflows: u64,
    /// Why it ended before its time.
    pub ended: Option<String>,
}

/// The result.
#[derive(Debug)]
pub struct Report {
    probe: Probe,
    circumstances: Circumstances,
}

/// What a report comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Packets came, and none was missing or damaged.
    Whole,
    /// Packets came, and some were missing or damaged.
    Damaged,
    /// No packet came.
    Silent,
}

impl Probe {
    /// A probe that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes packets that came now.
    pub fn packets(&mut self, now: Time, packets: &[PacketBytes]) {
        for bytes in packets {
            self.first.get_or_insert(now);
            self.last = now;
            let Ok(packet) = Packet::parse(bytes) else {
                self.transport_errors += 1;
                continue;
            };
            if packet.transport_error() {
                // Its PID and its counter may be wrong as well.
                self.transport_errors += 1;
                continue;
            }
            let pid = self.pids.entry(packet.pid()).or_default();
            pid.packets += 1;
            pid.scrambled += u64::from(packet.is_scrambled());
            self.continuity.push(packet);
            self.programmes.push(packet);
        }
    }

    /// Ends the count.
    pub fn finish(self, circumstances: Circumstances) -> Report {
        Report { probe: self, circumstances }
    }

    fn count(&self) -> u64 {
        self.pids.values().map(|pid| pid.packets).sum::<u64>() + self.transport_errors
    }

    fn duration(&self) -> Duration {
        self.first.map_or(Duration::ZERO, |first| self.last.since(first))
    }
}

impl Report {
    /// Whether the stream is whole.
    pub fn judgement(&self) -> Judgement {
        let Self { probe, circumstances } = self;
        let faults = [
            circumstances.sync_errors,
            circumstances.overflows,
            probe.transport_errors,
            probe.continuity.errors(),
        ];
        match () {
            () if probe.count() == 0 => Judgement::Silent,
            () if faults.iter().any(|count| *count > 0) => Judgement::Damaged,
            () => Judgement::Whole,
        }
    }

    /// The report as one JSON object.
    pub fn json(&self) -> String {
        let Self { probe, circumstances } = self;
        let signal = circumstances.signal.map(|signal| {
            json!({
                "lock": signal.lock,
                "strength_percent": signal.strength_percent,
                "quality_percent": signal.quality_percent,
            })
        });
        let pids: Vec<_> = probe
            .pids
            .iter()
            .map(|(pid, count)| {
                json!({
                    "pid": pid,
                    "packets": count.packets,
                    "scrambled_packets": count.scrambled,
                    "rate_bps": rate_bps(count.packets, probe.duration()),
                })
            })
            .collect();
        let services: Vec<_> = probe
            .programmes
            .programmes()
            .iter()
            .map(|(id, programme)| {
                let streams: Vec<_> = programme
                    .streams
                    .iter()
                    .map(|stream| json!({ "pid": stream.pid, "stream_type": stream.stream_type }))
                    .collect();
                json!({
                    "service_id": id,
                    "pmt_pid": programme.pmt_pid,
                    "pcr_pid": programme.pcr_pid,
                    "streams": streams,
                })
            })
            .collect();
        json!({
            "opened_after_ms": milliseconds(circumstances.opened_after),
            "signal": signal,
            "ended": circumstances.ended,
            "duration_ms": milliseconds(probe.duration()),
            "packets": probe.count(),
            "rate_bps": rate_bps(probe.count(), probe.duration()),
            "sync_errors": circumstances.sync_errors,
            "overflows": circumstances.overflows,
            "transport_errors": probe.transport_errors,
            "continuity_errors": probe.continuity.errors(),
            "duplicates": probe.continuity.duplicates(),
            "pids": pids,
            "services": services,
        })
        .to_string()
    }

    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { probe, circumstances } = self;
        let opened = milliseconds(circumstances.opened_after);
        match circumstances.signal {
            Some(signal) => {
                let lock = if signal.lock { "lock" } else { "lock, lost since," };
                writeln!(f, "tuner              {lock} after {opened} ms{}", measures(signal))?;
            }
            None => writeln!(f, "input              open after {opened} ms")?,
        }
        let duration = probe.duration();
        let (whole, tenths) = (duration.as_secs(), duration.subsec_millis() / 100);
        let rate = megabits(rate_bps(probe.count(), duration));
        writeln!(f, "packets            {} in {whole}.{tenths} s, {rate} Mb/s", probe.count())?;
        writeln!(f, "sync errors        {}", circumstances.sync_errors)?;
        writeln!(f, "overflows          {}", circumstances.overflows)?;
        writeln!(f, "transport errors   {}", probe.transport_errors)?;
        writeln!(f, "continuity errors  {}", probe.continuity.errors())?;
        writeln!(f, "duplicates         {}", probe.continuity.duplicates())?;
        match &circumstances.ended {
            Some(cause) => writeln!(f, "ended              {cause}"),
            None => Ok(()),
        }
    }
}

/// Lines for people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head(f)?;
        let probe = &self.probe;
        writeln!(f, "\n   PID     packets     Mb/s")?;
        for (pid, count) in &probe.pids {
            let rate = megabits(rate_bps(count.packets, probe.duration()));
            let note = match count.scrambled {
                0 if *pid == NULL_PID => ", null packets".to_owned(),
                0 => String::new(),
                scrambled => format!(", {scrambled} of them scrambled"),
            };
            writeln!(f, "{pid:>6} {:>11} {rate:>8}{note}", count.packets)?;
        }
        writeln!(f, "\nservice  PMT   PCR   streams")?;
        for (id, programme) in probe.programmes.programmes() {
            let pcr = programme.pcr_pid.map_or("-".to_owned(), |pid| pid.to_string());
            let mut streams = String::new();
            for stream in &programme.streams {
                let what = stream_name(stream.stream_type, stream.private);
                write!(streams, "{}{} {what}", if streams.is_empty() { "" } else { ", " }, stream.pid)?;
            }
            let streams = if streams.is_empty() { "-" } else { &streams };
            writeln!(f, "{id:>7} {:>5} {pcr:>5}  {streams}", programme.pmt_pid)?;
        }
        Ok(())
    }
}

fn measures(signal: Signal) -> String {
    let measures = [("strength", signal.strength_percent), ("quality", signal.quality_percent)];
    let told = |(name, percent): (&str, Option<u8>)| Some(format!(", {name} {} %", percent?));
    measures.into_iter().filter_map(told).collect()
}

/// The usual name of a stream type (ISO/IEC 13818-1 table 2-34).
fn stream_name(stream_type: u8, private: Option<PrivateData>) -> String {
    let known = match (stream_type, private) {
        (_, Some(PrivateData::Ac3)) | (0x81, _) => "AC-3",
        (_, Some(PrivateData::EnhancedAc3)) | (0x87, _) => "E-AC-3",
        (_, Some(PrivateData::Dts)) => "DTS",
        (0x01, _) => "MPEG-1 video",
        (0x02, _) => "MPEG-2 video",
        (0x03 | 0x04, _) => "MPEG audio",
        (0x06, _) => "private",
        (0x0f | 0x11, _) => "AAC",
        (0x1b, _) => "H.264",
        (0x24, _) => "H.265",
        _ => return format!("type {stream_type:#04x}"),
    };
    known.to_owned()
}

fn rate_bps(packets: u64, duration: Duration) -> u64 {
    let bits = u128::from(packets) * (PACKET_BYTES as u128) * 8;
    let rate = (bits * 1_000_000).checked_div(duration.as_micros()).unwrap_or(0);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

fn megabits(bps: u64) -> String {
    format!("{}.{:02}", bps / 1_000_000, bps % 1_000_000 / 10_000)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIP: &[u8] = include_bytes!("../testcard/clip.ts");

    fn clip() -> &'static [PacketBytes] {
        CLIP.as_chunks().0
    }

    fn report(packets: &[PacketBytes], circumstances: Circumstances) -> Report {
        let mut probe = Probe::new();
        for (ms, packet) in (0..).zip(packets) {
            probe.packets(Time::from_ms(ms), &[*packet]);
        }
        probe.finish(circumstances)
    }

    #[test]
    fn a_whole_stream_is_told_with_its_pids_and_services() {
        let signal = Signal { lock: true, strength_percent: Some(80), quality_percent: None };
        let opened_after = Duration::from_millis(50);
        let report = report(
            &clip()[..500],
            Circumstances { opened_after, signal: Some(signal), ..Circumstances::default() },
        );
        assert_eq!(report.judgement(), Judgement::Whole);
        let text = report.to_string();
        assert!(text.starts_with("tuner              lock after 50 ms, strength 80 %\npackets            500 in 0.4 s, 1.50 Mb/s\n"), "{text}");
        assert!(text.contains("continuity errors  0\n") && text.contains("H.264"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!((json["packets"].as_u64(), json["continuity_errors"].as_u64()), (Some(500), Some(0)));
        assert_eq!((&json["signal"]["lock"], &json["services"][0]["service_id"]), (&json!(true), &json!(1)));
        let counted: u64 =
            json["pids"].as_array().unwrap().iter().filter_map(|pid| pid["packets"].as_u64()).sum();
        assert_eq!(counted, 500);
    }

    #[test]
    fn a_missing_packet_a_damaged_one_and_a_late_read_are_no_whole_stream() {
        let mut gap = clip()[..300].to_vec();
        let begins_a_unit = |packet: &PacketBytes| {
            Packet::parse(packet).is_ok_and(|packet| packet.has_payload() && packet.payload_unit_start())
        };
        let payload = (50..250).find(|n| begins_a_unit(&gap[*n])).unwrap();
        gap.remove(payload);
        assert_eq!(report(&gap, Circumstances::default()).judgement(), Judgement::Damaged);
        let mut damaged = clip()[..300].to_vec();
        damaged[100][1] |= 0x80;
        assert_eq!(report(&damaged, Circumstances::default()).judgement(), Judgement::Damaged);
        let late = Circumstances { overflows: 1, ..Circumstances::default() };
        assert_eq!(report(&clip()[..300], late).judgement(), Judgement::Damaged);
        assert_eq!(report(&[], Circumstances::default()).judgement(), Judgement::Silent);
        assert_eq!(report(&clip()[..300], Circumstances::default()).judgement(), Judgement::Whole);
    }
}
