//! The file's tables as values, each with its place, before anything is compared with anything else.
//!
//! What is faulty by itself is told here and left out (`None`); [`super::check`] compares what is left.

use std::net::{IpAddr, SocketAddr};
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use ipnet::IpNet;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::destination::Interface;
use super::failover::parse_time;
use super::fault::{FaultKind, Noun};
use super::findings::Findings;
use super::input_url::InputUrl;
use super::network::MAX_PREFIXES_PER_NETWORK;
use super::prefix::prefix;
use super::record::{Record, parse_keep};
use super::section::{MAX_SHOWN_CHARS, Section, Shape, number_of, text_of};
use super::{
    Console, DEFAULT_CONTROL_PORT, DEFAULT_DIRECTORY_PORT, DEFAULT_FEED_PORT, DEFAULT_HOLD_OFF,
    DEFAULT_HTTP_PORT, DEFAULT_REGISTRATION_PORT, DEFAULT_RETURN_AFTER, FIRST_CHANNEL_PORT, HOLD_OFFS,
    MAX_ACQUISITION_SERVERS, MAX_BACKUPS, MAX_CHANNELS, MAX_DESTINATIONS_PER_HOST, MAX_HOSTS,
    MAX_INPUTS_PER_SERVER, MAX_LOGO_BYTES, MAX_NAME_BYTES, RETURNS,
};
use crate::ids::{AcquisitionId, ChannelId, HostId, IdError, InputId};
use crate::p4_control::MAX_WINDOW_MS;

/// The whole file.
pub(super) struct Draft {
    pub(super) database_server: Option<DatabaseDraft>,
    pub(super) acquisition_servers: Vec<AcquisitionDraft>,
    pub(super) channels: Vec<ChannelDraft>,
    pub(super) hosts: Vec<HostDraft>,
}

/// `[database_server]`
pub(super) struct DatabaseDraft {
    pub(super) address: Option<IpAddr>,
    pub(super) registration: Option<ListenPort>,
    pub(super) directory: Option<ListenPort>,
    pub(super) http: Option<ListenPort>,
    pub(super) name: Option<String>,
    pub(super) console: Console,
    pub(super) gateway: Option<SocketAddr>,
}

/// A port at which a server listens, and where the file says so: the key, or the table when it is the default.
pub(super) type ListenPort = Spanned<u16>;

/// `[[acquisition_server]]`
pub(super) struct AcquisitionDraft {
    pub(super) id: Option<Spanned<AcquisitionId>>,
    pub(super) inputs: Vec<InputDraft>,
}

/// `[[acquisition_server.input]]`
pub(super) struct InputDraft {
    pub(super) id: Option<Spanned<InputId>>,
    pub(super) url: Option<InputUrl>,
}

/// `[[channel]]`
pub(super) struct ChannelDraft {
    pub(super) id: Option<Spanned<ChannelId>>,
    pub(super) name: Option<Spanned<String>>,
    pub(super) acquisition_server: Option<Spanned<AcquisitionId>>,
    pub(super) input: Option<Spanned<InputId>>,
    pub(super) service: Option<u16>,
    pub(super) backups: Vec<BackupDraft>,
    pub(super) hold_off: Option<Spanned<Duration>>,
    pub(super) return_after: Option<Spanned<Duration>>,
    pub(super) port: Option<u16>,
    pub(super) logo: Option<String>,
    pub(super) group: Option<String>,
}

/// `[[channel.backup]]`
pub(super) struct BackupDraft {
    pub(super) input: Option<Spanned<InputId>>,
    pub(super) service: Option<u16>,
}

/// `[[push_server]]`
pub(super) struct HostDraft {
    pub(super) id: Option<Spanned<HostId>>,
    pub(super) address: Option<IpAddr>,
    pub(super) feed: Option<ListenPort>,
    pub(super) control: Option<ListenPort>,
    pub(super) channels: Vec<Spanned<ChannelId>>,
    pub(super) destinations: Vec<DestinationDraft>,
    pub(super) record: Option<Record>,
    pub(super) drain: bool,
}

/// `[[push_server.destination]]`
pub(super) struct DestinationDraft {
    pub(super) span: Range<usize>,
    pub(super) address: Option<Spanned<DestinationAddress>>,
    pub(super) interface: Option<Spanned<Interface>>,
    /// Whether the file has the key at all, so that a bad interface is not told as a missing one too.
    pub(super) names_interface: bool,
    pub(super) ttl: Option<u8>,
    pub(super) dscp: Option<u8>,
    pub(super) window_ms: Option<u8>,
    /// The channels that are sent there; `None`: all of the push server's.
    pub(super) channels: Option<Vec<Spanned<ChannelId>>>,
    /// Where `membership` is true.
    pub(super) membership: Option<Range<usize>>,
    /// Where `announce` is true.
    pub(super) announce: Option<Range<usize>>,
    pub(super) serves: Vec<Spanned<IpNet>>,
    /// Whether every element of `serves` was read.
    pub(super) serves_is_whole: bool,
}

/// Where a destination sends.
#[derive(Debug, Clone, Copy)]
pub(super) enum DestinationAddress {
    /// All channels go there.
    One(IpAddr),
    /// Channel N goes to the N-th address behind the first.
    GroupPerChannel(IpNet),
}

impl Draft {
    pub(super) fn read(file: &Spanned<DeTable<'_>>, findings: &mut Findings<'_>) -> Self {
        let top = Section::open(&TOP, 0..0, file.get_ref(), findings);
        top.require("database_server", "[database_server]", findings);
        let database =
            top.section("database_server", "a table [database_server]", &DATABASE_SERVER, findings);
        let acquisition = top.sections(
            "acquisition_server",
            "a list of [[acquisition_server]]",
            &ACQUISITION_SERVER,
            findings,
        );
        let channels = top.sections("channel", "a list of [[channel]]", &CHANNEL, findings);
        let hosts = top.sections("push_server", "a list of [[push_server]]", &PUSH_SERVER, findings);
        Self {
            database_server: database.map(|section| DatabaseDraft::read(&section, findings)),
            acquisition_servers: capped(
                &acquisition,
                MAX_ACQUISITION_SERVERS,
                "acquisition servers",
                findings,
            )
            .iter()
            .map(|section| AcquisitionDraft::read(section, findings))
            .collect(),
            channels: capped(&channels, MAX_CHANNELS, "channels", findings)
                .iter()
                .map(|section| ChannelDraft::read(section, findings))
                .collect(),
            hosts: capped(&hosts, MAX_HOSTS, "push servers", findings)
                .iter()
                .map(|section| HostDraft::read(section, findings))
                .collect(),
        }
    }
}

impl DatabaseDraft {
    fn read(section: &Section<'_, '_>, findings: &mut Findings<'_>) -> Self {
        section.require("address", "address = \"10.0.0.2\"", findings);
        Self {
            address: host_address(section, findings).map(Spanned::into_inner),
            registration: listen_port(section, "registration_port", DEFAULT_REGISTRATION_PORT, findings),
            directory: listen_port(section, "directory_port", DEFAULT_DIRECTORY_PORT, findings),
            http: listen_port(section, "http_port", DEFAULT_HTTP_PORT, findings),
            name: people_text(section, "name", MAX_NAME_BYTES, findings),
            console: console(section, findings),
            gateway: gateway(section, findings),
        }
    }
}

impl AcquisitionDraft {
    fn read(section: &Section<'_, '_>, findings: &mut Findings<'_>) -> Self {
        section.require("id", "id = \"roof\"", findings);
        let inputs = section.sections("input", "a list of [[acquisition_server.input]]", &INPUT, findings);
        let inputs = capped(&inputs, MAX_INPUTS_PER_SERVER, "inputs of one acquisition server", findings);
        Self {
            id: section.parsed("id", findings, bad_id(Noun::AcquisitionServer)),
            inputs: inputs.iter().map(|section| InputDraft::read(section, findings)).collect(),
        }
    }
}

impl InputDraft {
    fn read(section: &Section<'_, '_>, findings: &mut Findings<'_>) -> Self {
        section.require("id", "id = \"mux-5\"", findings);
        section.require("url", "url = \"udp://239.192.9.1:5004\"", findings);
        Self {
            id: section.parsed("id", findings, bad_id(Noun::Input)),
            url: section
                .parsed("url", findings, |_, error| FaultKind::BadInputUrl(error))
                .map(Spanned::into_inner),
        }
    }
}

impl ChannelDraft {
    fn read(section: &Section<'_, '_>, findings: &mut Findings<'_>) -> Self {
        section.require("id", "id = 1", findings);
        section.require("name", "name = \"One\"", findings);
        section.require("acquisition_server", "acquisition_server = \"roof\"", findings);
        section.require("input", "input = \"mux-5\"", findings);
        let id = section
            .number("id", 1..=u32::MAX, findings)
            .map(|id| Spanned::new(id.span(), ChannelId(*id.get_ref())));
        let backups = section.sections("backup", "a list of [[channel.backup]]", &BACKUP, findings);
        let backups = capped(&backups, MAX_BACKUPS, "backups of one channel", findings);
        Self {
            name: channel_name(section, findings),
            acquisition_server: one_source(section, "acquisition_server", Noun::AcquisitionServer, findings),
            input: one_source(section, "input", Noun::Input, findings),
            service: port_like(section, "service", findings).map(Spanned::into_inner),
            backups: backups.iter().map(|section| BackupDraft::read(section, findings)).collect(),
            hold_off: failover_time(section, "hold_off", &HOLD_OFFS, DEFAULT_HOLD_OFF, findings),
            return_after: failover_time(section, "return_after", &RETURNS, DEFAULT_RETURN_AFTER, findings),
            port: channel_port(section, id.as_ref(), findings),
            logo: logo(section, findings),
            group: people_text(section, "group", MAX_NAME_BYTES, findings),
            id,
        }
    }
}

impl BackupDraft {
    fn read(section: &Section<'_, '_>, findings: &mut Findings<'_>) -> Self {
        section.require("input", "input = \"mux-6\"", findings);
        Self {
            input: one_source(section, "input", Noun::Input, findings),
            service: port_like(section, "service", findings).map(Spanned::into_inner),
        }
    }
}

/// A time of a channel's failover.
fn failover_time(
    section: &Section<'_, '_>,
    key: &'static str,
    range: &RangeInclusive<Duration>,
    usual: Duration,
    findings: &mut Findings<'_>,
) -> Option<Spanned<Duration>> {
    let text = section.text(key, findings)?;
    match parse_time(text.get_ref(), range, usual) {
        Ok(time) => Some(Spanned::new(text.span(), time)),
        Err(error) => {
            findings.fault(text.span(), FaultKind::BadFailoverTime { key, error });
            None
        }
    }
}

/// A text that people read.
fn people_text(
    section: &Section<'_, '_>,
    key: &'static str,
    max: usize,
    findings: &mut Findings<'_>,
) -> Option<String> {
    let text = section.text(key, findings)?;
    let written = *text.get_ref();
    if written.trim().is_empty() || written.len() > max || written.chars().any(char::is_control) {
        findings.fault(text.span(), FaultKind::BadText { key, max });
        return None;
    }
    Some(written.to_owned())
}

/// Who may look at the console; everybody, unless the file says something else.
fn console(section: &Section<'_, '_>, findings: &mut Findings<'_>) -> Console {
    let Some(text) = section.text("console", findings) else { return Console::default() };
    match *text.get_ref() {
        "open" => Console::Open,
        "accounts" => Console::Accounts,
        other => {
            let written = other.chars().take(MAX_SHOWN_CHARS).collect();
            findings.fault(text.span(), FaultKind::BadConsole(written));
            Console::default()
        }
    }
}

/// The gateway's address and port, if the file has it.
fn gateway(section: &Section<'_, '_>, findings: &mut Findings<'_>) -> Option<SocketAddr> {
    let text = section.text("gateway", findings)?;
    let parsed = text.get_ref().parse().ok().filter(|at: &SocketAddr| {
        at.port() != 0 && !at.ip().is_unspecified() && !at.ip().to_canonical().is_multicast()
    });
    if parsed.is_none() {
        let written = text.get_ref().chars().take(MAX_SHOWN_CHARS).collect();
        findings.fault(text.span(), FaultKind::BadGateway(written));
    }
    parsed
}

/// A web address of a picture. It goes into playlists and pages, so it may hold nothing that ends a line or a quotation.
fn logo(section: &Section<'_, '_>, findings: &mut Findings<'_>) -> Option<String> {
    let text = section.text("logo", findings)?;
    let written = *text.get_ref();
    let rest = written.strip_prefix("https://").or_else(|| written.strip_prefix("http://"));
    let plain =
        |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}');
    let sound = rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '['))
        && written.len() <= MAX_LOGO_BYTES
        && written.chars().all(plain);
    if !sound {
        findings.fault(text.span(), FaultKind::BadLogo);
        return None;
    }
    Some(written.to_owned())
}

fn channel_name(section: &Section<'_, '_>, findings: &mut Findings<'_>) -> Option<Spanned<String>> {
    let name = section.text("name", findings)?;
    let wrong = match name.get_ref() {
        text if text.trim().is_empty() => "is empty".to_owned(),
        text if text.len() > MAX_NAME_BYTES => format!("has {}", text.len()),
        text if text.chars().any(char::is_control) => "has control characters".to_owned(),
        text => return Some(Spanned::new(name.span(), (*text).to_owned())),
    };
    findings.fault(name.span(), FaultKind::BadName(wrong));
    None
}

/// The id of a channel's acquisition server or input; a list of them is a fault of its own.
fn one_source<T: std::str::FromStr<Err = IdError>>(
    section: &Section<'_, '_>,
    key: &'static str,
    noun: Noun,
    findings: &mut Findings<'_>,
) -> Option<Spanned<T>> {
    let value = section.value(key)?;
    if matches!(value.get_ref(), DeValue::Array(_)) {
        findings.fault(value.span(), FaultKind::SourceList { key });
        return None;
    }
    section.parsed(key, findings, bad_id(noun))
}

/// The channel's own port, or 7600 + id.
fn channel_port(
    section: &Section<'_, '_>,
    id: Option<&Spanned<ChannelId>>,
    findings: &mut Findings<'_>,
) -> Option<u16> {
    if section.value("port").is_some() {
        return port_like(section, "port", findings).map(Spanned::into_inner);
    }
    let id = id?;
    let port = id.get_ref().0.checked_add(FIRST_CHANNEL_PORT).and_then(|port| u16::try_from(port).ok());
    if port.is_none() {
        findings.fault(id.span(), FaultKind::NoDefaultPort(*id.get_ref()));
    }
    port
}

impl HostDraft {
    fn read(section: &Section<'_, '_>, findings: &mut Findings<'_>) -> Self {
        section.require("id", "id = \"hall\"", findings);
        section.require("address", "address = \"10.0.1.1\"", findings);
        section.require("channels", "channels = [1]", findings);
        let channels = section.list("channels", "a list of channel ids", findings);
        let destinations =
            section.sections("destination", "a list of [[push_server.destination]]", &DESTINATION, findings);
        let destinations =
            capped(&destinations, MAX_DESTINATIONS_PER_HOST, "destinations of one push server", findings);
        Self {
            id: section.parsed("id", findings, bad_id(Noun::PushServer)),
            address: host_address(section, findings).map(Spanned::into_inner),
            feed: listen_port(section, "feed_port", DEFAULT_FEED_PORT, findings),
            control: listen_port(section, "control_port", DEFAULT_CONTROL_PORT, findings),
            channels: channel_ids(channels, findings),
            destinations: destinations
                .iter()
                .map(|section| DestinationDraft::read(section, findings))
                .collect(),
            record: record(section, findings),
            drain: section.flag("drain", findings).is_some(),
        }
    }
}

/// The elements of a list of channels that are ids.
fn channel_ids(values: &[Spanned<DeValue<'_>>], findings: &mut Findings<'_>) -> Vec<Spanned<ChannelId>> {
    values
        .iter()
        .filter_map(|value| number_of("channels", value, 1..=u32::MAX, findings))
        .map(|id| Spanned::new(id.span(), ChannelId(*id.get_ref())))
        .collect()
}

/// The channels of one destination, where it names them.
fn some_channels(section: &Section<'_, '_>, findings: &mut Findings<'_>) -> Option<Vec<Spanned<ChannelId>>> {
    let value = section.value("channels")?;
    let values = section.list("channels", "a list of channel ids", findings);
    if matches!(value.get_ref(), DeValue::Array(array) if array.is_empty()) {
        findings.fault(value.span(), FaultKind::EmptyChannels);
    }
    Some(channel_ids(values, findings))
}

fn record(section: &Section<'_, '_>, findings: &mut Findings<'_>) -> Option<Record> {
    let record = section.section("record", "a table such as { keep = \"7d\" }", &RECORD, findings)?;
    record.require("keep", "keep = \"7d\"", findings);
    let text = record.text("keep", findings)?;
    match parse_keep(text.get_ref()) {
        Ok(keep) => Some(Record { keep }),
        Err(error) => {
            findings.fault(text.span(), FaultKind::BadKeep(error));
            None
        }
    }
}

impl DestinationDraft {
    fn read(section: &Section<'_, '_>, findings: &mut Findings<'_>) -> Self {
        section.require("address", "address = \"239.192.1.1\"", findings);
        section.require("serves", "serves = [\"10.0.1.0/24\"]", findings);
        let written = section.list("serves", "a list of address prefixes", findings);
        let serves: Vec<_> = capped_slice(section, written, findings)
            .iter()
            .filter_map(|value| {
                let text = text_of("serves", value, findings)?;
                prefix(&text, findings)
            })
            .collect();
        if let Some(value) = section.value("serves")
            && matches!(value.get_ref(), DeValue::Array(array) if array.is_empty())
        {
            findings.fault(value.span(), FaultKind::EmptyServes);
        }
        Self {
            span: section.span.clone(),
            address: destination_address(section, findings),
            interface: section.parsed("interface", findings, |_, error| FaultKind::BadInterface(error)),
            names_interface: section.value("interface").is_some(),
            ttl: byte(section, "ttl", 1, 255, findings),
            dscp: byte(section, "dscp", 0, 63, findings),
            window_ms: byte(section, "window_ms", 0, MAX_WINDOW_MS, findings),
            channels: some_channels(section, findings),
            membership: section.flag("membership", findings),
            announce: section.flag("announce", findings),
            serves_is_whole: serves.len() == written.len() && !serves.is_empty(),
            serves,
        }
    }
}

fn byte(
    section: &Section<'_, '_>,
    key: &'static str,
    low: u8,
    high: u8,
    findings: &mut Findings<'_>,
) -> Option<u8> {
    let number = section.number(key, low.into()..=high.into(), findings)?;
    u8::try_from(*number.get_ref()).ok()
}

/// A value of 1 to 65535.
fn port_like(
    section: &Section<'_, '_>,
    key: &'static str,
    findings: &mut Findings<'_>,
) -> Option<Spanned<u16>> {
    let number = section.number(key, 1..=u16::MAX.into(), findings)?;
    u16::try_from(*number.get_ref()).ok().map(|port| Spanned::new(number.span(), port))
}

fn listen_port(
    section: &Section<'_, '_>,
    key: &'static str,
    default: u16,
    findings: &mut Findings<'_>,
) -> Option<ListenPort> {
    match section.value(key) {
        Some(_) => port_like(section, key, findings),
        None => Some(Spanned::new(section.span.clone(), default)),
    }
}

/// Any IP address, IPv4-mapped IPv6 as IPv4.
fn address(section: &Section<'_, '_>, findings: &mut Findings<'_>) -> Option<Spanned<IpAddr>> {
    let address: Spanned<IpAddr> =
        section.parsed("address", findings, |written, _| FaultKind::BadAddress {
            written: written.chars().take(MAX_SHOWN_CHARS).collect(),
            why: "is no IP address; write one such as 10.0.1.1 or fd00:1::1 (names are not resolved)"
                .to_owned(),
        })?;
    Some(Spanned::new(address.span(), address.get_ref().to_canonical()))
}

/// The address of a server: one host.
fn host_address(section: &Section<'_, '_>, findings: &mut Findings<'_>) -> Option<Spanned<IpAddr>> {
    let address = address(section, findings)?;
    let why = match *address.get_ref() {
        ip if ip.is_unspecified() => "is every address of this machine and cannot be reached",
        ip if ip.is_multicast() => "is a multicast group",
        IpAddr::V4(ip) if ip.is_broadcast() => "is a broadcast address",
        _ => return Some(address),
    };
    let why = format!("{why}; write the server's own address, at which the others reach it");
    findings.fault(address.span(), FaultKind::BadAddress { written: address.get_ref().to_string(), why });
    None
}

/// One address, or a prefix of groups.
fn destination_address(
    section: &Section<'_, '_>,
    findings: &mut Findings<'_>,
) -> Option<Spanned<DestinationAddress>> {
    if let Some(text) = section.value("address").and_then(|value| value.get_ref().as_str())
        && text.contains('/')
    {
        let text = section.text("address", findings)?;
        let groups = prefix(&text, findings)?;
        if !groups.get_ref().network().is_multicast() || !groups.get_ref().broadcast().is_multicast() {
            let why = "is no prefix of multicast groups; a group for each channel is written such as \
                       239.192.1.0/24, any other destination as one address"
                .to_owned();
            let written = groups.get_ref().to_string();
            findings.fault(groups.span(), FaultKind::BadAddress { written, why });
            return None;
        }
        return Some(Spanned::new(groups.span(), DestinationAddress::GroupPerChannel(*groups.get_ref())));
    }
    let address = address(section, findings)?;
    if address.get_ref().is_unspecified() {
        let written = address.get_ref().to_string();
        let why = "is nobody's address; write a group, a broadcast address or a host".to_owned();
        findings.fault(address.span(), FaultKind::BadAddress { written, why });
        return None;
    }
    Some(Spanned::new(address.span(), DestinationAddress::One(*address.get_ref())))
}

fn bad_id(noun: Noun) -> impl Fn(&str, IdError) -> FaultKind {
    move |_, error| FaultKind::BadId { noun, error }
}

/// The first `limit` tables; tells when there are more.
fn capped<'s, 't, 'i>(
    sections: &'s [Section<'t, 'i>],
    limit: usize,
    what: &'static str,
    findings: &mut Findings<'_>,
) -> &'s [Section<'t, 'i>] {
    if let Some(first_too_many) = sections.get(limit) {
        let kind = FaultKind::TooMany { what, found: sections.len(), limit };
        findings.fault(first_too_many.span.clone(), kind);
    }
    &sections[..sections.len().min(limit)]
}

/// The first elements of `serves`; tells when there are more than a network may have.
fn capped_slice<'t, 'i>(
    section: &Section<'_, '_>,
    values: &'t [Spanned<DeValue<'i>>],
    findings: &mut Findings<'_>,
) -> &'t [Spanned<DeValue<'i>>] {
    let limit = MAX_PREFIXES_PER_NETWORK;
    if values.len() > limit {
        let span = section.value("serves").map_or(section.span.clone(), Spanned::span);
        findings
            .fault(span, FaultKind::TooMany { what: "prefixes in one `serves`", found: values.len(), limit });
    }
    &values[..values.len().min(limit)]
}

static TOP: Shape = Shape {
    phrase: "at the top of the file",
    keys: &["database_server", "acquisition_server", "channel", "push_server"],
};
static DATABASE_SERVER: Shape = Shape {
    phrase: "in [database_server]",
    keys: &["address", "registration_port", "directory_port", "http_port", "name", "console", "gateway"],
};
static ACQUISITION_SERVER: Shape = Shape { phrase: "in [[acquisition_server]]", keys: &["id", "input"] };
static INPUT: Shape = Shape { phrase: "in [[acquisition_server.input]]", keys: &["id", "url"] };
static CHANNEL: Shape = Shape {
    phrase: "in [[channel]]",
    keys: &[
        "id",
        "name",
        "acquisition_server",
        "input",
        "service",
        "backup",
        "hold_off",
        "return_after",
        "port",
        "logo",
        "group",
    ],
};
static BACKUP: Shape = Shape { phrase: "in [[channel.backup]]", keys: &["input", "service"] };
static PUSH_SERVER: Shape = Shape {
    phrase: "in [[push_server]]",
    keys: &["id", "address", "feed_port", "control_port", "channels", "record", "destination", "drain"],
};
static DESTINATION: Shape = Shape {
    phrase: "in [[push_server.destination]]",
    keys: &[
        "address",
        "interface",
        "ttl",
        "dscp",
        "window_ms",
        "serves",
        "channels",
        "membership",
        "announce",
    ],
};
static RECORD: Shape = Shape { phrase: "in `record`", keys: &["keep"] };
