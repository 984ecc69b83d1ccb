//! Starts the database server: options, logging, signals; everything else is in `database_server::shell`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use database_server::shell::{self, Certificate, Options, Ports, Source};
use link::logging::{self, LogFormat};
use link::manual::{self, Manual};
use link::shutdown::Shutdown;

/// Holds the topology and tells everybody where to go.
///
/// SIGHUP reads the topology file again; what did not change is not disturbed. SIGINT and SIGTERM end it.
/// Exit status: 0 ended cleanly, 1 the host refuses something, 2 wrong usage, topology or key.
#[derive(Debug, Parser)]
#[command(name = "masthead-database-server", version)]
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
    /// One's own TLS certificate with its chain, PEM [default: tls.crt in the data folder, made at the first start].
    #[arg(long, value_name = "FILE", env = "MASTHEAD_TLS_CERTIFICATE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// Its key, PEM.
    #[arg(long, value_name = "FILE", env = "MASTHEAD_TLS_KEY", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Does not announce the site on the LAN; clients then have to be given its address.
    #[arg(long, env = "MASTHEAD_NO_ANNOUNCE")]
    no_announce: bool,
    /// How log lines look: `text` or `json`.
    #[arg(long, value_name = "FORMAT", env = "MASTHEAD_FORMAT", default_value = "text")]
    format: LogFormat,
}

/// What the page says beyond that.
const MANUAL: Manual = Manual {
    section: "8",
    exit: manual::EXIT,
    files: &[
        ("/etc/masthead/topology.toml", "The site, where the package is installed."),
        ("/etc/masthead/database-server.env", "Environment of the unit masthead-database-server."),
        (
            "/var/lib/masthead",
            "Data folder: the store, and the cluster key unless --cluster-key names another.",
        ),
    ],
    environment: manual::ENVIRONMENT,
    examples: &[
        (
            "masthead-database-server --topology topology.toml --data /var/lib/masthead",
            "Serves the site; its first start makes the cluster key.",
        ),
        ("masthead check topology.toml", "Says what a topology means, or what is wrong with it."),
        (
            "systemctl reload masthead-database-server",
            "Reads the topology again, where the package is installed.",
        ),
    ],
};

fn main() -> ExitCode {
    if let Some(code) = manual::asked(Arguments::command(), &MANUAL) {
        return code;
    }
    let arguments = Arguments::parse();
    logging::start(arguments.format, "info");
    let options = Options {
        topology: Source::File(arguments.topology),
        data: arguments.data,
        cluster_key: arguments.cluster_key,
        listen: arguments.listen,
        ports: Ports::Declared,
        certificate: arguments
            .tls_certificate
            .zip(arguments.tls_key)
            .map(|(certificate, key)| Certificate { certificate, key }),
        announce: !arguments.no_announce,
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
