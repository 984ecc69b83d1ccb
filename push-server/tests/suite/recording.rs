//! Orders to record and what is told of recordings, with literal times: the recorder is played.
#![expect(clippy::unwrap_used, reason = "what a test itself has made unwraps")]

use crate::site;

use protocols::p3_feed::FeedOrder;
use protocols::p4_control::{Configure, ITEMS_PER_REPORT, RecordPart, Report, ReportItem};
use protocols::recording::{Digest, Extent, RecordOrder, RecordPeer, RecordingFault, Span};
use protocols::time::{ClusterTime, Time};
use push_server::archive::EXTENTS_INTERVAL;
use push_server::{Input, Output, Reason};
use site::{CHANNEL, Site};

fn ms(ms: u64) -> Time {
    Time::from_ms(ms)
}

fn extent(from: u64, to: u64) -> Extent {
    let (from, to) = (ClusterTime(from), ClusterTime(to));
    Extent { channel: CHANNEL, from, to, segments: 1, bytes: 1, digest: Digest::default() }
}

fn extents(extents: &[Extent]) -> Input {
    Input::Extents { channel: CHANNEL, extents: extents.to_vec() }
}

fn part() -> RecordPart {
    let span = Span { from: ClusterTime(1), to: ClusterTime(2) };
    let peer = RecordPeer { host: "yard".parse().unwrap(), feed: "10.0.1.2:7403".parse().unwrap() };
    RecordPart { keep_s: 60, protected: vec![span], peers: vec![peer] }
}

fn configure_record(site: &mut Site, now: Time, revision: u64, record: Option<RecordPart>) -> Vec<Output> {
    site.put(now, Configure { record, ..site::configure(CHANNEL, revision, &[(1, true)]) })
}

/// What the recorder is told.
fn orders(out: &[Output]) -> Vec<Option<RecordOrder>> {
    let order = |output: &Output| match output {
        Output::Record { channel, order } if *channel == CHANNEL => Some(order.as_deref().cloned()),
        _ => None,
    };
    out.iter().filter_map(order).collect()
}

/// Lines of a report that are about recordings.
fn about_recordings(report: Report) -> Vec<ReportItem> {
    let about =
        |item: &ReportItem| !matches!(item, ReportItem::Server { .. } | ReportItem::Destination { .. });
    report.items.into_iter().filter(about).collect()
}

#[test]
fn the_recorder_is_told_of_an_order_once_and_of_its_end() {
    let mut site = Site::configured();
    let RecordPart { keep_s, protected, peers } = part();
    let order = RecordOrder { keep_s, protected, peers };
    let out = configure_record(&mut site, ms(1), 2, Some(part()));
    assert_eq!(orders(&out), [Some(order.clone())]);
    assert!(matches!(out[0], Output::Record { .. }), "before the plan: {out:?}");
    assert_eq!(orders(&configure_record(&mut site, ms(2), 3, Some(part()))), []);
    let longer = RecordPart { keep_s: 61, ..part() };
    assert_eq!(
        orders(&configure_record(&mut site, ms(3), 4, Some(longer))),
        [Some(RecordOrder { keep_s: 61, ..order })]
    );
    assert_eq!(orders(&configure_record(&mut site, ms(4), 5, None)), [None]);
    assert_eq!(orders(&site.release(ms(5), 6)), []);
    configure_record(&mut site, ms(6), 7, Some(part()));
    assert_eq!(orders(&site.release(ms(7), 8)), [None]);
}

#[test]
fn a_channel_that_is_recorded_is_never_held_and_one_that_is_no_more_is() {
    let mut site = Site::configured();
    configure_record(&mut site, ms(0), 2, Some(part()));
    site.feed_opened(ms(1_000), 7);
    site.run_until(ms(100_000));
    assert!(!site.server.held(CHANNEL) && site.server.recorded(CHANNEL));
    // A held channel flows as soon as it is to be recorded.
    configure_record(&mut site, ms(100_000), 3, None);
    site.run_until(ms(200_000));
    assert!(site.server.held(CHANNEL));
    let out = configure_record(&mut site, ms(200_000), 4, Some(part()));
    let flow = |output: &Output| matches!(output, Output::TellFeed { order: FeedOrder::Flow, .. });
    assert!(out.iter().any(flow), "{out:?}");
}

#[test]
fn what_is_held_is_told_by_changes_and_what_is_gone_too() {
    let mut site = Site::configured();
    configure_record(&mut site, ms(0), 2, Some(part()));
    assert_eq!(about_recordings(site.report(ms(1), 0)), [], "nothing is known yet");
    let begin = site.report(ms(2), 0).up_to;
    site.handle(ms(3), extents(&[extent(0, 10), extent(20, 30)]));
    let first = site.report(ms(4), begin);
    let told = first.up_to;
    let slot = |slot, extent| ReportItem::Extent { slot, extent };
    let archive = ReportItem::Archive { channel: CHANNEL };
    assert_eq!(about_recordings(first), [slot(0, extent(0, 10)), slot(1, extent(20, 30)), archive.clone()]);
    assert_eq!(about_recordings(site.report(ms(5), told)), []);
    // Too soon: told at the end of the interval.
    site.handle(ms(6), extents(&[extent(20, 40)]));
    assert_eq!(about_recordings(site.report(ms(7), told)), []);
    assert_eq!(site.server.deadline(), Some((ms(3) + EXTENTS_INTERVAL, Reason::Recording)));
    site.run_until(ms(3_000));
    let vacant = ReportItem::Vacant { channel: CHANNEL, slot: 0 };
    let second = about_recordings(site.report(ms(3_000), told));
    assert_eq!(second, [vacant.clone(), slot(1, extent(20, 40))]);
    // Who knows nothing is told all of it.
    assert_eq!(about_recordings(site.report(ms(3_001), 0)), [archive, vacant, slot(1, extent(20, 40))]);
}

#[test]
fn what_is_found_on_the_disk_before_there_is_an_order_is_told_once_there_is() {
    let mut site = Site::configured();
    site.handle(ms(0), extents(&[extent(0, 10)]));
    assert_eq!(about_recordings(site.report(ms(1), 0)), []);
    configure_record(&mut site, ms(2), 2, Some(part()));
    assert_eq!(about_recordings(site.report(ms(3), 0)).len(), 2);
    configure_record(&mut site, ms(4), 3, None);
    assert_eq!(about_recordings(site.report(ms(5), 0)), []);
    // Nothing held is worth telling too.
    configure_record(&mut site, ms(10_000), 4, Some(part()));
    site.handle(ms(10_000), extents(&[]));
    let vacant = ReportItem::Vacant { channel: CHANNEL, slot: 0 };
    let told = about_recordings(site.report(ms(10_001), 0));
    assert!(told.contains(&vacant) && told.contains(&ReportItem::Archive { channel: CHANNEL }), "{told:?}");
}

#[test]
fn many_extents_come_in_pages_and_every_one_of_them() {
    let mut site = Site::configured();
    configure_record(&mut site, ms(0), 2, Some(part()));
    let many: Vec<Extent> = (0..200).map(|n| extent(n * 10 + 1, n * 10 + 5)).collect();
    site.handle(ms(1), extents(&many));
    let (mut since, mut seen) = (0, Vec::new());
    loop {
        let report = site.report(ms(2), since);
        assert!(report.items.len() <= ITEMS_PER_REPORT);
        since = report.up_to;
        let more = report.more;
        seen.extend(about_recordings(report));
        if !more {
            break;
        }
    }
    assert_eq!(seen.len(), 201);
}

#[test]
fn a_recorder_that_cannot_write_is_told_of_until_it_can() {
    let mut site = Site::configured();
    site.handle(ms(0), Input::RecordingFault(Some(RecordingFault::DiskFull)));
    let report = site.report(ms(1), 0);
    let since = report.up_to;
    assert_eq!(about_recordings(report), [ReportItem::Recorder { fault: Some(RecordingFault::DiskFull) }]);
    site.handle(ms(2), Input::RecordingFault(Some(RecordingFault::DiskFull)));
    assert_eq!(about_recordings(site.report(ms(3), since)), []);
    site.handle(ms(4), Input::RecordingFault(None));
    assert_eq!(about_recordings(site.report(ms(5), since)), [ReportItem::Recorder { fault: None }]);
}
