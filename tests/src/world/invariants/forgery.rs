//! A datagram without authority changes nothing and is answered by nothing (design §2.6): made-up ones, genuine ones with a
//! bit changed, and recorded ones sent again.
//!
//! A recorded datagram bears a genuine tag, so P4 lets some be answered: a command for an earlier life of a host by an
//! empty report, an interest with an old date by the right time. Never by more bytes than it has.

use std::rc::Rc;
use std::time::Duration;

use protocols::authority::CLOCK_TOLERANCE;

use crate::world::fabric::{Event, Overheard};
use crate::world::{Fabric, NodeId, Role, World};

/// Name of the rule.
pub const RULE: &str = "a datagram without authority changes nothing";
/// A recorded datagram is sent again after this: until then an interest counts, by design.
const REPLAYED_AFTER: Duration = Duration::from_secs(CLOCK_TOLERANCE.as_secs() + 3);
/// Longest made-up datagram.
const MAX_MADE_UP: usize = 300;

/// What somebody without a key sends.
#[derive(Debug)]
enum Forgery {
    /// No server ever made these bytes.
    MadeUp,
    /// Some server did, long ago.
    Recorded,
}

/// Sends one forged datagram to some daemon and judges what follows.
pub fn inject(world: &mut World) -> Result<(), String> {
    let Some((datagram, forgery)) = draw(&mut world.fabric) else { return Ok(()) };
    let Overheard { from, to, port, bytes, .. } = datagram;
    let role = world.fabric.site.size.role(to);
    // What is due anyway comes first, so that all that follows is the forgery's doing.
    world.happen(Event::Wake(to, world.fabric.standings[to.index()].life));
    let before = state(world, role);
    let outputs = world.datagram(to, from, port, &bytes);
    let after = state(world, role);
    let answers_allowed = match (&forgery, role) {
        (Forgery::Recorded, Role::Host(_) | Role::Viewer(_)) => 1,
        _ => 0,
    };
    if outputs > answers_allowed {
        return Err(format!(
            "{role:?} does {outputs} things for a datagram that is {forgery:?}: {bytes:02x?}"
        ));
    }
    if before != after {
        return Err(format!(
            "{role:?} went from {before:?} to {after:?} by a datagram that is {forgery:?}: {bytes:02x?}"
        ));
    }
    Ok(())
}

fn draw(fabric: &mut Fabric) -> Option<(Overheard, Forgery)> {
    let length = fabric.overheard.len();
    if length == 0 {
        return None;
    }
    let mut datagram = fabric.overheard[fabric.random.usize(..length)].clone();
    match fabric.random.u8(..3) {
        0 => {
            let length = fabric.random.usize(..MAX_MADE_UP);
            datagram.bytes = (0..length).map(|_| fabric.random.u8(..)).collect();
            datagram.to = NodeId(u16::try_from(fabric.random.usize(..fabric.site.size.nodes())).ok()?);
        }
        1 => {
            let mut bytes = datagram.bytes.to_vec();
            let bit = fabric.random.usize(..bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            if fabric.random.bool() {
                bytes.truncate(fabric.random.usize(..bytes.len()));
            }
            datagram.bytes = Rc::from(bytes);
        }
        _ => {
            let aged = |old: &&Overheard| fabric.now.since(old.at) > REPLAYED_AFTER;
            let datagram = fabric.overheard.iter().find(aged)?.clone();
            return Some((datagram, Forgery::Recorded));
        }
    }
    Some((datagram, Forgery::MadeUp))
}

/// What can be seen of a daemon from outside, as far as a datagram could change it.
fn state(world: &World, role: Role) -> Vec<u64> {
    let size = world.fabric.site.size;
    match role {
        Role::Host(number) => {
            let Some(machine) = world.hosts[number].machine() else { return Vec::new() };
            let mut state = Vec::new();
            for channel in (0..size.channels).map(|number| size.channel(number)) {
                state.push(machine.revision(channel).map_or(0, |revision| revision.0));
                state.extend(
                    (0..size.lans).map(|lan| u64::from(machine.sending(channel, size.destination(lan)))),
                );
            }
            state.push(machine.deadline().map_or(0, |(at, _)| at.as_us()));
            state
        }
        Role::Database => {
            let machine = world.database.machine();
            vec![machine.and_then(database_server::DatabaseServer::deadline).map_or(0, |(at, _)| at.as_us())]
        }
        Role::Acquisition(_) | Role::Viewer(_) => Vec::new(),
    }
}
