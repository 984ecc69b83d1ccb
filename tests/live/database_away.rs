//! Nobody needs the database server in order to keep watching, or to begin.
#![expect(clippy::disallowed_methods, reason = "live tests are all effects: real clocks and sockets")]

use std::time::{Duration, Instant};

use lab::site::{Plan, Site};
use lab::{Lab, timeline};

use crate::viewing::{Viewing, compare_with_wire, witness, witnessed};

/// How long the database server is away.
const AWAY: Duration = Duration::from_mins(1);
/// Longest that pictures may take.
const PICTURES_LIMIT: Duration = Duration::from_secs(10);
/// How long all is looked at before and after.
const AROUND: Duration = Duration::from_secs(2);

/// Goal: 60 s without the database server cost three viewers not one packet; a fourth, whose client has kept a channel list,
/// begins to watch another channel meanwhile; after the return a stranger gets pictures too, and those who watched still lose nothing.
/// Method: real daemons; viewers on a multicast and on a directed-broadcast LAN, where witnesses who know nothing of our
/// code write down what the wire carries: it must be without a gap, and each recording must be a part of it, byte for byte.
#[test]
fn database_away_for_a_minute_costs_viewers_nothing() {
    let Some(lab) = Lab::open("database_away_for_a_minute_costs_viewers_nothing", &[]) else { return };
    let site = Site::build(&lab, &Plan::testcard().with_channel(2, "Two", "testcard:"));
    let mut daemons = site.start_all();
    let (in_room, in_ward) = (witness(&site, "eye", &site.room), witness(&site, "ear", &site.ward));
    let [anna, ben, dora, eve] = ["anna", "ben", "dora", "eve"].map(|name| site.viewer(name, &site.room));
    let carl = site.viewer("carl", &site.ward);
    site.wait_active(&dora, 2, PICTURES_LIMIT); // and her client keeps the list
    let viewings = [&anna, &ben, &carl].map(|viewer| Viewing::start(&site, viewer, 1));
    for viewing in &viewings {
        viewing.wait_for_pictures(PICTURES_LIMIT);
    }
    timeline::lasts(AROUND);

    daemons.database.kill9();
    let killed = Instant::now();
    timeline::lasts(AWAY / 2);
    // A channel that nobody watches: her kept lease alone must wake it.
    let late = Viewing::start(&site, &dora, 2);
    let took = late.wait_for_pictures(PICTURES_LIMIT);
    assert!(late.process.log().contains("by the kept list"), "{}", late.process.last_words());
    lab.note(format_args!(
        "with a kept list, 30 s into the absence: pictures after {:.2} s",
        took.as_secs_f64()
    ));
    timeline::lasts(AWAY.saturating_sub(killed.elapsed()));
    for viewing in viewings.iter().chain([&late]) {
        viewing.wait_to_go_on(AROUND);
    }

    daemons.database.restart();
    let took = site.wait_active(&carl, 1, PICTURES_LIMIT);
    lab.note(format_args!("after its return: channel active after {:.2} s", took.as_secs_f64()));
    let stranger = Viewing::start(&site, &eve, 1);
    let took = stranger.wait_for_pictures(PICTURES_LIMIT);
    lab.note(format_args!("after its return: a stranger has pictures after {:.2} s", took.as_secs_f64()));
    timeline::lasts(AROUND);

    let recordings = viewings.map(Viewing::finish_without_loss);
    late.finish_without_loss();
    let eve = stranger.finish_without_loss();
    let (room, ward) = (witnessed(in_room), witnessed(in_ward));
    let [anna, ben, carl] = &recordings;
    for (name, recording, wire) in
        [("anna", anna, &room), ("ben", ben, &room), ("carl", carl, &ward), ("eve", &eve, &room)]
    {
        let comparison = compare_with_wire(wire, recording);
        assert!(comparison.is_exact(), "{name}: {comparison:?}");
        lab.note(format_args!("{name}: {} packets, all that the wire carried, in order", comparison.same));
    }
}
