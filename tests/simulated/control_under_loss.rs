//! Configuration converges although a fifth of all datagrams is lost: 20 hosts, 50 channels, 1,000 seeded runs. Converged
//! means that every network has its push server for every channel and every host carries out, for every channel, exactly
//! the revision that the database server means it to. Virtual times are printed.

use std::time::Duration;

use masthead_tests::world::faults::{Fault, Plan, all};
use masthead_tests::world::network::Weather;
use masthead_tests::world::{Dimensions, Role, Settings, World};
use protocols::time::Time;

const SIZE: Dimensions =
    Dimensions { acquisitions: 1, hosts: 20, lans: 20, rivals: 1, channels: 50, viewers: 0 };
const RUNS: u64 = 1_000;
/// How closely the moment of convergence is looked for.
const STEP: Duration = Duration::from_millis(20);
/// A run ends here.
const END: Time = Time::from_ms(6_000);

/// Time from the start of all daemons until every host carries out what it should.
fn converged(seed: u64, loss: f64) -> Option<Duration> {
    let mut plan: Plan = vec![(Time::ZERO, Fault::Weather(Weather { loss, ..Weather::CLEAR }))];
    // Without an acquisition server: what is looked at is control alone.
    let servers = all(SIZE).filter(|node| *node != SIZE.node(Role::Acquisition(0)));
    plan.extend(servers.map(|node| (Time::ZERO, Fault::Start(node))));
    let settings = Settings {
        size: SIZE,
        seed,
        period: Duration::from_secs(1),
        forgeries: Duration::ZERO,
        verbose: false,
    };
    let mut world = World::new(settings, plan);
    let mut now = Time::ZERO;
    while now < END {
        now += STEP;
        world.run(now).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        if world.database.assignments() == SIZE.lans * SIZE.channels && agree(&world) {
            return Some(now.since(Time::ZERO));
        }
    }
    None
}

fn agree(world: &World) -> bool {
    let Some(database) = world.database.machine() else { return false };
    (0..SIZE.hosts).all(|number| {
        let id = &world.fabric.site.hosts[number];
        let host = world.hosts[number].machine();
        (0..SIZE.channels).all(|channel| {
            let channel = SIZE.channel(channel);
            let meant = database.configured_revision(id, channel);
            meant.is_some() && host.and_then(|host| host.revision(channel)) == meant
        })
    })
}

#[test]
fn configuration_converges_though_a_fifth_of_all_datagrams_is_lost() {
    let runs = std::env::var("MASTHEAD_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(RUNS);
    let clear = converged(0, 0.0).expect("without loss");
    let mut times: Vec<Duration> = std::thread::scope(|scope| {
        let half = |first: u64| {
            scope.spawn(move || -> Vec<Duration> {
                let seeds = (first..runs).step_by(2);
                seeds
                    .map(|seed| {
                        converged(seed, 0.2).unwrap_or_else(|| panic!("seed {seed} does not converge"))
                    })
                    .collect()
            })
        };
        let halves = [half(0), half(1)];
        halves.into_iter().flat_map(|half| half.join().unwrap()).collect()
    });
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!(
        "{runs} runs at 20 % loss: converged after {:?} (p50), {:?} (p99), {:?} (max); {clear:?} without loss",
        at(50),
        at(99),
        at(100),
    );
    assert!(at(100) < Duration::from_secs(5));
}
