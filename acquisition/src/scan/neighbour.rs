//! Where the tuner of an input finds another multiplex of the network.

use std::fmt::Write as _;

use media::si::delivery::{Delivery, Polarisation, System};
use protocols::topology::{
    DvbInput, DvbSystem, HdhomerunChannel, HdhomerunInput, InputUrl, Modulation, Polarization, SatipInput,
};

/// The URL for another multiplex, received by the same tuner, dish and switch as `input`; `None` where that cannot receive it, or
/// the network does not say enough.
pub fn url(input: &InputUrl, delivery: &Delivery) -> Option<InputUrl> {
    if delivery.frequency_hz == 0 {
        return None;
    }
    let other = match input {
        InputUrl::Dvb(input) => InputUrl::Dvb(dvb(input, delivery)?),
        InputUrl::Satip(input) => InputUrl::Satip(satip(input, delivery)?),
        InputUrl::Hdhomerun(input) => InputUrl::Hdhomerun(hdhomerun(input, delivery)?),
        _ => return None,
    };
    // What the system cannot do without is there.
    other.to_string().parse().ok()
}

/// What receives a system: a dish, a mast's aerial or a cable's socket.
#[derive(PartialEq, Eq)]
enum Medium {
    Satellite,
    Terrestrial,
    Cable,
}

fn medium(system: System) -> Medium {
    match system {
        System::DvbS | System::DvbS2 => Medium::Satellite,
        System::DvbT | System::DvbT2 => Medium::Terrestrial,
        System::DvbC => Medium::Cable,
    }
}

/// As inputs name it.
fn polarization(delivery: &Delivery) -> Option<Polarization> {
    Some(match delivery.polarisation? {
        Polarisation::Horizontal => Polarization::Horizontal,
        Polarisation::Vertical => Polarization::Vertical,
        Polarisation::Left => Polarization::Left,
        Polarisation::Right => Polarization::Right,
    })
}

fn dvb(input: &DvbInput, delivery: &Delivery) -> Option<DvbInput> {
    let known = match input.system {
        DvbSystem::DvbS | DvbSystem::DvbS2 => Medium::Satellite,
        DvbSystem::DvbT | DvbSystem::DvbT2 => Medium::Terrestrial,
        DvbSystem::DvbC => Medium::Cable,
        DvbSystem::DvbCB | DvbSystem::Atsc | DvbSystem::IsdbT => return None,
    };
    let medium = medium(delivery.system);
    if known != medium {
        return None;
    }
    let system = match delivery.system {
        System::DvbT => DvbSystem::DvbT,
        System::DvbT2 => DvbSystem::DvbT2,
        System::DvbC => DvbSystem::DvbC,
        System::DvbS => DvbSystem::DvbS,
        System::DvbS2 => DvbSystem::DvbS2,
    };
    let modulation = delivery.qam.and_then(|qam| match qam {
        16 => Some(Modulation::Qam16),
        32 => Some(Modulation::Qam32),
        64 => Some(Modulation::Qam64),
        128 => Some(Modulation::Qam128),
        256 => Some(Modulation::Qam256),
        _ => None,
    });
    Some(DvbInput {
        system,
        frequency_hz: delivery.frequency_hz,
        bandwidth_hz: delivery.bandwidth_hz.filter(|_| medium == Medium::Terrestrial),
        symbol_rate_bd: delivery.symbol_rate.filter(|_| medium != Medium::Terrestrial),
        modulation: modulation.filter(|_| medium == Medium::Cable),
        polarization: polarization(delivery).filter(|_| medium == Medium::Satellite),
        plp: delivery.plp.filter(|_| system == DvbSystem::DvbT2),
        // The demodulator finds these out.
        fec: None,
        transmission_mode: None,
        guard_interval: None,
        rolloff: None,
        pilot: None,
        stream_id: None,
        pls: None,
        ..input.clone()
    })
}

fn satip(input: &SatipInput, delivery: &Delivery) -> Option<SatipInput> {
    let parameters = || input.tuning.split('&').filter_map(|parameter| parameter.split_once('='));
    let known = match parameters().find(|(name, _)| *name == "msys")?.1 {
        "dvbs" | "dvbs2" => Medium::Satellite,
        "dvbt" | "dvbt2" => Medium::Terrestrial,
        "dvbc" => Medium::Cable,
        _ => return None,
    };
    let medium = medium(delivery.system);
    if known != medium {
        return None;
    }
    let mut tuning = String::new();
    // Writing to a string does not fail.
    for (name, value) in parameters().filter(|(name, _)| matches!(*name, "src" | "fe")) {
        let _ = write!(tuning, "{name}={value}&");
    }
    let system = match delivery.system {
        System::DvbT => "dvbt",
        System::DvbT2 => "dvbt2",
        System::DvbC => "dvbc",
        System::DvbS => "dvbs",
        System::DvbS2 => "dvbs2",
    };
    let _ = write!(tuning, "freq={}&msys={system}", decimal(delivery.frequency_hz, 1_000_000));
    if let Some(hz) = delivery.bandwidth_hz.filter(|_| medium == Medium::Terrestrial) {
        let _ = write!(tuning, "&bw={}", decimal(hz.into(), 1_000_000));
    }
    if let Some(plp) = delivery.plp.filter(|_| delivery.system == System::DvbT2) {
        let _ = write!(tuning, "&plp={plp}");
    }
    if let Some(polarization) = polarization(delivery).filter(|_| medium == Medium::Satellite) {
        // SAT>IP has the same letters.
        let _ = write!(tuning, "&pol={polarization}");
    }
    if let Some(qam) = delivery.qam.filter(|_| medium == Medium::Cable) {
        let _ = write!(tuning, "&mtype={qam}qam");
    }
    if let Some(rate) = delivery.symbol_rate.filter(|_| medium != Medium::Terrestrial) {
        let _ = write!(tuning, "&sr={}", rate / 1_000);
    }
    Some(SatipInput { server: input.server.clone(), tuning, pids: None })
}

fn hdhomerun(input: &HdhomerunInput, delivery: &Delivery) -> Option<HdhomerunInput> {
    // The device finds the modulation out; those of satellites have none of these channels.
    let HdhomerunChannel::Physical(_) = &input.channel else { return None };
    if medium(delivery.system) == Medium::Satellite {
        return None;
    }
    let channel = HdhomerunChannel::Physical(format!("auto:{}", delivery.frequency_hz));
    Some(HdhomerunInput { channel, program: None, ..input.clone() })
}

/// `value` in units of `unit`, a power of ten: `11494`, `514.166`.
fn decimal(value: u64, unit: u64) -> String {
    let rest = value % unit;
    if rest == 0 {
        return (value / unit).to_string();
    }
    let digits = usize::try_from(unit.ilog10()).unwrap_or(0);
    format!("{}.{rest:0digits$}", value / unit).trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOTHING: Delivery = Delivery::of(System::DvbT, 514_166_000);

    fn told(input: &str, delivery: &Delivery) -> Option<String> {
        url(&input.parse().unwrap(), delivery).map(|url| url.to_string())
    }

    #[test]
    fn the_same_tuner_dish_and_switch_receive_the_other_multiplex() {
        let sky = Delivery {
            system: System::DvbS2,
            frequency_hz: 11_493_750_000,
            symbol_rate: Some(22_000_000),
            polarisation: Some(Polarisation::Horizontal),
            orbit_tenths: Some(192),
            ..NOTHING
        };
        let mast = Delivery { system: System::DvbT2, bandwidth_hz: Some(8_000_000), plp: Some(1), ..NOTHING };
        let cable = Delivery {
            system: System::DvbC,
            frequency_hz: 330_000_000,
            symbol_rate: Some(6_900_000),
            qam: Some(256),
            ..NOTHING
        };
        for (input, delivery, expected) in [
            (
                "dvb://adapter1/frontend0?system=dvb-s&frequency=12188MHz&polarization=v&symbol_rate=27500000&fec=3/4&diseqc=2",
                &sky,
                "dvb://adapter1/frontend0?system=dvb-s2&frequency=11493750000&symbol_rate=22000000&polarization=h&diseqc=2",
            ),
            (
                "dvb://?system=dvb-t&frequency=474MHz&bandwidth=8&guard_interval=1/4",
                &mast,
                "dvb://?system=dvb-t2&frequency=514166000&bandwidth=8000000&plp=1",
            ),
            (
                "dvb://adapter0?system=dvb-c&frequency=113MHz&symbol_rate=6900000&modulation=64qam",
                &cable,
                "dvb://adapter0?system=dvb-c&frequency=330000000&symbol_rate=6900000&modulation=256qam",
            ),
            (
                "satip://10.0.0.7/?src=2&freq=12188&pol=v&msys=dvbs&sr=27500&pids=all",
                &sky,
                "satip://10.0.0.7/?src=2&freq=11493.75&msys=dvbs2&pol=h&sr=22000",
            ),
            (
                "satip://10.0.0.7:8554/?freq=474&msys=dvbt&bw=8",
                &mast,
                "satip://10.0.0.7:8554/?freq=514.166&msys=dvbt2&bw=8&plp=1",
            ),
            (
                "satip://10.0.0.7/?fe=3&freq=113&msys=dvbc&sr=6900",
                &cable,
                "satip://10.0.0.7/?fe=3&freq=330&msys=dvbc&mtype=256qam&sr=6900",
            ),
            (
                "hdhomerun://10.0.0.8/tuner1/auto:474000000?program=3",
                &mast,
                "hdhomerun://10.0.0.8/tuner1/auto:514166000",
            ),
        ] {
            assert_eq!(told(input, delivery).as_deref(), Some(expected), "{input}");
        }
    }

    #[test]
    fn what_the_tuner_cannot_receive_or_the_network_does_not_tell_has_no_url() {
        let sky = Delivery { system: System::DvbS, frequency_hz: 12_188_000_000, ..NOTHING };
        let nowhere = Delivery { frequency_hz: 0, ..NOTHING };
        for (input, delivery) in [
            ("dvb://?system=dvb-t&frequency=474MHz", &sky),
            ("satip://10.0.0.7/?freq=474&msys=dvbt", &sky),
            ("hdhomerun://10.0.0.8/auto:474000000", &sky),
            // Without polarisation and symbol rate.
            ("dvb://?system=dvb-s&frequency=12188MHz&polarization=v&symbol_rate=27500000", &sky),
            ("dvb://?system=dvb-t&frequency=474MHz", &nowhere),
            ("dvb://?system=atsc&frequency=177MHz", &NOTHING),
            ("hdhomerun://10.0.0.8/v5.1", &NOTHING),
            ("udp://239.0.0.1:5004", &NOTHING),
        ] {
            assert_eq!(told(input, delivery), None, "{input}");
        }
    }

    proptest! {
        #[test]
        fn decimals_are_what_they_stand_for(value in 0_u64..20_000_000_000) {
            let text = decimal(value, 1_000_000);
            let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
            let back: u64 = format!("{whole}{rest:0<6}").parse().unwrap();
            prop_assert_eq!(back, value);
        }
    }
}
