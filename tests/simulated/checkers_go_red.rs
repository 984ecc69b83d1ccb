//! A judge that never condemns proves nothing: each invariant's checker is shown a world in which the glue, the disk or the
//! network does what it must not, and has to say so. The same world without the fault is green.

use std::time::Duration;

use masthead_tests::world::fabric::Power;
use masthead_tests::world::faults::{Fault, Plan, all};
use masthead_tests::world::invariants::{
    forgery, hosts_only, limits, made_once, one_sender, pictures, revisions, silence, status,
};
use masthead_tests::world::nodes::{host, viewer};
use masthead_tests::world::{Dimensions, Role, Settings, World};
use protocols::time::Time;

const SIZE: Dimensions =
    Dimensions { acquisitions: 1, hosts: 2, lans: 1, rivals: 2, channels: 1, viewers: 2 };
const JUDGED: Time = Time::from_ms(40_000);

/// A world that is left alone but for `extra`, and judged after 40 s.
fn world(extra: Plan) -> World {
    let mut plan: Plan = all(SIZE).map(|node| (Time::ZERO, Fault::Start(node))).collect();
    plan.extend((0..SIZE.viewers).map(|viewer| (Time::ZERO, Fault::Watch(viewer, Some(0)))));
    plan.push((Time::from_ms(5_000), Fault::Calm));
    plan.extend(extra);
    plan.push((JUDGED, Fault::Judge));
    plan.sort_by_key(|(at, _)| *at);
    let period = Duration::from_millis(50);
    World::new(
        Settings { size: SIZE, seed: 3, period, forgeries: Duration::from_millis(500), verbose: false },
        plan,
    )
}

/// The rule that the world is found to break.
fn broken_rule(mut world: World) -> Option<&'static str> {
    world.run(JUDGED + Duration::from_secs(1)).err().map(|violation| {
        println!("{violation}");
        violation.rule
    })
}

#[test]
fn a_world_without_fault_is_green() {
    assert_eq!(broken_rule(world(vec![])), None);
}

#[test]
fn a_packet_delivered_twice_is_seen() {
    let mut world = world(vec![]);
    world.viewers[0].broken = viewer::Broken::DeliversTwice;
    assert_eq!(broken_rule(world), Some(made_once::RULE));
}

#[test]
fn a_packet_altered_on_its_way_is_seen() {
    let mut world = world(vec![]);
    world.hosts.iter_mut().for_each(|host| host.broken = host::Broken::AltersPackets);
    assert_eq!(broken_rule(world), Some(made_once::RULE));
}

#[test]
fn a_push_server_that_ignores_suspension_is_seen() {
    let nobody =
        (0..SIZE.viewers).map(|viewer| (Time::from_ms(10_000), Fault::Watch(viewer, None))).collect();
    let mut world = world(nobody);
    world.hosts.iter_mut().for_each(|host| host.broken = host::Broken::IgnoresSuspension);
    assert_eq!(broken_rule(world), Some(silence::RULE));
}

#[test]
fn a_push_server_that_goes_on_after_another_took_over_is_seen() {
    let database = SIZE.node(Role::Database);
    let mut plan = Plan::new();
    for host in (0..SIZE.hosts).map(|host| SIZE.node(Role::Host(host))) {
        // Whichever sends is cut off for a while; with both cut in turn, each takes over once.
        let begin = 10_000 + 6_000 * u64::from(host.0 - 2);
        plan.push((Time::from_ms(begin), Fault::Trouble));
        plan.push((Time::from_ms(begin), Fault::Cut(database, host)));
        plan.push((Time::from_ms(begin + 1_300), Fault::Heal));
        plan.push((Time::from_ms(begin + 1_300), Fault::Calm));
    }
    assert_eq!(broken_rule(world(plan.clone())), None);
    let mut world = world(plan);
    world.hosts.iter_mut().for_each(|host| host.broken = host::Broken::IgnoresSuspension);
    assert_eq!(broken_rule(world), Some(one_sender::RULE));
}

#[test]
fn a_viewer_without_pictures_is_seen() {
    let mut world = world(vec![]);
    world.run(Time::from_ms(10_000)).unwrap();
    world.viewers[1].broken = viewer::Broken::Sleeps;
    assert_eq!(broken_rule(world), Some(pictures::RULE));
}

#[test]
fn a_status_that_is_not_the_truth_is_seen() {
    // The input fails a moment before the judgement: no daemon can know it yet.
    let late = vec![(JUDGED - Duration::from_millis(100), Fault::Input(0, false))];
    assert_eq!(broken_rule(world(late)), Some(status::RULE));
}

#[test]
fn an_answer_to_a_forged_datagram_is_seen() {
    let mut world = world(vec![]);
    world.run(Time::from_ms(10_000)).unwrap();
    world.hosts.iter_mut().for_each(|host| host.broken = host::Broken::Echoes);
    assert_eq!(broken_rule(world), Some(forgery::RULE));
}

#[test]
fn a_database_server_that_forgets_is_seen() {
    let mut world = world(vec![]);
    world.run(Time::from_ms(10_000)).unwrap();
    world.fault(&Fault::Load(1));
    world.run(Time::from_ms(11_000)).unwrap();
    world.fault(&Fault::Stop(SIZE.node(Role::Database), Power::Down));
    world.database.lose_disk();
    world.fault(&Fault::Start(SIZE.node(Role::Database)));
    assert_eq!(broken_rule(world), Some(revisions::RULE));
}

#[test]
fn connections_that_nobody_closes_are_seen() {
    let mut world = world(vec![]);
    let (viewer, database) = (SIZE.node(Role::Viewer(0)), SIZE.node(Role::Database));
    for _ in 0..10 {
        world.fabric.streams.open((viewer, 1), (database, 1));
    }
    assert!(limits::check_connections(&world).is_err());
}

#[test]
fn a_plan_that_names_a_destination_is_seen() {
    use protocols::ids::Generation;
    use protocols::p1_registration::{ChannelPlan, FeedPlan, FeedTarget};

    let world = world(vec![]);
    let address = std::net::SocketAddr::new(SIZE.destination(0), 7601);
    let target = FeedTarget { host: "hall-0".parse().unwrap(), address };
    let channel = ChannelPlan {
        channel: SIZE.channel(0),
        input: "in-0".parse().unwrap(),
        url: "testcard:".to_owned(),
        service: None,
        backups: vec![],
        hold_off_s: 2,
        return_after_s: 30,
        feeds: vec![target],
    };
    let plan = FeedPlan { generation: Generation(1), channels: vec![channel] };
    let sight = hosts_only::check(&plan, &world.fabric.site.feeds);
    assert!(sight.is_err(), "{}: {sight:?}", hosts_only::RULE);
}
