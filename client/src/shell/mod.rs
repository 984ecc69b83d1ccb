//! The client's effects: sockets, files, players, the terminal. What is decided here is little: everything that a
//! protocol says is in the machines.
#![expect(
    clippy::disallowed_methods,
    reason = "this is the client's shell: it owns sockets, threads and clocks"
)]

mod admin;
mod cache_file;
mod caption_output;
mod channels;
mod directory;
mod gateway;
mod guide;
mod play;
mod player;
mod recordings;
mod screen;
mod session;
mod sink;
mod sites;
mod sockets;
mod status;
mod watch;
mod zaps;

use std::io::{IsTerminal, Write, stderr, stdout};
use std::path::PathBuf;
use std::time::Duration;

use link::shutdown::Shutdown;
use link::udp::SocketError;
use protocols::recording::RecordingId;
use thiserror::Error;

use crate::captions::CaptionWish;
use crate::listing::Colour;
use crate::selection::SelectionError;
use crate::target::{HostPort, Target};
use crate::viewer::Receiving;

pub use self::admin::Admin;
pub use cache_file::default_folder as default_cache_folder;
pub use gateway::{GATEWAY_PORT, Gateway};
pub use guide::Guide;
pub use play::{Flow, Play, Remote, Speed};
pub use player::Player;
pub use recordings::{Order, Part};
pub use sites::find_database;
pub use zaps::Zaps;

/// What a person asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// The database server's P2 address.
    pub database: HostPort,
    /// How results are printed.
    pub format: Format,
    /// Interface by name or address: whose network is asked about, and which one receives. `None`: the routing table's
    /// choice for the database server.
    pub interface: Option<String>,
    /// How channels are received.
    pub receiving: Receiving,
    /// Folder of the kept lists; `None`: nothing is kept.
    pub cache: Option<PathBuf>,
    /// What to do.
    pub action: Action,
}

/// What to do.
#[derive(Debug, Clone)]
pub enum Action {
    /// Print the channel list.
    Channels,
    /// Print the sites of the LAN, whatever [`Options::database`] says.
    Sites,
    /// Watch a channel.
    Watch {
        /// Id or name.
        channel: String,
        /// Where the stream goes.
        output: Destination,
        /// How long from the first packet; `None`: until told to end.
        duration: Option<Duration>,
        /// What of captions.
        captions: CaptionWish,
    },
    /// Play a recording.
    Play(Play),
    /// Print what is recorded.
    Recordings {
        /// Of this channel only: id or name.
        channel: Option<String>,
    },
    /// Print what channels show.
    Guide(Guide),
    /// Order a recording.
    Record(Order),
    /// Give a recording up.
    Unrecord {
        /// Which.
        id: RecordingId,
    },
    /// Zap from channel to channel, and tell how long each took.
    Zap(Zaps),
    /// Administer the site.
    Admin(Box<Admin>),
    /// Serve channels by HTTP.
    Gateway(Gateway),
    /// Choose channels on the terminal.
    Pick {
        /// Where the stream goes.
        output: Destination,
    },
}

/// Where a person wants the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A player on a terminal, an error elsewhere.
    Unsaid,
    /// A stream or file.
    Target(Target),
    /// A player; `None`: the first one found.
    Player(Option<Player>),
}

impl Destination {
    /// Says `summary` at the end, by standard output unless the stream itself goes there.
    fn sum_up(&self, summary: &str) {
        // A reader that is gone is how many viewings end.
        let _ = if *self == Self::Target(Target::Stdout) {
            stderr().write_all(summary.as_bytes())
        } else {
            stdout().write_all(summary.as_bytes())
        };
    }
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Why the client ends with a failure.
#[derive(Debug, Error)]
pub enum Error {
    /// The channel that was asked for is none, or several.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// Nothing says where the stream should go, or what says so makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The database server does not answer, and nothing is kept from earlier.
    #[error(
        "the database server at {database} does not answer ({cause}), and no list of it is kept from earlier"
    )]
    NoDirectory {
        /// Its address.
        database: HostPort,
        /// Why.
        cause: String,
    },
    /// The database server does not answer, and nothing can stand in for that.
    #[error("the database server at {database} does not answer ({cause})")]
    Unanswered {
        /// Its address.
        database: HostPort,
        /// Why.
        cause: String,
    },
    /// The database server does not do what it was asked.
    #[error("{0}")]
    Refused(String),
    /// A socket cannot be had.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The output cannot be opened or written.
    #[error("output {what}: {error}")]
    Output {
        /// Which.
        what: String,
        /// What the operating system says.
        error: std::io::Error,
    },
    /// The player cannot be started, or ended badly.
    #[error("{0}")]
    Player(String),
    /// The time was up and nothing had arrived.
    #[error("nothing was received: {0}")]
    Nothing(String),
    /// The operating system denies what the program cannot do without.
    #[error("{0}")]
    System(String),
    /// The terminal does not obey.
    #[error("terminal: {0}")]
    Terminal(std::io::Error),
}

impl Error {
    /// 2 for bad usage, 1 for the rest.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Selection(SelectionError::NotServed) => 1,
            Self::Selection(_) | Self::Usage(_) => 2,
            _ => 1,
        }
    }
}

/// Whether standard output is coloured: a terminal whose owner has not said otherwise (no-color.org).
fn colour() -> Colour {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if stdout().is_terminal() && !refused { Colour::On } else { Colour::Off }
}

/// Does what was asked for, until it is done or `shutdown` is requested.
pub async fn run(options: Options, shutdown: Shutdown) -> Result<(), Error> {
    match options.action.clone() {
        Action::Channels => channels::run(&options, &shutdown).await,
        Action::Sites => sites::list(options.format).await,
        Action::Watch { channel, output, duration, captions } => {
            watch::run(&options, watch::Watch { channel, output, duration, captions }, &shutdown).await
        }
        Action::Play(play) => Box::pin(play::run(&options, play, &shutdown)).await,
        Action::Recordings { channel } => recordings::list(&options, channel.as_deref(), &shutdown).await,
        Action::Guide(asked) => guide::list(&options, &asked, &shutdown).await,
        Action::Record(order) => recordings::record(&options, &order, &shutdown).await,
        Action::Unrecord { id } => recordings::unrecord(&options, id, &shutdown).await,
        Action::Gateway(gateway) => Box::pin(gateway::run(&options, gateway, &shutdown)).await,
        Action::Admin(admin) => Box::pin(admin::run(&options, &admin, &shutdown)).await,
        Action::Zap(plan) => zaps::run(&options, &plan, &shutdown).await,
        Action::Pick { output } => Box::pin(screen::run(&options, output, &shutdown)).await,
    }
}
