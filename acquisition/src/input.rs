//! One input, which all channels of its URL share, as the machine sees it.

use std::time::Duration;

use crate::retry::Retry;

/// An input that is open but has stalled is opened anew this often: a multicast membership that the network forgot
/// is thus renewed. Until then it may come back by itself.
pub(crate) const STALLED_REOPEN: Duration = Duration::from_secs(5);

/// One input; it is open, being opened, or waits to be.
#[derive(Debug, Default)]
pub(crate) struct SharedInput {
    pub(crate) retry: Retry,
    /// Why it is not open, for channels that come to it meanwhile.
    pub(crate) closed: Option<String>,
}
