use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::words::Words;
use super::*;
use crate::topology::InputUrl;

fn parse(text: &str) -> Result<DvbInput, DvbError> {
    text.strip_prefix("dvb:").unwrap().parse()
}

fn cause(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn canonical_urls_come_back_as_they_were() {
    for url in [
        "dvb://?system=dvb-t&frequency=506000000",
        "dvb://adapter0?system=dvb-t2&frequency=506000000&bandwidth=8000000&plp=1",
        "dvb://adapter2/frontend1?system=dvb-c&frequency=474000000&symbol_rate=6900000&modulation=256qam",
        "dvb://?system=dvb-s&frequency=11836500000&symbol_rate=27500000&fec=3/4&polarization=h",
        "dvb://?system=dvb-s2&frequency=3840000000&symbol_rate=30000000&modulation=8psk&polarization=r&rolloff=0.25&pilot=on\
         &stream_id=4&pls=8&lnb=c-band&diseqc=4&uncommitted=16",
        "dvb://?system=dvb-s&frequency=12500000000&symbol_rate=22000000&polarization=l&lnb=10750&diseqc=b",
        "dvb://?system=dvb-s&frequency=12500000000&symbol_rate=22000000&polarization=l&lnb=9750-10700-11800",
        "dvb://adapter0?system=atsc&frequency=177000000&modulation=8vsb",
        "dvb://adapter0?system=isdb-t&frequency=473142857&bandwidth=6000000",
    ] {
        assert_eq!(url.parse::<InputUrl>().unwrap().to_string(), url);
    }
}

#[test]
fn other_ways_of_writing_mean_the_same() {
    let ours =
        parse("dvb://adapter0?system=dvb-t2&frequency=506000000&bandwidth=8000000&modulation=64qam").unwrap();
    for url in [
        "dvb://adapter0/?frequency=506MHz&system=DVBT2&bandwidth=8&modulation=QAM/64",
        "dvb://adapter0?system=dvb-t2&frequency=0.506ghz&bandwidth=8MHz&modulation=qam64&fec=auto",
        "dvb://adapter0?system=DVB-T2&frequency=506000kHz&bandwidth=8000000&modulation=64QAM&guard_interval=auto",
    ] {
        assert_eq!(parse(url).unwrap(), ours, "{url}");
    }
    let satellite =
        parse("dvb://?system=dvb-s2&frequency=11.3475GHz&symbol_rate=22MBd&polarization=vertical&fec=23");
    let satellite = satellite.unwrap();
    assert_eq!((satellite.frequency_hz, satellite.symbol_rate_bd), (11_347_500_000, Some(22_000_000)));
    assert_eq!((satellite.polarization, satellite.fec), (Some(Polarization::Vertical), Some(FecRate::F2_3)));
}

#[test]
fn wrong_urls_say_what_would_be_right() {
    let told = [
        ("dvb:adapter0", "`adapter0` is no tuner; write dvb://adapter0,"),
        ("dvb://card0?system=dvb-t", "`card0` is no tuner"),
        ("dvb://adapter0/frontendx?system=dvb-t", "`adapter0/frontendx` is no tuner"),
        ("dvb://adapter999?system=dvb-t", "`adapter999` is no tuner"),
        ("dvb://adapter0", "`system` is missing; write for example"),
        ("dvb://?system=dvb-x", "`dvb-x` is no `system` here; did you mean `dvb-t`?"),
        ("dvb://?system=dvb-t", "dvb-t needs `frequency`; write for example frequency=506MHz"),
        ("dvb://?delsys=DVBT2", "unknown parameter `delsys`; did you mean `system`?"),
        ("dvb://?system=dvb-t&freq=1", "unknown parameter `freq`; did you mean `frequency`?"),
        ("dvb://?system=dvb-t&frequenzy=1", "unknown parameter `frequenzy`; did you mean `frequency`?"),
        ("dvb://?system=dvb-t&colour=1", "unknown parameter `colour`; there are system, frequency,"),
        ("dvb://?system=dvb-t&plp=1&plp=2", "`plp` stands there twice"),
        ("dvb://?system=dvb-t&frequency=506", "did you mean 506000000 Hz? A number without a unit counts Hz"),
        ("dvb://?system=dvb-t&frequency=506000", "did you mean 506000000 Hz?"),
        (
            "dvb://?system=dvb-s&frequency=506MHz",
            "`506MHz` is no frequency of dvb-s, which has 3 to 31 GHz; write Hz",
        ),
        ("dvb://?system=dvb-t&frequency=506Mhzz", "is no frequency of dvb-t, which has 40 to 1300 MHz"),
        ("dvb://?system=dvb-t&frequency=99999999999999999999", "is no frequency"),
        (
            "dvb://?system=dvb-t&frequency=506MHz&plp=1",
            "dvb-t has no `plp`; leave it out, or correct `system`",
        ),
        (
            "dvb://?system=dvb-t&frequency=506MHz&bandwidth=9",
            "`9` is no bandwidth of dvb-t; it has 5, 6, 7 and 8 MHz",
        ),
        ("dvb://?system=dvb-t&frequency=506MHz&modulation=256qam", "`256qam` is no `modulation` here; "),
        ("dvb://?system=dvb-t2&frequency=506MHz&plp=256", "`256` is no `plp`; it is a number from 0 to 255"),
        (
            "dvb://?system=dvb-c&frequency=474MHz",
            "dvb-c needs `symbol_rate`; write for example symbol_rate=6900000",
        ),
        (
            "dvb://?system=dvb-c&frequency=474MHz&symbol_rate=6900",
            "`6900` is no symbol rate, which has 100000 to 90000000 symbols a second; did you mean 6900000?",
        ),
        (
            "dvb://?system=dvb-s&frequency=11.5GHz&symbol_rate=22MBd",
            "dvb-s needs `polarization`; write polarization=h, v, l or r",
        ),
        (
            "dvb://?system=dvb-s&frequency=11.5GHz&symbol_rate=22MBd&polarization=x",
            "`x` is no `polarization` here; ",
        ),
        (
            "dvb://?system=dvb-s&frequency=3.8GHz&symbol_rate=22MBd&polarization=h",
            "LNB `universal` brings 3800 MHz to 5950 MHz on the cable, and tuners take 920 to 2180 MHz",
        ),
        (
            "dvb://?system=dvb-s&frequency=11.5GHz&symbol_rate=22MBd&polarization=h&lnb=univrsal",
            "`univrsal` is no LNB; did you mean `universal`?",
        ),
        (
            "dvb://?system=dvb-s&frequency=11.5GHz&symbol_rate=22MBd&polarization=h&lnb=1-2",
            "`1-2` is no LNB; there are universal,",
        ),
        (
            "dvb://?system=dvb-s&frequency=11.5GHz&symbol_rate=22MBd&polarization=h&diseqc=5",
            "`5` is no input of a DiSEqC switch",
        ),
        (
            "dvb://?system=dvb-s&frequency=11.5GHz&symbol_rate=22MBd&polarization=h&uncommitted=0",
            "`0` is no input of an uncommitted switch",
        ),
    ];
    for (url, expected) in told {
        assert!(cause(url).contains(expected), "{url}: {}", cause(url));
    }
}

#[test]
fn a_universal_lnb_has_two_bands_and_two_voltages() {
    let lnb = Lnb::default();
    let band = |mhz: u64, polarization| lnb.band(mhz * 1_000_000, polarization).unwrap();
    let low = band(11_347, Polarization::Vertical);
    assert_eq!(low, Band { intermediate_hz: 1_597_000_000, high: false, high_voltage: false });
    let high = band(11_700, Polarization::Horizontal);
    assert_eq!(high, Band { intermediate_hz: 1_100_000_000, high: true, high_voltage: true });
    assert!(band(12_500, Polarization::Left).high_voltage);
    assert!(!band(12_500, Polarization::Right).high_voltage);
}

#[test]
fn an_oscillator_above_the_band_mirrors_it() {
    let lnb: Lnb = "c-band".parse().unwrap();
    assert_eq!(lnb.band(3_840_000_000, Polarization::Right).unwrap().intermediate_hz, 1_310_000_000);
}

fn some<W: Words + std::fmt::Debug>() -> impl Strategy<Value = Option<W>> {
    option::of(select(W::ALL.iter().map(|(word, _)| *word).collect::<Vec<_>>()))
}

fn tuner() -> impl Strategy<Value = (Option<u8>, Option<u8>)> {
    option::of((any::<u8>(), option::of(any::<u8>()))).prop_map(|tuner| match tuner {
        Some((adapter, frontend)) => (Some(adapter), frontend),
        None => (None, None),
    })
}

fn satellite() -> impl Strategy<Value = DvbInput> {
    let switches = (
        option::of(prop_oneof![(1u8..=4).prop_map(Diseqc::Port), Just(Diseqc::BurstA), Just(Diseqc::BurstB)]),
        option::of(1u8..=16),
    );
    let signal = (some(), some(), some(), option::of(0..=MAX_GOLD_CODE), option::of(any::<u8>()));
    let transponder = (10_700_000_000u64..12_750_000_000, MIN_SYMBOL_RATE_BD..=MAX_SYMBOL_RATE_BD);
    (tuner(), transponder, signal, some::<Polarization>(), switches).prop_map(
        |((adapter, frontend), (hz, rate), (fec, rolloff, pilot, pls, stream_id), polarization, switches)| {
            DvbInput {
                adapter,
                frontend,
                system: DvbSystem::DvbS2,
                frequency_hz: hz,
                symbol_rate_bd: Some(rate),
                fec,
                rolloff,
                pilot,
                pls,
                stream_id,
                polarization: polarization.or(Some(Polarization::Vertical)),
                diseqc: switches.0,
                uncommitted: switches.1,
                ..plain()
            }
        },
    )
}

fn ground() -> impl Strategy<Value = DvbInput> {
    let widths = option::of(select(vec![1_712_000, 5_000_000, 8_000_000, 10_000_000]));
    let modulation = option::of(select(modulations(DvbSystem::DvbT2)));
    (
        tuner(),
        GROUND_HZ.0..=GROUND_HZ.1,
        widths,
        modulation,
        (some(), some(), some()),
        option::of(any::<u8>()),
    )
        .prop_map(
            |(
                (adapter, frontend),
                frequency_hz,
                bandwidth_hz,
                modulation,
                (fec, guard_interval, transmission_mode),
                plp,
            )| {
                DvbInput {
                    adapter,
                    frontend,
                    frequency_hz,
                    bandwidth_hz,
                    modulation,
                    fec,
                    transmission_mode,
                    guard_interval,
                    plp,
                    ..plain()
                }
            },
        )
}

fn plain() -> DvbInput {
    parse("dvb://?system=dvb-t2&frequency=506MHz").unwrap()
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(input in prop_oneof![satellite(), ground()]) {
        let url = InputUrl::Dvb(input);
        prop_assert_eq!(url.to_string().parse::<InputUrl>().unwrap(), url);
    }

    #[test]
    fn no_text_panics(text in "(//)?(adapter[0-9]{0,4})?/?(frontend9)?\\?(system=(dvb-s2?|dvb-t2?|atsc)&)?([a-z_]{1,9}|frequency|lnb|bandwidth|symbol_rate)=[0-9a-zA-Z./-]{0,24}") {
        let _ = text.parse::<DvbInput>();
    }
}
