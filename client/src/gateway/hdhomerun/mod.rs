//! What an HDHomeRun tuner says of itself, so that what knows such tuners (Plex, Jellyfin, Kodi, `hdhomerun_config`) finds this one.
//!
//! | module | owns |
//! |---|---|
//! | here | [`DeviceId`], `discover.json`, `device.xml` |
//! | [`wire`] | packets of discovery and control, UDP and TCP 65001 |
//! | [`control`] | [`control::Control`]: what a tuner is asked and told |

pub mod control;
pub mod wire;

use std::fmt;

use serde::Serialize;

use super::lineup::escaped;

/// Port of discovery and control.
pub const CONTROL_PORT: u16 = 65_001;
/// Port of streams, beside the gateway's own.
pub const STREAM_PORT: u16 = 5_004;
/// What it calls itself: a model that players take for a network tuner without guide data of its own.
pub const MODEL: &str = "HDTC-2US";
/// Its firmware, as such tuners name it.
pub const FIRMWARE: &str = "20220822";

/// The number that tells tuners apart: eight hexadecimal digits, of which the last checks the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceId(u32);

impl DeviceId {
    /// One that follows from `seed`, such as the host's name: the same at each start.
    pub fn of(seed: &str) -> Self {
        // FNV-1a: stable over versions and hosts.
        let hash = seed
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let bare = 0x1040_0000 | (hash & 0x000f_fff0);
        Self(bare | checksum(bare))
    }

    /// As it goes over the wire.
    pub fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08X}", self.0)
    }
}

/// 0 of a whole number; of one whose last digit is 0, that digit.
fn checksum(id: u32) -> u32 {
    const ODD: [u32; 16] = [0xa, 0x5, 0xf, 0x6, 0x7, 0xc, 0x1, 0xb, 0x9, 0x2, 0x8, 0xd, 0x4, 0x3, 0xe, 0x0];
    (0..8).fold(0, |sum, place| {
        let digit = (id >> (28 - 4 * place)) & 15;
        sum ^ if place % 2 == 0 { ODD[digit as usize] } else { digit }
    })
}

/// `/discover.json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Discover<'a> {
    friendly_name: &'a str,
    manufacturer: &'static str,
    model_number: &'static str,
    firmware_name: &'static str,
    firmware_version: &'static str,
    #[serde(rename = "DeviceID")]
    device_id: String,
    device_auth: &'static str,
    #[serde(rename = "BaseURL")]
    base_url: &'a str,
    #[serde(rename = "LineupURL")]
    lineup_url: String,
    tuner_count: u8,
}

/// `/discover.json`. `base`: where the gateway is.
pub fn discover_json(base: &str, id: DeviceId, tuners: u8) -> String {
    let discover = Discover {
        friendly_name: "Masthead",
        manufacturer: "Masthead",
        model_number: MODEL,
        firmware_name: "hdhomeruntc_atsc",
        firmware_version: FIRMWARE,
        device_id: id.to_string(),
        device_auth: "masthead",
        base_url: base,
        lineup_url: format!("{base}/lineup.json"),
        tuner_count: tuners,
    };
    serde_json::to_string(&discover).unwrap_or_default()
}

/// `/lineup_status.json`: no scan runs, and none has to: the list is the site's.
pub const LINEUP_STATUS: &str =
    "{\"ScanInProgress\":0,\"ScanPossible\":1,\"Source\":\"Cable\",\"SourceList\":[\"Cable\"]}";

/// `/device.xml` (UPnP device architecture 1.0 §2.1).
pub fn device_xml(base: &str, id: DeviceId) -> String {
    let base = escaped(base);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<root xmlns=\"urn:schemas-upnp-org:device-1-0\">\
         <specVersion><major>1</major><minor>0</minor></specVersion><URLBase>{base}</URLBase>\
         <device><deviceType>urn:schemas-upnp-org:device:MediaServer:1</deviceType><friendlyName>Masthead</friendlyName>\
         <manufacturer>Masthead</manufacturer><modelName>{MODEL}</modelName><modelNumber>{MODEL}</modelNumber>\
         <serialNumber>{id}</serialNumber><UDN>uuid:{id}-0000-0000-0000-000000000000</UDN></device></root>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_ids_check_and_stay_the_same() {
        // One that `hdhomerun_config` is known to take.
        assert_eq!(checksum(0x1040_1233), 0);
        for seed in ["", "roof", "hall:7490"] {
            assert_eq!(checksum(DeviceId::of(seed).number()), 0);
        }
        assert_eq!(DeviceId::of("roof").to_string(), DeviceId::of("roof").to_string());
        assert_ne!(DeviceId::of("roof"), DeviceId::of("hall"));
    }

    #[test]
    fn a_tuner_says_where_its_lineup_is() {
        let said: serde_json::Value =
            serde_json::from_str(&discover_json("http://h:7490", DeviceId(0x1040_1233), 4)).unwrap();
        assert_eq!(said["DeviceID"], "10401233");
        assert_eq!(said["LineupURL"], "http://h:7490/lineup.json");
        assert_eq!(said["TunerCount"], 4);
    }
}
