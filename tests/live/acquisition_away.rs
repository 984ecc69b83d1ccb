//! The acquisition server goes, and comes back.
#![expect(clippy::disallowed_methods, reason = "the test times what viewers see")]

use std::time::{Duration, Instant};

use lab::site::{Plan, Site};
use lab::{Host, Lab};

use crate::viewing::Viewing;

const PATIENCE: Duration = Duration::from_secs(15);
/// How soon a viewer's list tells the truth.
const TOLD_WITHIN: Duration = Duration::from_secs(3);

/// Goal: a channel is shown inactive within 3 s of its acquisition server's going, active within 3 s of its return, and
/// those who watch have pictures again without doing anything.
/// Method: the server is killed and started again (the network says so at once); then it is stopped as a machine that hangs
/// (connections stay, nothing is said), and goes on; then it is cut off the network. A viewer watches all the time, another
/// asks for the list.
#[test]
fn channel_is_inactive_and_active_again_within_three_seconds() {
    let Some(lab) = Lab::open("channel_is_inactive_and_active_again_within_three_seconds", &[]) else {
        return;
    };
    let site = Site::build(&lab, &Plan::testcard());
    let (anna, bert) = (site.viewer("anna", &site.room), site.viewer("bert", &site.ward));
    let mut daemons = site.start_all();
    site.wait_active(&bert, 1, PATIENCE);
    let viewing = Viewing::start(&site, &anna, 1);
    viewing.wait_for_pictures(PATIENCE);

    daemons.acquisition.kill9();
    expect(&lab, &site, &bert, "killed", Wanted::Inactive);
    daemons.acquisition.restart();
    expect(&lab, &site, &bert, "started", Wanted::Active);
    told_pictures(&lab, &viewing);

    daemons.acquisition.pause();
    expect(&lab, &site, &bert, "stopped", Wanted::Inactive);
    daemons.acquisition.resume();
    expect(&lab, &site, &bert, "continued", Wanted::Active);
    told_pictures(&lab, &viewing);

    let cut = site.core.partition(&site.roof);
    expect(&lab, &site, &bert, "cut off", Wanted::Inactive);
    drop(cut);
    expect(&lab, &site, &bert, "reachable", Wanted::Active);
    told_pictures(&lab, &viewing);
    let summary = viewing.finish();
    lab.note(format_args!("the viewer: {summary:?}"));
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Active,
    Inactive,
}

fn expect(lab: &Lab, site: &Site, viewer: &Host, event: &str, wanted: Wanted) {
    let begun = Instant::now();
    match wanted {
        Wanted::Active => site.wait_active(viewer, 1, PATIENCE),
        Wanted::Inactive => site.wait_inactive(viewer, 1, PATIENCE),
    };
    let took = begun.elapsed();
    let cause = site.channels(viewer).and_then(|list| list[0].cause.clone()).unwrap_or_default();
    lab.note(format_args!("{event}: {wanted:?} after {:.0} ms {cause}", took.as_secs_f64() * 1e3));
    assert!(took <= TOLD_WITHIN, "{event}: {wanted:?} only after {took:?}");
}

fn told_pictures(lab: &Lab, viewing: &Viewing) {
    let took = viewing.wait_to_go_on(TOLD_WITHIN);
    lab.note(format_args!("pictures go on after {:.0} ms more", took.as_secs_f64() * 1e3));
}
