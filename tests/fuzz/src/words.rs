//! Messages, texts and files: P1 to P6, HDHomeRun, input URLs, the topology.

use protocols::codec::{Message, decode, decode_message, encode};
use protocols::hdhomerun;
use protocols::p3_feed::{self, FeedOrder, Opened};
use protocols::p4_control::{
    Command, Configure, Configured, Interest, LiveAnswer, LiveRequest, PlayAnswer, PlayRequest, Query,
    Repair, Report, Response, Sealed,
};
use protocols::p5_stream;
use protocols::topology::{InputUrl, Topology, command_words};
use protocols::{handshake, p1_registration, p2_directory, p3_replica, preamble};

use crate::Target;
use crate::shapes::tuner_packet;

pub(crate) const TARGETS: &[(&str, Target)] = &[
    ("p1", p1),
    ("p2", p2),
    ("p3", p3),
    ("p4", p4),
    ("p5", p5),
    ("p6", p6),
    ("handshake", handshakes),
    ("hdhomerun", hdhomerun_packets),
    ("input-url", input_url),
    ("topology", topology),
];

/// What is read is written as the same bytes: a message has one form.
fn message<T: Message + PartialEq + std::fmt::Debug, const LIMIT: usize>(bytes: &[u8]) {
    if let Ok(message) = decode_message::<T, LIMIT>(bytes) {
        let written = encode(&message);
        assert_eq!(decode_message::<T, LIMIT>(&written).ok(), Some(message));
    }
}

fn p1(bytes: &[u8]) {
    message::<p1_registration::ToDatabase, { preamble::MAX_P1_FRAME_BYTES }>(bytes);
    message::<p1_registration::ToAcquisition, { preamble::MAX_P1_FRAME_BYTES }>(bytes);
}

fn p2(bytes: &[u8]) {
    message::<p2_directory::ToDatabase, { preamble::MAX_P2_REQUEST_BYTES }>(bytes);
    message::<p2_directory::ToClient, { preamble::MAX_P2_ANSWER_BYTES }>(bytes);
}

fn p3(bytes: &[u8]) {
    let _ = decode::<p3_feed::Open, 64>(bytes);
    let _ = decode::<Opened, 512>(bytes);
    let _ = decode::<FeedOrder, 64>(bytes);
    let _ = decode::<p3_replica::Ask, { p3_replica::MAX_ASK_BYTES }>(bytes);
    let _ = decode::<p3_replica::Answer, { p3_replica::MAX_ANSWER_BYTES }>(bytes);
    if let Some(&prefix) = bytes.first_chunk() {
        let _ = p3_feed::packet_len(prefix);
    }
}

/// The bodies without their tags, which nobody guesses.
fn p4(bytes: &[u8]) {
    let Ok(sealed) = Sealed::parse(bytes) else { return };
    let _ = (sealed.peek::<Command<Query>>(), sealed.peek::<Command<Configure>>());
    let _ = (sealed.peek::<Response<Report>>(), sealed.peek::<Response<Configured>>());
    let _ = (sealed.peek::<Interest>(), sealed.peek::<Repair>(), sealed.peek::<LiveRequest>());
    let _ = (sealed.peek::<PlayRequest>(), sealed.peek::<PlayAnswer>(), sealed.peek::<LiveAnswer>());
}

fn p5(bytes: &[u8]) {
    if let Ok((header, packet)) = p5_stream::Header::split(bytes) {
        assert_eq!([&header.encode()[..3], packet].concat().len(), packet.len() + 3);
    }
    let _ = p5_stream::is_session(bytes);
}

fn p6(bytes: &[u8]) {
    let key = protocols::authority::ClusterKey::new([7; 32]).announce_key(protocols::ids::ChannelId(1));
    let _ = protocols::p6_broadcast::Announcement::open(bytes, &key);
    let _ = (media::rtp::classify(bytes), media::RtpPacket::from_datagram(bytes).is_ok());
}

fn handshakes(bytes: &[u8]) {
    if let Some(&head) = bytes.first_chunk() {
        for protocol in
            [preamble::Protocol::Registration, preamble::Protocol::Directory, preamble::Protocol::Feed]
        {
            let _ = protocol.check(head);
        }
    }
    if let Some(&head) = bytes.first_chunk() {
        let _ = preamble::frame_len(head, preamble::MAX_OPENING_BYTES);
    }
    let hello = decode::<handshake::Hello, { preamble::MAX_OPENING_BYTES }>(bytes);
    let _ = hello.as_ref().ok().and_then(p3_replica::Caller::of);
    let _ = decode::<handshake::Reply, { preamble::MAX_OPENING_BYTES }>(bytes);
    let _ = decode::<handshake::Verdict, { preamble::MAX_OPENING_BYTES }>(bytes);
}

/// As they come, and with the length and the CRC made right.
fn hdhomerun_packets(bytes: &[u8]) {
    let _ = hdhomerun::Message::len(bytes);
    for packet in [bytes, &tuner_packet(bytes)] {
        let Some(message) = hdhomerun::Message::parse(packet) else { continue };
        let again = hdhomerun::Message::parse(&message.encode());
        assert_eq!(again.as_ref(), Some(&message));
        for name in 0..=u8::MAX {
            let _ = (message.field(name), message.number(name), message.text(name));
        }
    }
}

/// What is understood is written as a URL that is understood as the same.
fn input_url(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = command_words(text);
    if let Ok(url) = text.parse::<InputUrl>() {
        let written = url.to_string();
        assert_eq!(written.parse::<InputUrl>().ok().as_ref(), Some(&url), "{written}");
    }
}

fn topology(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Topology::parse("site.toml", text) {
        Ok((topology, warnings)) => {
            let _ = (topology.channels.len(), warnings.len());
        }
        Err(faults) => {
            let _ = faults.to_string();
        }
    }
}
