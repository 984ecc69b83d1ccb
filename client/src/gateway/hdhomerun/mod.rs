//! What an HDHomeRun tuner says of itself, so that what knows such tuners (Plex, Jellyfin, Kodi, `hdhomerun_config`) finds this one.
//!
//! | module | owns |
//! |---|---|
//! | here | `discover.json`, `device.xml` |
//! | [`control`] | [`control::Control`]: what a tuner is asked and told |

pub mod control;

use protocols::hdhomerun::DeviceId;
use serde::Serialize;

use super::lineup::escaped;

/// Port of streams, beside the gateway's own.
pub const STREAM_PORT: u16 = 5_004;
/// What it calls itself: a model that players take for a network tuner without guide data of its own.
pub const MODEL: &str = "HDTC-2US";
/// Its firmware, as such tuners name it.
pub const FIRMWARE: &str = "20220822";

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
    fn a_tuner_says_where_its_lineup_is() {
        let id = DeviceId::from_number(0x1040_1233).unwrap();
        let said: serde_json::Value = serde_json::from_str(&discover_json("http://h:7490", id, 4)).unwrap();
        assert_eq!(said["DeviceID"], "10401233");
        assert_eq!(said["LineupURL"], "http://h:7490/lineup.json");
        assert_eq!(said["TunerCount"], 4);
    }
}
