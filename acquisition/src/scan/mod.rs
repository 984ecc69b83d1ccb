//! What `masthead-acquisition scan` tells of an input: its services, and the channels that can be made of them.
//!
//! The whole report is TOML: what is told to people stands in comments, what is ready for `topology.toml` in tables.

pub mod entries;
pub mod neighbour;

use std::fmt::Write as _;
use std::time::Duration;

use media::packet::PACKET_BYTES;
use media::si::nit;
use media::si::survey::{Access, Multiplex, Service, Survey};
use protocols::topology::InputUrl;
use serde_json::json;

use entries::Entries;

/// How the report looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// As it is written.
    Plain,
    /// With colours, for a terminal.
    Coloured,
}

/// What was found in one input.
#[derive(Debug)]
pub struct Found {
    /// What the multiplex says of itself.
    pub multiplex: Multiplex,
    /// Its services.
    pub services: Vec<Service>,
    /// Its packets a second, null packets left out, in bits.
    pub rate_bps: u64,
    /// Sections that were damaged.
    pub sections_bad: u64,
    /// Services and tables left out because there are too many.
    pub ignored: u64,
    /// Why the input ended before the survey did.
    pub ended: Option<String>,
}

impl Found {
    /// The result of a survey that took so long.
    pub fn new(survey: &Survey, length: Duration, ended: Option<String>) -> Self {
        let bits = survey.packets().saturating_mul(PACKET_BYTES as u64 * 8);
        let ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        Self {
            multiplex: survey.multiplex().clone(),
            services: survey.services(),
            rate_bps: bits.saturating_mul(1000).checked_div(ms).unwrap_or(0),
            sections_bad: survey.sections_bad(),
            ignored: survey.ignored(),
            ended,
        }
    }

    /// The report: what is there in comments, then `entries`.
    pub fn text(&self, url: &str, entries: &Entries, paint: Paint) -> String {
        let mut text = String::new();
        self.head(url, &mut text);
        self.table(paint, &mut text);
        self.network(url, &mut text);
        text.push('\n');
        text.push_str(&entries.text(url));
        text
    }

    /// The report as one JSON object.
    pub fn json(&self, url: &str, entries: &Entries) -> String {
        let services: Vec<_> = self
            .services
            .iter()
            .map(|service| {
                json!({
                    "service": service.id,
                    "name": service.name,
                    "provider": service.provider,
                    "type": service.kind,
                    "number": service.number,
                    "codecs": service.codecs,
                    "access": access(service),
                    "hidden": service.hidden,
                    "on_air": service.on_air,
                    "channel": entries.channel_of(service.id).map(|channel| channel.id.0),
                })
            })
            .collect();
        let multiplexes: Vec<_> = self
            .multiplex
            .multiplexes
            .iter()
            .map(|multiplex| {
                json!({
                    "transport_stream_id": multiplex.transport_stream_id,
                    "original_network_id": multiplex.original_network_id,
                    "frequency_hz": multiplex.delivery.map(|delivery| delivery.frequency_hz),
                    "system": multiplex.delivery.map(|delivery| entries::system(delivery.system)),
                    "url": neighbour_of(url, multiplex),
                })
            })
            .collect();
        json!({
            "input": InputUrl::without_secrets(url),
            "transport_stream_id": self.multiplex.transport_stream_id,
            "network": self.multiplex.network,
            "unix_s": self.multiplex.unix_s,
            "conditional_access_systems": self.multiplex.systems,
            "rate_bps": self.rate_bps,
            "bad_sections": self.sections_bad,
            "ignored": self.ignored,
            "ended": self.ended,
            "services": services,
            "multiplexes": multiplexes,
        })
        .to_string()
    }

    fn head(&self, url: &str, text: &mut String) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "# {}", without_breaks(&InputUrl::without_secrets(url)));
        let multiplex = match self.multiplex.transport_stream_id {
            Some(id) => format!("multiplex {id}"),
            None => "multiplex without a name".to_owned(),
        };
        let network = &self.multiplex.network;
        let network = if network.is_empty() { String::new() } else { format!(" of {network}") };
        let megabits = format!("{}.{:02}", self.rate_bps / 1_000_000, self.rate_bps % 1_000_000 / 10_000);
        let services = counted(self.services.len(), "service");
        let _ = writeln!(text, "# {multiplex}{network}: {services}, {megabits} Mb/s");
        for (count, what) in
            [(self.sections_bad, "damaged or torn sections"), (self.ignored, "entries left out: too many")]
        {
            if count > 0 {
                let _ = writeln!(text, "# {count} {what}");
            }
        }
        if let Some(ended) = &self.ended {
            let _ = writeln!(text, "# ended: {}", without_breaks(ended));
        }
    }

    fn table(&self, paint: Paint, text: &mut String) {
        if self.services.is_empty() {
            return;
        }
        let head = ["number", "service", "name", "provider", "type", "codecs", "access"].map(str::to_owned);
        let rows: Vec<_> = std::iter::once(head).chain(self.services.iter().map(row)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..7).map(width).collect();
        text.push_str("#\n");
        for (index, row) in rows.iter().enumerate() {
            let service = index.checked_sub(1).and_then(|index| self.services.get(index));
            let mut line = String::from("#");
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let blank = " ".repeat(width - cell.chars().count());
                // The numbers stand at the right.
                let cell = if column < 2 { format!("{blank}{cell}") } else { format!("{cell}{blank}") };
                line.push_str("  ");
                line.push_str(&coloured(paint, colour(column, service), cell));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }

    fn network(&self, url: &str, text: &mut String) {
        let others: Vec<&nit::Multiplex> =
            self.multiplex.multiplexes.iter().filter(|it| self.is_other(it)).collect();
        if others.is_empty() {
            return;
        }
        let _ = writeln!(text, "#\n# {} of the network:", counted(others.len(), "other multiplex"));
        for multiplex in others {
            let place = multiplex.delivery.as_ref().map(entries::place).unwrap_or_default();
            let _ = writeln!(text, "#   {:>5}  {place}", multiplex.transport_stream_id);
            if let Some(neighbour) = neighbour_of(url, multiplex) {
                let _ = writeln!(text, "#          {neighbour}");
            }
        }
    }

    fn is_other(&self, multiplex: &nit::Multiplex) -> bool {
        Some(multiplex.transport_stream_id) != self.multiplex.transport_stream_id
    }
}

/// Where the tuner of the input at `url` finds another multiplex.
fn neighbour_of(url: &str, multiplex: &nit::Multiplex) -> Option<String> {
    Some(neighbour::url(&url.parse().ok()?, multiplex.delivery.as_ref()?)?.to_string())
}

/// What is known so far, in a line.
pub fn progress(survey: &Survey, elapsed: Duration) -> String {
    let services = survey.services();
    let named = services.iter().filter(|service| !service.name.is_empty()).count();
    let services = counted(services.len(), "service");
    format!("{} s: {} packets, {services}, {named} with a name", elapsed.as_secs(), survey.packets())
}

/// A bar of so many characters for a part of the whole.
pub fn bar(elapsed: Duration, whole: Duration, width: usize) -> String {
    let part = elapsed.as_millis().min(whole.as_millis());
    let full = (part * width as u128).checked_div(whole.as_millis()).unwrap_or(0);
    let full = usize::try_from(full).unwrap_or(width).min(width);
    format!("[{}{}]", "#".repeat(full), "-".repeat(width - full))
}

fn row(service: &Service) -> [String; 7] {
    let mut access = access(service).to_owned();
    for (is, what) in [(service.hidden, "hidden"), (!service.on_air, "off the air")] {
        if is {
            access.push_str(", ");
            access.push_str(what);
        }
    }
    [
        service.number.clone().unwrap_or_default(),
        service.id.to_string(),
        service.name.clone(),
        service.provider.clone(),
        service.kind.unwrap_or("?").to_owned(),
        service.codecs.join(" "),
        access,
    ]
}

fn access(service: &Service) -> &'static str {
    match service.access {
        Access::Free => "free",
        Access::Controlled => "controlled",
        Access::Scrambled => "scrambled",
    }
}

/// The colour of a cell, as its SGR number: the head is faint, names are bold, what cannot be seen is red.
fn colour(column: usize, service: Option<&Service>) -> Option<u8> {
    let Some(service) = service else { return Some(2) };
    match column {
        2 => Some(1),
        6 if service.access == Access::Free && service.on_air => Some(32),
        6 => Some(31),
        _ => None,
    }
}

fn coloured(paint: Paint, colour: Option<u8>, cell: String) -> String {
    match (paint, colour) {
        (Paint::Coloured, Some(colour)) => format!("\u{1b}[{colour}m{cell}\u{1b}[0m"),
        _ => cell,
    }
}

fn counted(count: usize, noun: &str) -> String {
    let plural = if noun.ends_with('x') { "es" } else { "s" };
    format!("{count} {noun}{}", if count == 1 { "" } else { plural })
}

/// What stands in a comment has to stay in its line.
fn without_breaks(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::scan::entries::Wish;

    /// A service that can be a channel.
    pub(crate) fn service(id: u16, name: &str, number: Option<&str>) -> Service {
        Service {
            id,
            name: name.to_owned(),
            provider: "ARD".to_owned(),
            kind: Some("television"),
            number: number.map(str::to_owned),
            codecs: vec!["H.264", "MP2"],
            access: Access::Free,
            hidden: false,
            on_air: true,
        }
    }

    fn found() -> Found {
        let pay = Service { access: Access::Scrambled, ..service(30, "Pay", None) };
        Found {
            multiplex: Multiplex {
                transport_stream_id: Some(1079),
                network: "Net".to_owned(),
                systems: BTreeSet::new(),
                ..Multiplex::default()
            },
            services: vec![service(10, "Zwölf", Some("12")), pay],
            rate_bps: 12_340_000,
            sections_bad: 1,
            ignored: 0,
            ended: None,
        }
    }

    #[test]
    fn the_report_is_aligned_and_says_what_is_left_out() {
        let wish = Wish::new("roof".parse().unwrap());
        let found = found();
        let entries = Entries::of(&found, "testcard:", &wish, None).unwrap();
        let text = found.text("testcard:", &entries, Paint::Plain);
        let expected = "# testcard:\n\
            # multiplex 1079 of Net: 2 services, 12.34 Mb/s\n\
            # 1 damaged or torn sections\n#\n\
            #  number  service  name   provider  type        codecs     access\n\
            #      12       10  Zwölf  ARD       television  H.264 MP2  free\n\
            #               30  Pay    ARD       television  H.264 MP2  scrambled\n\n";
        assert!(text.starts_with(expected), "{text}");
        let coloured = found.text("testcard:", &entries, Paint::Coloured);
        assert!(coloured.contains("\u{1b}[31mscrambled\u{1b}[0m"), "{coloured}");
        let json: serde_json::Value = serde_json::from_str(&found.json("testcard:", &entries)).unwrap();
        assert_eq!(
            (&json["services"][0]["channel"], &json["services"][1]["channel"]),
            (&json!(12), &json!(null))
        );
    }

    #[test]
    fn other_multiplexes_are_told_with_where_the_same_tuner_finds_them() {
        let mut found = found();
        let delivery = media::si::delivery::Delivery::parse(media::si::descriptors::Descriptor {
            tag: 0x5a,
            data: &[0x03, 0x10, 0x8e, 0x18, 0x1f, 0, 0, 0, 0, 0, 0],
        });
        found.multiplex.multiplexes = vec![nit::Multiplex {
            transport_stream_id: 1080,
            original_network_id: 1,
            delivery,
            ..nit::Multiplex::default()
        }];
        let url = "satip://10.0.0.7/?freq=474&msys=dvbt&bw=8";
        let entries = Entries::of(&found, url, &Wish::new("roof".parse().unwrap()), None).unwrap();
        let text = found.text(url, &entries, Paint::Plain);
        let expected = "#\n# 1 other multiplex of the network:\n#    1080  DVB-T 514.166 MHz, 8 MHz wide\n\
            #          satip://10.0.0.7/?freq=514.166&msys=dvbt&bw=8\n";
        assert!(text.contains(expected), "{text}");
        let json: serde_json::Value = serde_json::from_str(&found.json(url, &entries)).unwrap();
        assert_eq!(json["multiplexes"][0]["url"], "satip://10.0.0.7/?freq=514.166&msys=dvbt&bw=8");
    }

    #[test]
    fn the_bar_is_full_at_the_end_and_never_longer() {
        let seconds = Duration::from_secs;
        assert_eq!(bar(seconds(0), seconds(10), 10), "[----------]");
        assert_eq!(bar(seconds(5), seconds(10), 10), "[#####-----]");
        assert_eq!(bar(seconds(50), seconds(10), 10), "[##########]");
        assert_eq!(bar(seconds(1), seconds(0), 2), "[--]");
    }
}
