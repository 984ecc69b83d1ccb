//! Everything that can be wrong with a topology file, and how it is said.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use thiserror::Error;

use super::destination::InterfaceError;
use super::failover::FailoverTimeError;
use super::input_url::InputUrlError;
use super::network::NetworkId;
use super::place::Place;
use super::record::KeepError;
use crate::ids::{ChannelId, HostId, IdError, InputId};

/// All that is wrong with a file, in the order of the file; never empty. `Display` shows each with its source line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// Where.
    pub place: Place,
}

/// What is wrong; `Display` says it in one line with what would be right.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FaultKind {
    /// Not TOML. The file is then not looked at any further.
    #[error("this is no TOML: {0}")]
    Syntax(String),
    /// The file is longer than [`super::MAX_FILE_BYTES`]; it is not looked at.
    #[error("the file has {0} bytes; at most {max} are read", max = super::MAX_FILE_BYTES)]
    FileTooLong(usize),
    /// A key that nothing reads.
    #[error("unknown key `{key}` {section}; {}", match .suggestion {
        Some(known) => format!("did you mean `{known}`?"),
        None => format!("there are {}", listed(.known)),
    })]
    UnknownKey {
        /// As written.
        key: String,
        /// The table that it stands in, as a phrase: ``in [[channel]]``.
        section: &'static str,
        /// The key that was probably meant.
        suggestion: Option<&'static str>,
        /// All keys of that table.
        known: &'static [&'static str],
    },
    /// A key that must be there.
    #[error("missing key `{key}` {section}; add `{example}`")]
    MissingKey {
        /// Its name.
        key: &'static str,
        /// The table, as a phrase.
        section: &'static str,
        /// What could be written.
        example: &'static str,
    },
    /// A value of the wrong TOML type.
    #[error("`{key}` is {expected}, not {found}")]
    WrongType {
        /// The key.
        key: &'static str,
        /// What it should be, with an article.
        expected: &'static str,
        /// What it is, with an article.
        found: &'static str,
    },
    /// A number outside its range; ports, TTL, DSCP, channel and service ids.
    #[error("`{key}` is {low} to {high}, not {written}")]
    OutOfRange {
        /// The key.
        key: &'static str,
        /// As written.
        written: String,
        /// Smallest value.
        low: u32,
        /// Largest value.
        high: u32,
    },
    /// A channel without `port` whose id is too large for 7600 + id.
    #[error("channel {0} needs a `port`: the usual 7600 + id would be above 65535")]
    NoDefaultPort(ChannelId),
    /// Not an id.
    #[error("bad {noun} id: {error}")]
    BadId {
        /// Whose id.
        noun: Noun,
        /// Why not.
        error: IdError,
    },
    /// A channel name that is empty, too long or has control characters.
    #[error("a channel name has 1 to {max} bytes and no control characters, this one {0}", max = super::MAX_NAME_BYTES)]
    BadName(String),
    /// A text for people that is empty, too long or has control characters.
    #[error("`{key}` has 1 to {max} bytes and no control characters")]
    BadText {
        /// The key.
        key: &'static str,
        /// Most bytes.
        max: usize,
    },
    /// Not a way to look at the console.
    #[error("`console` is \"open\" (everybody may look) or \"accounts\" (who has one), not `{0}`")]
    BadConsole(String),
    /// Not the address and port of a gateway.
    #[error(
        "`{0}` is no address and port; write what viewers' browsers can reach, such as \"127.0.0.1:7490\""
    )]
    BadGateway(String),
    /// Not the web address of a picture.
    #[error(
        "`logo` is an http:// or https:// address of at most {max} bytes, with blanks and letters beyond ASCII \
         written as %20 and the like", max = super::MAX_LOGO_BYTES
    )]
    BadLogo,
    /// Two things of one kind with one id.
    #[error(
        "{noun} `{id}` is declared twice (first at line {first_line}); an id is given once and never again"
    )]
    DuplicateId {
        /// What kind.
        noun: Noun,
        /// The id.
        id: String,
        /// Where the id stands first.
        first_line: usize,
    },
    /// One channel id with two different sources.
    #[error(
        "channel {channel} has two sources (the other at line {first_line}); a channel has one acquisition server \
         and one input: remove one, or give it an id of its own"
    )]
    TwoSources {
        /// The channel.
        channel: ChannelId,
        /// Where the channel is declared first.
        first_line: usize,
    },
    /// A list where one source belongs.
    #[error("a channel has one source, so `{key}` is one id and no list; {}", match *.key {
        "input" => "write each further input as a [[channel.backup]]",
        _ => "write one [[channel]] for each source",
    })]
    SourceList {
        /// `acquisition_server` or `input`.
        key: &'static str,
    },
    /// A reference to something that is not declared.
    #[error("there is no {noun} `{id}`{}; {}", .owner.as_ref().map(|owner| format!(" at acquisition server `{owner}`"))
        .unwrap_or_default(), match .suggestion {
        Some(known) => format!("did you mean `{known}`?"),
        None => format!("declare it with {}", .noun.header()),
    })]
    UnknownReference {
        /// What kind.
        noun: Noun,
        /// As written.
        id: String,
        /// The acquisition server whose input it should be.
        owner: Option<String>,
        /// The declared id that was probably meant.
        suggestion: Option<String>,
    },
    /// A push server lists a channel twice.
    #[error("push server `{host}` lists channel {channel} twice; once is enough")]
    RepeatedChannel {
        /// The host.
        host: HostId,
        /// The channel.
        channel: ChannelId,
    },
    /// A destination's list of channels with nothing in it.
    #[error("`channels` is empty; leave it out to send all channels of the push server there")]
    EmptyChannels,
    /// A destination lists a channel that its push server does not.
    #[error("the push server does not carry channel {0}; add it to the push server's own `channels`")]
    ChannelNotOfHost(ChannelId),
    /// A destination lists a channel twice.
    #[error("channel {0} is listed twice; once is enough")]
    ChannelTwice(ChannelId),
    /// A prefix of groups that is too small for the number of a channel.
    #[error(
        "channel {channel} has no group in {groups}, which has one for each channel from 1 to {last}; write a larger \
         prefix, or `channels` with those that fit"
    )]
    NoGroup {
        /// The channel.
        channel: ChannelId,
        /// The prefix.
        groups: IpNet,
        /// The highest id that fits.
        last: u32,
    },
    /// `membership` or `announce` where nobody can join.
    #[error("`{key}` needs a multicast group, and {address} is none")]
    NotAGroup {
        /// The key.
        key: &'static str,
        /// The destination.
        address: IpAddr,
    },
    /// A group of more than one channel whose members count as viewers.
    #[error(
        "who joins {address} counts as a viewer (`membership`), so it can carry one channel only, not {first} and \
         {second}; write a prefix such as \"239.192.1.0/24\" for a group of each channel, or `channels = [{first}]`"
    )]
    SharedMembership {
        /// The group.
        address: IpAddr,
        /// A channel.
        first: ChannelId,
        /// Another.
        second: ChannelId,
    },
    /// Two channels that a viewer could not tell apart.
    #[error(
        "channels {first} and {second} would both go to {address} port {port} on network {network} (the other is \
         listed at line {first_line}); give one of them another port or another destination"
    )]
    SharedPort {
        /// The channel that comes first in the file.
        first: ChannelId,
        /// The channel that the fault points at.
        second: ChannelId,
        /// The destination.
        address: IpAddr,
        /// The port of both.
        port: u16,
        /// The network on which they meet.
        network: NetworkId,
        /// Where a push server lists the first.
        first_line: usize,
    },
    /// Two listening servers on one address and port.
    #[error(
        "{second} and {first} (line {first_line}) both listen at {address} {transport} port {port}; give one of them \
         another port"
    )]
    SharedListener {
        /// `push server `hall` feed` and the like.
        first: String,
        /// The one that the fault points at.
        second: String,
        /// Their address.
        address: IpAddr,
        /// `TCP` or `UDP`.
        transport: &'static str,
        /// Their port.
        port: u16,
        /// Where the first is declared.
        first_line: usize,
    },
    /// Not an IP address, or one that cannot stand here.
    #[error("`{written}` {why}")]
    BadAddress {
        /// As written.
        written: String,
        /// What it is instead, and what would be right.
        why: String,
    },
    /// Not an address prefix.
    #[error("`{written}` is no address prefix; write {right}")]
    BadPrefix {
        /// As written.
        written: String,
        /// The prefix that was probably meant, or an example.
        right: String,
    },
    /// An address prefix with bits set behind its length.
    #[error("prefix {written} has host bits set; write {right}")]
    HostBits {
        /// As written.
        written: IpNet,
        /// Without them.
        right: IpNet,
    },
    /// A destination without viewers.
    #[error(
        "`serves` is empty; name the prefixes whose viewers see this destination, such as \"10.0.1.0/24\""
    )]
    EmptyServes,
    /// One prefix twice in one list.
    #[error("prefix {0} is written twice; once is enough")]
    RepeatedPrefix(IpNet),
    /// One prefix in two different lists.
    #[error(
        "prefix {prefix} belongs to two networks: {network} here and {first} at line {first_line}; destinations on \
         one network have the same prefixes in `serves`"
    )]
    PrefixInTwoNetworks {
        /// The prefix.
        prefix: IpNet,
        /// The network of the place.
        network: NetworkId,
        /// The network that had the prefix first.
        first: NetworkId,
        /// Where the prefix stands first.
        first_line: usize,
    },
    /// A group without an interface to send through.
    #[error("multicast destination {address} needs an `interface`; add `interface = \"{example}\"`")]
    MulticastWithoutInterface {
        /// The group.
        address: IpAddr,
        /// What could be written: the host's own address where it lies on the network.
        example: String,
    },
    /// An IPv4 destination with an IPv6 interface or prefixes, or the other way.
    #[error("destination {address} is {}, but {other} is not; {advice}", family(*.address))]
    FamilyMismatch {
        /// The destination.
        address: IpAddr,
        /// What disagrees, as a phrase.
        other: String,
        /// What would be right.
        advice: &'static str,
    },
    /// The last address of a served IPv6 prefix.
    #[error(
        "{address} is the last address of {prefix}, but IPv6 has no broadcast; use a group such as ff15::1"
    )]
    Ipv6Broadcast {
        /// The destination.
        address: IpAddr,
        /// The served prefix that it ends.
        prefix: IpNet,
    },
    /// The same address twice at one host, whose leases and reports tell destinations apart by address.
    #[error(
        "push server `{host}` has destination {address} twice (first at line {first_line}); write it once with all \
         prefixes in `serves`, or take another group for the other interface"
    )]
    DuplicateDestination {
        /// The host.
        host: HostId,
        /// The destination.
        address: IpAddr,
        /// Where it stands first.
        first_line: usize,
    },
    /// Not an interface.
    #[error("bad interface: {0}")]
    BadInterface(InterfaceError),
    /// Not an input URL.
    #[error("bad input URL: {0}")]
    BadInputUrl(InputUrlError),
    /// Not a time to keep recordings.
    #[error("bad `keep`: {0}")]
    BadKeep(KeepError),
    /// Not a time after which a channel changes its source.
    #[error("bad `{key}`: {error}")]
    BadFailoverTime {
        /// `hold_off` or `return_after`.
        key: &'static str,
        /// Why not.
        error: FailoverTimeError,
    },
    /// A channel names one input twice among its sources.
    #[error("the channel comes from input `{0}` already; a backup is another input")]
    InputTwice(InputId),
    /// More of something than there may be.
    #[error("{found} {what}; there are at most {limit}")]
    TooMany {
        /// Plural, with what it is counted in.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// More than [`super::MAX_FAULTS`] faults; the rest is only counted.
    #[error("{0} more faults are not shown; mend these first")]
    MoreFaults(usize),
}

/// What a declaration declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noun {
    /// `[[acquisition_server]]`
    AcquisitionServer,
    /// `[[acquisition_server.input]]`
    Input,
    /// `[[channel]]`
    Channel,
    /// `[[push_server]]`
    PushServer,
}

impl Noun {
    /// The table header that declares one.
    fn header(self) -> &'static str {
        match self {
            Self::AcquisitionServer => "[[acquisition_server]]",
            Self::Input => "[[acquisition_server.input]]",
            Self::Channel => "[[channel]]",
            Self::PushServer => "[[push_server]]",
        }
    }
}

impl fmt::Display for Noun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AcquisitionServer => "acquisition server",
            Self::Input => "input",
            Self::Channel => "channel",
            Self::PushServer => "push server",
        })
    }
}

/// `file:line:column: what is wrong; what would be right`, then the line with carets.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.place, self.kind)?;
        self.place.write_excerpt(f)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|fault| fault.fmt(f))
    }
}

impl std::error::Error for Faults {}

fn listed(keys: &[&str]) -> String {
    keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}
