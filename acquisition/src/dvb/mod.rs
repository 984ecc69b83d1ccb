//! What a tuner is told and what it tells, by the Linux DVB API (version 5), as plain data.
//!
//! ```text
//! DvbInput ─► diseqc::steps (dish)  ─► tuning::properties ─► tuner ─► status bits ─► LockWatch: keep, or give up
//!                                                              └────► statistics ─► percent
//! ```
//!
//! Numbers are those of `linux/dvb/frontend.h`. The calls themselves are in `shell/dvb_device.rs`.

pub mod diseqc;
pub mod lock;
pub mod statistics;
pub mod tuning;

/// One word to or from a tuner: `struct dtv_property` without its statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Property {
    /// `DTV_…`.
    pub command: u32,
    /// Its value.
    pub data: u32,
}
