//! One input's packets, shared out to the channels that are taken from it: a service each, or all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use media::Packet;
use media::demultiplexer::{Counters, Demultiplexer, Slot, State};
use media::health::Extent;
use media::packet::PacketBytes;
use protocols::time::Time;

use crate::capture::Condition;
use crate::pids::Pids;

/// A service whose tables have not come for this long has failed.
pub const SERVICE_PATIENCE: Duration = Duration::from_secs(3);
/// Services named to whom the wanted one is missing.
const NAMED_SERVICES: usize = 12;
/// PIDs that the guide and the scan read, whatever the channels need: NIT, SDT, EIT, TDT (ETSI EN 300 468 §5.1.3),
/// and the base of ATSC's tables (A/65 §4).
const INFORMATION_PIDS: [u16; 5] = [0x10, 0x11, 0x12, 0x14, 0x1ffb];

/// One channel's part in an input. Numbers are not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Outlet(pub u64);

/// Shares out the packets of one input. It holds those of one batch.
#[derive(Debug, Default)]
pub struct Splitter {
    demultiplexer: Demultiplexer,
    parts: BTreeMap<Outlet, Part>,
    /// By slot: the packets of this batch.
    batches: Vec<Vec<PacketBytes>>,
    /// Counts the parts that came and went, which the demultiplexer does not know of.
    revision: u64,
}

/// What an outlet is given.
#[derive(Debug)]
enum Part {
    /// The input as it is.
    Whole,
    /// One service.
    Service { number: u16, slot: Slot, state: State, since: Option<Time> },
    /// Nothing: there are too many others.
    Refused(String),
}

impl Splitter {
    /// A splitter without outlets.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an outlet for a service, or for all that the input brings.
    pub fn add(&mut self, outlet: Outlet, service: Option<u16>) {
        let part = match service {
            None => Part::Whole,
            Some(number) => match self.demultiplexer.add(number) {
                Ok(slot) => {
                    self.batches.resize_with(self.batches.len().max(slot.index() + 1), Vec::new);
                    Part::Service { number, slot, state: State::Searching, since: None }
                }
                Err(full) => Part::Refused(format!("service {number} cannot be taken: {full}")),
            },
        };
        self.remove(outlet);
        self.parts.insert(outlet, part);
    }

    /// Gives an outlet up.
    pub fn remove(&mut self, outlet: Outlet) {
        if let Some(Part::Service { slot, .. }) = self.parts.remove(&outlet) {
            self.demultiplexer.remove(slot);
        }
        self.revision += 1;
    }

    /// The input was opened anew.
    pub fn interrupt(&mut self) {
        self.demultiplexer.interrupt();
        for part in self.parts.values_mut() {
            if let Part::Service { since, .. } = part {
                *since = None;
            }
        }
    }

    /// Takes the next packets of the input; what is left of those before is forgotten.
    pub fn push(&mut self, now: Time, packets: &[PacketBytes]) {
        self.batches.iter_mut().for_each(Vec::clear);
        let Self { demultiplexer, batches, parts, .. } = self;
        for packet in packets.iter().filter_map(|bytes| Packet::parse(bytes).ok()) {
            demultiplexer.push(now.since_origin(), packet, |slot, bytes| {
                if let Some(batch) = batches.get_mut(slot.index()) {
                    batch.push(*bytes);
                }
            });
        }
        for part in parts.values_mut() {
            if let Part::Service { slot, state, since, .. } = part {
                let found = demultiplexer.state(*slot);
                if since.is_none() || *state != found {
                    (*state, *since) = (found, Some(now));
                }
            }
        }
    }

    /// The outlet's packets of those last pushed, which were `whole`.
    pub fn packets<'a>(&'a self, outlet: Outlet, whole: &'a [PacketBytes]) -> &'a [PacketBytes] {
        match self.parts.get(&outlet) {
            Some(Part::Whole) => whole,
            Some(Part::Service { slot, .. }) => self.batches.get(slot.index()).map_or(&[], Vec::as_slice),
            Some(Part::Refused(_)) | None => &[],
        }
    }

    /// How the outlet's part of the input fares.
    pub fn condition(&self, now: Time, outlet: Outlet) -> Condition {
        match self.parts.get(&outlet) {
            Some(Part::Whole) | None => Condition::Flowing,
            Some(Part::Refused(why)) => Condition::Faulty(why.clone()),
            Some(Part::Service { number, state, since, .. }) => {
                let patient = since.is_none_or(|since| now.since(since) < SERVICE_PATIENCE);
                match state {
                    State::Flowing => Condition::Flowing,
                    State::Searching | State::Announced if patient => Condition::Waiting,
                    State::Searching => Condition::Faulty(format!(
                        "no programme association table, so service {number} cannot be found"
                    )),
                    State::Announced => Condition::Faulty(format!(
                        "service {number} is announced, but its programme map table does not come"
                    )),
                    State::Scrambled => Condition::Faulty(format!(
                        "service {number} is scrambled: descramble it before, or take another"
                    )),
                    State::Missing => Condition::Faulty(self.missing(*number)),
                }
            }
        }
    }

    /// How much of a multiplex the outlet has.
    pub fn extent(&self, outlet: Outlet) -> Extent {
        match self.parts.get(&outlet) {
            Some(Part::Service { .. } | Part::Refused(_)) => Extent::Service,
            Some(Part::Whole) | None => Extent::Input,
        }
    }

    /// What the outlets need of the input, and the guide of it.
    pub fn pids(&self) -> Pids {
        if self.parts.values().any(|part| matches!(part, Part::Whole)) {
            return Pids::All;
        }
        let mut pids: BTreeSet<u16> = self.demultiplexer.pids();
        pids.extend(INFORMATION_PIDS);
        Pids::Only(pids)
    }

    /// Changes whenever [`Splitter::pids`] may have.
    pub fn revision(&self) -> u64 {
        self.revision + self.demultiplexer.revision()
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        self.demultiplexer.counters()
    }

    fn missing(&self, wanted: u16) -> String {
        let services: Vec<String> = self.demultiplexer.services().map(|number| number.to_string()).collect();
        let named = services.get(..NAMED_SERVICES).unwrap_or(&services).join(", ");
        match services.len() {
            0 => format!("carries no service, so not {wanted}"),
            1 => format!("carries service {named}, not {wanted}: correct `service` or leave it out"),
            count if count > NAMED_SERVICES => {
                let more = count - NAMED_SERVICES;
                format!("carries services {named} and {more} more, not {wanted}: correct `service`")
            }
            _ => format!("carries services {named}, not {wanted}: correct `service`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use media::packet::{NULL_PACKET, PACKET_BYTES};

    use super::*;

    const CLIP: &[u8] = include_bytes!("../testcard/clip.ts");
    const WHOLE: Outlet = Outlet(1);
    const ONE: Outlet = Outlet(2);
    const SEVEN: Outlet = Outlet(3);

    fn clip() -> &'static [PacketBytes] {
        CLIP.as_chunks().0
    }

    fn faulty(cause: &str) -> Condition {
        Condition::Faulty(cause.into())
    }

    /// A PAT with these services, on PMT PIDs from 0x100 on.
    fn pat(counter: u8, services: &[u16]) -> PacketBytes {
        let mut section = vec![0, 0xb0, u8::try_from(9 + 4 * services.len()).unwrap(), 0, 1, 0xc1, 0, 0];
        for (pid, service) in (0x100u16..).zip(services) {
            section.extend(service.to_be_bytes());
            section.extend((0xe000 | pid).to_be_bytes());
        }
        section.extend(media::section::crc32(&section).to_be_bytes());
        let mut bytes = [0xff; PACKET_BYTES];
        bytes[..5].copy_from_slice(&[0x47, 0x40, 0, 0x10 | counter, 0]);
        bytes[5..5 + section.len()].copy_from_slice(&section);
        bytes
    }

    #[test]
    fn a_channel_has_the_whole_input_or_its_service_and_another_hears_what_is_there() {
        let mut splitter = Splitter::new();
        splitter.add(WHOLE, None);
        splitter.add(ONE, Some(1));
        splitter.add(SEVEN, Some(7));
        let mut packets = clip()[..140].to_vec();
        packets.push(NULL_PACKET);
        splitter.push(Time::ZERO, &packets);
        assert_eq!(splitter.packets(WHOLE, &packets), packets);
        let ours = splitter.packets(ONE, &packets);
        assert!(ours.len() > 80 && ours.len() < packets.len(), "{}", ours.len());
        assert!(splitter.packets(SEVEN, &packets).is_empty());
        assert_eq!(splitter.condition(Time::ZERO, WHOLE), Condition::Flowing);
        assert_eq!(splitter.condition(Time::ZERO, ONE), Condition::Flowing);
        let cause = "carries service 1, not 7: correct `service` or leave it out";
        assert_eq!(splitter.condition(Time::ZERO, SEVEN), faulty(cause));
    }

    #[test]
    fn tables_are_waited_for_and_then_named() {
        let mut splitter = Splitter::new();
        splitter.add(SEVEN, Some(7));
        splitter.push(Time::ZERO, &[NULL_PACKET]);
        assert_eq!(splitter.condition(Time::from_ms(2999), SEVEN), Condition::Waiting);
        let cause = "no programme association table, so service 7 cannot be found";
        assert_eq!(splitter.condition(Time::from_ms(3000), SEVEN), faulty(cause));
        splitter.push(Time::from_ms(4000), &[pat(0, &[7])]);
        assert_eq!(splitter.condition(Time::from_ms(6999), SEVEN), Condition::Waiting);
        let cause = "service 7 is announced, but its programme map table does not come";
        assert_eq!(splitter.condition(Time::from_ms(7000), SEVEN), faulty(cause));
        splitter.push(Time::from_ms(8000), &[pat(1, &[2, 3])]);
        let cause = "carries services 2, 3, not 7: correct `service`";
        assert_eq!(splitter.condition(Time::from_ms(8000), SEVEN), faulty(cause));
        splitter.push(Time::from_ms(8000), &[pat(2, &(100..120).collect::<Vec<u16>>())]);
        let Condition::Faulty(cause) = splitter.condition(Time::from_ms(8000), SEVEN) else { panic!() };
        assert!(cause.ends_with("110, 111 and 8 more, not 7: correct `service`"), "{cause}");
        assert!(cause.len() < protocols::p1_registration::MAX_CAUSE_BYTES);
    }

    #[test]
    fn an_input_is_asked_for_what_its_channels_need_and_the_guide() {
        let mut splitter = Splitter::new();
        let guide = [0, 0x10, 0x11, 0x12, 0x14, 0x1ffb];
        assert_eq!(splitter.pids(), Pids::Only(guide.into()));
        splitter.add(ONE, Some(1));
        let revision = splitter.revision();
        splitter.push(Time::ZERO, &clip()[..140]);
        assert_ne!(splitter.revision(), revision);
        let Pids::Only(pids) = splitter.pids() else { panic!() };
        assert!(pids.len() > guide.len() + 2 && pids.is_superset(&guide.into()), "{pids:?}");
        splitter.add(WHOLE, None);
        assert_eq!(splitter.pids(), Pids::All);
        splitter.remove(WHOLE);
        splitter.remove(ONE);
        assert_eq!(splitter.pids(), Pids::Only(guide.into()));
    }

    #[test]
    fn more_channels_than_an_input_can_have_are_told_so() {
        let mut splitter = Splitter::new();
        for outlet in 0..129 {
            splitter.add(Outlet(outlet), Some(1));
        }
        splitter.push(Time::ZERO, &clip()[..140]);
        assert_eq!(splitter.condition(Time::ZERO, Outlet(127)), Condition::Flowing);
        let cause = "service 1 cannot be taken: all 128 outputs of the multiplex are taken";
        assert_eq!(splitter.condition(Time::ZERO, Outlet(128)), faulty(cause));
    }
}
