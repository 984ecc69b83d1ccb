//! How a multiplex is received: the delivery system descriptors (ETSI EN 300 468 §6.2.13, §6.4.6.3).

use super::descriptors::{
    CABLE_DELIVERY, Descriptor, EXTENSION, EXTENSION_T2_DELIVERY, S2_SATELLITE_DELIVERY, SATELLITE_DELIVERY,
    TERRESTRIAL_DELIVERY, decimal,
};

/// Which system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// Terrestrial.
    DvbT,
    /// Terrestrial, second generation.
    DvbT2,
    /// Cable.
    DvbC,
    /// Satellite.
    DvbS,
    /// Satellite, second generation.
    DvbS2,
}

/// Which way a satellite's signal swings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polarisation {
    /// Linear, horizontal.
    Horizontal,
    /// Linear, vertical.
    Vertical,
    /// Circular, left.
    Left,
    /// Circular, right.
    Right,
}

/// What a tuner has to know of a multiplex. What a receiver finds out by itself is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// Which system.
    pub system: System,
    /// Centre frequency; of a satellite the one in the sky. 0: the network does not say.
    pub frequency_hz: u64,
    /// Of a terrestrial channel.
    pub bandwidth_hz: Option<u32>,
    /// Symbols a second, of cable and satellite.
    pub symbol_rate: Option<u32>,
    /// Of a satellite.
    pub polarisation: Option<Polarisation>,
    /// Where a satellite stands, in tenths of a degree; east is positive.
    pub orbit_tenths: Option<i16>,
    /// Quadrature amplitude modulation of cable: 16 to 256.
    pub qam: Option<u16>,
    /// The physical layer pipe of DVB-T2.
    pub plp: Option<u8>,
}

impl Delivery {
    /// Reads a descriptor; `None` when it is no delivery system descriptor, or torn.
    pub fn parse(descriptor: Descriptor<'_>) -> Option<Self> {
        match descriptor.tag {
            TERRESTRIAL_DELIVERY => terrestrial(descriptor.data),
            CABLE_DELIVERY => cable(descriptor.data),
            SATELLITE_DELIVERY => satellite(descriptor.data),
            S2_SATELLITE_DELIVERY => Some(Self::of(System::DvbS2, 0)),
            EXTENSION => match descriptor.data.split_first() {
                Some((&EXTENSION_T2_DELIVERY, data)) => terrestrial_2(data),
                _ => None,
            },
            _ => None,
        }
    }

    /// With what an earlier descriptor of the same multiplex said where this one says nothing. The newer system counts.
    pub(super) fn with(self, before: Option<Self>) -> Self {
        let Some(before) = before else { return self };
        let is_second = |delivery: &Self| matches!(delivery.system, System::DvbS2 | System::DvbT2);
        Self {
            system: if is_second(&before) { before.system } else { self.system },
            frequency_hz: if self.frequency_hz == 0 { before.frequency_hz } else { self.frequency_hz },
            bandwidth_hz: self.bandwidth_hz.or(before.bandwidth_hz),
            symbol_rate: self.symbol_rate.or(before.symbol_rate),
            polarisation: self.polarisation.or(before.polarisation),
            orbit_tenths: self.orbit_tenths.or(before.orbit_tenths),
            qam: self.qam.or(before.qam),
            plp: self.plp.or(before.plp),
        }
    }

    /// A multiplex of which nothing else is known.
    pub const fn of(system: System, frequency_hz: u64) -> Self {
        Self {
            system,
            frequency_hz,
            bandwidth_hz: None,
            symbol_rate: None,
            polarisation: None,
            orbit_tenths: None,
            qam: None,
            plp: None,
        }
    }
}

/// §6.2.13.4: the frequency in units of 10 Hz, three bits of bandwidth, what else the receiver finds by itself.
fn terrestrial(data: &[u8]) -> Option<Delivery> {
    let (frequency, rest) = data.split_first_chunk::<4>()?;
    let bandwidth_hz = match rest.first()? >> 5 {
        0 => Some(8_000_000),
        1 => Some(7_000_000),
        2 => Some(6_000_000),
        3 => Some(5_000_000),
        _ => None,
    };
    let frequency_hz = u64::from(u32::from_be_bytes(*frequency)) * 10;
    Some(Delivery { bandwidth_hz, ..Delivery::of(System::DvbT, frequency_hz) })
}

/// §6.4.6.3: PLP and system, and only where it goes on the bandwidth and the cells' frequencies, of which the first counts.
fn terrestrial_2(data: &[u8]) -> Option<Delivery> {
    let (&[plp, _, _], rest) = data.split_first_chunk::<3>()?;
    let mut delivery = Delivery { plp: Some(plp), ..Delivery::of(System::DvbT2, 0) };
    let Some((&[siso, flags], cells)) = rest.split_first_chunk::<2>() else { return Some(delivery) };
    delivery.bandwidth_hz = match siso >> 2 & 0x0f {
        0 => Some(8_000_000),
        1 => Some(7_000_000),
        2 => Some(6_000_000),
        3 => Some(5_000_000),
        4 => Some(10_000_000),
        5 => Some(1_712_000),
        _ => None,
    };
    // Behind the cell's id one frequency or, with time-frequency slicing, a counted loop of them.
    let skipped = if flags & 1 == 0 { 2 } else { 3 };
    if let Some(frequency) = cells.get(skipped..).and_then(|rest| rest.first_chunk()) {
        delivery.frequency_hz = u64::from(u32::from_be_bytes(*frequency)) * 10;
    }
    Some(delivery)
}

/// §6.2.13.1: eight decimals of 100 Hz, the modulation, seven decimals of 100 symbols a second.
fn cable(data: &[u8]) -> Option<Delivery> {
    let data: &[u8; 11] = data.first_chunk()?;
    let qam = match data[6] {
        1 => Some(16),
        2 => Some(32),
        3 => Some(64),
        4 => Some(128),
        5 => Some(256),
        _ => None,
    };
    let frequency_hz = decimal(&data[..4])? * 100;
    Some(Delivery { qam, symbol_rate: symbol_rate(&data[7..]), ..Delivery::of(System::DvbC, frequency_hz) })
}

/// §6.2.13.2: eight decimals of 10 kHz, four of a tenth of a degree, the flags, seven of 100 symbols a second.
fn satellite(data: &[u8]) -> Option<Delivery> {
    let data: &[u8; 11] = data.first_chunk()?;
    let flags = data[6];
    let degrees = i16::try_from(decimal(&data[4..6])?).ok()?;
    let polarisation = match flags >> 5 & 3 {
        0 => Polarisation::Horizontal,
        1 => Polarisation::Vertical,
        2 => Polarisation::Left,
        _ => Polarisation::Right,
    };
    let system = if flags & 4 == 0 { System::DvbS } else { System::DvbS2 };
    Some(Delivery {
        symbol_rate: symbol_rate(&data[7..]),
        polarisation: Some(polarisation),
        orbit_tenths: Some(if flags & 0x80 == 0 { -degrees } else { degrees }),
        ..Delivery::of(system, decimal(&data[..4])? * 10_000)
    })
}

/// Seven decimals of 100 symbols a second; the eighth place is another field.
fn symbol_rate(bytes: &[u8]) -> Option<u32> {
    let [first, second, third, last] = *bytes.first_chunk()?;
    let rate = decimal(&[first, second, third, last & 0xf0])? * 10;
    u32::try_from(rate).ok().filter(|&rate| rate > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(tag: u8, data: &[u8]) -> Delivery {
        Delivery::parse(Descriptor { tag, data }).unwrap()
    }

    #[test]
    fn cable_is_read_from_decimals() {
        let delivery =
            parsed(CABLE_DELIVERY, &[0x03, 0x46, 0x00, 0x00, 0xff, 0xf2, 0x05, 0x00, 0x69, 0x00, 0x0f]);
        assert_eq!(delivery.frequency_hz, 346_000_000);
        assert_eq!((delivery.qam, delivery.symbol_rate), (Some(256), Some(6_900_000)));
    }

    #[test]
    fn a_satellite_has_its_place_and_polarisation() {
        // 11.36175 GHz, 19.2° east, horizontal, S2, 22 Msym/s.
        let delivery =
            parsed(SATELLITE_DELIVERY, &[0x01, 0x13, 0x61, 0x75, 0x01, 0x92, 0x85, 0x02, 0x20, 0x00, 0x03]);
        assert_eq!((delivery.system, delivery.frequency_hz), (System::DvbS2, 11_361_750_000));
        assert_eq!(
            (delivery.orbit_tenths, delivery.polarisation),
            (Some(192), Some(Polarisation::Horizontal))
        );
        assert_eq!(delivery.symbol_rate, Some(22_000_000));
    }

    #[test]
    fn t2_says_its_pipe_and_perhaps_more() {
        let short = parsed(EXTENSION, &[EXTENSION_T2_DELIVERY, 1, 0x40, 0x02]);
        assert_eq!((short.system, short.plp, short.frequency_hz), (System::DvbT2, Some(1), 0));
        let long =
            parsed(EXTENSION, &[EXTENSION_T2_DELIVERY, 0, 0, 1, 0x04, 0, 0, 9, 0x02, 0xf3, 0x4f, 0x60, 0]);
        assert_eq!((long.bandwidth_hz, long.frequency_hz), (Some(7_000_000), 495_000_000));
        let plain = parsed(TERRESTRIAL_DELIVERY, &[0x03, 0x04, 0x18, 0x40, 0x1f, 0, 0, 0, 0, 0, 0]);
        let both = short.with(Some(plain));
        assert_eq!((both.system, both.frequency_hz, both.plp), (System::DvbT2, 506_000_000, Some(1)));
    }
}
