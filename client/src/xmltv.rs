//! XMLTV, valid by its DTD: what players and recorders read guides in. A channel's id is that of the playlist's `tvg-id`.

use std::collections::BTreeSet;
use std::fmt::Write;

use protocols::guide::Event;
use protocols::ids::ChannelId;
use protocols::p2_directory::{ChannelEntry, ChannelGuide, ProgrammeEntry};
use protocols::time::ClusterTime;

use crate::gateway::lineup::escaped;
use crate::guide::{cluster_time, genre};
use crate::when::rfc3339;

/// No programmes are added to a document of this length; what there is stays valid. A week of 200 channels takes a fifth of it.
pub const MAX_BYTES: usize = 256 << 20;

/// A document that is being written.
#[derive(Debug)]
pub struct Xmltv {
    text: String,
    listed: BTreeSet<ChannelId>,
    /// Channels of whose programmes something is known.
    guided: BTreeSet<ChannelId>,
}

impl Xmltv {
    /// Begins with the channels, which stand before all programmes.
    pub fn new(channels: &[ChannelEntry]) -> Self {
        let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE tv SYSTEM \"xmltv.dtd\">\n\
                        <tv generator-info-name=\"Masthead\">\n"
            .to_owned();
        for channel in channels {
            let _ = writeln!(
                text,
                "  <channel id=\"{}\">\n    <display-name>{}</display-name>\n    <display-name>{0}</display-name>",
                channel.id,
                escaped(&channel.name)
            );
            if let Some(logo) = &channel.logo {
                let _ = writeln!(text, "    <icon src=\"{}\"/>", escaped(logo));
            }
            text.push_str("  </channel>\n");
        }
        Self { text, listed: channels.iter().map(|channel| channel.id).collect(), guided: BTreeSet::new() }
    }

    /// Adds what channels show; channels that are not listed are left out.
    pub fn add(&mut self, guide: &[ChannelGuide]) {
        for channel in guide.iter().filter(|channel| self.listed.contains(&channel.channel)) {
            self.guided.insert(channel.channel);
            for event in &channel.events {
                if self.text.len() < MAX_BYTES {
                    programme(&mut self.text, channel.channel, event);
                }
            }
        }
    }

    /// Adds, of channels of whose programmes nothing is known, what was ordered to be recorded; and ends.
    pub fn finish(mut self, recordings: &[ProgrammeEntry]) -> String {
        let told =
            |it: &&ProgrammeEntry| self.listed.contains(&it.channel) && !self.guided.contains(&it.channel);
        for recording in recordings.iter().filter(told) {
            let _ = writeln!(
                self.text,
                "  <programme start=\"{}\" stop=\"{}\" channel=\"{}\">\n    <title>{}</title>\n  </programme>",
                time(recording.span.from),
                time(recording.span.to),
                recording.channel,
                escaped(&recording.title)
            );
        }
        self.text.push_str("</tv>\n");
        self.text
    }
}

/// The elements in the order of the DTD.
fn programme(text: &mut String, channel: ChannelId, event: &Event) {
    let start = time(cluster_time(event.start_unix_s));
    let _ = write!(text, "  <programme start=\"{start}\"");
    if event.duration_s > 0 {
        let _ = write!(text, " stop=\"{}\"", time(cluster_time(event.end_unix_s())));
    }
    let _ = writeln!(text, " channel=\"{channel}\">");
    let language = event.language.as_deref().map(language);
    let mut element = |name: &str, words: &str| {
        let _ = match language {
            Some(language) => write!(text, "    <{name} lang=\"{}\">", escaped(language)),
            None => write!(text, "    <{name}>"),
        };
        let _ = writeln!(text, "{}</{name}>", escaped(&words.replace('\n', " ")));
    };
    let Event { title, text: line, description, .. } = event;
    // Players show nothing without a title.
    let (title, line) = if title.is_empty() { (line, title) } else { (title, line) };
    element("title", title);
    match (line.is_empty(), description.is_empty()) {
        (false, false) => {
            element("sub-title", line);
            element("desc", description);
        }
        (false, true) => element("desc", line),
        (true, false) => element("desc", description),
        (true, true) => {}
    }
    if let Some(genre) = event.content.and_then(genre) {
        let _ = writeln!(text, "    <category lang=\"en\">{}</category>", escaped(genre));
    }
    if let Some(age) = event.least_age {
        let _ = writeln!(text, "    <rating system=\"DVB\">\n      <value>{age}</value>\n    </rating>");
    }
    text.push_str("  </programme>\n");
}

/// `20261122201500 +0000`.
fn time(time: ClusterTime) -> String {
    let whole = ClusterTime(time.0 / 1_000 * 1_000);
    let digits: String = rfc3339(whole).chars().filter(char::is_ascii_digit).collect();
    format!("{digits} +0000")
}

/// The two letters (ISO 639-1) that XMLTV's DTD asks for; a language that is not in the table keeps its three.
fn language(three: &str) -> &str {
    match three {
        "ara" => "ar",
        "bul" => "bg",
        "cat" => "ca",
        "ces" | "cze" => "cs",
        "cym" | "wel" => "cy",
        "dan" => "da",
        "deu" | "ger" => "de",
        "ell" | "gre" => "el",
        "eng" => "en",
        "est" => "et",
        "eus" | "baq" => "eu",
        "fin" => "fi",
        "fra" | "fre" => "fr",
        "gla" => "gd",
        "gle" => "ga",
        "glg" => "gl",
        "heb" => "he",
        "hrv" => "hr",
        "hun" => "hu",
        "isl" | "ice" => "is",
        "ita" => "it",
        "jpn" => "ja",
        "kor" => "ko",
        "lav" => "lv",
        "lit" => "lt",
        "nld" | "dut" => "nl",
        "nor" => "no",
        "pol" => "pl",
        "por" => "pt",
        "ron" | "rum" => "ro",
        "rus" => "ru",
        "slk" | "slo" => "sk",
        "slv" => "sl",
        "spa" => "es",
        "srp" => "sr",
        "swe" => "sv",
        "tur" => "tr",
        "ukr" => "uk",
        "zho" | "chi" => "zh",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::gateway::lineup::tests::{channels, programme};
    use crate::guide::tests::guide;

    #[test]
    fn channels_stand_before_programmes_and_orders_where_there_is_no_guide() {
        assert_eq!(
            Xmltv::new(&channels()[..1]).finish(&[programme(1), programme(9)]),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE tv SYSTEM \"xmltv.dtd\">\n<tv generator-info-name=\"Masthead\">\n\
             \x20 <channel id=\"1\">\n    <display-name>One</display-name>\n    <display-name>1</display-name>\n\
             \x20   <icon src=\"http://x/1.png?a=1&amp;b=2\"/>\n  </channel>\n\
             \x20 <programme start=\"20270115080000 +0000\" stop=\"20270115080130 +0000\" channel=\"1\">\n\
             \x20   <title>Rock &amp; Roll</title>\n  </programme>\n</tv>\n"
        );
    }

    #[test]
    fn a_programme_has_all_that_is_known_of_it_in_the_order_of_the_dtd() {
        let mut document = Xmltv::new(&channels()[..1]);
        document.add(&guide());
        let text = document.finish(&[programme(1)]);
        let programmes = text.split_once("  </channel>\n").unwrap().1;
        assert_eq!(
            programmes,
            "  <programme start=\"20270115080000 +0000\" stop=\"20270115081500 +0000\" channel=\"1\">\n\
             \x20   <title lang=\"de\">News &amp; &lt;more&gt;</title>\n    <sub-title lang=\"de\">Headlines</sub-title>\n\
             \x20   <desc lang=\"de\">First then 😀 &quot;weather&quot;</desc>\n\
             \x20   <category lang=\"en\">News / Current affairs</category>\n\
             \x20   <rating system=\"DVB\">\n      <value>12</value>\n    </rating>\n  </programme>\n\
             \x20 <programme start=\"20270115081500 +0000\" channel=\"1\">\n    <title>Film</title>\n  </programme>\n</tv>\n"
        );
    }

    /// Goal: any guide is valid by XMLTV's own DTD. Method: libxml2's validator, and Debian's copy of the DTD.
    #[test]
    fn any_guide_validates_against_the_dtd() {
        const DTD: &str = "/usr/share/xmltv/xmltv.dtd";
        if !std::path::Path::new(DTD).exists() || Command::new("xmllint").arg("--version").output().is_err() {
            println!(
                "SKIPPED any_guide_validates_against_the_dtd: needs xmllint (libxml2-utils) and {DTD} (xmltv-util)"
            );
            return;
        }
        let mut document = Xmltv::new(&channels());
        document.add(&guide());
        let mut random = fastrand::Rng::with_seed(7);
        let mut words =
            |limit: usize| -> String { (0..random.usize(..limit)).map(|_| random.char(..)).collect() };
        let events = (0..900_i64).map(|n| {
            let event = Event {
                start_unix_s: 1_800_000_000 + n * 900,
                duration_s: u32::try_from(n % 3).unwrap() * 900,
                title: words(300),
                text: words(60),
                description: words(700),
                language: [None, Some("deu"), Some("xyz")][usize::try_from(n % 3).unwrap()]
                    .map(str::to_owned),
                content: u8::try_from(n % 256).ok(),
                least_age: (n % 5 == 0).then_some(16),
                ..Event::default()
            };
            event.bounded()
        });
        document.add(&[ChannelGuide { channel: ChannelId(20), events: events.collect() }]);
        let text = document.finish(&[]);
        assert_eq!(text.matches("<programme ").count(), 902);
        let mut child = Command::new("xmllint")
            .args(["--noout", "--nonet", "--dtdvalid", DTD, "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // One that has refused it reads no further.
        let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
