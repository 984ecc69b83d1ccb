//! The order in which things start, and die, does not matter.
#![expect(clippy::disallowed_methods, reason = "live tests are all effects: real clocks and sockets")]

use std::time::{Duration, Instant};

use lab::site::{Daemon, Plan, READY_LIMIT, Site};
use lab::{Host, Lab, Process, timeline};

use crate::viewing::{Viewing, assert_database_is_sound};

/// Longest that pictures may take; what it takes is printed.
const PICTURES_LIMIT: Duration = Duration::from_secs(15);
/// Deaths of each daemon.
const DEATHS: u32 = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Database,
    Acquisition,
    Push,
    Client,
}

/// All orders of the four parts.
fn orders() -> Vec<[Part; 4]> {
    let parts = [Part::Database, Part::Acquisition, Part::Push, Part::Client];
    let mut orders = Vec::new();
    for a in parts {
        for b in parts {
            for c in parts {
                for d in parts {
                    let order = [a, b, c, d];
                    if parts.iter().all(|part| order.contains(part)) {
                        orders.push(order);
                    }
                }
            }
        }
    }
    orders
}

/// A test card, one push server, one LAN with viewers.
fn small_site(lab: &Lab) -> Site {
    let mut plan = Plan::testcard();
    plan.push_servers.truncate(1);
    Site::build(lab, &plan)
}

/// Goal: database, acquisition, push server and client reach pictures in whatever order they start, without anybody's help.
/// Method: real processes, all killed and every trace of them removed before each of the 24 orders; each part starts when
/// the one before has said its first word.
#[test]
fn all_24_start_orders_reach_pictures() {
    let Some(lab) = Lab::open("all_24_start_orders_reach_pictures", &[]) else { return };
    let site = small_site(&lab);
    let viewer = site.viewer("anna", &site.room);
    let orders = orders();
    assert_eq!(orders.len(), 24);
    let mut slowest = Duration::ZERO;
    for order in orders {
        let (since_last, since_first) = pictures_after(&site, &viewer, order);
        slowest = slowest.max(since_last);
        let words = order.map(|part| format!("{part:?}")).join(", ");
        lab.note(format_args!(
            "{words:<40} pictures {:.2} s after the last start, {:.2} s after the first",
            since_last.as_secs_f64(),
            since_first.as_secs_f64()
        ));
    }
    lab.note(format_args!("slowest: {:.2} s after the last start", slowest.as_secs_f64()));
}

/// Time to pictures from the last and from the first start.
fn pictures_after(site: &Site, viewer: &Host, order: [Part; 4]) -> (Duration, Duration) {
    let _ = std::fs::remove_dir_all(site.lab.path("database"));
    let first = Instant::now();
    let mut last = first;
    let mut servers: Vec<Process> = Vec::new();
    let mut viewing = None;
    for part in order {
        last = Instant::now();
        let started = match part {
            Part::Database => site.start(Daemon::Database),
            Part::Acquisition => site.start(Daemon::Acquisition),
            Part::Push => site.start(Daemon::Hall),
            Part::Client => {
                let started = viewing.insert(Viewing::start_afresh(site, viewer, 1));
                wait_for_first_word(&started.process);
                continue;
            }
        };
        wait_for_first_word(&started);
        servers.push(started);
    }
    let viewing = viewing.unwrap();
    viewing.wait_for_pictures(PICTURES_LIMIT);
    (last.elapsed(), first.elapsed())
}

fn wait_for_first_word(process: &Process) {
    timeline::until("a first line of log", READY_LIMIT, || process.log().contains('\n'));
}

/// Goal: each daemon that dies by SIGKILL and is started again takes up its work by itself, ten times; the database server's
/// deaths cost a viewer nothing, and leave its database whole. The push server dies again as soon as it is back, so the
/// feed's backoff grows to its cap of 5 s: this is the worst time, not that of a single death.
#[test]
fn each_daemon_killed_ten_times_comes_back_by_itself() {
    let Some(lab) = Lab::open("each_daemon_killed_ten_times_comes_back_by_itself", &[]) else { return };
    let site = small_site(&lab);
    let [anna, ben] = ["anna", "ben"].map(|name| site.viewer(name, &site.room));
    let [mut database, mut acquisition, mut hall] = [Daemon::Database, Daemon::Acquisition, Daemon::Hall]
        .map(|daemon| {
            let mut process = site.start(daemon);
            process.wait_for_line("ready", READY_LIMIT);
            process
        });
    let mut steady = Viewing::start_afresh(&site, &anna, 1);
    steady.wait_for_pictures(PICTURES_LIMIT);

    let mut times = Vec::new();
    for death in 0..DEATHS {
        // In full work, and again at another moment of its first writes each time.
        for moment in [Duration::ZERO, Duration::from_millis(5) * death] {
            database.kill9();
            assert_database_is_sound(&lab.path("database"));
            database.restart();
            database.wait_for_line("ready", READY_LIMIT);
            timeline::lasts(moment);
        }
        times.push(Viewing::start_afresh(&site, &ben, 1).wait_for_pictures(PICTURES_LIMIT));
    }
    report(&lab, "database: a new viewer has pictures", times);
    steady.finish_without_loss();

    steady = Viewing::start_afresh(&site, &anna, 1);
    steady.wait_for_pictures(PICTURES_LIMIT);
    let comes_back = |process: &mut Process| {
        process.kill9();
        let mut before = 0;
        let away = timeline::until("nothing more arrives", PICTURES_LIMIT, || {
            timeline::lasts(Duration::from_millis(100));
            let now = std::fs::metadata(&steady.file).unwrap().len();
            std::mem::replace(&mut before, now) == now
        });
        assert!(away < Duration::from_secs(1), "the stream went on for {away:?} without its source");
        process.restart();
        steady.wait_to_go_on(PICTURES_LIMIT)
    };
    let times = (0..DEATHS).map(|_| comes_back(&mut acquisition)).collect();
    report(&lab, "acquisition: the viewer's pictures go on", times);
    let times = (0..DEATHS).map(|_| comes_back(&mut hall)).collect();
    report(&lab, "push: the viewer's pictures go on", times);

    let times = (0..DEATHS).map(|_| {
        steady.process.kill9();
        std::fs::remove_file(&steady.file).unwrap();
        steady.process.restart();
        steady.wait_for_pictures(PICTURES_LIMIT)
    });
    report(&lab, "client: it has pictures again", times.collect());
}

fn report(lab: &Lab, what: &str, mut times: Vec<Duration>) {
    times.sort();
    let [min, median, max] = [0, times.len() / 2, times.len() - 1].map(|at| times[at].as_secs_f64());
    let count = times.len();
    lab.note(format_args!(
        "{what} after {count} SIGKILLs and restarts: min {min:.2} s, median {median:.2} s, max {max:.2} s"
    ));
}
