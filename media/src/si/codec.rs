//! What people call an elementary stream.

use crate::psi::{ElementaryStream, PrivateData};

/// The name of its coding (ISO/IEC 13818-1 table 2-34, A/53); `data` where there is none that people know.
pub fn name(stream: &ElementaryStream) -> &'static str {
    match (stream.stream_type, stream.private) {
        (0x01, _) => "MPEG-1",
        (0x02, _) => "MPEG-2",
        (0x10, _) => "MPEG-4",
        (0x1b, _) => "H.264",
        (0x24, _) => "HEVC",
        (0x33, _) => "VVC",
        (0x03 | 0x04, _) => "MP2",
        (0x0f | 0x11, _) => "AAC",
        (0x81, _) | (_, Some(PrivateData::Ac3)) => "AC-3",
        (0x87, _) | (_, Some(PrivateData::EnhancedAc3)) => "E-AC-3",
        (_, Some(PrivateData::Dts)) => "DTS",
        _ => "data",
    }
}
