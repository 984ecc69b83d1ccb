//! `masthead-push-server`: sends channels to the networks beside it while somebody there watches.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use link::key_file;
use link::logging::{self, LogFormat};
use link::manual::{self, Manual};
use link::shutdown::Shutdown;
use protocols::ids::HostId;
use push_server::live::table::DEFAULT_VIEWERS;
use push_server::recording::byte_size::ByteSize;
use push_server::shell::recorder::{self, verify::Report};
use push_server::shell::replication;
use push_server::shell::{self, CONTROL_PORT, FEED_PORT, MAX_DATA_THREADS, STREAM_PORT};

/// Takes channels from acquisition servers and sends each to its networks only while somebody there watches.
#[derive(Debug, Parser)]
#[command(name = "masthead-push-server", version)]
struct Arguments {
    /// This host's id in the topology, such as `hall`.
    #[arg(long, env = "MASTHEAD_ID", required_unless_present = "verify")]
    id: Option<HostId>,
    /// The database server, for the log: whoever holds the cluster key is obeyed, wherever it calls from.
    #[arg(long, env = "MASTHEAD_DATABASE")]
    database: Option<String>,
    /// Address to listen on for P3 and P4, and to send P5 from; `::` is every address of both families.
    #[arg(long, env = "MASTHEAD_LISTEN", default_value_t = IpAddr::V6(Ipv6Addr::UNSPECIFIED))]
    listen: IpAddr,
    /// TCP port for feeds of acquisition servers (P3).
    #[arg(long, env = "MASTHEAD_FEED_PORT", default_value_t = FEED_PORT)]
    feed_port: u16,
    /// UDP port for the database server and clients (P4).
    #[arg(long, env = "MASTHEAD_CONTROL_PORT", default_value_t = CONTROL_PORT)]
    control_port: u16,
    /// UDP port from which single viewers are sent packets (P5).
    #[arg(long, env = "MASTHEAD_STREAM_PORT", default_value_t = STREAM_PORT)]
    stream_port: u16,
    /// The site's cluster key, a copy of the database server's.
    #[arg(long, env = "MASTHEAD_CLUSTER_KEY", default_value = key_file::FILE_NAME)]
    cluster_key: PathBuf,
    /// Threads that carry packets; channels are spread over them by load. Unless set, one for each processor.
    #[arg(long, env = "MASTHEAD_DATA_THREADS",
        value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_DATA_THREADS)))]
    data_threads: Option<u16>,
    /// Viewers whom broadcasts do not reach that are sent a channel by P5 at a time, over all channels.
    #[arg(long, env = "MASTHEAD_UNICAST_VIEWERS", value_name = "VIEWERS", default_value_t = DEFAULT_VIEWERS)]
    unicast_viewers: usize,
    /// Seconds between two questions for members of groups, where hosts that join count as viewers (`membership`).
    #[arg(long, env = "MASTHEAD_QUERY_INTERVAL", value_name = "SECONDS", default_value_t = 125,
        value_parser = clap::value_parser!(u64).range(2..=3600))]
    query_interval: u64,
    /// Folder to record in; without it this host records nothing, whatever the topology says.
    #[arg(long, env = "MASTHEAD_RECORDINGS", value_name = "DIR")]
    recordings: Option<PathBuf>,
    /// Most that is kept there, such as 500G; the oldest goes first. Unless set, recording stops when the disk is full.
    #[arg(long, env = "MASTHEAD_RECORDINGS_LIMIT", value_name = "SIZE", requires = "recordings")]
    recordings_limit: Option<ByteSize>,
    /// Most bits a second that recordings are copied with from other push servers, and to them: from 1M on.
    #[arg(long, env = "MASTHEAD_REPLICATION_RATE", value_name = "RATE", default_value = "100M", requires = "recordings",
        value_parser = replication_rate)]
    replication_rate: u64,
    /// Seconds within which everything recorded is read once and verified; what is damaged is fetched from another push server.
    #[arg(long, env = "MASTHEAD_VERIFY_WITHIN", value_name = "SECONDS", default_value_t = recorder::VERIFY_WITHIN.as_secs(),
        requires = "recordings", value_parser = clap::value_parser!(u64).range(1..))]
    verify_within: u64,
    /// Serve /metrics (Prometheus) and /health there, such as 127.0.0.1:9403 [default: nowhere]
    #[arg(long, env = "MASTHEAD_METRICS", value_name = "ADDR:PORT")]
    metrics: Option<SocketAddr>,
    /// Reads everything in --recordings, says whether it is what was recorded, and ends: with status 1 if something is not.
    #[arg(long, requires = "recordings")]
    verify: bool,
    /// Format of the log, and of what --verify finds: text or json.
    #[arg(long, env = "MASTHEAD_FORMAT", default_value = "text")]
    format: LogFormat,
}

/// What the page says beyond that.
const MANUAL: Manual = Manual {
    section: "8",
    exit: manual::EXIT,
    files: &[
        (
            "cluster.key",
            "The site's key, as in the database server's data folder, unless --cluster-key names another.",
        ),
        ("/etc/masthead/push-server.env", "Environment of the unit masthead-push-server."),
    ],
    environment: manual::ENVIRONMENT,
    examples: &[
        (
            "masthead-push-server --id hall --database 10.0.0.2 --cluster-key /etc/masthead/cluster.key",
            "Sends what the topology gives the push server hall, while somebody watches.",
        ),
        (
            "masthead-push-server --id hall --recordings /srv/recordings --recordings-limit 500G",
            "Records too, where the topology says so.",
        ),
        (
            "masthead-push-server --verify --recordings /srv/recordings",
            "Reads all that is recorded and says whether it is whole.",
        ),
    ],
};

fn main() -> ExitCode {
    if let Some(code) = manual::asked(Arguments::command(), &MANUAL) {
        return code;
    }
    let arguments = Arguments::parse();
    logging::start(arguments.format, "info");
    let Some(host) = arguments.id.clone().filter(|_| !arguments.verify) else {
        return verify(&arguments);
    };
    let key = match key_file::load(&arguments.cluster_key) {
        Ok(key) => key,
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::from(2);
        }
    };
    let options = shell::Options {
        host,
        database: arguments.database,
        listen: arguments.listen,
        feed_port: arguments.feed_port,
        control_port: arguments.control_port,
        stream_port: arguments.stream_port,
        key,
        data_threads: arguments.data_threads.unwrap_or_else(shell::processors),
        unicast_viewers: arguments.unicast_viewers,
        query_interval: Duration::from_secs(arguments.query_interval),
        recordings: arguments.recordings.map(|data| recorder::Options {
            limit_bytes: arguments.recordings_limit.map(|limit| limit.0),
            verify_within: Duration::from_secs(arguments.verify_within),
            replication: replication::Options {
                rate_bps: arguments.replication_rate,
                ..replication::Options::default()
            },
            ..recorder::Options::new(data)
        }),
        metrics: arguments.metrics,
    };
    let ended = Shutdown::on_signals().map_err(shell::Error::from).and_then(|shutdown| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(shell::run(options, shutdown))
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Reads what `--replication-rate` is given.
fn replication_rate(text: &str) -> Result<u64, String> {
    let rate: ByteSize = text.parse().map_err(|_| {
        format!(
            "a rate is a whole number of bits a second, such as 100M; not `{}`",
            text.chars().take(32).collect::<String>()
        )
    })?;
    if rate.0 < replication::LEAST_REPLICATION_RATE {
        return Err("the least is 1M".to_owned());
    }
    Ok(rate.0)
}

/// Carries out `--verify`.
fn verify(arguments: &Arguments) -> ExitCode {
    let data = arguments.recordings.clone().unwrap_or_default();
    let report = match recorder::verify::all(&data) {
        Ok(report) => report,
        Err(error) => {
            tracing::error!(%error, "cannot read the recordings in {}", data.display());
            return ExitCode::from(2);
        }
    };
    let text = match arguments.format {
        LogFormat::Json => serde_json::to_string_pretty(&report).expect("a report is plain data"),
        LogFormat::Text => table(&report),
    };
    // Whoever reads may have enough of it.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
    if report.damaged == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn table(report: &Report) -> String {
    let mut text = format!(
        "{:>8}  {:<40} {:>10} {:>8} {:>12}  state\n",
        "channel", "segment", "packets", "missing", "bytes"
    );
    for line in &report.segments {
        let flaw = line.flaw.as_ref().map_or_else(String::new, |flaw| format!(": {flaw}"));
        let (channel, segment, state) = (line.channel.to_string(), &line.segment, line.state);
        let _ = writeln!(
            text,
            "{channel:>8}  {segment:<40} {:>10} {:>8} {:>12}  {state}{flaw}",
            line.packets, line.missing, line.bytes
        );
    }
    let _ = write!(text, "{} segments, {} damaged", report.segments.len(), report.damaged);
    text
}
