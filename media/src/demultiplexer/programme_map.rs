//! Which packets make up a service: its programme map section (§2.4.4.8).

use std::collections::BTreeMap;

use crate::packet::NULL_PID;
use crate::section::length_of;

/// PIDs kept of one service; further ones are left out and counted.
pub const SERVICE_PIDS_MAX: usize = 128;

/// Below are PIDs that no service may claim (§2.4.3.3, table 2-3).
const FIRST_FREE_PID: u16 = 0x10;
const DESCRIPTOR_CA: u8 = 0x09;
/// Data beside sound and pictures, which may be clear where those are scrambled: private sections and PES, MHEG,
/// DSM-CC, auxiliary streams; SCTE 35.
const DATA_TYPES: std::ops::RangeInclusive<u8> = 0x05..=0x0e;
const TYPE_SCTE_35: u8 = 0x86;

/// How much of a PID a service takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// All packets; `watched`: whether they tell that the service is scrambled.
    Whole { watched: bool },
    /// The PCRs only: the packets are another service's.
    Clock,
}

/// A programme map as packets are routed by it.
#[derive(Debug, Default)]
pub(super) struct ProgrammeMap {
    pub(super) shares: BTreeMap<u16, Share>,
    /// PIDs that the section names and that cannot be, or are too many.
    pub(super) refused: u64,
}

impl ProgrammeMap {
    /// Takes the section's body apart; `None` when its lengths contradict each other.
    pub(super) fn parse(pmt_pid: u16, body: &[u8]) -> Option<Self> {
        let (head, rest) = body.split_first_chunk::<4>()?;
        let pcr_pid = u16::from_be_bytes([head[0] & 0x1f, head[1]]);
        let (common, mut rest) = rest.split_at_checked(length_of([head[2], head[3]]))?;
        let mut map = Self::default();
        let allowed = |pid: u16| (FIRST_FREE_PID..NULL_PID).contains(&pid) && pid != pmt_pid;
        map.conditional_access(common, allowed);
        while let Some((entry, after)) = rest.split_first_chunk::<5>() {
            let (descriptors, next) = after.split_at_checked(length_of([entry[3], entry[4]]))?;
            let pid = u16::from_be_bytes([entry[1] & 0x1f, entry[2]]);
            let watched = !DATA_TYPES.contains(&entry[0]) && entry[0] != TYPE_SCTE_35;
            map.add(pid, Share::Whole { watched }, allowed);
            map.conditional_access(descriptors, allowed);
            rest = next;
        }
        // A service of data alone is scrambled when all its data is.
        if !map.shares.values().any(|share| *share == Share::Whole { watched: true }) {
            map.shares.values_mut().for_each(|share| *share = Share::Whole { watched: true });
        }
        // None, or among the streams: nothing to add. On the PMT's own PID it is taken out of there.
        if pcr_pid != NULL_PID && !map.shares.contains_key(&pcr_pid) {
            map.add(pcr_pid, Share::Clock, |pid| (FIRST_FREE_PID..NULL_PID).contains(&pid));
        }
        Some(map)
    }

    /// The PIDs of entitlement messages (§2.6.16).
    fn conditional_access(&mut self, mut descriptors: &[u8], allowed: impl Fn(u16) -> bool + Copy) {
        while let Some((&[tag, len], rest)) = descriptors.split_first_chunk::<2>() {
            let Some((data, next)) = rest.split_at_checked(usize::from(len)) else { return };
            if let (DESCRIPTOR_CA, Some(&[_, _, high, low])) = (tag, data.first_chunk::<4>()) {
                self.add(u16::from_be_bytes([high & 0x1f, low]), Share::Whole { watched: false }, allowed);
            }
            descriptors = next;
        }
    }

    fn add(&mut self, pid: u16, share: Share, allowed: impl Fn(u16) -> bool) {
        if !allowed(pid) || (self.shares.len() >= SERVICE_PIDS_MAX && !self.shares.contains_key(&pid)) {
            self.refused += 1;
        } else if self.shares.get(&pid) != Some(&Share::Whole { watched: true }) {
            self.shares.insert(pid, share);
        }
    }
}
