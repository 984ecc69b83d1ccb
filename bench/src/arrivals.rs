//! What the arrival times of a stream's packets say about its smoothness. Pure.

use media::time::PCR_MODULUS;
use serde::Serialize;

use crate::figure::quantile;

/// Of a PCR.
const TICKS_PER_MICROSECOND: u64 = 27;
const NS_PER_MS: f64 = 1e6;
/// MDI's interval (RFC 4445 §3.1).
const MDI_INTERVAL_NS: u64 = 1_000_000_000;

/// One datagram of a stream, as the receiving kernel saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The kernel's time of arrival, in ns since 1970.
    pub time_ns: u64,
    /// RTP sequence number; `None` without RTP.
    pub sequence: Option<u16>,
    /// Bytes of transport stream.
    pub payload_bytes: u32,
    /// Place and number of its last numbered packet ([`crate::cbr::numbered`]).
    pub numbered: Option<(usize, u64)>,
    /// The first PCR in it, less the time from the datagram's first packet to the one with the PCR: ticks of 27 MHz.
    pub pcr: Option<u64>,
}

/// How smooth a stream is. Times in ms.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Smoothness {
    /// Datagrams.
    pub packets: usize,
    /// Missing by RTP sequence numbers.
    pub lost: u64,
    /// Time between neighbours: median.
    pub gap_p50_ms: f64,
    /// 99th percentile.
    pub gap_p99_ms: f64,
    /// Longest.
    pub gap_max_ms: f64,
    /// MDI delay factor (RFC 4445 §3.1): median over the whole seconds.
    pub delay_factor_ms: f64,
    /// The worst second's.
    pub delay_factor_max_ms: f64,
    /// By how much arrival wanders against PCR: the span that 99 % of PCRs lie in; `None` without PCRs.
    pub pcr_span_ms: Option<f64>,
}

/// Judges `arrivals`, in order, of a stream whose constant rate is `rate_bps`. A stream without any of the numbered stuffing
/// is one that somebody made anew: it is taken at the rate that it has. `None` for less than two.
pub fn smoothness(arrivals: &[Arrival], rate_bps: u64) -> Option<Smoothness> {
    let mut gaps: Vec<f64> =
        arrivals.windows(2).map(|pair| ms(pair[1].time_ns.saturating_sub(pair[0].time_ns))).collect();
    if gaps.is_empty() {
        return None;
    }
    let remade = arrivals.iter().all(|arrival| arrival.numbered.is_none());
    let rate_bps = if remade { own_rate_bps(arrivals).unwrap_or(rate_bps) } else { rate_bps };
    let mut factors = delay_factors(arrivals, rate_bps);
    Some(Smoothness {
        packets: arrivals.len(),
        lost: lost(arrivals),
        gap_p50_ms: quantile(&mut gaps, 0.5),
        gap_p99_ms: quantile(&mut gaps, 0.99),
        gap_max_ms: quantile(&mut gaps, 1.0),
        delay_factor_ms: quantile(&mut factors, 0.5),
        delay_factor_max_ms: quantile(&mut factors, 1.0),
        pcr_span_ms: pcr_span_ms(arrivals),
    })
}

/// Packets missing between the first and the last, by RTP sequence numbers; those that came late are not missing.
pub fn lost(arrivals: &[Arrival]) -> u64 {
    let mut extended = arrivals.iter().filter_map(|arrival| arrival.sequence).scan(None, |last, sequence| {
        let next = match *last {
            None => i64::from(sequence),
            Some(last) => last + i64::from(sequence.wrapping_sub(low_bits(last)).cast_signed()),
        };
        *last = Some(next);
        Some(next)
    });
    let Some(first) = extended.next() else { return 0 };
    let mut seen: Vec<i64> = std::iter::once(first).chain(extended).collect();
    seen.sort_unstable();
    seen.dedup();
    let span = seen[seen.len() - 1] - seen[0] + 1;
    u64::try_from(span).unwrap_or(0).saturating_sub(seen.len() as u64)
}

fn low_bits(extended: i64) -> u16 {
    let [low, high, ..] = extended.to_le_bytes();
    u16::from_le_bytes([low, high])
}

/// What arrived after the first datagram, over the time that it took.
fn own_rate_bps(arrivals: &[Arrival]) -> Option<u64> {
    let (first, rest) = arrivals.split_first()?;
    let bytes: u64 = rest.iter().map(|arrival| u64::from(arrival.payload_bytes)).sum();
    let ns = rest.last()?.time_ns.checked_sub(first.time_ns).filter(|ns| *ns > 0)?;
    u64::try_from(u128::from(bytes) * 8_000_000_000 / u128::from(ns)).ok().filter(|rate| *rate > 0)
}

/// The delay factor of each whole second: the buffer that fills with what arrives and drains at the media rate, its greatest
/// less its least level, in ms of the stream.
fn delay_factors(arrivals: &[Arrival], rate_bps: u64) -> Vec<f64> {
    let (Some(first), Some(last)) = (arrivals.first(), arrivals.last()) else { return Vec::new() };
    let seconds = last.time_ns.saturating_sub(first.time_ns) / MDI_INTERVAL_NS;
    (0..seconds)
        .filter_map(|second| {
            let from = first.time_ns + second * MDI_INTERVAL_NS;
            let until = from + MDI_INTERVAL_NS;
            let within = arrivals.iter().filter(|arrival| (from..until).contains(&arrival.time_ns));
            let mut received = 0.0;
            let (mut least, mut greatest) = (f64::INFINITY, f64::NEG_INFINITY);
            for arrival in within {
                let drained = as_f64(arrival.time_ns - from) * as_f64(rate_bps) / 8e9;
                least = f64::min(least, received - drained);
                received += f64::from(arrival.payload_bytes);
                greatest = f64::max(greatest, received - drained);
            }
            (greatest > least).then(|| (greatest - least) * 8e3 / as_f64(rate_bps))
        })
        .collect()
}

/// The span that 99 % of the differences between arrival and PCR lie in.
fn pcr_span_ms(arrivals: &[Arrival]) -> Option<f64> {
    let samples: Vec<(u64, u64)> =
        arrivals.iter().filter_map(|arrival| Some((arrival.time_ns, arrival.pcr?))).collect();
    let (first_ns, first_pcr) = samples.first().copied()?;
    let mut wander: Vec<f64> = samples
        .iter()
        .map(|(time_ns, pcr)| {
            let media_us = (pcr + PCR_MODULUS - first_pcr) % PCR_MODULUS / TICKS_PER_MICROSECOND;
            ms(time_ns.saturating_sub(first_ns)) - as_f64(media_us) / 1e3
        })
        .collect();
    Some(quantile(&mut wander, 0.995) - quantile(&mut wander, 0.005))
}

fn ms(ns: u64) -> f64 {
    as_f64(ns) / NS_PER_MS
}

#[expect(clippy::cast_precision_loss, reason = "durations of a run, and rates")]
fn as_f64(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 5 Mb/s in datagrams of 1,316 bytes, each `batch` together.
    fn stream(batch: u64) -> Vec<Arrival> {
        (0..2_000_u64)
            .map(|number| Arrival {
                time_ns: number / batch * batch * 2_105_600,
                sequence: Some(u16::try_from((number + 65_000) % 65_536).unwrap()),
                payload_bytes: 1_316,
                numbered: Some((0, number * 7)),
                pcr: Some(number * 21_056 * 27 / 10),
            })
            .collect()
    }

    #[test]
    fn a_perfect_stream_has_the_delay_factor_of_one_packet() {
        let judged = smoothness(&stream(1), 5_000_000).unwrap();
        assert!((judged.delay_factor_ms - 2.1056).abs() < 1e-3, "{judged:?}");
        assert!(
            judged.gap_max_ms < 2.106 && judged.pcr_span_ms.unwrap() < 1e-2 && judged.lost == 0,
            "{judged:?}"
        );
    }

    #[test]
    fn batches_show_in_every_figure_but_the_median_gap() {
        let judged = smoothness(&stream(5), 5_000_000).unwrap();
        assert!((judged.delay_factor_ms - 5.0 * 2.1056).abs() < 1e-2, "{judged:?}");
        assert!((judged.gap_p99_ms - 5.0 * 2.1056).abs() < 1e-3 && judged.gap_p50_ms < 1e-9, "{judged:?}");
        assert!((judged.pcr_span_ms.unwrap() - 4.0 * 2.1056).abs() < 1e-2, "{judged:?}");
    }

    #[test]
    fn a_stream_made_anew_is_judged_at_its_own_rate() {
        let mut arrivals = stream(1);
        for arrival in &mut arrivals {
            (arrival.payload_bytes, arrival.numbered, arrival.pcr) = (188, None, None);
        }
        let judged = smoothness(&arrivals, 5_000_000).unwrap();
        assert!((judged.delay_factor_ms - 2.1056).abs() < 1e-2 && judged.pcr_span_ms.is_none(), "{judged:?}");
    }

    #[test]
    fn a_missing_packet_is_lost_and_a_late_one_is_not() {
        let mut arrivals = stream(1);
        arrivals.swap(700, 701);
        assert_eq!(lost(&arrivals), 0);
        arrivals.remove(900);
        assert_eq!(lost(&arrivals), 1);
    }
}
