//! `masthead key`: makes a cluster key, or shows by its fingerprint which one a file holds.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use link::key_file::{self, KeyError};

/// Options of `masthead key`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The key file. It is made, readable by its owner only, when it does not exist.
    #[arg(long, default_value = key_file::FILE_NAME, env = "MASTHEAD_CLUSTER_KEY")]
    file: PathBuf,
}

/// Makes or shows. The key itself is never printed: copy the file.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let path = arguments.file.display();
    let (key, verb) = match key_file::load(&arguments.file) {
        Err(KeyError::Missing { .. }) => (key_file::make(&arguments.file), "made"),
        loaded => (loaded, "holds"),
    };
    match key {
        Ok(key) => {
            println!("{path} {verb} the cluster key with fingerprint {}", key.fingerprint());
            println!("copy this file to every server of the site; never to clients");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
