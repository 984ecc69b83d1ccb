//! The picker on the terminal.

use link::shutdown::Shutdown;

use super::{Destination, Error, Options, channels};

pub(super) async fn run(options: &Options, _output: Destination, shutdown: &Shutdown) -> Result<(), Error> {
    channels::run(options, shutdown).await
}
