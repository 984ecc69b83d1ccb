//! Starts the database server: options, logging, signals; everything else is in `database_server::shell`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use database_server::shell::{self, Options, Ports, Source};
use link::logging::{self, LogFormat};
use link::shutdown::Shutdown;

/// Holds the topology and tells everybody where to go.
///
/// SIGHUP reads the topology file again; what did not change is not disturbed. SIGINT and SIGTERM end it.
/// Exit status: 0 ended cleanly, 1 the host refuses something, 2 wrong usage, topology or key.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The site: `topology.toml`.
    #[arg(long, value_name = "FILE", env = "MASTHEAD_TOPOLOGY", default_value = "topology.toml")]
    topology: PathBuf,
    /// Folder for the database and the cluster key; made where missing.
    #[arg(long, value_name = "DIR", env = "MASTHEAD_DATA", default_value = "/var/lib/masthead")]
    data: PathBuf,
    /// The cluster key's file [default: cluster.key in the data folder, made at the first start].
    #[arg(long, value_name = "FILE", env = "MASTHEAD_CLUSTER_KEY")]
    cluster_key: Option<PathBuf>,
    /// Address to listen on [default: all, IPv6 and IPv4]; the ports are those of the topology.
    #[arg(long, value_name = "ADDRESS", env = "MASTHEAD_LISTEN")]
    listen: Option<IpAddr>,
    /// How log lines look: `text` or `json`.
    #[arg(long, value_name = "FORMAT", env = "MASTHEAD_FORMAT", default_value = "text")]
    format: LogFormat,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    logging::start(arguments.format, "info");
    let options = Options {
        topology: Source::File(arguments.topology),
        data: arguments.data,
        cluster_key: arguments.cluster_key,
        listen: arguments.listen,
        ports: Ports::Declared,
        ready: None,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, 1),
    };
    let shutdown = match Shutdown::on_signals() {
        Ok(shutdown) => shutdown,
        Err(error) => return fail(&error, 1),
    };
    // Among the connections' tasks, not on a thread of its own: a question then wakes no other thread for its answer.
    match runtime.block_on(runtime.spawn(shell::run(options, shutdown))) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => fail(&error, error.exit_code()),
        Err(panicked) => fail(&panicked, 1),
    }
}

fn fail(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    eprintln!("masthead-database-server: {error}");
    ExitCode::from(code)
}
