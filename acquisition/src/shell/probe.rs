//! Reads one input for a while and counts.

use std::ops::ControlFlow;
use std::time::Duration;

use link::shutdown::Shutdown;
use protocols::topology::InputUrl;

use crate::probe::{Probe, Report};
use crate::shell::listening::listen;

/// Opens `input`, counts what it brings for `length` or until `shutdown`, and closes it. The error says why it cannot be opened.
pub async fn probe(input: &InputUrl, length: Duration, shutdown: &Shutdown) -> Result<Report, String> {
    let mut probe = Probe::new();
    let circumstances = listen(input, length, shutdown, |now, packets| {
        probe.packets(now, packets);
        ControlFlow::Continue(())
    });
    let circumstances = circumstances.await?;
    Ok(probe.finish(circumstances))
}
