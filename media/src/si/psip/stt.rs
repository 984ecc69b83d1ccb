//! The system time table of ATSC: what time it is (A/65 §6.1).

use crate::section::Section;

/// The table.
pub const TABLE: u8 = 0xcd;

/// What it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stt {
    /// Seconds since 1980-01-06, without leap seconds.
    pub gps_s: u32,
    /// Leap seconds since then.
    pub leap_s: u8,
}

impl Stt {
    /// Reads a section; `None` when it is another table or torn.
    pub fn parse(section: &Section<'_>) -> Option<Self> {
        // protocol_version, system_time, GPS_UTC_offset.
        let (&[_, a, b, c, d, leap_s], _) = section.body.split_first_chunk::<6>()?;
        (section.table_id == TABLE).then_some(Self { gps_s: u32::from_be_bytes([a, b, c, d]), leap_s })
    }

    /// Seconds since 1970-01-01.
    pub fn unix_s(self) -> i64 {
        super::unix_time(self.gps_s, self.leap_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::si::tests::long;

    #[test]
    fn gps_time_becomes_utc() {
        let mut body = vec![0];
        body.extend(1_448_150_418_u32.to_be_bytes());
        body.extend([18, 0x60, 0]);
        let bytes = long(TABLE, 0, &body);
        assert_eq!(Stt::parse(&Section::parse(&bytes).unwrap()).unwrap().unix_s(), 1_764_115_200);
    }
}
