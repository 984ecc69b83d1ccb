//! `masthead check FILE`: what a topology means, or everything that is wrong with it.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use protocols::topology::{Paint, Topology};

/// Options of `masthead check`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The topology to check.
    #[arg(default_value = "topology.toml", env = "MASTHEAD_TOPOLOGY")]
    file: PathBuf,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Checks and prints. Status 2 when the file cannot be read or has faults, all of which are named.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let name = arguments.file.display().to_string();
    let text = match std::fs::read_to_string(&arguments.file) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("{name}: {error}");
            return ExitCode::from(2);
        }
    };
    let (topology, warnings) = match Topology::parse(&name, &text) {
        Ok(parsed) => parsed,
        Err(faults) => {
            eprint!("{faults}");
            return ExitCode::from(2);
        }
    };
    for warning in warnings {
        eprintln!("{warning}");
    }
    let printed = match arguments.format {
        Format::Text => {
            let paint = if io::stdout().is_terminal() { Paint::Coloured } else { Paint::Plain };
            write!(io::stdout(), "{}", topology.describe(paint))
        }
        Format::Json => serde_json::to_string_pretty(&topology.description())
            .map_err(io::Error::from)
            .and_then(|json| writeln!(io::stdout(), "{json}")),
    };
    // A reader that has seen enough, such as `head`, is no failure.
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("writing the result: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}
