//! `masthead`: the whole system in one process, and the small commands that go with it.
//!
//! | command | does |
//! |---|---|
//! | `masthead up` (the default) | database server, acquisition servers and push servers of a topology, here |
//! | `masthead check FILE` | says what a `topology.toml` means, or what is wrong with it |
//! | `masthead key` | makes or shows a cluster key |
//! | `masthead bench` | measures what Masthead costs here, beside other senders |
//!
//! Exit status: 0 done, 1 failed while running, 2 bad usage or configuration.

mod check;
mod key;
mod on_air;
mod up;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use link::manual::{self, Manual};

/// Live television for a site: captured once, sent only where somebody watches.
#[derive(Debug, Parser)]
#[command(
    name = "masthead",
    version,
    after_help = "Exit status: 0 done, 1 failed while running, 2 bad usage or configuration."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a whole site in this process; the default.
    Up(up::Arguments),
    /// Print what a topology means: servers, feeds, destinations, and each network's channel list.
    Check(check::Arguments),
    /// Make a cluster key, or show which one a file holds.
    Key(key::Arguments),
    /// Measure what Masthead costs on this machine, beside the kernel's limit and other senders. Root.
    Bench(bench::Options),
    /// The bench's reference sender.
    #[command(hide = true)]
    BenchReference(bench::reference::Options),
}

/// What the page says beyond that.
const MANUAL: Manual = Manual {
    section: "8",
    exit: manual::EXIT,
    files: &[
        ("topology.toml", "The site."),
        (
            "~/.local/state/masthead",
            "Store, cluster key and recordings of masthead up, unless --data names another folder.",
        ),
    ],
    environment: manual::ENVIRONMENT,
    examples: &[
        ("masthead", "A whole site in one process, with a test card on the air."),
        ("masthead up --topology topology.toml --data /srv/masthead", "The same with a site of one's own."),
        ("masthead check topology.toml", "Says what a topology means, or what is wrong with it."),
        ("masthead key --file cluster.key", "Makes a cluster key, or says which one the file holds."),
    ],
};

fn main() -> ExitCode {
    if let Some(code) = manual::asked(Cli::command(), &MANUAL) {
        return code;
    }
    match Cli::parse().command {
        Some(Command::Check(arguments)) => check::run(&arguments),
        Some(Command::Key(arguments)) => key::run(&arguments),
        Some(Command::Bench(options)) => bench::run::run(options),
        Some(Command::BenchReference(options)) => bench::reference::run(&options),
        Some(Command::Up(arguments)) => up::run(&arguments),
        None => up::run(&up::Arguments::default()),
    }
}
