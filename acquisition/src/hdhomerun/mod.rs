//! What is said to an HDHomeRun, and when: pure. The packets themselves are [`protocols::hdhomerun`].
//!
//! | module | owns |
//! |---|---|
//! | [`session`] | [`session::Session`]: a tuner is found free, locked, tuned, watched and given back |
//! | [`discovery`] | where the device of an id is |
//! | [`status`] | what a tuner says of its signal |

pub mod discovery;
pub mod session;
pub mod status;
