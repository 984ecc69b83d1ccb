//! `masthead-acquisition`: one acquisition server as a process of its own.

use std::io::{IsTerminal, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use acquisition::probe::Judgement;
use acquisition::scan::Paint;
use acquisition::scan::entries::{Wanted, Wish};
use acquisition::shell::{self, Options, Scan};
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use link::logging::{self, LogFormat};
use link::manual::{self, Manual};
use link::shutdown::Shutdown;
use protocols::ids::{AcquisitionId, HostId, InputId};
use protocols::topology::InputUrl;

/// How long tasks that block (a large file's first pass) get at the end.
const END_PATIENCE: Duration = Duration::from_millis(100);

/// Captures channels once and feeds the push servers.
#[derive(Debug, Parser)]
#[command(name = "masthead-acquisition", version, subcommand_negates_reqs = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// This server's id in the topology, such as `roof`
    #[arg(long, env = "MASTHEAD_ID", required = true)]
    id: Option<AcquisitionId>,
    /// The database server; port 7401 unless given
    #[arg(long, env = "MASTHEAD_DATABASE", value_name = "ADDRESS[:PORT]", value_parser = acquisition::server_address::parse, required = true)]
    database: Option<String>,
    /// The site's cluster key, as in the database server's data folder
    #[arg(long, env = "MASTHEAD_CLUSTER_KEY", value_name = "FILE", default_value = "cluster.key")]
    cluster_key: PathBuf,
    /// Serve /metrics (Prometheus) and /health there, such as 127.0.0.1:9401 [default: nowhere]
    #[arg(long, env = "MASTHEAD_METRICS", value_name = "ADDR:PORT")]
    metrics: Option<SocketAddr>,
    /// How log lines look: text or json
    #[arg(long, env = "MASTHEAD_FORMAT", value_name = "FORMAT", default_value = "text")]
    format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Open one input, count what it brings, and tell how whole it is. Needs no site.
    Probe(ProbeArguments),
    /// List an input's services, and print them as channels for a topology, or add them to one. Needs no site.
    Scan(ScanArguments),
}

/// What to probe.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 all packets came whole; 1 the input cannot be opened, or brings no packet; 2 bad usage; \
                  3 packets were missing or damaged."
)]
struct ProbeArguments {
    /// As in `url` of an input, such as `dvb://adapter0?system=dvb-t2&frequency=506MHz`
    url: InputUrl,
    /// How long to count
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// How the report looks
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: ReportFormat,
}

/// What to scan.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 services were found (and added); 1 the input cannot be opened, brings no service, or the \
                  topology cannot be written; 2 bad usage, or the topology is faulty or has no such server."
)]
struct ScanArguments {
    /// As in `url` of an input, such as `udp://239.192.9.5:5004`
    url: InputUrl,
    /// How long to wait for all tables; it ends earlier when they have come
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Add the channels to this topology, which keeps its comments
    #[arg(long, value_name = "FILE", requires = "server")]
    add: Option<PathBuf>,
    /// The acquisition server that has the input [default without --add: roof]
    #[arg(long, value_name = "ID")]
    server: Option<AcquisitionId>,
    /// What the input is called [default: as in the topology, or mux- and the multiplex's number]
    #[arg(long, value_name = "ID")]
    input: Option<InputId>,
    /// A push server that is to carry the channels
    #[arg(long, value_name = "ID", requires = "add")]
    push_server: Option<HostId>,
    /// Take scrambled and hidden services, too
    #[arg(long)]
    all: bool,
    /// How the report looks
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: ReportFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ReportFormat {
    /// Lines for people.
    Text,
    /// One JSON object.
    Json,
}

/// What the page says beyond that.
const MANUAL: Manual = Manual {
    section: "8",
    exit: &[
        (
            "0",
            "Done, or ended by SIGINT or SIGTERM. probe: all packets came whole. scan: services were found.",
        ),
        ("1", "Failed while running. probe, scan: the input cannot be opened, or brings nothing."),
        ("2", "Bad usage or configuration."),
        ("3", "probe: packets were missing or damaged."),
    ],
    files: &[
        (
            "cluster.key",
            "The site's key, as in the database server's data folder, unless --cluster-key names another.",
        ),
        ("/etc/masthead/acquisition.env", "Environment of the unit masthead-acquisition."),
    ],
    environment: manual::ENVIRONMENT,
    examples: &[
        (
            "masthead-acquisition --id roof --database 10.0.0.2 --cluster-key /etc/masthead/cluster.key",
            "Captures what the topology gives the acquisition server roof.",
        ),
        (
            "systemctl enable --now masthead-acquisition@roof",
            "The same as a service, where the package is installed.",
        ),
        (
            "masthead-acquisition probe --seconds 60 'dvb://adapter0?system=dvb-t2&frequency=506MHz'",
            "Says whether a tuner gets a multiplex, and what is in it.",
        ),
        (
            "masthead-acquisition scan udp://239.192.9.5:5004 --add topology.toml --server roof",
            "Adds the services of a multiplex to a topology as channels.",
        ),
    ],
};

fn main() -> ExitCode {
    if let Some(code) = manual::asked(Arguments::command(), &MANUAL) {
        return code;
    }
    let arguments = Arguments::parse();
    let default = if arguments.command.is_some() { "warn" } else { "info" };
    logging::start(arguments.format, default);
    let done = match arguments.command {
        Some(Command::Probe(what)) => probe(&what),
        Some(Command::Scan(what)) => scan(what),
        None => start(arguments).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|(code, message)| {
        tracing::error!("{message}");
        ExitCode::from(code)
    })
}

fn start(arguments: Arguments) -> Result<(), (u8, String)> {
    let Arguments { id: Some(id), database: Some(database), cluster_key, metrics, .. } = arguments else {
        return Err((2, "--id and --database are needed".to_owned()));
    };
    let options = Options { id, database, cluster_key, metrics };
    run(async |shutdown| {
        shell::run(options, shutdown).await.map_err(|error| (error.exit_code(), error.to_string()))
    })
}

fn probe(what: &ProbeArguments) -> Result<ExitCode, (u8, String)> {
    let length = Duration::from_secs(what.seconds);
    let report = run(async |shutdown| {
        shell::probe(&what.url, length, &shutdown)
            .await
            .map_err(|cause| (1, format!("{}: {cause}", InputUrl::without_secrets(&what.url.to_string()))))
    })?;
    let text = match what.format {
        ReportFormat::Text => report.to_string(),
        ReportFormat::Json => report.json() + "\n",
    };
    // A reader that has seen enough is no failure.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(match report.judgement() {
        Judgement::Whole => ExitCode::SUCCESS,
        Judgement::Silent => ExitCode::FAILURE,
        Judgement::Damaged => ExitCode::from(3),
    })
}

fn scan(what: ScanArguments) -> Result<ExitCode, (u8, String)> {
    let roof = || "roof".parse().map_err(|error| (2, format!("{error}")));
    let wish = Wish {
        server: what.server.map_or_else(roof, Ok)?,
        input: what.input,
        push_server: what.push_server,
        services: if what.all { Wanted::All } else { Wanted::Visible },
    };
    let (length, topology) = (Duration::from_secs(what.seconds), what.add);
    let url = what.url.to_string();
    let file = topology.as_ref().map(|path| path.display().to_string());
    let order = Scan { input: what.url, length, wish, topology };
    let scanned = run(async |shutdown| {
        shell::scan(order, &shutdown).await.map_err(|error| (error.exit_code(), error.to_string()))
    })?;
    let (found, entries) = (&scanned.found, &scanned.entries);
    let text = match what.format {
        ReportFormat::Text => found.text(&url, entries, paint()),
        ReportFormat::Json => found.json(&url, entries) + "\n",
    };
    // A reader that has seen enough is no failure.
    let _ = std::io::stdout().write_all(text.as_bytes());
    if let (Some(added), Some(file)) = (scanned.added, file) {
        let noun = if added == 1 { "channel" } else { "channels" };
        eprintln!("{added} {noun} added to {file}");
    }
    Ok(if found.services.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Colours for people who look at them and have not refused them (`NO_COLOR`).
fn paint() -> Paint {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if std::io::stdout().is_terminal() && !refused { Paint::Coloured } else { Paint::Plain }
}

/// Gives `work` a runtime and what ends it.
fn run<T>(work: impl AsyncFnOnce(Shutdown) -> Result<T, (u8, String)>) -> Result<T, (u8, String)> {
    let shutdown = Shutdown::on_signals().map_err(|error| (1, format!("signals: {error}")))?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| (1, format!("runtime: {error}")))?;
    let result = runtime.block_on(work(shutdown));
    runtime.shutdown_timeout(END_PATIENCE);
    result
}
