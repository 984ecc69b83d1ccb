//! What sessions send again: which numbers, within which budget, read from the recording once more.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use protocols::budget;
use protocols::p4_control::{
    LEAST_REPEAT, MAX_MISSING_PER_PLAY_REPAIR, PacketName, PlayRepair, REPEAT_AFTER_PERCENT,
};
use protocols::time::{ClusterTime, Time};

use super::{BATCH_PACKETS, Departure, Output, ReadFrom, ReadOutcome, SessionKey, Sessions};
use crate::claim;
use crate::repair::ASKER_SHARE;

/// Reads for repairs under way in a host; what needs more is not sent.
const MAX_REPAIR_READS: usize = 256;
/// Numbers sent again that a session remembers, so as not to send them twice within a round trip; the oldest go.
const MAX_REMEMBERED: usize = 256;

/// Consecutive packets that are read to be sent again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Repairing {
    number: u32,
    name: PacketName,
    jump: bool,
    packets: u32,
}

/// What one session may be sent again: a share of its rate, and a little at once.
#[derive(Debug, Default)]
pub(super) struct Budget {
    share: budget::Budget,
    sent: BTreeMap<u32, Time>,
}

impl Budget {
    /// Whether `number` may be sent at `now`, which is then paid.
    fn allows(&mut self, now: Time, number: u32, (delta_p, rtt): (Duration, Duration)) -> bool {
        let pause = (rtt * REPEAT_AFTER_PERCENT / 100).clamp(LEAST_REPEAT, Duration::from_millis(800));
        if self.sent.get(&number).is_some_and(|sent| *sent + pause > now) {
            return false;
        }
        let allowance = ASKER_SHARE.of(delta_p);
        if !self.share.has_room(now, allowance) {
            return false;
        }
        self.share.use_one(allowance);
        self.sent.insert(number, now);
        if self.sent.len() > MAX_REMEMBERED {
            self.sent.retain(|_, sent| *sent + Duration::from_secs(1) > now);
        }
        if self.sent.len() > MAX_REMEMBERED {
            self.sent.pop_first();
        }
        true
    }
}

impl<P: Clone> Sessions<P> {
    /// Has what is asked for read, as far as it may be sent. Nothing is ever answered but by packets.
    pub(super) fn missing(
        &mut self,
        now: Time,
        (from, cluster): (SocketAddr, ClusterTime),
        request: &PlayRepair,
        outputs: &mut Vec<Output<P>>,
    ) {
        let key = SessionKey { client: request.lease.client, session: request.session };
        let in_time = claim::in_time(&request.lease, request.time, cluster).is_ok();
        if claim::comes_from(&request.lease, from).is_err() {
            self.counters.wrong_address += 1;
            return;
        }
        let Some(session) = self.table.get_mut(&key).filter(|_| in_time) else { return };
        if (session.last.lease.channel, session.last.lease.from)
            != (request.lease.channel, request.lease.from)
        {
            return;
        }
        session.heard = now;
        let terms = (session.presentation.delta_p(), Duration::from_micros(u64::from(request.rtt_us)));
        let mut rows: Vec<Repairing> = Vec::new();
        for number in
            request.missing.iter().take(MAX_MISSING_PER_PLAY_REPAIR).flat_map(|entry| entry.numbers())
        {
            let carried = session.presentation.carried(number);
            let Some((name, jump)) = carried.filter(|_| session.budget.allows(now, number, terms)) else {
                self.counters.not_repaired += 1;
                continue;
            };
            match rows.last_mut() {
                Some(row) if !jump && row.number.wrapping_add(row.packets) == number => row.packets += 1,
                _ => rows.push(Repairing { number, name, jump, packets: 1 }),
            }
        }
        for row in rows {
            if self.repairs.len() >= MAX_REPAIR_READS {
                self.counters.not_repaired += u64::from(row.packets);
                continue;
            }
            let (ticket, channel) = (self.next_ticket, request.lease.channel);
            self.next_ticket += 1;
            self.repairs.insert(ticket, row);
            let from = ReadFrom::Packet(row.name);
            outputs.push(Output::Read { key, ticket, channel, from, packets: row.packets });
        }
    }

    /// Sends what was read for a repair.
    pub(super) fn repair(
        &mut self,
        key: SessionKey,
        row: Repairing,
        outcome: ReadOutcome<P>,
        outputs: &mut Vec<Output<P>>,
    ) {
        let ReadOutcome::Packets { pieces, .. } = outcome else {
            self.counters.failed_reads += 1;
            return;
        };
        let Some(session) = self.table.get(&key) else { return };
        let mut packets = Vec::new();
        for (offset, piece) in (0..row.packets).zip(pieces) {
            let expected = PacketName { number: row.name.number.wrapping_add(u64::from(offset)), ..row.name };
            if piece.name != expected {
                break;
            }
            let jump = row.jump && offset == 0;
            let header =
                session.presentation.header(row.number.wrapping_add(offset), jump, piece.random_access);
            packets.push(Departure { header, packet: piece.packet });
        }
        self.counters.repaired += packets.len() as u64;
        for batch in packets.chunks(BATCH_PACKETS) {
            outputs.push(Output::Send { to: session.to, packets: batch.to_vec() });
        }
    }
}
