//! What a dish is told before a transponder can be tuned to: by voltage, tone, and messages modulated onto the tone
//! (DiSEqC bus functional specification 4.2).

use std::time::Duration;

use protocols::topology::{Diseqc, DvbInput};

use super::Property;
use super::tuning::{DTV_TONE, DTV_VOLTAGE};

/// One step; they are taken in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Sets the voltage or the tone.
    Set(Property),
    /// Sends a message of DiSEqC 1.x, four bytes.
    Message([u8; 4]),
    /// Sends a burst, which switches of two inputs heed.
    Burst(Burst),
    /// Waits: the line has to be quiet before and after a message.
    Wait(Duration),
}

/// Which burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Burst {
    /// The first input.
    A,
    /// The second input.
    B,
}

/// What brings `input`'s transponder onto the cable; nothing for what no dish receives.
pub fn steps(input: &DvbInput) -> Vec<Step> {
    let band =
        input.polarization.and_then(|polarization| input.lnb.band(input.frequency_hz, polarization).ok());
    let Some(band) = band.filter(|_| input.system.is_satellite()) else { return Vec::new() };
    let voltage = if band.high_voltage { SEC_VOLTAGE_18 } else { SEC_VOLTAGE_13 };
    let mut steps = vec![
        Step::Set(Property { command: DTV_TONE, data: SEC_TONE_OFF }),
        Step::Set(Property { command: DTV_VOLTAGE, data: voltage }),
        Step::Wait(if input.diseqc.is_some() || input.uncommitted.is_some() { POWER_UP } else { QUIET }),
    ];
    if let Some(port) = input.uncommitted {
        let port = port.clamp(1, 16) - 1;
        steps
            .extend([Step::Message([MASTER_NO_REPLY, ANY_SWITCH, WRITE_N1, 0xf0 | port]), Step::Wait(QUIET)]);
    }
    match input.diseqc {
        Some(Diseqc::Port(port)) => {
            let port = port.clamp(1, 4) - 1;
            let options = 0xf0 | (port << 2) | (u8::from(band.high_voltage) << 1) | u8::from(band.high);
            steps
                .extend([Step::Message([MASTER_NO_REPLY, ANY_SWITCH, WRITE_N0, options]), Step::Wait(QUIET)]);
        }
        Some(Diseqc::BurstA) => steps.extend([Step::Burst(Burst::A), Step::Wait(QUIET)]),
        Some(Diseqc::BurstB) => steps.extend([Step::Burst(Burst::B), Step::Wait(QUIET)]),
        None => {}
    }
    let tone = if band.high { SEC_TONE_ON } else { SEC_TONE_OFF };
    steps.push(Step::Set(Property { command: DTV_TONE, data: tone }));
    steps
}

/// From the master, no answer wanted, first transmission.
const MASTER_NO_REPLY: u8 = 0xe0;
/// Any LNB, switch or combination.
const ANY_SWITCH: u8 = 0x10;
/// Write port group 0: committed switches.
const WRITE_N0: u8 = 0x38;
/// Write port group 1: uncommitted switches.
const WRITE_N1: u8 = 0x39;
const SEC_VOLTAGE_13: u32 = 0;
const SEC_VOLTAGE_18: u32 = 1;
const SEC_TONE_ON: u32 = 0;
const SEC_TONE_OFF: u32 = 1;
/// Quiet before and after a message; the specification asks for 15 ms.
const QUIET: Duration = Duration::from_millis(20);
/// What a switch may take to wake when power comes on (100 ms by the specification).
const POWER_UP: Duration = Duration::from_millis(120);

#[cfg(test)]
mod tests {
    use protocols::topology::InputUrl;

    use super::*;

    const TRANSPONDER: &str = "dvb://?system=dvb-s&symbol_rate=22000000";

    fn told(rest: &str) -> Vec<Step> {
        let url = format!("{TRANSPONDER}&{rest}");
        let InputUrl::Dvb(input) = url.parse().unwrap() else { panic!("{url}") };
        steps(&input)
    }

    fn tone(data: u32) -> Step {
        Step::Set(Property { command: 11, data })
    }

    fn voltage(data: u32) -> Step {
        Step::Set(Property { command: 10, data })
    }

    #[test]
    fn a_single_lnb_is_told_by_voltage_and_tone() {
        let low_vertical = told("frequency=10.8GHz&polarization=v");
        assert_eq!(low_vertical, [tone(1), voltage(0), Step::Wait(QUIET), tone(1)]);
        let high_horizontal = told("frequency=12.1GHz&polarization=h");
        assert_eq!(high_horizontal, [tone(1), voltage(1), Step::Wait(QUIET), tone(0)]);
    }

    #[test]
    fn a_committed_switch_hears_input_polarization_and_band() {
        let message = |rest: &str| told(rest).into_iter().find(|step| matches!(step, Step::Message(_)));
        for (rest, options) in [
            ("frequency=10.8GHz&polarization=v&diseqc=1", 0xf0),
            ("frequency=12.1GHz&polarization=v&diseqc=1", 0xf1),
            ("frequency=10.8GHz&polarization=h&diseqc=2", 0xf6),
            ("frequency=12.1GHz&polarization=h&diseqc=4", 0xff),
        ] {
            assert_eq!(message(rest), Some(Step::Message([0xe0, 0x10, 0x38, options])), "{rest}");
        }
    }

    #[test]
    fn the_switch_further_away_is_told_last_and_the_tone_is_silent_meanwhile() {
        let steps = told("frequency=12.1GHz&polarization=h&diseqc=2&uncommitted=9");
        let quiet = Step::Wait(QUIET);
        assert_eq!(
            steps,
            [
                tone(1),
                voltage(1),
                Step::Wait(POWER_UP),
                Step::Message([0xe0, 0x10, 0x39, 0xf8]),
                quiet,
                Step::Message([0xe0, 0x10, 0x38, 0xf7]),
                quiet,
                tone(0)
            ]
        );
    }

    #[test]
    fn a_burst_alone_switches_between_two() {
        let steps = told("frequency=10.8GHz&polarization=v&diseqc=b");
        assert_eq!(steps[3], Step::Burst(Burst::B));
        assert_eq!(told("frequency=10.8GHz&polarization=v&diseqc=a")[3], Step::Burst(Burst::A));
    }

    #[test]
    fn no_dish_no_steps() {
        let InputUrl::Dvb(input) = "dvb://?system=dvb-t&frequency=506MHz".parse().unwrap() else { panic!() };
        assert!(steps(&input).is_empty());
    }
}
