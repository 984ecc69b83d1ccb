//! The catalogue alone: two hosts tell what they hold, and it says what is held.

use protocols::p2_directory::{MAX_RANGES_LISTED, ProgrammeState, RangeState};
use protocols::recording::Extent;

use super::trial::{Bench, MINUTE, ONE, SITE, extent, span};
use super::*;

#[test]
fn what_both_hosts_hold_is_kept_and_what_one_lacks_is_thin_until_it_has_it() {
    use RangeState::{Kept, Thin};
    let mut bench = Bench::new(Remembered::default());
    assert_eq!(bench.list().channels.len(), 2, "channels that are recorded, though nothing is held");
    bench.tell("hall", &[(0, 600, 0)]);
    assert_eq!(bench.ranges(), [(600, 0, 1, Thin, "yard".to_owned())]);
    let verdict = bench.judge().unwrap();
    assert!(verdict.thin && verdict.lacking == ["yard".parse().unwrap()]);
    assert_eq!(bench.judge(), None, "told once");
    bench.tell("yard", &[(0, 600, 300), (1, 200, 0)]);
    let both = |from, to| (from, to, 2, Kept, String::new());
    assert_eq!(bench.ranges(), [both(600, 300), (300, 200, 1, Thin, "yard".to_owned()), both(200, 0)]);
    bench.tell("yard", &[(0, 600, 0)]);
    assert_eq!(bench.ranges(), [both(600, 0)]);
    assert_eq!(bench.judge().map(|verdict| verdict.thin), Some(false));
    assert_eq!(bench.list().channels[0].ranges[0].away, 2, "neither host answers, and both hold it");
}

#[test]
fn the_newest_minutes_may_lag_and_the_oldest_may_be_gone_at_one_host() {
    use RangeState::{Ending, Fresh, Kept};
    let mut bench = Bench::new(Remembered::default());
    let week = 7 * 24 * 60;
    bench.tell("hall", &[(0, week + 1, 0)]);
    bench.tell("yard", &[(0, week, 2)]);
    let expected = [
        (week + 1, week, 1, Ending, "yard".to_owned()),
        (week, 2, 2, Kept, String::new()),
        (2, 0, 1, Fresh, "yard".to_owned()),
    ];
    assert_eq!(bench.ranges(), expected);
    assert_eq!(bench.judge(), None);
    // What somebody wants kept at any age is not to end.
    bench.record(week + 1, week - 60).unwrap();
    assert_eq!(bench.ranges()[0].3, RangeState::Thin);
    assert_eq!(bench.catalogue.protected(ONE), [span(week + 1, week - 60)]);
    assert_eq!(bench.catalogue.deadline(), Some(Time::ZERO + EDGE), "when the newest may be thin");
}

#[test]
fn what_a_host_held_counts_over_restarts_of_either_until_it_has_told_all_anew() {
    let mut bench = Bench::new(Remembered::default());
    bench.tell("hall", &[(0, 600, 0)]);
    let Record::Extent { host, extent: stored } = bench.stored.remove(0) else { panic!() };
    assert_eq!(stored, extent(600, 0));
    let remembered = Remembered { extents: vec![(host.clone(), stored)], ..Remembered::default() };
    let mut bench = Bench::new(remembered);
    assert_eq!(bench.ranges().len(), 1);
    // It says a part, and that more is to follow: nothing is concluded yet.
    assert!(bench.catalogue.said(&host, ONE, Holding::Extent(0, extent(600, 300))));
    assert_eq!(bench.catalogue.told(bench.now, &host, &mut bench.stored), [], "it does not know yet");
    bench.catalogue.rebooted(&host);
    assert_eq!(bench.ranges()[0].1, 0);
    assert_eq!(bench.tell("hall", &[(1, 600, 300)]), [ONE]);
    assert_eq!(bench.ranges()[0].1, 300);
    assert_eq!(bench.tell("hall", &[(1, 600, 300)]), [], "no news, nothing to store");
    // A lost disk.
    assert_eq!(bench.tell("hall", &[]), [ONE]);
    assert_eq!(bench.ranges(), []);
    let gone = Record::ExtentGone { host, channel: ONE, from: extent(600, 0).from };
    assert_eq!(bench.stored.last(), Some(&gone));
}

#[test]
fn a_host_that_is_not_to_record_is_forgotten() {
    let host: HostId = "yard".parse().unwrap();
    let foreign = Extent { channel: ChannelId(2), ..extent(9, 8) };
    let remembered = Remembered { extents: vec![(host.clone(), foreign)], ..Remembered::default() };
    let bench = Bench::new(remembered);
    let gone = Record::ExtentGone { host, channel: ChannelId(2), from: foreign.from };
    assert_eq!(bench.stored, [gone]);
}

#[test]
fn orders_depend_on_who_records_and_what_is_held() {
    let mut bench = Bench::new(Remembered::default());
    assert_eq!(bench.record(120, 60), Err(RecordRefusal::NothingHeld));
    bench.tell("hall", &[(0, 600, 90)]);
    let programme = bench.record(120, 60).unwrap();
    let entry = bench.list().programmes.remove(0);
    assert_eq!((entry.state, entry.missing_ms), (ProgrammeState::Partly, 30 * MINUTE));
    let listed = BTreeSet::from([ChannelId(2)]);
    let unknown = Err(RecordRefusal::UnknownRecording(programme.id));
    assert_eq!(bench.catalogue.unrecord(bench.now, programme.id, &listed), unknown);
    let listed = BTreeSet::from([ONE]);
    assert_eq!(bench.catalogue.unrecord(bench.now, programme.id, &listed), Ok(programme.clone()));
    assert_eq!(bench.catalogue.unrecord(bench.now, programme.id, &listed), unknown);
    assert_eq!(bench.catalogue.protected(ONE), []);
    let mut silent = SITE.replace("record = { keep = \"7d\" }", "");
    silent.push('\n');
    bench.topology = Topology::parse("topology.toml", &silent).expect("the text is right").0;
    assert_eq!(bench.record(0, 0), Err(RecordRefusal::NotRecorded(ONE)));
}

#[test]
fn what_one_host_tells_is_bounded_and_what_cannot_be_is_not_taken() {
    let mut bench = Bench::new(Remembered::default());
    let hall: HostId = "hall".parse().unwrap();
    let mut said = |channel: u32, slot: u16, extent| {
        bench.catalogue.said(&hall, ChannelId(channel), Holding::Extent(slot, extent))
    };
    assert!(!said(1, 256, extent(9, 8)) && !said(1, 0, Extent { segments: 0, ..extent(9, 8) }));
    for n in 0..MAX_EXTENTS_PER_HOST {
        assert!(said(u32::try_from(n / 256 + 1).unwrap(), u16::try_from(n % 256).unwrap(), extent(9, 8)));
    }
    assert!(!said(999, 0, extent(9, 8)));
    assert!(said(1, 0, extent(9, 7)), "what is known may change");
}

#[test]
fn a_list_of_very_many_ranges_tells_the_newest_of_each_channel_and_how_many_it_leaves_out() {
    let mut bench = Bench::new(Remembered::default());
    let hall: HostId = "hall".parse().unwrap();
    for n in 0..5_000_u64 {
        let replica = bench.catalogue.channels.entry(ONE).or_default();
        let extent = extent(20_000 - 2 * n, 20_000 - 2 * n - 1);
        let replica = replica.replicas.entry(hall.clone()).or_default();
        replica.extents.insert(extent.from, extent);
    }
    assert_eq!((bench.ranges().len(), bench.list().left_out), (5_000, 0));
    let two = bench.catalogue.channels.remove(&ONE).unwrap();
    bench.catalogue.channels.insert(ChannelId(2), Book { held: None, ..two });
    let book = &bench.catalogue.channels[&ChannelId(2)].replicas[&hall].extents;
    let copy = BTreeMap::from([(hall.clone(), Replica { extents: book.clone(), ..Replica::default() })]);
    bench.catalogue.channels.insert(ONE, Book { replicas: copy, ..Book::default() });
    let list = bench.list();
    assert_eq!(list.left_out, 10_000 - u32::try_from(MAX_RANGES_LISTED).unwrap());
    assert_eq!(list.channels[0].ranges.last().unwrap().span, extent(10_002, 10_001).span());
    let bytes = protocols::codec::encode(&list).len();
    assert!(bytes < protocols::preamble::MAX_P2_ANSWER_BYTES, "{bytes}");
}
