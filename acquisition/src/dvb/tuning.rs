//! The properties that tune to a multiplex.

use protocols::topology::{
    DvbInput, DvbSystem, FecRate, GuardInterval, Modulation, Pilot, Rolloff, TransmissionMode,
};

use super::Property;

/// What tunes a frontend to `input`'s multiplex, in the order in which it is said; the last word begins the search. What the
/// input leaves open is left to the demodulator.
pub fn properties(input: &DvbInput) -> Vec<Property> {
    let mut all = vec![
        Property { command: DTV_CLEAR, data: 0 },
        Property { command: DTV_DELIVERY_SYSTEM, data: delivery_system(input.system) },
        Property { command: DTV_FREQUENCY, data: frequency(input) },
        Property { command: DTV_INVERSION, data: INVERSION_AUTO },
    ];
    let mut add = |command, data| all.push(Property { command, data });
    let modulation = input.modulation.map_or(usual_modulation(input.system), modulation);
    let fec = input.fec.map_or(FEC_AUTO, fec);
    match input.system {
        DvbSystem::DvbT | DvbSystem::DvbT2 | DvbSystem::IsdbT => {
            add(DTV_BANDWIDTH_HZ, input.bandwidth_hz.unwrap_or(usual_bandwidth_hz(input.system)));
            add(DTV_MODULATION, modulation);
            add(DTV_CODE_RATE_HP, fec);
            add(DTV_CODE_RATE_LP, FEC_AUTO);
            let mode = input.transmission_mode.map_or(TRANSMISSION_MODE_AUTO, transmission_mode);
            add(DTV_TRANSMISSION_MODE, mode);
            add(DTV_GUARD_INTERVAL, input.guard_interval.map_or(GUARD_INTERVAL_AUTO, guard_interval));
            add(DTV_HIERARCHY, HIERARCHY_AUTO);
            if input.system == DvbSystem::DvbT2 {
                add(DTV_STREAM_ID, input.plp.map_or(NO_STREAM_ID_FILTER, u32::from));
            }
        }
        DvbSystem::DvbC => {
            add(DTV_MODULATION, modulation);
            add(DTV_SYMBOL_RATE, input.symbol_rate_bd.unwrap_or_default());
            // DVB-C has no inner code.
            add(DTV_INNER_FEC, FEC_NONE);
        }
        DvbSystem::DvbCB | DvbSystem::Atsc => add(DTV_MODULATION, modulation),
        DvbSystem::DvbS | DvbSystem::DvbS2 => {
            add(DTV_MODULATION, modulation);
            add(DTV_SYMBOL_RATE, input.symbol_rate_bd.unwrap_or_default());
            add(DTV_INNER_FEC, fec);
            if input.system == DvbSystem::DvbS2 {
                add(DTV_PILOT, input.pilot.map_or(PILOT_AUTO, pilot));
                add(DTV_ROLLOFF, input.rolloff.map_or(ROLLOFF_AUTO, rolloff));
                add(DTV_STREAM_ID, input.stream_id.map_or(NO_STREAM_ID_FILTER, u32::from));
                if let Some(code) = input.pls {
                    add(DTV_SCRAMBLING_SEQUENCE_INDEX, code);
                }
            }
        }
    }
    add(DTV_TUNE, 0);
    all
}

/// The kernel's number of a system.
pub fn delivery_system(system: DvbSystem) -> u32 {
    match system {
        DvbSystem::DvbC => 1,
        DvbSystem::DvbCB => 2,
        DvbSystem::DvbT => 3,
        DvbSystem::DvbS => 5,
        DvbSystem::DvbS2 => 6,
        DvbSystem::IsdbT => 8,
        DvbSystem::Atsc => 11,
        DvbSystem::DvbT2 => 16,
    }
}

/// What the kernel calls a system that a tuner knows; `None` for those that `dvb://` does not have.
pub fn system_name(number: u8) -> Option<String> {
    let all = [
        DvbSystem::DvbC,
        DvbSystem::DvbCB,
        DvbSystem::DvbT,
        DvbSystem::DvbS,
        DvbSystem::DvbS2,
        DvbSystem::IsdbT,
        DvbSystem::Atsc,
        DvbSystem::DvbT2,
    ];
    let found = all.into_iter().find(|system| delivery_system(*system) == u32::from(number));
    found.map(|system| system.to_string())
}

/// On the cable: in Hz, and for satellites in kHz behind the LNB.
fn frequency(input: &DvbInput) -> u32 {
    let band =
        input.polarization.and_then(|polarization| input.lnb.band(input.frequency_hz, polarization).ok());
    let data = match band {
        Some(band) if input.system.is_satellite() => band.intermediate_hz / 1000,
        _ => input.frequency_hz,
    };
    u32::try_from(data).unwrap_or(u32::MAX)
}

/// What is nearly always sent where the URL does not say.
fn usual_modulation(system: DvbSystem) -> u32 {
    match system {
        DvbSystem::DvbS | DvbSystem::DvbS2 => modulation(Modulation::Qpsk),
        DvbSystem::Atsc => modulation(Modulation::Vsb8),
        _ => QAM_AUTO,
    }
}

fn usual_bandwidth_hz(system: DvbSystem) -> u32 {
    if system == DvbSystem::IsdbT { 6_000_000 } else { 8_000_000 }
}

fn modulation(modulation: Modulation) -> u32 {
    match modulation {
        Modulation::Qpsk => 0,
        Modulation::Qam16 => 1,
        Modulation::Qam32 => 2,
        Modulation::Qam64 => 3,
        Modulation::Qam128 => 4,
        Modulation::Qam256 => 5,
        Modulation::Vsb8 => 7,
        Modulation::Vsb16 => 8,
        Modulation::Psk8 => 9,
        Modulation::Apsk16 => 10,
        Modulation::Apsk32 => 11,
    }
}

fn fec(rate: FecRate) -> u32 {
    match rate {
        FecRate::F1_2 => 1,
        FecRate::F2_3 => 2,
        FecRate::F3_4 => 3,
        FecRate::F4_5 => 4,
        FecRate::F5_6 => 5,
        FecRate::F6_7 => 6,
        FecRate::F7_8 => 7,
        FecRate::F8_9 => 8,
        FecRate::F3_5 => 10,
        FecRate::F9_10 => 11,
        FecRate::F2_5 => 12,
    }
}

fn transmission_mode(mode: TransmissionMode) -> u32 {
    match mode {
        TransmissionMode::K2 => 0,
        TransmissionMode::K8 => 1,
        TransmissionMode::K4 => 3,
        TransmissionMode::K1 => 4,
        TransmissionMode::K16 => 5,
        TransmissionMode::K32 => 6,
    }
}

fn guard_interval(interval: GuardInterval) -> u32 {
    match interval {
        GuardInterval::G1_32 => 0,
        GuardInterval::G1_16 => 1,
        GuardInterval::G1_8 => 2,
        GuardInterval::G1_4 => 3,
        GuardInterval::G1_128 => 5,
        GuardInterval::G19_128 => 6,
        GuardInterval::G19_256 => 7,
    }
}

fn pilot(pilot: Pilot) -> u32 {
    match pilot {
        Pilot::On => 0,
        Pilot::Off => 1,
    }
}

fn rolloff(rolloff: Rolloff) -> u32 {
    match rolloff {
        Rolloff::R35 => 0,
        Rolloff::R20 => 1,
        Rolloff::R25 => 2,
    }
}

/// `DTV_ENUM_DELSYS`: asks which systems a frontend knows.
pub const DTV_ENUM_DELSYS: u32 = 44;
pub(super) const DTV_VOLTAGE: u32 = 10;
pub(super) const DTV_TONE: u32 = 11;
const DTV_TUNE: u32 = 1;
const DTV_CLEAR: u32 = 2;
const DTV_FREQUENCY: u32 = 3;
const DTV_MODULATION: u32 = 4;
const DTV_BANDWIDTH_HZ: u32 = 5;
const DTV_INVERSION: u32 = 6;
const DTV_SYMBOL_RATE: u32 = 8;
const DTV_INNER_FEC: u32 = 9;
const DTV_PILOT: u32 = 12;
const DTV_ROLLOFF: u32 = 13;
const DTV_DELIVERY_SYSTEM: u32 = 17;
const DTV_CODE_RATE_HP: u32 = 36;
const DTV_CODE_RATE_LP: u32 = 37;
const DTV_GUARD_INTERVAL: u32 = 38;
const DTV_TRANSMISSION_MODE: u32 = 39;
const DTV_HIERARCHY: u32 = 40;
const DTV_STREAM_ID: u32 = 42;
const DTV_SCRAMBLING_SEQUENCE_INDEX: u32 = 70;

const INVERSION_AUTO: u32 = 2;
const QAM_AUTO: u32 = 6;
const FEC_NONE: u32 = 0;
const FEC_AUTO: u32 = 9;
const TRANSMISSION_MODE_AUTO: u32 = 2;
const GUARD_INTERVAL_AUTO: u32 = 4;
const HIERARCHY_AUTO: u32 = 4;
const PILOT_AUTO: u32 = 2;
const ROLLOFF_AUTO: u32 = 3;
const NO_STREAM_ID_FILTER: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use protocols::topology::InputUrl;

    use super::*;

    fn said(url: &str) -> Vec<(u32, u32)> {
        let InputUrl::Dvb(input) = url.parse().unwrap() else { panic!("{url}") };
        properties(&input).into_iter().map(|property| (property.command, property.data)).collect()
    }

    #[test]
    fn cable_is_tuned_by_frequency_constellation_and_symbol_rate() {
        let said = said("dvb://?system=dvb-c&frequency=474MHz&symbol_rate=6940000&modulation=256qam");
        assert_eq!(said, [(2, 0), (17, 1), (3, 474_000_000), (6, 2), (4, 5), (8, 6_940_000), (9, 0), (1, 0)]);
    }

    #[test]
    fn what_a_mast_sends_is_found_by_the_demodulator_unless_the_url_says() {
        assert_eq!(
            said("dvb://?system=dvb-t2&frequency=506MHz&plp=2"),
            [
                (2, 0),
                (17, 16),
                (3, 506_000_000),
                (6, 2),
                (5, 8_000_000),
                (4, 6),
                (36, 9),
                (37, 9),
                (39, 2),
                (38, 4),
                (40, 4),
                (42, 2),
                (1, 0)
            ]
        );
        let full = said(
            "dvb://?system=dvb-t&frequency=177.5MHz&bandwidth=7&modulation=64qam&fec=3/4&transmission_mode=8k&guard_interval=1/16",
        );
        for property in [(17, 3), (3, 177_500_000), (5, 7_000_000), (4, 3), (36, 3), (39, 1), (38, 1)] {
            assert!(full.contains(&property), "{property:?} in {full:?}");
        }
    }

    #[test]
    fn a_satellites_frequency_is_that_on_the_cable_in_khz() {
        let full = said(
            "dvb://?system=dvb-s2&frequency=11836.5MHz&symbol_rate=27500000&polarization=h&modulation=8psk&fec=2/3&pilot=off\
             &rolloff=0.20&stream_id=5&pls=8",
        );
        let expected = [
            (2, 0),
            (17, 6),
            (3, 1_236_500),
            (6, 2),
            (4, 9),
            (8, 27_500_000),
            (9, 2),
            (12, 1),
            (13, 1),
            (42, 5),
            (70, 8),
            (1, 0),
        ];
        assert_eq!(full, expected);
        let old = said("dvb://?system=dvb-s&frequency=11347MHz&symbol_rate=22000000&polarization=v");
        assert_eq!(old, [(2, 0), (17, 5), (3, 1_597_000), (6, 2), (4, 0), (8, 22_000_000), (9, 9), (1, 0)]);
    }

    #[test]
    fn north_america_needs_hardly_more_than_a_frequency() {
        let atsc = said("dvb://?system=atsc&frequency=177MHz");
        assert_eq!(atsc, [(2, 0), (17, 11), (3, 177_000_000), (6, 2), (4, 7), (1, 0)]);
        let cable = said("dvb://?system=dvb-c-b&frequency=57MHz");
        assert_eq!(cable, [(2, 0), (17, 2), (3, 57_000_000), (6, 2), (4, 6), (1, 0)]);
    }

    #[test]
    fn systems_are_named_as_urls_name_them() {
        assert_eq!((system_name(16).as_deref(), system_name(9)), (Some("dvb-t2"), None));
    }
}
