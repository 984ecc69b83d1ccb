//! Reads one input for a while, without a site around it.

use std::time::Duration;

use link::clock::Clock;
use link::shutdown::Shutdown;
use protocols::topology::InputUrl;

use crate::pids::Pids;
use crate::probe::{Circumstances, Probe, Report};
use crate::shell::inputs::{Batch, End, OpenInput};

/// Opens `input`, counts what it brings for `length` or until `shutdown`, and closes it. The error says why it cannot be opened.
pub async fn probe(input: &InputUrl, length: Duration, shutdown: &Shutdown) -> Result<Report, String> {
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
    let (mut probe, mut batch, mut strange) = (Probe::new(), Batch::default(), None);
    let until = clock.now() + length;
    let ended = loop {
        let ended = tokio::select! {
            ended = open.next(&clock, &mut batch) => ended.err(),
            () = clock.reach(Some(until)) => break None,
            () = shutdown.requested() => break None,
        };
        probe.packets(clock.now(), &batch.packets);
        // What was strange before packets came explains nothing.
        strange = batch.strange.take().or(strange.filter(|_| batch.packets.is_empty()));
        batch.packets.clear();
        if let Some(End::Closed(cause) | End::Finished(cause)) = ended {
            break Some(cause);
        }
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
    Ok(probe.finish(circumstances))
}
