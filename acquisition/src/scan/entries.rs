//! Which channels a scan proposes, under which ids, as tables of `topology.toml` and as edits of a file that is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use media::si::delivery::{Delivery, Polarisation, System};
use media::si::survey::{Access, Service};
use protocols::ids::{AcquisitionId, ChannelId, HostId, InputId};
use protocols::topology::{Edit, MAX_NAME_BYTES, TableName, Topology, Value};

use super::Found;

/// Largest channel id for which the port that is used unless one is given exists: 7600 + id.
const ID_WITH_PORT_MAX: u32 = 65_535 - 7_600;

/// What is wanted of a scan.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Which acquisition server has the input.
    pub server: AcquisitionId,
    /// What the input is called; `None`: as in the topology, or after the multiplex.
    pub input: Option<InputId>,
    /// Which push server is to carry the channels.
    pub push_server: Option<HostId>,
    /// Which services become channels.
    pub services: Wanted,
}

/// Which services become channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Those that everybody can see: on the air, with sound or pictures, not scrambled, not hidden.
    Visible,
    /// All that have streams.
    All,
}

/// Why nothing can be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntriesError {
    /// The topology has no such acquisition server.
    #[error("the topology has no acquisition server `{0}`; name one of its own with --server")]
    NoServer(AcquisitionId),
    /// The topology has no such push server.
    #[error("the topology has no push server `{0}`; name one of its own with --push-server")]
    NoPushServer(HostId),
    /// The input's id is another input's.
    #[error("input `{0}` of the topology has another address; name this one otherwise with --input")]
    OtherInput(InputId),
}

/// The proposed channels of one input.
#[derive(Debug)]
pub struct Entries {
    wish: Wish,
    input: InputId,
    /// Whether the topology has the input already.
    input_is_there: bool,
    url: String,
    channels: Vec<Channel>,
    left_out: usize,
    present: usize,
}

/// One proposed channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Its number on a remote control where that is free, or else the next id behind all others.
    pub id: ChannelId,
    /// 1 to 64 bytes.
    pub name: String,
    /// Its service.
    pub service: u16,
}

impl Wish {
    /// All that can be seen, for a server.
    pub fn new(server: AcquisitionId) -> Self {
        Self { server, input: None, push_server: None, services: Wanted::Visible }
    }
}

impl Entries {
    /// What is proposed for `found` behind `url`, beside what `topology` has.
    pub fn of(
        found: &Found,
        url: &str,
        wish: &Wish,
        topology: Option<&Topology>,
    ) -> Result<Self, EntriesError> {
        let server = topology.map(|topology| topology.acquisition_servers.get(&wish.server));
        if server == Some(None) {
            return Err(EntriesError::NoServer(wish.server.clone()));
        }
        let inputs = server.flatten().map(|server| &server.inputs);
        if let (Some(host), Some(topology)) = (&wish.push_server, topology)
            && !topology.hosts.contains_key(host)
        {
            return Err(EntriesError::NoPushServer(host.clone()));
        }
        let known = inputs.and_then(|inputs| inputs.values().find(|input| input.url.to_string() == url));
        let is_free = |id: &InputId| inputs.is_none_or(|inputs| !inputs.contains_key(id));
        let input = match (&wish.input, known) {
            (None, Some(known)) => known.id.clone(),
            (Some(wanted), _) => wanted.clone(),
            (None, None) => input_id(found.multiplex.transport_stream_id, is_free),
        };
        let input_is_there = known.is_some_and(|known| known.id == input);
        if !input_is_there && !is_free(&input) {
            return Err(EntriesError::OtherInput(input));
        }
        let mut entries = Self {
            wish: wish.clone(),
            input,
            input_is_there,
            url: url.to_owned(),
            channels: Vec::new(),
            left_out: 0,
            present: 0,
        };
        entries.choose(&found.services, topology);
        Ok(entries)
    }

    /// The proposed channels, by their numbers.
    pub fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// The channel that a service becomes.
    pub fn channel_of(&self, service: u16) -> Option<&Channel> {
        self.channels.iter().find(|channel| channel.service == service)
    }

    /// As tables of a topology, below the server that they belong to.
    pub fn text(&self, url: &str) -> String {
        let mut text = String::new();
        if self.channels.is_empty() {
            self.remarks(&mut text);
            return text;
        }
        let server = quoted(self.wish.server.as_str());
        let input = quoted(self.input.as_str());
        // Writing to a string does not fail.
        if !self.input_is_there {
            let _ = write!(
                text,
                "[[acquisition_server]]\nid = {server}\n\n  [[acquisition_server.input]]\n  id = {input}\n  url = {}\n",
                quoted(url)
            );
        }
        for channel in &self.channels {
            let _ = write!(
                text,
                "\n[[channel]]\nid = {}\nname = {}\nacquisition_server = {server}\ninput = {input}\nservice = {}\n",
                channel.id,
                quoted(&channel.name),
                channel.service
            );
        }
        text.push('\n');
        self.remarks(&mut text);
        text
    }

    fn remarks(&self, text: &mut String) {
        for (count, why) in [
            (
                self.left_out,
                "left out: scrambled, hidden, off the air or without sound and pictures; --all has the first two",
            ),
            (self.present, "of the topology already"),
        ] {
            if count > 0 {
                // Writing to a string does not fail.
                let _ = writeln!(text, "# {count} {why}");
            }
        }
    }

    /// What adds them to a topology; empty when there is nothing to add.
    pub fn edits(&self) -> Vec<Edit> {
        let mut edits = Vec::new();
        if self.channels.is_empty() {
            return edits;
        }
        let text = |text: &str| Value::Text(text.to_owned());
        if !self.input_is_there {
            edits.push(Edit::Add {
                table: TableName::Input {
                    acquisition_server: self.wish.server.clone(),
                    id: self.input.clone(),
                },
                keys: [("url".to_owned(), text(&self.url))].into(),
            });
        }
        for channel in &self.channels {
            let keys = [
                ("name", text(&channel.name)),
                ("acquisition_server", text(self.wish.server.as_str())),
                ("input", text(self.input.as_str())),
                ("service", Value::Number(channel.service.into())),
            ];
            edits.push(Edit::Add {
                table: TableName::Channel(channel.id),
                keys: keys.map(|(key, value)| (key.to_owned(), value)).into(),
            });
        }
        if let Some(host) = &self.wish.push_server {
            let ids = self.channels.iter().map(|channel| i64::from(channel.id.0)).collect();
            edits.push(Edit::Change {
                table: TableName::PushServer(host.clone()),
                set: BTreeMap::new(),
                unset: Vec::new(),
                include: [("channels".to_owned(), Value::Numbers(ids))].into(),
                exclude: BTreeMap::new(),
            });
        }
        edits
    }

    fn choose(&mut self, services: &[Service], topology: Option<&Topology>) {
        let there = topology.map(|topology| &topology.channels);
        let of_input = |service: u16| {
            there.is_some_and(|channels| {
                channels.values().any(|channel| {
                    (&channel.acquisition_server, &channel.input) == (&self.wish.server, &self.input)
                        && channel.service.is_none_or(|known| known == service)
                })
            })
        };
        let mut ids: BTreeSet<ChannelId> = there.into_iter().flatten().map(|(id, _)| *id).collect();
        let (present, new): (Vec<&Service>, Vec<&Service>) =
            services.iter().partition(|service| of_input(service.id));
        let (wanted, others): (Vec<&Service>, Vec<&Service>) =
            new.into_iter().partition(|service| is_wanted(service, self.wish.services));
        (self.present, self.left_out) = (present.len(), others.len());
        // Those with a number that nobody has get it, in their order; the others come behind all of them.
        let mut unnumbered = Vec::new();
        for service in wanted {
            let number =
                service.number.as_deref().and_then(|number| number.parse().ok()).filter(|id| is_id(*id));
            match number {
                Some(id) if ids.insert(id) => self.channels.push(Channel { id, ..channel(service) }),
                _ => unnumbered.push(service),
            }
        }
        for service in unnumbered {
            let id = next_free(&ids);
            ids.insert(id);
            self.channels.push(Channel { id, ..channel(service) });
        }
        self.channels.sort_by_key(|channel| channel.id);
    }
}

/// A terrestrial, cable or satellite place, for people.
pub(super) fn place(delivery: &Delivery) -> String {
    let mut text = system(delivery.system).to_owned();
    let hz = delivery.frequency_hz;
    // Writing to a string does not fail.
    let _ = write!(text, " {}.{:03} MHz", hz / 1_000_000, hz % 1_000_000 / 1000);
    if let Some(bandwidth) = delivery.bandwidth_hz {
        let _ = write!(text, ", {} MHz wide", bandwidth / 1_000_000);
    }
    if let Some(polarisation) = delivery.polarisation {
        let letter = match polarisation {
            Polarisation::Horizontal => "horizontal",
            Polarisation::Vertical => "vertical",
            Polarisation::Left => "left",
            Polarisation::Right => "right",
        };
        let _ = write!(text, ", {letter}");
    }
    if let Some(rate) = delivery.symbol_rate {
        let _ = write!(text, ", {} ksym/s", rate / 1000);
    }
    if let Some(qam) = delivery.qam {
        let _ = write!(text, ", {qam}-QAM");
    }
    if let Some(plp) = delivery.plp {
        let _ = write!(text, ", PLP {plp}");
    }
    text
}

/// A system's name.
pub(super) fn system(system: System) -> &'static str {
    match system {
        System::DvbT => "DVB-T",
        System::DvbT2 => "DVB-T2",
        System::DvbC => "DVB-C",
        System::DvbS => "DVB-S",
        System::DvbS2 => "DVB-S2",
    }
}

fn is_wanted(service: &Service, wanted: Wanted) -> bool {
    let has_streams = service.on_air && service.codecs.iter().any(|codec| *codec != "data");
    match wanted {
        Wanted::All => has_streams,
        Wanted::Visible => has_streams && !service.hidden && service.access != Access::Scrambled,
    }
}

fn is_id(id: ChannelId) -> bool {
    (1..=ID_WITH_PORT_MAX).contains(&id.0)
}

/// Behind all that are taken, since an id is never given again; from the lowest on where the highest is taken.
fn next_free(taken: &BTreeSet<ChannelId>) -> ChannelId {
    let behind = taken.last().map_or(1, |last| last.0.saturating_add(1));
    let mut all = std::iter::once(behind).chain(1..=ID_WITH_PORT_MAX).map(ChannelId);
    all.find(|id| is_id(*id) && !taken.contains(id)).unwrap_or(ChannelId(behind))
}

fn channel(service: &Service) -> Channel {
    let name: String = service.name.chars().filter(|character| !character.is_control()).collect();
    let name = &name[..name.floor_char_boundary(MAX_NAME_BYTES)];
    let name = match name.trim() {
        "" => format!("Service {}", service.id),
        name => name.to_owned(),
    };
    Channel { id: ChannelId(0), name, service: service.id }
}

/// After the multiplex, with a number behind it where that is taken.
fn input_id(transport_stream_id: Option<u16>, is_free: impl Fn(&InputId) -> bool) -> InputId {
    let first = transport_stream_id.map_or("mux".to_owned(), |id| format!("mux-{id}"));
    let mut names =
        std::iter::once(first.clone()).chain((2..=u32::MAX).map(|number| format!("{first}-{number}")));
    let free = names.find_map(|name| name.parse().ok().filter(&is_free));
    free.expect("a topology has far fewer inputs than there are names, and all of them are ids")
}

/// A TOML string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            character if character.is_control() => {
                // Writing to a string does not fail.
                let _ = write!(quoted, "\\u{:04x}", u32::from(character));
            }
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use media::si::survey::Survey;
    use protocols::topology::editing;

    use super::*;
    use crate::scan::tests::service;

    const SITE: &str = r#"# The site.
[database_server]
address = "10.0.0.2"

[[acquisition_server]]
id = "roof"   # up there
  # The dish.
  [[acquisition_server.input]]
  id = "card"
  url = "testcard:"

[[channel]]
id = 7
name = "Seven"
acquisition_server = "roof"
input = "card"
service = 1

[[push_server]]
id = "hall"
address = "10.0.1.1"
channels = [7]
  [[push_server.destination]]
  address = "10.0.1.255"
  serves = ["10.0.1.0/24"]
"#;

    fn found(services: Vec<Service>) -> Found {
        Found { services, ..Found::new(&Survey::new(), Duration::ZERO, None) }
    }

    fn roof() -> Wish {
        Wish::new("roof".parse().unwrap())
    }

    fn ids(entries: &Entries) -> Vec<(u32, u16)> {
        entries.channels().iter().map(|channel| (channel.id.0, channel.service)).collect()
    }

    #[test]
    fn numbers_become_ids_and_no_id_is_given_twice() {
        let services = vec![
            service(10, "Ten", Some("3")),
            service(11, "Same number", Some("3")),
            service(12, "No number", None),
            service(13, "Two parts", Some("7.1")),
            service(14, "Zero", Some("0")),
            service(15, "Fifteen", Some("1")),
        ];
        let entries = Entries::of(&found(services), "testcard:", &roof(), None).unwrap();
        assert_eq!(ids(&entries), [(1, 15), (3, 10), (4, 11), (5, 12), (6, 13), (7, 14)]);
    }

    #[test]
    fn names_fit_and_are_never_empty() {
        let services =
            vec![service(10, "", None), service(11, &"ä".repeat(40), None), service(12, "a\u{7}b\"\\", None)];
        let entries = Entries::of(&found(services), "testcard:", &roof(), None).unwrap();
        let names: Vec<_> = entries.channels().iter().map(|channel| channel.name.clone()).collect();
        assert_eq!(names, ["Service 10".to_owned(), "ä".repeat(32), "ab\"\\".to_owned()]);
        assert!(entries.text("testcard:").contains(r#"name = "ab\"\\""#));
    }

    #[test]
    fn what_nobody_can_see_is_left_out_unless_all_is_wanted() {
        let services = || {
            vec![
                service(10, "Free", None),
                Service { access: Access::Scrambled, ..service(11, "Pay", None) },
                Service { hidden: true, ..service(12, "Hidden", None) },
                Service { codecs: vec!["data"], ..service(13, "Data", None) },
                Service { on_air: false, ..service(14, "Off", None) },
            ]
        };
        let entries = Entries::of(&found(services()), "testcard:", &roof(), None).unwrap();
        assert_eq!(ids(&entries), [(1, 10)]);
        assert!(entries.text("testcard:").ends_with("--all has the first two\n"));
        let all = Wish { services: Wanted::All, ..roof() };
        let entries = Entries::of(&found(services()), "testcard:", &all, None).unwrap();
        assert_eq!(ids(&entries), [(1, 10), (2, 11), (3, 12)]);
    }

    #[test]
    fn what_is_printed_is_a_topology_with_the_rest_around_it() {
        let entries =
            Entries::of(&found(vec![service(10, "Ten", None)]), "testcard:", &roof(), None).unwrap();
        let around = "[database_server]\naddress = \"10.0.0.2\"\n";
        let text = format!("{around}{}", entries.text("testcard:"));
        let (topology, _) = Topology::parse("topology.toml", &text).unwrap();
        assert_eq!(topology.channels[&ChannelId(1)].service, Some(10));
    }

    #[test]
    fn a_topology_keeps_its_comments_and_ids_when_channels_are_added() {
        let (topology, _) = Topology::parse("topology.toml", SITE).unwrap();
        let services = vec![
            service(1, "Known", Some("1")),
            service(2, "New", Some("7")),
            service(3, "Third", Some("2")),
        ];
        let url = "udp://239.192.9.5:5004";
        let wish = Wish { push_server: Some("hall".parse().unwrap()), ..roof() };
        let entries = Entries::of(&found(services), url, &wish, Some(&topology)).unwrap();
        let edited = editing::apply("topology.toml", SITE, &entries.edits()).unwrap();
        assert_eq!(ids(&entries), [(1, 1), (2, 3), (8, 2)]);
        for kept in ["# The site.\n", "# up there\n", "# The dish.\n", "channels = [7, 1, 2, 8]"] {
            assert!(edited.text.contains(kept), "{kept}: {}", edited.text);
        }
        let eight = &edited.topology.channels[&ChannelId(8)];
        assert_eq!((eight.name.as_str(), eight.service, eight.input.as_str()), ("New", Some(2), "mux"));
    }

    #[test]
    fn a_second_scan_of_the_same_input_adds_what_is_new() {
        let (topology, _) = Topology::parse("topology.toml", SITE).unwrap();
        let services = vec![service(1, "Known", Some("1")), service(2, "New", None)];
        let entries = Entries::of(&found(services), "testcard:", &roof(), Some(&topology)).unwrap();
        assert_eq!(ids(&entries), [(8, 2)]);
        let edited = editing::apply("topology.toml", SITE, &entries.edits()).unwrap();
        assert_eq!(edited.topology.channels[&ChannelId(8)].input.as_str(), "card");
        let known =
            Entries::of(&found(vec![service(1, "Known", None)]), "testcard:", &roof(), Some(&topology));
        assert_eq!(known.unwrap().edits(), []);
    }

    #[test]
    fn servers_and_inputs_that_do_not_fit_are_refused() {
        let (topology, _) = Topology::parse("topology.toml", SITE).unwrap();
        let found = found(vec![service(2, "New", None)]);
        let refused = |url: &str, wish: &Wish| Entries::of(&found, url, wish, Some(&topology)).unwrap_err();
        let yard = Wish::new("yard".parse().unwrap());
        assert_eq!(refused("testcard:", &yard), EntriesError::NoServer("yard".parse().unwrap()));
        let card = Wish { input: Some("card".parse().unwrap()), ..roof() };
        assert_eq!(refused("udp://239.1.1.1:5000", &card), EntriesError::OtherInput("card".parse().unwrap()));
        let nowhere = Wish { push_server: Some("cellar".parse().unwrap()), ..roof() };
        assert_eq!(refused("testcard:", &nowhere), EntriesError::NoPushServer("cellar".parse().unwrap()));
    }
}
