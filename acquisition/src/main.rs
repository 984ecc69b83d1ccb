//! `masthead-acquisition`: one acquisition server as a process of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use acquisition::shell::{self, Options};
use clap::{CommandFactory, Parser};
use link::logging::{self, LogFormat};
use link::manual::{self, Manual};
use link::shutdown::Shutdown;
use protocols::ids::AcquisitionId;

/// How long tasks that block (a large file's first pass) get at the end.
const END_PATIENCE: Duration = Duration::from_millis(100);

/// Captures channels once and feeds the push servers.
#[derive(Debug, Parser)]
#[command(name = "masthead-acquisition", version)]
struct Arguments {
    /// This server's id in the topology, such as `roof`
    #[arg(long, env = "MASTHEAD_ID")]
    id: AcquisitionId,
    /// The database server; port 7401 unless given
    #[arg(long, env = "MASTHEAD_DATABASE", value_name = "ADDRESS[:PORT]", value_parser = acquisition::server_address::parse)]
    database: String,
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

/// What the page says beyond that.
const MANUAL: Manual = Manual {
    section: "8",
    exit: manual::EXIT,
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
    ],
};

fn main() -> ExitCode {
    if let Some(code) = manual::asked(Arguments::command(), &MANUAL) {
        return code;
    }
    let arguments = Arguments::parse();
    logging::start(arguments.format, "info");
    match start(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, message)) => {
            tracing::error!("{message}");
            ExitCode::from(code)
        }
    }
}

fn start(arguments: Arguments) -> Result<(), (u8, String)> {
    let shutdown = Shutdown::on_signals().map_err(|error| (1, format!("signals: {error}")))?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| (1, format!("runtime: {error}")))?;
    let Arguments { id, database, cluster_key, metrics, .. } = arguments;
    let result = runtime.block_on(shell::run(Options { id, database, cluster_key, metrics }, shutdown));
    runtime.shutdown_timeout(END_PATIENCE);
    result.map_err(|error| (error.exit_code(), error.to_string()))
}
