//! The viewer's program: options in, an exit code out.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use client::captions::{CaptionPath, CaptionWish};
use client::listing::printable;
use client::live::Policy;
use client::programme::Wanted;
use client::repair;
use client::shell::{
    self, Action, Destination, Error, Flow, Options, Order, Play, Player, Remote, Speed, Zaps,
};
use client::target::{HostPort, Target};
use client::viewer::Receiving;
use client::when::When;
use link::logging::{self, LogFormat};
use link::manual::{self, Manual};
use link::shutdown::Shutdown;
use media::captions::Track;
use protocols::p4_control::{LEAST_BURST_PERCENT, MOST_BURST_PERCENT};
use protocols::recording::RecordingId;

/// Port of the directory, P2.
const DATABASE_PORT: u16 = 7402;

/// Watches television from a Masthead site. Without a command: the channel picker.
#[derive(Debug, Parser)]
#[command(
    name = "masthead-client",
    version,
    after_help = "Exit codes: 0 done, also when ended by SIGINT, SIGTERM, the reader or the player; 1 failed; 2 bad \
                  usage or no such channel."
)]
struct Arguments {
    /// The database server: host name or address, and the port of P2 if it is not 7402. Without it: this host's own, the one of
    /// the last time, or the only one that announces itself on the LAN.
    #[arg(long, env = "MASTHEAD_DATABASE", value_name = "ADDR[:PORT]", value_parser = database, global = true)]
    database: Option<HostPort>,
    /// How results are printed.
    #[arg(long, env = "MASTHEAD_FORMAT", default_value = "text", global = true)]
    format: Format,
    /// Interface, by name or address, whose network is watched; default: the one that the database server is reached by.
    #[arg(long, env = "MASTHEAD_INTERFACE", value_name = "NAME|ADDR", global = true)]
    interface: Option<String>,
    /// Folder for the last known channel lists [default: masthead in the user's cache folder].
    #[arg(long, env = "MASTHEAD_CACHE", value_name = "DIR", global = true)]
    cache: Option<PathBuf>,
    /// How logs on standard error look: text or json.
    #[arg(long, env = "MASTHEAD_LOG_FORMAT", default_value = "text", value_name = "FORMAT", global = true)]
    log_format: LogFormat,
    #[command(flatten)]
    receiving: ReceivingArguments,
    /// Where the picker plays.
    #[command(flatten)]
    output: OutputArguments,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints the channels of this host's network and whether they can be had.
    Channels,
    /// Prints the sites that announce themselves on this network.
    Sites,
    /// Watches a channel: its id, its name, or the beginning of its name.
    Watch {
        /// Id or name.
        channel: String,
        #[command(flatten)]
        output: OutputArguments,
        /// Ends this many seconds after the first packet.
        #[arg(long, value_name = "SECONDS", value_parser = seconds)]
        duration: Option<Duration>,
        #[command(flatten)]
        captions: CaptionArguments,
    },
    /// Plays a recording: a programme by its id or title, or a channel from a time on.
    Play {
        /// Id, title or beginning of the title of a programme recording; with `--from` id or name of a channel.
        target: String,
        /// Of a channel: from when: `-10m`, `20:15` (today), `2026-11-22 20:15`, or RFC 3339.
        #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
        from: Option<When>,
        /// Of a channel: until when, like `--from`; `+45m` counts from the beginning. Default: to the live edge, and on with the
        /// channel on air.
        #[arg(long, value_name = "TIME", allow_hyphen_values = true, requires = "from")]
        to: Option<When>,
        #[command(flatten)]
        output: OutputArguments,
        /// How much is buffered, s.
        #[arg(long, default_value = "8", value_name = "SECONDS", value_parser = seconds)]
        buffer: Duration,
        /// How the buffer is kept filled: by rates that follow its level, or by full speed and pauses.
        #[arg(long, default_value = "zones", value_name = "zones|pause")]
        flow: FlowMode,
        /// As fast as it is, or as fast as it comes. Default: `max` to a file, else `normal`.
        #[arg(long, value_name = "normal|max")]
        speed: Option<PlaySpeed>,
        /// Takes keys from standard input though that is no terminal: space, `,` and `.` (10 s), `<` and `>` (60 s), f, b, l, q.
        #[arg(long)]
        keys: bool,
        #[command(flatten)]
        captions: CaptionArguments,
    },
    /// Zaps from channel to channel and prints how long each took to show its first picture; nothing is played.
    Zap {
        /// Ids, names, or beginnings of names.
        #[arg(required = true)]
        channels: Vec<String>,
        /// How often in all.
        #[arg(long, default_value_t = 20, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100_000))]
        times: u32,
        /// Longest that a channel is watched after its picture has come; each time it is another share of it.
        #[arg(long, default_value = "0.5", value_name = "SECONDS", value_parser = seconds)]
        stay: Duration,
    },
    /// Serves the channels and recordings of this host's network by HTTP, for any player.
    Gateway {
        /// Where: address or name, and the port if it is not 7490; more than once for several. Whoever reaches it may watch.
        #[arg(long, env = "MASTHEAD_LISTEN", value_name = "ADDR[:PORT]", default_value = "127.0.0.1", value_parser = gateway, value_delimiter = ',')]
        listen: Vec<HostPort>,
        /// Is found and controlled as an HDHomeRun tuner too: UDP and TCP 65001, and streams at port 5004.
        #[arg(long, env = "MASTHEAD_HDHOMERUN")]
        hdhomerun: bool,
        /// How many channels clients of an HDHomeRun have at a time.
        #[arg(long, env = "MASTHEAD_TUNERS", default_value_t = 4, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=32))]
        tuners: u8,
    },
    /// Prints what is recorded of the channels of this host's network, and what was ordered.
    Recordings {
        /// Of this channel only: id, name, or the beginning of its name.
        #[arg(long)]
        channel: Option<String>,
    },
    /// Prints what the channels of this host's network show, as their broadcasters announce it.
    Guide {
        /// Of this channel only: id, name, or the beginning of its name.
        channel: Option<String>,
        /// What is not over by then: `now`, `+30m`, `-2h`, `20:15` (today), `2026-11-22 20:15`, or RFC 3339.
        #[arg(long, default_value = "now", value_name = "TIME", allow_hyphen_values = true)]
        from: When,
        /// What begins before then: like `--from`; `+6h` counts from the beginning, `20:15` is the first behind it.
        #[arg(long, default_value = "+1d", value_name = "TIME", allow_hyphen_values = true)]
        until: When,
        /// As XMLTV, for players and recorders.
        #[arg(long)]
        xmltv: bool,
    },
    /// Administers the site, by an account or the cluster key.
    Admin(shell::Admin),
    /// Orders a recording: it is kept until it is given up.
    Record {
        /// Id, name, or the beginning of its name.
        channel: String,
        /// From when: `now`, `+30m`, `20:15` (today), `2026-11-22 20:15`, or RFC 3339.
        #[arg(long, default_value = "now", value_name = "TIME")]
        from: When,
        /// Until when: like `--from`; `+45m` counts from the beginning, `20:15` is the first behind it.
        #[arg(long, value_name = "TIME", required_unless_present = "event")]
        to: Option<When>,
        /// What people call it, 1 to 128 bytes; of an event, unless its own title.
        #[arg(long, required_unless_present = "event")]
        title: Option<String>,
        /// Instead of times: the number of an event, as `guide` prints it.
        #[arg(long, value_name = "NUMBER", conflicts_with_all = ["from", "to"])]
        event: Option<u16>,
    },
    /// Gives a recording up: what is held of it is kept no longer than the rest of its channel.
    Unrecord {
        /// The id that `record` and `recordings` print.
        id: RecordingId,
    },
}

#[derive(Debug, Clone, clap::Args)]
struct OutputArguments {
    /// Where the stream goes: `-`, a file, udp://HOST:PORT (transport stream) or rtp://HOST:PORT (the RTP packets).
    #[arg(long, value_name = "OUTPUT")]
    output: Option<Target>,
    /// Plays it: by this player, or by the first found of mpv, vlc and ffplay.
    #[arg(long, value_name = "mpv|vlc|ffplay", num_args = 0..=1, conflicts_with = "output")]
    #[expect(clippy::option_option, reason = "absent, without a name, with a name: so clap says it")]
    player: Option<Option<Player>>,
}

#[derive(Debug, Clone, clap::Args)]
struct CaptionArguments {
    /// Shows captions in the terminal: of this track (cc1 to cc4, service1 to service6, a teletext page such as teletext888), or
    /// of the first that says something.
    #[arg(long, value_name = "TRACK", num_args = 0..=1)]
    #[expect(clippy::option_option, reason = "absent, without a track, with a track: so clap says it")]
    captions: Option<Option<Track>>,
    /// Writes them to a file, of the kind that its ending says: .vtt or .srt.
    #[arg(long, value_name = "FILE")]
    captions_file: Option<CaptionPath>,
}

impl From<CaptionArguments> for CaptionWish {
    fn from(arguments: CaptionArguments) -> Self {
        let is_shown = arguments.captions.is_some();
        Self { is_shown, track: arguments.captions.flatten(), file: arguments.captions_file }
    }
}

#[derive(Debug, Clone, Copy, clap::Args)]
struct ReceivingArguments {
    /// How often a packet that the network lost is asked for: until it comes or would come too late, once, or never.
    #[arg(
        long,
        env = "MASTHEAD_REPAIR",
        default_value = "deadline",
        value_name = "deadline|one|off",
        global = true
    )]
    repair: RepairMode,
    /// How long packets behind a gap wait for it to close, ms: 0 to 10000.
    #[arg(long, env = "MASTHEAD_HOLD_MS", default_value_t = 200, value_name = "MS", global = true, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    hold_ms: u64,
    /// How fast a picture is begun by unicast while the group is not joined yet, in percent of the channel's rate (100 to
    /// 1000), or `off`: the group is joined at once, and its next random access point waited for.
    #[arg(
        long,
        env = "MASTHEAD_FAST_START",
        default_value = "500",
        value_name = "PERCENT|off",
        global = true
    )]
    fast_start: FastStart,
    /// Watches by unicast alone: no group is joined. Without it that happens where the group does not arrive.
    #[arg(long, global = true)]
    unicast: bool,
}

/// The burst at tuning.
#[derive(Debug, Clone, Copy)]
struct FastStart(Option<u16>);

impl FromStr for FastStart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        let percent =
            text.parse().ok().filter(|percent| (LEAST_BURST_PERCENT..=MOST_BURST_PERCENT).contains(percent));
        percent.map(|percent| Self(Some(percent))).ok_or_else(|| {
            format!("`{text}` is neither `off` nor a percentage from {LEAST_BURST_PERCENT} to {MOST_BURST_PERCENT}")
        })
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RepairMode {
    /// Until it comes or would come too late.
    Deadline,
    /// Once.
    One,
    /// Never.
    Off,
}

impl From<ReceivingArguments> for Receiving {
    fn from(arguments: ReceivingArguments) -> Self {
        let repair = match arguments.repair {
            RepairMode::Deadline => repair::Mode::Deadline,
            RepairMode::One => repair::Mode::One,
            RepairMode::Off => repair::Mode::Off,
        };
        let live = Policy { burst_percent: arguments.fast_start.0, unicast: arguments.unicast };
        Self { hold: Duration::from_millis(arguments.hold_ms), repair, live }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FlowMode {
    /// A rate for each level of the buffer.
    Zones,
    /// Full speed, or nothing.
    Pause,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PlaySpeed {
    /// By the recording's own clock.
    Normal,
    /// As it comes.
    Max,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

fn database(text: &str) -> Result<HostPort, String> {
    HostPort::parse(text, Some(DATABASE_PORT)).map_err(|error| error.to_string())
}

fn gateway(text: &str) -> Result<HostPort, String> {
    HostPort::parse(text, Some(shell::GATEWAY_PORT)).map_err(|error| error.to_string())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| *seconds > 0.0);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| format!("`{text}` is no number of seconds above 0"))
}

impl From<OutputArguments> for Destination {
    fn from(arguments: OutputArguments) -> Self {
        match (arguments.output, arguments.player) {
            (Some(target), _) => Self::Target(target),
            (None, Some(player)) => Self::Player(player),
            (None, None) => Self::Unsaid,
        }
    }
}

impl From<Arguments> for Options {
    fn from(arguments: Arguments) -> Self {
        let action = match arguments.command {
            None => Action::Pick { output: arguments.output.into() },
            Some(Command::Channels) => Action::Channels,
            Some(Command::Play { target, from, to, output, buffer, flow, speed, keys, captions }) => {
                Action::Play(Play {
                    wanted: Wanted { target, from, to },
                    output: output.into(),
                    buffer,
                    flow: match flow {
                        FlowMode::Zones => Flow::Zones,
                        FlowMode::Pause => Flow::Pause,
                    },
                    speed: speed.map(|speed| match speed {
                        PlaySpeed::Normal => Speed::Normal,
                        PlaySpeed::Max => Speed::Max,
                    }),
                    remote: if keys { Remote::Input } else { Remote::Terminal },
                    captions: captions.into(),
                })
            }
            Some(Command::Sites) => Action::Sites,
            Some(Command::Zap { channels, times, stay }) => Action::Zap(Zaps { channels, times, stay }),
            Some(Command::Admin(admin)) => Action::Admin(Box::new(admin)),
            Some(Command::Gateway { listen, hdhomerun, tuners }) => {
                Action::Gateway(shell::Gateway { listen, tuners, hdhomerun })
            }
            Some(Command::Recordings { channel }) => Action::Recordings { channel },
            Some(Command::Guide { channel, from, until, xmltv }) => {
                Action::Guide(shell::Guide { channel, from, until, xmltv })
            }
            Some(Command::Record { channel, from, to, title, event }) => {
                let part = match (event, to) {
                    (Some(id), _) => shell::Part::Event { id, title },
                    // Without an event both are there.
                    (None, to) => shell::Part::Dates {
                        from,
                        to: to.unwrap_or(When::Now),
                        title: title.unwrap_or_default(),
                    },
                };
                Action::Record(Order { channel, part })
            }
            Some(Command::Unrecord { id }) => Action::Unrecord { id },
            Some(Command::Watch { channel, output, duration, captions }) => {
                Action::Watch { channel, output: output.into(), duration, captions: captions.into() }
            }
        };
        Self {
            // Whoever lists sites asks none.
            database: arguments.database.unwrap_or(HostPort { host: String::new(), port: DATABASE_PORT }),
            format: match arguments.format {
                Format::Text => shell::Format::Text,
                Format::Json => shell::Format::Json,
            },
            interface: arguments.interface,
            receiving: arguments.receiving.into(),
            cache: arguments.cache.or_else(shell::default_cache_folder),
            action,
        }
    }
}

/// What the page says beyond that.
const MANUAL: Manual = Manual {
    section: "1",
    exit: &[
        ("0", "Done, also when ended by SIGINT, SIGTERM, the reader or the player."),
        ("1", "Failed: no answer, nothing received, an output that cannot be had."),
        ("2", "Bad usage, or no such channel."),
    ],
    files: &[(
        "~/.cache/masthead",
        "The last known channel lists and the site of the last time; in XDG_CACHE_HOME where that is set. Delete them freely.",
    )],
    environment: &[
        ("MASTHEAD_LOG", "Which lines are logged, such as debug."),
        ("NO_COLOR", "Set to anything: no colours."),
    ],
    examples: &[
        ("masthead-client --database 10.0.0.2", "The picker: arrows zap, Enter plays, ? helps."),
        ("masthead-client watch One --player mpv", "Watches a channel."),
        ("masthead-client watch 1 --output card.ts --duration 10", "Writes ten seconds of it to a file."),
        (
            "masthead-client play One --from -10m --player",
            "What was on the air ten minutes ago, and on from there.",
        ),
        (
            "masthead-client completions bash >/etc/bash_completion.d/masthead-client",
            "Completions for a shell.",
        ),
    ],
};

fn main() -> ExitCode {
    // Whoever asks for a manual needs no site.
    if let Some(code) = manual::asked(Arguments::command(), &MANUAL) {
        return code;
    }
    let arguments = Arguments::parse();
    // What is written on standard error would spoil the picker's screen.
    let default = if arguments.command.is_none() && std::io::stdout().is_terminal() { "off" } else { "warn" };
    logging::start(arguments.log_format, default);
    match watch(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("masthead-client: {}", printable(&error.to_string()));
            ExitCode::from(error.exit_code())
        }
    }
}

fn watch(mut arguments: Arguments) -> Result<(), Error> {
    let shutdown = Shutdown::on_signals().map_err(|error| Error::System(error.to_string()))?;
    // One thread: a datagram then wakes the one who takes it, and nobody before him.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::System(error.to_string()))?;
    let ended = runtime.block_on(async {
        if arguments.database.is_none() && !matches!(arguments.command, Some(Command::Sites)) {
            let cache = arguments.cache.clone().or_else(shell::default_cache_folder);
            arguments.database = Some(shell::find_database(cache.as_deref()).await?);
        }
        shell::run(arguments.into(), shutdown).await
    });
    // A writer that hangs in a full pipe must not hold up the end.
    runtime.shutdown_background();
    ended
}
