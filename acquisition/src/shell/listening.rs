//! Hearing one input for a while, for a command that needs no site around it.

use std::ops::ControlFlow;
use std::time::Duration;

use link::clock::Clock;
use link::shutdown::Shutdown;
use media::packet::PacketBytes;
use protocols::time::Time;
use protocols::topology::InputUrl;

use crate::pids::Pids;
use crate::probe::Circumstances;
use crate::shell::inputs::{Batch, End, OpenInput};

/// How often whoever listens has its turn, also where nothing comes.
const TURN: Duration = Duration::from_millis(200);

/// Opens `input`, hands all that it brings to `take` for `length`, until `take` has enough or until `shutdown`, and closes it.
/// The error says why it cannot be opened.
pub(super) async fn listen(
    input: &InputUrl,
    length: Duration,
    shutdown: &Shutdown,
    mut take: impl FnMut(Time, &[PacketBytes]) -> ControlFlow<()>,
) -> Result<Circumstances, String> {
    let clock = Clock::start();
    let begun = clock.now();
    let url = input.to_string();
    let opened = tokio::select! {
        opened = OpenInput::open(&url) => opened,
        () = shutdown.requested() => Err("interrupted before it was open".to_owned()),
    };
    let mut open = opened?;
    let opened_after = clock.now().since(begun);
    open.select(&Pids::All);
    let (mut batch, mut strange) = (Batch::default(), None);
    let until = clock.now() + length;
    let mut turn = clock.now() + TURN;
    let ended = loop {
        let ended = tokio::select! {
            ended = open.next(&clock, &mut batch) => ended.err(),
            () = clock.reach(Some(turn.min(until))) => None,
            () = shutdown.requested() => break None,
        };
        let now = clock.now();
        let flow = take(now, &batch.packets);
        // What was strange before packets came explains nothing.
        strange = batch.strange.take().or(strange.filter(|_| batch.packets.is_empty()));
        batch.packets.clear();
        if let Some(End::Closed(cause) | End::Finished(cause)) = ended {
            break Some(cause);
        }
        if flow.is_break() || now >= until {
            break None;
        }
        turn = now + TURN;
    };
    let faults = open.faults();
    let circumstances = Circumstances {
        opened_after,
        signal: open.signal(),
        sync_errors: faults.sync_losses,
        overflows: faults.overflows,
        ended: ended.or(strange),
    };
    open.close().await;
    Ok(circumstances)
}
