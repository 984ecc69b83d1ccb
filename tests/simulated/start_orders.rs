//! Start-up order does not matter (design §2.5): all 24 orders of database server, acquisition server, push server and
//! viewer reach pictures; so does every daemon's return from a crash. Times are virtual and printed.

use std::time::Duration;

use masthead_tests::world::fabric::Power;
use masthead_tests::world::faults::{Fault, Plan};
use masthead_tests::world::{Dimensions, Role, Settings, World};
use protocols::time::Time;

const SIZE: Dimensions =
    Dimensions { acquisitions: 1, hosts: 1, lans: 1, rivals: 1, channels: 1, viewers: 1 };
const ROLES: [Role; 4] = [Role::Database, Role::Acquisition(0), Role::Host(0), Role::Viewer(0)];

fn world(plan: Plan, seed: u64) -> World {
    let period = Duration::from_millis(20);
    World::new(Settings { size: SIZE, seed, period, forgeries: Duration::ZERO, verbose: false }, plan)
}

fn orders() -> Vec<[usize; 4]> {
    let mut orders = Vec::new();
    for code in 0..256_usize {
        let order = [code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6];
        if (0..4).all(|role| order.contains(&role)) {
            orders.push(order);
        }
    }
    orders
}

/// Runs until the viewer gets a packet later than `after`; how long after that was.
fn picture_after(world: &mut World, after: Time, patience: Duration) -> Duration {
    let mut at = after;
    while at < after + patience {
        at += Duration::from_millis(10);
        world.run(at).unwrap_or_else(|violation| panic!("{violation}"));
        if let Some(last) = world.fabric.checks.pictures.last(0).filter(|last| *last > after) {
            return last.since(after);
        }
    }
    panic!("no picture within {patience:?} after {after}");
}

#[test]
fn all_24_start_orders_reach_pictures() {
    assert_eq!(orders().len(), 24);
    for gap in [Duration::from_millis(50), Duration::from_millis(700), Duration::from_secs(20)] {
        let mut times = Vec::new();
        for (number, order) in orders().into_iter().enumerate() {
            let mut plan = vec![(Time::ZERO, Fault::Watch(0, Some(0)))];
            for (turn, role) in (0..).zip(order) {
                plan.push((Time::ZERO + gap * turn, Fault::Start(SIZE.node(ROLES[role]))));
            }
            let last = Time::ZERO + gap * 3;
            times.push(picture_after(&mut world(plan, number as u64), last, Duration::from_secs(15)));
        }
        times.sort_unstable();
        println!(
            "started {gap:?} apart: pictures {:?} (median) to {:?} after the last start",
            times[12], times[23]
        );
    }
}

#[test]
fn each_daemon_killed_ten_times_comes_back_by_itself() {
    for role in ROLES {
        let mut plan = vec![(Time::ZERO, Fault::Watch(0, Some(0)))];
        plan.extend(ROLES.map(|role| (Time::ZERO, Fault::Start(SIZE.node(role)))));
        let mut worst = Duration::ZERO;
        let mut world = world(plan, 7);
        let mut now = Time::from_ms(8_000);
        world.run(now).unwrap();
        for turn in 0..10 {
            let power = if turn % 2 == 0 { Power::Down } else { Power::Off };
            world.fault(&Fault::Stop(SIZE.node(role), power));
            now += Duration::from_millis(300 + 700 * turn);
            world.run(now).unwrap_or_else(|violation| panic!("{role:?}: {violation}"));
            world.fault(&Fault::Start(SIZE.node(role)));
            worst = worst.max(picture_after(&mut world, now, Duration::from_secs(15)));
            now += Duration::from_secs(16);
            world.run(now).unwrap_or_else(|violation| panic!("{role:?}: {violation}"));
        }
        println!("{role:?} killed ten times: pictures at most {worst:?} after its start");
    }
}

/// Goal: the database server's death does not stop live viewing. Every packet that the source makes meanwhile arrives.
#[test]
fn a_minute_without_the_database_server_costs_no_packet() {
    let mut plan = vec![(Time::ZERO, Fault::Watch(0, Some(0)))];
    plan.extend(ROLES.map(|role| (Time::ZERO, Fault::Start(SIZE.node(role)))));
    let mut world = world(plan, 9);
    world.run(Time::from_ms(10_000)).unwrap();
    let before = world.viewers[0].delivered();
    world.fault(&Fault::Stop(SIZE.node(Role::Database), Power::Off));
    world.run(Time::from_ms(70_000)).unwrap();
    let away = world.viewers[0].delivered() - before;
    world.fault(&Fault::Start(SIZE.node(Role::Database)));
    world.run(Time::from_ms(80_000)).unwrap();
    let back = world.viewers[0].delivered() - before - away;
    println!("60 s away: {away} packets of 3000; 10 s after its return: {back} of 500");
    assert!((2_999..=3_001).contains(&away) && (499..=501).contains(&back), "{away}, {back}");
    assert_eq!(world.viewers[0].machine().unwrap().counters().lost, 0);
}
