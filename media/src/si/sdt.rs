//! The service description table: what the services of a multiplex are called (ETSI EN 300 468 §5.2.3).

use super::descriptors::{Descriptors, SERVICE, counted, looped};
use super::text;
use crate::section::Section;

/// PID of the table, which the bouquet association table shares.
pub const PID: u16 = 0x0011;
/// Of the multiplex that carries it.
pub const TABLE_ACTUAL: u8 = 0x42;
/// Of another multiplex.
pub const TABLE_OTHER: u8 = 0x46;

/// One section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sdt {
    /// Of which multiplex.
    pub transport_stream_id: u16,
    /// Within which network that one was made.
    pub original_network_id: u16,
    /// Whether it is the multiplex that carries the table.
    pub actual: bool,
    /// The services in their order; a section of 1,024 bytes has no room for more than 202.
    pub services: Vec<Service>,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Service {
    /// The programme number in the PAT.
    pub id: u16,
    /// Whether its events are announced: present and following.
    pub has_present: bool,
    /// Whether its schedule is announced.
    pub has_schedule: bool,
    /// Whether a conditional access system may guard it (`free_CA_mode`).
    pub conditional_access: bool,
    /// `service_type` (table 87); `None` without a service descriptor.
    pub service_type: Option<u8>,
    /// Who provides it; may be empty.
    pub provider: String,
    /// What it is called; may be empty.
    pub name: String,
}

impl Sdt {
    /// Reads a section; `None` when it is another table or torn.
    pub fn parse(section: &Section<'_>) -> Option<Self> {
        if ![TABLE_ACTUAL, TABLE_OTHER].contains(&section.table_id) {
            return None;
        }
        // original_network_id and a reserved byte.
        let (head, mut rest) = section.body.split_first_chunk::<3>()?;
        let mut services = Vec::new();
        while let Some((entry, after)) = rest.split_first_chunk::<3>() {
            let (descriptors, next) = looped(after)?;
            services.push(service(*entry, after.first().copied()?, descriptors));
            rest = next;
        }
        Some(Self {
            transport_stream_id: section.extension,
            original_network_id: u16::from_be_bytes([head[0], head[1]]),
            actual: section.table_id == TABLE_ACTUAL,
            services,
        })
    }
}

fn service(entry: [u8; 3], status: u8, descriptors: &[u8]) -> Service {
    let mut service = Service {
        id: u16::from_be_bytes([entry[0], entry[1]]),
        has_schedule: entry[2] & 2 != 0,
        has_present: entry[2] & 1 != 0,
        // running_status (3), free_CA_mode (1), and the length behind them.
        conditional_access: status & 0x10 != 0,
        ..Service::default()
    };
    for descriptor in Descriptors::new(descriptors).filter(|descriptor| descriptor.tag == SERVICE) {
        let Some((&service_type, names)) = descriptor.data.split_first() else { continue };
        let Some((provider, rest)) = counted(names) else { continue };
        let Some((name, _)) = counted(rest) else { continue };
        service.service_type = Some(service_type);
        text::decode(provider).trim().clone_into(&mut service.provider);
        text::decode(name).trim().clone_into(&mut service.name);
    }
    service
}

/// What a `service_type` means (table 87), for people.
pub fn type_name(service_type: u8) -> &'static str {
    match service_type {
        0x01 | 0x11 | 0x16..=0x20 => "television",
        0x02 | 0x07 | 0x0a => "radio",
        0x03 => "teletext",
        0x0c | 0x10 => "data",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::si::tests::{descriptor, long};

    #[test]
    fn names_come_with_provider_type_and_access() {
        let names = descriptor(SERVICE, b"\x19\x03ZDF\x07\x05ZDF HD");
        let mut body = vec![0x21, 0x14, 0xff, 0x2b, 0x66, 0xff, 0x90, u8::try_from(names.len()).unwrap()];
        body.extend(&names);
        body.extend([0x2b, 0x67, 0xfc, 0x80, 0x00]);
        let bytes = long(TABLE_ACTUAL, 1079, &body);
        let sdt = Sdt::parse(&Section::parse(&bytes).unwrap()).unwrap();
        assert_eq!((sdt.transport_stream_id, sdt.original_network_id, sdt.actual), (1079, 0x2114, true));
        let named = Service {
            id: 0x2b66,
            has_present: true,
            has_schedule: true,
            conditional_access: true,
            service_type: Some(0x19),
            provider: "ZDF".to_owned(),
            name: "ZDF HD".to_owned(),
        };
        assert_eq!(sdt.services, [named, Service { id: 0x2b67, ..Service::default() }]);
    }

    #[test]
    fn a_torn_loop_is_refused() {
        let bytes = long(TABLE_ACTUAL, 1, &[0, 1, 0xff, 0, 1, 0xff, 0x80, 9, 1]);
        assert_eq!(Sdt::parse(&Section::parse(&bytes).unwrap()), None);
    }
}
