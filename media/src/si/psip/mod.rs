//! The tables of ATSC (A/65): what the channels of a multiplex are called, and their guide.

pub mod eit;
pub mod ett;
pub mod mgt;
pub mod strings;
pub mod stt;
pub mod vct;

/// PID of the base tables: MGT, VCT, STT.
pub const BASE_PID: u16 = 0x1ffb;

/// 1980-01-06, from which on ATSC counts its seconds, in seconds since 1970-01-01.
const GPS_EPOCH_UNIX_S: i64 = 315_964_800;

/// Seconds since 1970-01-01 of a time in GPS seconds, with the leap seconds that the STT tells.
pub fn unix_time(gps_s: u32, leap_s: u8) -> i64 {
    GPS_EPOCH_UNIX_S + i64::from(gps_s) - i64::from(leap_s)
}

/// A loop whose length has its two highest bits reserved more than others have: ten bits.
fn looped_10(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[high, low], rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes([high & 3, low])))
}
