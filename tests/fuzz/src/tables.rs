//! Table parsers: PSI, DVB service information, ATSC PSIP; alone by their sections, and as whole multiplexes.

use std::time::Duration;

use media::Packet;
use media::demultiplexer::Demultiplexer;
use media::health::{Delivery, Extent, Health, SyncErrors};
use media::psi::ProgrammeTable;
use media::section::{Section, SectionAssembler};
use media::si::survey::Survey;
use media::si::{cat, eit, nit, psip, sdt, time};
use media::splice::Splicer;

use crate::Target;
use crate::shapes::{multiplex, packets, section};

pub(crate) const TARGETS: &[(&str, Target)] = &[
    ("section", sections),
    ("psi", psi),
    ("si-tables", si_tables),
    ("psip-tables", psip_tables),
    ("eit", event_tables),
    ("survey", survey),
    ("demultiplexer", demultiplexer),
    ("health", health),
];

fn sections(bytes: &[u8]) {
    let mut assembler = SectionAssembler::default();
    for packet in packets(bytes) {
        if let Ok(packet) = Packet::parse(&packet) {
            assembler.push(packet, |section| {
                let _ = Section::parse(section);
            });
        }
    }
}

fn each_packet(bytes: &[u8], mut push: impl FnMut(Duration, Packet<'_>)) {
    let mut now = Duration::ZERO;
    for record in multiplex(bytes) {
        now += Duration::from_millis(record.later_ms);
        for packet in &record.packets {
            if let Ok(packet) = Packet::parse(packet) {
                push(now, packet);
            }
        }
    }
}

fn psi(bytes: &[u8]) {
    let mut table = ProgrammeTable::new();
    each_packet(bytes, |_, packet| {
        table.push(packet);
    });
    assert!(table.programmes().len() <= media::psi::PROGRAMMES_MAX);
}

fn si_tables(bytes: &[u8]) {
    let bytes = section(bytes);
    if let Some(section) = Section::parse(&bytes) {
        let _ = (sdt::Sdt::parse(&section), nit::Nit::parse(&section), cat::parse(&section));
    }
    let _ = time::TimeTable::parse(&bytes);
}

fn psip_tables(bytes: &[u8]) {
    let bytes = section(bytes);
    let Some(section) = Section::parse(&bytes) else { return };
    let _ = (psip::vct::parse(&section), psip::mgt::parse(&section), psip::stt::Stt::parse(&section));
    let _ = (psip::eit::Eit::parse(&section), psip::ett::Ett::parse(&section));
}

fn event_tables(bytes: &[u8]) {
    let bytes = section(bytes);
    let Some(section) = Section::parse(&bytes) else { return };
    if let Some(table) = eit::Eit::parse(&section) {
        table.events.iter().for_each(|event| {
            let _ = event.texts_in(Some("deu"));
        });
    }
}

fn survey(bytes: &[u8]) {
    let mut survey = Survey::new();
    each_packet(bytes, |_, packet| survey.push(packet));
    let _ = (survey.is_complete(), survey.services(), survey.multiplex(), survey.ignored());
}

/// Two services taken out of a multiplex, one of them at times only; what comes out is spliced on.
fn demultiplexer(bytes: &[u8]) {
    let mut demultiplexer = Demultiplexer::new();
    let mut splicer = Splicer::new();
    let first = demultiplexer.add(1).expect("there is room");
    let mut second = None;
    let mut count = 0_u32;
    each_packet(bytes, |now, packet| {
        count += 1;
        if count % 16 == 7 {
            second = demultiplexer.add(2).ok();
        } else if count % 16 == 0
            && let Some(slot) = second.take()
        {
            demultiplexer.remove(slot);
            splicer.cut();
        }
        demultiplexer.push(now, packet, |_, bytes| {
            let packet = Packet::parse(bytes).expect("what comes out are packets");
            let _ = splicer.push(packet);
        });
        let _ = (demultiplexer.state(first), demultiplexer.pids(), demultiplexer.counters());
    });
}

fn health(bytes: &[u8]) {
    let (extent, bytes) = match bytes.split_first() {
        Some((first, rest)) if first & 1 == 0 => (Extent::Service, rest),
        _ => (Extent::Input, bytes),
    };
    let (mut health, mut delivery, mut count) = (Health::new(extent), Delivery::new(), 0_u64);
    each_packet(bytes, |now, packet| {
        health.push(now, packet);
        delivery.arrived(now, 188, (count % 3 == 0).then_some(count * 1_000));
        delivery.lost(health.lost_packets());
        count += 1;
        match count % 32 {
            5 => health.tick(now + Duration::from_millis(count)),
            9 => health.synchronised(now, SyncErrors { bytes: count, losses: 1 }),
            31 => health.interrupt(extent),
            _ => {}
        }
    });
    let _ = (health.tallies().total(), health.judges_accuracy(), delivery.latest());
}
