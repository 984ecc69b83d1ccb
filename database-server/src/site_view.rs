//! The whole site as one picture, for people and their programs: what `/api/v1/site` says.
//!
//! Made by [`crate::DatabaseServer::site_view`] from the topology and what was last reported; `docs/api.md` has an example.
//! Fields are added, none is taken away. What is not known is `null`.

use std::net::IpAddr;

use serde::Serialize;
use utoipa::ToSchema;

/// The whole picture.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct SiteView {
    /// The site in itself.
    pub site: SiteHead,
    /// By id.
    pub acquisition_servers: Vec<AcquisitionServerView>,
    /// By id.
    pub channels: Vec<ChannelView>,
    /// By id.
    pub push_servers: Vec<PushServerView>,
    /// By their prefixes.
    pub networks: Vec<NetworkView>,
}

/// The site in itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct SiteHead {
    /// What people call it; null while no topology is in force.
    pub name: Option<String>,
    /// Version of the database server.
    pub version: String,
    /// Version of the topology: grows with each change.
    pub generation: u64,
    /// Whether anything can be live.
    pub mode: ModeView,
    /// When the picture was made, ms since 1970.
    pub time_ms: u64,
}

/// Whether anything can be live.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModeView {
    /// At least one acquisition server is registered.
    Live,
    /// None is.
    #[default]
    Offline,
}

/// An acquisition server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AcquisitionServerView {
    /// Its id.
    pub id: String,
    /// Whether it is there.
    pub state: RegistrationView,
    /// Its program's version; null while it is away.
    pub software: Option<String>,
    /// By id.
    pub inputs: Vec<InputView>,
}

/// Whether an acquisition server is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RegistrationView {
    /// It has called and registered.
    Registered,
    /// It has not, or is gone.
    Away,
}

/// An input of an acquisition server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct InputView {
    /// Its id.
    pub id: String,
    /// Where the stream comes from; null for who may not see it, since it may hold a password.
    pub url: Option<String>,
    /// Channels that come from it.
    pub channels: Vec<u32>,
    /// Channels that come from it when a better input of theirs fails.
    pub backup_of: Vec<u32>,
}

/// A channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ChannelView {
    /// Its id.
    pub id: u32,
    /// What viewers read.
    pub name: String,
    /// The group that it is listed in.
    pub group: Option<String>,
    /// Address of its logo.
    pub logo: Option<String>,
    /// UDP port at each destination.
    pub port: u16,
    /// Who takes it in.
    pub acquisition_server: String,
    /// From which of its inputs.
    pub input: String,
    /// Service id within the multiplex.
    pub service: Option<u16>,
    /// Inputs to take when that one fails, best first.
    pub backups: Vec<BackupView>,
    /// The input that it is taken from now; null: nothing has been reported.
    pub input_in_use: Option<String>,
    /// Changes from one input to another since the acquisition server's start.
    pub switches: Option<u64>,
    /// How the input in use fares; null: nothing has been reported.
    pub input_state: Option<InputStateView>,
    /// Why its input fails, for people.
    pub cause: Option<String>,
    /// Rate of its transport stream over the last second, bits per second.
    pub rate_bps: Option<u64>,
    /// Packets made since the acquisition server's start.
    pub packets: Option<u64>,
    /// Errors in its stream; null: nothing has been reported.
    pub health: Option<HealthView>,
    /// How well its tuner receives; null where there is none.
    pub signal: Option<SignalView>,
    /// By push server.
    pub feeds: Vec<FeedView>,
    /// Whether some push server is to record it.
    pub recorded: bool,
}

/// Another source of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct BackupView {
    /// From which input of its acquisition server.
    pub input: String,
    /// Service id within the multiplex.
    pub service: Option<u16>,
}

/// Errors in a channel's stream, since its acquisition server's start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct HealthView {
    /// How it has been over the last ten seconds.
    pub state: HealthStateView,
    /// Indicators of TR 101 290 that were seen.
    pub indicators: Vec<IndicatorView>,
    /// Transport packets missing by their continuity counters.
    pub lost_packets: u64,
    /// Delay factor of the last second (RFC 4445); null where the input does not come by a network.
    pub delay_factor_us: Option<u32>,
    /// Transport packets missing in the last second (RFC 4445).
    pub media_loss_rate: Option<u32>,
    /// Whether the place of PCRs is being judged.
    pub pcr_accuracy_judged: bool,
}

/// How a stream has been of late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthStateView {
    /// Nothing comes.
    Unknown,
    /// No indicator was seen.
    Good,
    /// Indicators of second priority were.
    Impaired,
    /// Indicators of first priority were.
    Bad,
}

/// An indicator of TR 101 290.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct IndicatorView {
    /// Its name.
    pub name: &'static str,
    /// Its number.
    pub number: &'static str,
    /// How often it was seen.
    pub count: u64,
    /// When last, ms since 1970 by the acquisition server's clock.
    pub last_ms: u64,
}

/// How well a tuner receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct SignalView {
    /// Whether a multiplex is being demodulated.
    pub locked: bool,
    /// Strength, 0 to 100, as the device tells it.
    pub strength_percent: Option<u8>,
    /// How clean it is, 0 to 100, as the device tells it.
    pub quality_percent: Option<u8>,
}

/// How an input fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InputStateView {
    /// Opened, nothing has come yet.
    Starting,
    /// MPEG-TS arrives.
    Delivering,
    /// It does not exist, has stalled or is no MPEG-TS.
    Failed,
}

/// A channel's way from its acquisition server to one push server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FeedView {
    /// Whom it feeds.
    pub push_server: String,
    /// State of the connection; null: nothing has been reported.
    pub state: Option<FeedStateView>,
    /// Why there is none, for people.
    pub cause: Option<String>,
    /// Packets lost because the connection could not keep up, since the acquisition server's start.
    pub dropped_packets: Option<u64>,
}

/// State of a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeedStateView {
    /// Not yet connected.
    Connecting,
    /// Accepted by the push server.
    Connected,
    /// The push server cannot be reached.
    Unreachable,
}

/// A push server host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PushServerView {
    /// Its id.
    pub id: String,
    /// Where it is reached.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// Whether it is there.
    pub state: PresenceView,
    /// Whether it is to lose its viewers.
    pub draining: bool,
    /// Why it does not record, though it should.
    pub recorder_fault: Option<String>,
    /// What it carries, by id.
    pub channels: Vec<CarriedView>,
    /// Where it sends.
    pub destinations: Vec<DestinationView>,
}

/// Whether a push server is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PresenceView {
    /// It answers.
    Answers,
    /// It does not.
    Away,
}

/// A channel at a push server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct CarriedView {
    /// The channel.
    pub channel: u32,
    /// Whether its packets arrive.
    pub fed: bool,
    /// Packets received since the push server's start.
    pub packets: Option<u64>,
}

/// A destination of a push server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct DestinationView {
    /// Where packets go.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// How they reach the viewers.
    pub kind: DestinationKindView,
    /// The network that it serves: an id among `networks`.
    pub network: String,
    /// What can be sent there, by id.
    pub channels: Vec<SentView>,
}

/// How a destination's packets reach viewers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DestinationKindView {
    /// Those who joined the group hear it.
    Multicast,
    /// The whole network hears it.
    Broadcast,
    /// One host.
    Unicast,
}

/// A channel at a destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SentView {
    /// The channel.
    pub channel: u32,
    /// Whether this push server is the one that serves the network with it.
    pub assigned: bool,
    /// Whether packets are being sent: somebody watches.
    pub sending: bool,
    /// Packets sent since the push server's start.
    pub packets: Option<u64>,
    /// What is sent, bits per second of full packets, over the last second or two; 0 while nothing is sent.
    pub rate_bps: Option<u64>,
    /// Why it cannot be sent to, for people.
    pub fault: Option<String>,
}

/// A network: viewers with a channel list of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct NetworkView {
    /// Its prefixes.
    pub id: String,
    /// Clients on it that watch something.
    pub viewers: u64,
    /// Its channel list.
    pub channels: Vec<ListedView>,
}

/// A channel at a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ListedView {
    /// The channel.
    pub channel: u32,
    /// Whether it could be had there now.
    pub status: StatusView,
    /// Why not, for people.
    pub cause: Option<String>,
    /// The push server that is assigned.
    pub push_server: Option<String>,
    /// Whether it is being sent there.
    pub sending: bool,
    /// Clients that watch it there.
    pub viewers: u64,
}

/// Whether a channel could be had at a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StatusView {
    /// It can.
    Active,
    /// It cannot.
    Inactive,
}

impl SiteView {
    /// The same without what only operators may see.
    #[must_use]
    pub fn for_readers(&self) -> Self {
        let mut view = self.clone();
        let inputs = view.acquisition_servers.iter_mut().flat_map(|server| &mut server.inputs);
        inputs.for_each(|input| input.url = None);
        view
    }

    /// Whether `other` shows anything else, but for when it was made.
    pub fn differs(&self, other: &Self) -> bool {
        let head = SiteHead { time_ms: other.site.time_ms, ..self.site.clone() };
        head != other.site
            || self.acquisition_servers != other.acquisition_servers
            || self.channels != other.channels
            || self.push_servers != other.push_servers
            || self.networks != other.networks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(time_ms: u64, viewers: u64) -> SiteView {
        let input = InputView {
            id: "a".to_owned(),
            url: Some("rtp://secret@x".to_owned()),
            channels: vec![1],
            backup_of: vec![],
        };
        SiteView {
            site: SiteHead { time_ms, ..SiteHead::default() },
            acquisition_servers: vec![AcquisitionServerView {
                id: "roof".to_owned(),
                state: RegistrationView::Away,
                software: None,
                inputs: vec![input],
            }],
            networks: vec![NetworkView { id: "10.0.0.0/8".to_owned(), viewers, channels: Vec::new() }],
            ..SiteView::default()
        }
    }

    #[test]
    fn a_picture_is_news_when_more_than_its_time_has_changed() {
        assert!(!view(1, 1).differs(&view(2, 1)));
        assert!(view(1, 1).differs(&view(1, 2)));
    }

    #[test]
    fn readers_see_no_address_of_an_input() {
        assert!(view(1, 1).for_readers().acquisition_servers[0].inputs[0].url.is_none());
    }
}
