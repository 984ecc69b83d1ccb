//! The console's API against its own description, by a tool that nobody here wrote.

use std::path::PathBuf;

use lab::site::{Daemon, Plan, Site};
use lab::{Command, Lab, skip};

/// Requests to one operation that are made up at random, beside those that cover its description's edges.
const EXAMPLES: &str = "8";

/// Where `tests/run` has put the tool.
fn schemathesis() -> Option<PathBuf> {
    std::env::var_os("MASTHEAD_SCHEMATHESIS").map(PathBuf::from).filter(|tool| tool.is_file())
}

/// Goal: what the running server answers is what `/api/v1/openapi.json` says, to sense and to nonsense: statuses, content types,
/// bodies, methods; and never a failure of the server. Nobody has logged in, so nothing is changed. `/live` does not end and has
/// tests of its own.
#[test]
fn the_api_answers_as_its_description_says() {
    let name = "the_api_answers_as_its_description_says";
    let Some(tool) = schemathesis() else {
        skip::report(name, "schemathesis is not there: tests/run installs it from PyPI");
        return;
    };
    let Some(lab) = Lab::open(name, &[]) else { return };
    let site = Site::build(&lab, &Plan::testcard());
    let _database = site.start(Daemon::Database);
    let host = site.host_of(Daemon::Database);
    let api = "http://127.0.0.1:7480/api/v1";
    let checked = host.output(
        Command::new(tool)
            .arg("run")
            .arg(format!("{api}/openapi.json"))
            .args(["--exclude-path", "/live", "--phases", "examples,coverage,fuzzing", "--seed", "5"])
            .args(["--max-examples", EXAMPLES, "--request-timeout", "10", "--wait-for-schema", "20"])
            .env("HYPOTHESIS_STORAGE_DIRECTORY", lab.path("hypothesis")),
    );
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{said}");
    lab.note(format_args!("{}", said.lines().rev().find(|line| line.contains("passed")).unwrap_or_default()));
}
