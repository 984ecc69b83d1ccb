//! A SAT>IP client (SAT>IP protocol specification 1.2.2), pure: what is said over RTSP, and when.
//!
//! | module | owns |
//! |---|---|
//! | [`rtsp`] | requests and responses as text (RFC 2326) |
//! | [`session`] | [`session::Session`]: setting up, choosing packets, keeping alive, giving the tuner back |
//! | [`report`] | what the server's RTCP says of the signal |

pub mod report;
pub mod rtsp;
pub mod session;
