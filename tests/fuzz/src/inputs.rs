//! What inputs hear from servers, and what acquisition makes of a stream.

use std::collections::BTreeMap;
use std::time::Duration;

use acquisition::capture::Capture;
use acquisition::guide::{self, GuideCollector};
use acquisition::hdhomerun;
use acquisition::paced_stream::PacedStream;
use acquisition::satip::rtsp::Responses;
use acquisition::satip::{self, report};
use acquisition::splitter::{Outlet, Splitter};
use acquisition::tuner_session::{Input, Output, TunerSession};
use acquisition::web_answer::{self, Head};
use media::Packet;
use media::health::Extent;
use protocols::hdhomerun::{ERROR, GETSET_REPLY, Message, NAME, VALUE};
use protocols::ids::ChannelId;
use protocols::time::{ClusterTime, Time};
use protocols::topology::InputUrl;

use crate::Target;
use crate::shapes::{multiplex, tuner_packet};

pub(crate) const TARGETS: &[(&str, Target)] = &[
    ("satip-rtsp", rtsp),
    ("satip-session", session),
    ("satip-report", signal_report),
    ("hdhomerun-session", tuner_session),
    ("web-answer", web_answer),
    ("guide", guide_collector),
    ("splitter", splitter),
    ("capture", capture),
    ("paced-stream", paced_stream),
];

/// What a connection brings, in pieces of as many bytes as the first byte says.
fn rtsp(bytes: &[u8]) {
    let Some((&size, bytes)) = bytes.split_first() else { return };
    let mut responses = Responses::default();
    for piece in bytes.chunks(usize::from(size).max(1)) {
        responses.push(piece);
        loop {
            match responses.take() {
                Ok(Some(response)) => {
                    let _ = (response.sequence(), response.is_success(), response.field("session"));
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

/// A server that answers in any way: each piece of its words behind a byte for its length and one for the time it takes.
fn session(mut bytes: &[u8]) {
    let Ok(InputUrl::Satip(input)) = "satip://192.0.2.3/?src=1&freq=11494&pol=h&msys=dvbs2&sr=22000".parse()
    else {
        return;
    };
    let (mut session, mut now, mut out) =
        (satip::session::Session::new(&input, 5_000), Time::ZERO, Vec::new());
    session.handle(now, Input::Connected, &mut out);
    while let Some((&[length, later], rest)) = bytes.split_first_chunk::<2>() {
        let (piece, rest) = rest.split_at(rest.len().min(usize::from(length)));
        bytes = rest;
        now += Duration::from_millis(u64::from(later) * 40);
        session.handle(now, Input::Bytes(piece), &mut out);
        if session.deadline().is_some_and(|due| due <= now) {
            session.handle(now, Input::Tick, &mut out);
        }
        for output in std::mem::take(&mut out) {
            match output {
                Output::Send(_) => {}
                Output::Fail(_) => session.handle(now, Input::Close, &mut out),
                Output::Drop => return,
            }
        }
    }
    session.handle(now, Input::Close, &mut out);
}

/// A device that answers in any way. Each of its words is behind a byte that says of which kind it is, one for its length and one
/// for the time it takes: the value that was asked for, an error, any packet, any bytes, or no word but other packets being chosen.
fn tuner_session(mut bytes: &[u8]) {
    let Ok(InputUrl::Hdhomerun(input)) = "hdhomerun://192.0.2.3/auto:474000000".parse() else { return };
    let (mut now, mut out, mut asked) = (Time::ZERO, Vec::new(), Vec::new());
    let mut session = hdhomerun::session::Session::new(&input, ([192, 0, 2, 9], 5_000).into());
    session.handle(now, Input::Connected, &mut out);
    while let Some((&[kind, length, later], rest)) = bytes.split_first_chunk::<3>() {
        let (piece, rest) = rest.split_at(rest.len().min(usize::from(length)));
        bytes = rest;
        now += Duration::from_millis(u64::from(later) * 40);
        if session.deadline().is_some_and(|due| due <= now) {
            session.handle(now, Input::Tick, &mut out);
        }
        for output in std::mem::take(&mut out) {
            match output {
                Output::Send(request) => asked.extend(Message::parse(&request)),
                Output::Fail(_) => session.handle(now, Input::Close, &mut out),
                Output::Drop => return,
            }
        }
        let reply = |field| {
            let name = asked.last().and_then(|request: &Message| request.field(NAME)).unwrap_or_default();
            Message::new(GETSET_REPLY).with(NAME, name).with(field, &[piece, &[0]].concat()).encode()
        };
        let said = match kind % 5 {
            0 => reply(VALUE),
            1 => reply(ERROR),
            2 => tuner_packet(piece),
            3 => piece.to_vec(),
            _ => {
                let pids = piece.iter().map(|&pid| u16::from(pid) * 31).collect();
                session.select(&acquisition::pids::Pids::Only(pids));
                session.handle(now, Input::Tick, &mut out);
                Vec::new()
            }
        };
        session.handle(now, Input::Bytes(&said), &mut out);
        let _ = session.signal();
    }
    session.handle(now, Input::Close, &mut out);
}

fn signal_report(bytes: &[u8]) {
    if let Some(signal) = report::signal(bytes) {
        let signal = signal.report();
        assert!(signal.strength_percent.is_none_or(|percent| percent <= 100));
    }
}

/// A status, then lines: where a redirect leads, what the body is, what a tuner says.
fn web_answer(bytes: &[u8]) {
    let Some((status, rest)) = bytes.split_first_chunk() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let Ok(InputUrl::Web(asked)) = "http://user:word@host.example:8080/a/b.ts?x=1".parse() else { return };
    let mut lines = text.split('\n');
    let head = Head {
        status: u16::from_be_bytes(*status) % 600,
        location: lines.next(),
        content_type: lines.next(),
        tuner_error: lines.next(),
    };
    let _ = web_answer::judge(&asked, 1, &head);
}

/// Two channels of two services, the second of which comes and goes.
fn guide_collector(bytes: &[u8]) {
    let channels =
        |last: u32| (1..=last).map(|n| (ChannelId(n), u16::try_from(n).ok())).collect::<BTreeMap<_, _>>();
    let (mut collector, mut now) = (GuideCollector::new(), Time::ZERO);
    collector.set_channels(channels(1));
    for (count, record) in multiplex(bytes).into_iter().enumerate() {
        now += Duration::from_millis(record.later_ms);
        if count % 8 == 7 {
            collector.set_channels(channels(if count % 16 == 7 { 2 } else { 1 }));
        }
        for packet in &record.packets {
            if let Ok(packet) = Packet::parse(packet) {
                collector.push(packet);
            }
        }
        assert!(collector.take(now, 2).len() <= 2);
        assert!(collector.pids().len() <= guide::PSIP_PIDS_MAX + 3);
    }
    let _ = (collector.revision(), collector.counters());
}

fn splitter(bytes: &[u8]) {
    let mut splitter = Splitter::new();
    let (whole, one) = (Outlet(1), Outlet(2));
    splitter.add(whole, None);
    splitter.add(one, Some(1));
    let mut now = Time::ZERO;
    for record in multiplex(bytes) {
        now += Duration::from_millis(record.later_ms);
        splitter.push(now, &record.packets);
        for outlet in [whole, one] {
            let _ = (splitter.packets(outlet, &record.packets).len(), splitter.condition(now, outlet));
        }
        let _ = (splitter.pids(), splitter.extent(one), splitter.counters());
    }
    splitter.remove(one);
}

fn capture(bytes: &[u8]) {
    let mut capture = Capture::new(&mut fastrand::Rng::with_seed(1));
    let (mut now, mut out) = (Time::ZERO, Vec::new());
    capture.opened(now, Extent::Input);
    for record in multiplex(bytes) {
        now += Duration::from_millis(record.later_ms);
        capture.arrived(now, record.packets.len());
        capture.packets(now, &record.packets, &mut out);
        if capture.deadline().is_some_and(|due| due <= now) {
            capture.tick(now, &mut out);
        }
        let _ = (capture.health(now, ClusterTime(now.as_us() / 1_000)), capture.rate_bps(), capture.state());
        out.clear();
    }
    capture.closed(&mut out);
}

fn paced_stream(bytes: &[u8]) {
    let (mut stream, mut now, mut out) = (PacedStream::new(), Time::ZERO, Vec::new());
    for piece in bytes.chunks(700) {
        if stream.push_bytes(piece, |_| {}).is_err() {
            return;
        }
        while let Some(due) = stream.due(now) {
            now = now.max(due);
            stream.take(&mut out);
            let _ = stream.take_sync_errors();
        }
        out.clear();
    }
}
