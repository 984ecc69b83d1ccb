//! The network information table: what a network is called, where its multiplexes are, and which number a service has on a
//! remote control (ETSI EN 300 468 §5.2.1).

use super::delivery::Delivery;
use super::descriptors::{Descriptors, LOGICAL_CHANNEL, NETWORK_NAME, PRIVATE_DATA_SPECIFIER, looped};
use super::text;
use crate::section::Section;

/// PID of the table, unless the PAT names another one for programme 0.
pub const PID: u16 = 0x0010;
/// Of the network that carries it.
pub const TABLE_ACTUAL: u8 = 0x40;
/// Of another network.
pub const TABLE_OTHER: u8 = 0x41;

/// Whose numbers have 14 bits (NorDig) instead of ten.
const NORDIG: u32 = 0x0000_0029;

/// One section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nit {
    /// Of which network.
    pub network_id: u16,
    /// Whether it is the network that carries the table.
    pub actual: bool,
    /// What the network is called; empty where this section does not say.
    pub name: String,
    /// The multiplexes that this section tells of; it has no room for more than 168.
    pub multiplexes: Vec<Multiplex>,
}

/// One multiplex of a network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Multiplex {
    /// Which.
    pub transport_stream_id: u16,
    /// The network that it was made in.
    pub original_network_id: u16,
    /// How to receive it.
    pub delivery: Option<Delivery>,
    /// The number of a service on a remote control.
    pub numbers: Vec<LogicalChannel>,
}

/// The number that a service has on a remote control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogicalChannel {
    /// Whose.
    pub service_id: u16,
    /// Whether it is to be shown in lists.
    pub visible: bool,
    /// The number, 1 on; 10 bits, with NorDig 14.
    pub number: u16,
}

impl Nit {
    /// Reads a section; `None` when it is another table or torn.
    pub fn parse(section: &Section<'_>) -> Option<Self> {
        if ![TABLE_ACTUAL, TABLE_OTHER].contains(&section.table_id) {
            return None;
        }
        let (descriptors, rest) = looped(section.body)?;
        let name = Descriptors::new(descriptors).find(|descriptor| descriptor.tag == NETWORK_NAME);
        let (mut rest, _) = looped(rest)?;
        let mut multiplexes = Vec::new();
        while let Some((entry, after)) = rest.split_first_chunk::<4>() {
            let (descriptors, next) = looped(after)?;
            multiplexes.push(multiplex(*entry, descriptors));
            rest = next;
        }
        Some(Self {
            network_id: section.extension,
            actual: section.table_id == TABLE_ACTUAL,
            name: name.map(|name| text::decode(name.data).trim().to_owned()).unwrap_or_default(),
            multiplexes,
        })
    }
}

fn multiplex(entry: [u8; 4], descriptors: &[u8]) -> Multiplex {
    let mut multiplex = Multiplex {
        transport_stream_id: u16::from_be_bytes([entry[0], entry[1]]),
        original_network_id: u16::from_be_bytes([entry[2], entry[3]]),
        ..Multiplex::default()
    };
    let mut specifier = 0;
    for descriptor in Descriptors::new(descriptors) {
        match descriptor.tag {
            PRIVATE_DATA_SPECIFIER => {
                specifier = descriptor.data.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
            }
            LOGICAL_CHANNEL => {
                let mask = if specifier == NORDIG { 0x3fff } else { 0x03ff };
                multiplex.numbers.extend(descriptor.data.chunks_exact(4).map(|entry| LogicalChannel {
                    service_id: u16::from_be_bytes([entry[0], entry[1]]),
                    visible: entry[2] & 0x80 != 0,
                    number: u16::from_be_bytes([entry[2], entry[3]]) & mask,
                }));
            }
            _ => {
                if let Some(delivery) = Delivery::parse(descriptor) {
                    // An S2 or T2 descriptor tells more of what the plain one began.
                    multiplex.delivery = Some(delivery.with(multiplex.delivery.take()));
                }
            }
        }
    }
    multiplex
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::si::delivery::System;
    use crate::si::descriptors::TERRESTRIAL_DELIVERY;
    use crate::si::tests::{descriptor, long, with_length};

    #[test]
    fn a_network_tells_its_multiplexes_and_numbers() {
        let mut inner = descriptor(
            TERRESTRIAL_DELIVERY,
            &[0x03, 0x04, 0x18, 0x40, 0x1f, 0x83, 0x48, 0xff, 0xff, 0xff, 0xff],
        );
        inner.extend(descriptor(PRIVATE_DATA_SPECIFIER, &[0, 0, 0, 0x28]));
        inner.extend(descriptor(LOGICAL_CHANNEL, &[0x10, 0x44, 0xfc, 0x07, 0x10, 0x45, 0x7c, 0x08]));
        let mut multiplexes = vec![0x10, 0x01, 0x23, 0x3a];
        multiplexes.extend(with_length(&inner));
        let mut body = with_length(&descriptor(NETWORK_NAME, b"Roof"));
        body.extend(with_length(&multiplexes));
        let bytes = long(TABLE_ACTUAL, 0x3001, &body);
        let nit = Nit::parse(&Section::parse(&bytes).unwrap()).unwrap();
        assert_eq!((nit.network_id, nit.name.as_str(), nit.actual), (0x3001, "Roof", true));
        let [multiplex] = &nit.multiplexes[..] else { panic!("{nit:?}") };
        assert_eq!((multiplex.transport_stream_id, multiplex.original_network_id), (0x1001, 0x233a));
        let delivery = multiplex.delivery.as_ref().unwrap();
        assert_eq!((delivery.system, delivery.frequency_hz), (System::DvbT, 506_000_000));
        assert_eq!(
            multiplex.numbers,
            [
                LogicalChannel { service_id: 0x1044, visible: true, number: 7 },
                LogicalChannel { service_id: 0x1045, visible: false, number: 8 },
            ]
        );
    }
}
