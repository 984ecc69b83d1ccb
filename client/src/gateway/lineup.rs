//! The channel list in the forms that players and recorders read: M3U, and an HDHomeRun's lineup. XMLTV is [`crate::xmltv`].

use std::fmt::Write;

use protocols::p2_directory::{ChannelEntry, ProgrammeEntry};
use serde::Serialize;

use crate::listing::printable;

/// Which stream a playlist names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Transport stream without end.
    TransportStream,
    /// HLS.
    Hls,
}

/// `/playlist.m3u`. `base`: where the gateway is, such as `http://10.0.1.5:7490`.
pub fn playlist(base: &str, channels: &[ChannelEntry], form: Form) -> String {
    let mut text = format!("#EXTM3U url-tvg=\"{base}/xmltv.xml\" x-tvg-url=\"{base}/xmltv.xml\"\n");
    for channel in channels {
        let name = attribute(&channel.name);
        let _ = write!(text, "#EXTINF:-1 tvg-id=\"{}\" tvg-chno=\"{0}\" tvg-name=\"{name}\"", channel.id);
        if let Some(logo) = &channel.logo {
            let _ = write!(text, " tvg-logo=\"{}\"", attribute(logo));
        }
        if let Some(group) = &channel.group {
            let _ = write!(text, " group-title=\"{}\"", attribute(group));
        }
        let stream = match form {
            Form::TransportStream => format!("{}.ts", channel.id),
            Form::Hls => format!("{}/master.m3u8", channel.id),
        };
        let _ = write!(text, ",{}\n{base}/channel/{stream}\n", printable(&channel.name));
    }
    text
}

/// `/recordings.m3u`: what can be played now, the oldest first.
pub fn recordings(base: &str, programmes: &[ProgrammeEntry]) -> String {
    let mut text = "#EXTM3U\n".to_owned();
    for programme in programmes {
        let seconds = programme.span.to.since(programme.span.from).as_secs();
        let _ = write!(
            text,
            "#EXTINF:{seconds} tvg-id=\"{}\",{}\n{base}/recording/{}.ts\n",
            programme.channel,
            printable(&programme.title),
            programme.id
        );
    }
    text
}

/// One channel as an HDHomeRun lists it.
#[derive(Debug, Serialize)]
struct Guide<'a> {
    #[serde(rename = "GuideNumber")]
    number: String,
    #[serde(rename = "GuideName")]
    name: String,
    #[serde(rename = "URL")]
    url: String,
    #[serde(rename = "ImageURL", skip_serializing_if = "Option::is_none")]
    logo: Option<&'a str>,
}

/// `/lineup.json`. `streams`: where an HDHomeRun's streams are, such as `http://10.0.1.5:5004`.
pub fn lineup_json(streams: &str, channels: &[ChannelEntry]) -> String {
    let guide: Vec<Guide<'_>> = channels
        .iter()
        .map(|channel| Guide {
            number: channel.id.to_string(),
            name: printable(&channel.name),
            url: format!("{streams}/auto/v{}", channel.id),
            logo: channel.logo.as_deref(),
        })
        .collect();
    serde_json::to_string(&guide).unwrap_or_default()
}

/// `/lineup.m3u`.
pub fn lineup_m3u(streams: &str, channels: &[ChannelEntry]) -> String {
    let mut text = "#EXTM3U\n".to_owned();
    for channel in channels {
        let (id, name) = (channel.id, printable(&channel.name));
        let _ = write!(
            text,
            "#EXTINF:-1 channel-id=\"{id}\" channel-number=\"{id}\" tvg-name=\"{}\",{id} {name}\n{streams}/auto/v{id}\n",
            attribute(&channel.name)
        );
    }
    text
}

/// `/lineup.xml`.
pub fn lineup_xml(streams: &str, channels: &[ChannelEntry]) -> String {
    let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Lineup>\n".to_owned();
    for channel in channels {
        let _ = writeln!(
            text,
            "  <Program><GuideNumber>{0}</GuideNumber><GuideName>{1}</GuideName><URL>{streams}/auto/v{0}</URL></Program>",
            channel.id,
            escaped(&channel.name)
        );
    }
    text.push_str("</Lineup>\n");
    text
}

/// As XML text and attributes have it.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// M3U knows no escape: a quotation mark becomes an apostrophe.
fn attribute(text: &str) -> String {
    printable(text).replace('"', "'")
}

#[cfg(test)]
pub(crate) mod tests {
    use protocols::ids::ChannelId;
    use protocols::p2_directory::{ChannelStatus, ProgrammeState};
    use protocols::recording::{RecordingId, Span};
    use protocols::time::ClusterTime;

    use super::*;

    pub(crate) fn channels() -> Vec<ChannelEntry> {
        let entry = |id, name: &str, group: Option<&str>, logo: Option<&str>| ChannelEntry {
            id: ChannelId(id),
            name: name.to_owned(),
            status: ChannelStatus::Active,
            tuning: None,
            group: group.map(str::to_owned),
            logo: logo.map(str::to_owned),
        };
        vec![
            entry(1, "One", Some("News"), Some("http://x/1.png?a=1&b=2")),
            entry(20, "\"A\" <&> B\n#EXTINF", None, None),
        ]
    }

    /// A recording that somebody ordered.
    pub(crate) fn programme(channel: u32) -> ProgrammeEntry {
        let from = ClusterTime(1_800_000_000_000);
        ProgrammeEntry {
            id: RecordingId(7),
            channel: ChannelId(channel),
            span: Span { from, to: ClusterTime(from.0 + 90_000) },
            title: "Rock & Roll".to_owned(),
            state: ProgrammeState::Kept,
            replicas: 1,
            recorders: 1,
            bytes: 0,
            missing_ms: 0,
            holes: Vec::new(),
        }
    }

    #[test]
    fn the_playlist_names_guide_logo_group_and_stream_and_a_name_cannot_break_out_of_it() {
        assert_eq!(
            playlist("http://h:7490", &channels(), Form::TransportStream),
            "#EXTM3U url-tvg=\"http://h:7490/xmltv.xml\" x-tvg-url=\"http://h:7490/xmltv.xml\"\n\
             #EXTINF:-1 tvg-id=\"1\" tvg-chno=\"1\" tvg-name=\"One\" tvg-logo=\"http://x/1.png?a=1&b=2\" group-title=\"News\",One\n\
             http://h:7490/channel/1.ts\n\
             #EXTINF:-1 tvg-id=\"20\" tvg-chno=\"20\" tvg-name=\"'A' <&> B\u{fffd}#EXTINF\",\"A\" <&> B\u{fffd}#EXTINF\n\
             http://h:7490/channel/20.ts\n"
        );
        assert!(playlist("b", &channels(), Form::Hls).contains("\nb/channel/1/master.m3u8\n"));
        assert_eq!(
            recordings("b", &[programme(1)]),
            "#EXTM3U\n#EXTINF:90 tvg-id=\"1\",Rock & Roll\nb/recording/7.ts\n"
        );
    }

    #[test]
    fn a_lineup_is_the_same_in_each_form() {
        let channels = channels();
        assert_eq!(
            lineup_json("http://h:5004", &channels[..1]),
            "[{\"GuideNumber\":\"1\",\"GuideName\":\"One\",\"URL\":\"http://h:5004/auto/v1\",\"ImageURL\":\"http://x/1.png?a=1&b=2\"}]"
        );
        assert!(lineup_xml("s", &channels).contains(
            "<GuideName>&quot;A&quot; &lt;&amp;&gt; B\u{fffd}#EXTINF</GuideName><URL>s/auto/v20</URL>"
        ));
        assert!(lineup_m3u("s", &channels).ends_with("\ns/auto/v20\n"));
    }
}
