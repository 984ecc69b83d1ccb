//! Every table stays within its limit (design §2.7): no daemon keeps connections that nobody uses any more, and the whole
//! state of a machine, written out, stays of one size however long it has run and whatever has happened to it.

use std::fmt::{self, Debug, Write};

use crate::world::fabric::Power;
use crate::world::streams::End;
use crate::world::{Role, World};

/// Name of the rule.
pub const RULE: &str = "every table stays within its limit";
/// Bytes of a machine's state in Debug form, at most: a site of three channels and a dozen nodes needs a tenth of it.
pub const MAX_STATE_BYTES: usize = 400_000;

/// Checks that in the calm no daemon holds more connections than it has peers. Acquisition servers, viewers: one to
/// the database server each; feeds: one for each channel and host.
pub fn check_connections(world: &World) -> Result<(), String> {
    let (fabric, size) = (&world.fabric, world.fabric.site.size);
    let called = |role: Role| {
        let ends = fabric.streams.open_ends(size.node(role));
        ends.into_iter().filter(|(_, end)| *end == End::Callee).count()
    };
    let up = |role: Role| fabric.standings[size.node(role).index()].power == Power::Up;
    let (database, peers) = (called(Role::Database), size.acquisitions + size.viewers);
    if database > peers {
        return Err(format!("the database server holds {database} connections of {peers} peers"));
    }
    for host in (0..size.hosts).filter(|host| up(Role::Host(*host))) {
        let feeds = called(Role::Host(host));
        if feeds > size.channels {
            return Err(format!("host {host} holds {feeds} feeds of {} channels", size.channels));
        }
    }
    Ok(())
}

/// Checks the size of every machine.
pub fn check_states(world: &World) -> Result<(), String> {
    check_state("the database server", world.database.machine())?;
    for acquisition in &world.acquisitions {
        check_state("an acquisition server", acquisition.machine())?;
    }
    for host in &world.hosts {
        check_state("a host", host.machine())?;
    }
    for viewer in &world.viewers {
        check_state("a viewer", viewer.machine())?;
    }
    Ok(())
}

fn check_state(who: &str, machine: Option<&impl Debug>) -> Result<(), String> {
    let Some(machine) = machine else { return Ok(()) };
    let mut count = Count(0);
    let _ = write!(count, "{machine:?}");
    if count.0 > MAX_STATE_BYTES {
        return Err(format!("the state of {who} is {} bytes long", count.0));
    }
    Ok(())
}

/// Counts what is written, keeps nothing.
struct Count(usize);

impl Write for Count {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}
