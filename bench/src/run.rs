//! One run of the bench: which measures, their ground, their rows, and what went wrong.

use std::io::{IsTerminal as _, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::machine::Machine;
use crate::measures::{self, Measure};
use crate::options::{Format, Options};
use crate::report::{Report, Row};
use crate::{Ground, plot, report};

/// What a measure is given: options, and where its rows, remarks and progress go.
#[derive(Debug)]
pub struct Bench {
    /// What was asked for.
    pub options: Options,
    report: Report,
    begun: Instant,
    measure: &'static str,
    /// The worst lateness of a load, and where it was.
    late: Option<(Duration, String)>,
}

impl Bench {
    /// The ground for the measure that runs now: namespaces of its own, removed when it goes.
    pub fn ground(&self) -> Ground {
        Ground::open(&format!("bench-{}", self.measure))
    }

    /// Adds a row to the result.
    pub fn row(&mut self, row: Row) {
        self.report.rows.push(Row { measure: self.measure.to_owned(), ..row });
    }

    /// Adds a remark that stands below the table: what is missing, what a figure does not say.
    pub fn remark(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.report.remarks.contains(&text) {
            self.report.remarks.push(text);
        }
    }

    /// A load came later than it should by so much; the worst is remarked at the end.
    pub fn late(&mut self, lateness: Duration, place: &str) {
        if self.late.as_ref().is_none_or(|(worst, _)| lateness > *worst) {
            self.late = Some((lateness, format!("{}, {place}", self.measure)));
        }
    }

    /// Something that must hold did not: the bench ends with status 1, after all measures.
    pub fn fault(&mut self, text: impl Into<String>) {
        let text = format!("{}: {}", self.measure, text.into());
        self.progress(&text);
        self.report.faults.push(text);
    }

    /// Tells whoever waits, on standard error.
    pub fn progress(&self, what: &str) {
        let _ = writeln!(
            std::io::stderr(),
            "[{:6.1} s] {}: {what}",
            self.begun.elapsed().as_secs_f64(),
            self.measure
        );
    }
}

/// Runs `masthead bench`. Status 0: measured, and nothing lost; 1: a measure failed or something was lost; 2: cannot be
/// run here, or bad usage.
pub fn run(options: Options) -> ExitCode {
    if options.list {
        for measure in measures::ALL {
            println!("{:14} {}", measure.name, measure.about);
        }
        return ExitCode::SUCCESS;
    }
    let wanted = match wanted(&options) {
        Ok(wanted) => wanted,
        Err(problem) => {
            eprintln!("masthead bench: {problem}");
            return ExitCode::from(2);
        }
    };
    let mut bench = Bench {
        report: Report::new(Machine::here(), std::env::args().collect()),
        options,
        begun: Instant::now(),
        measure: "bench",
        late: None,
    };
    for measure in wanted {
        bench.measure = measure.name;
        bench.progress(measure.about);
        if catch_unwind(AssertUnwindSafe(|| (measure.run)(&mut bench))).is_err() {
            bench.fault("failed; what went wrong stands above");
        }
    }
    if let Some((lateness, place)) = bench.late.take() {
        bench.remark(format!(
            "The load came up to {} ms late ({place}): this machine was busy with other work.",
            lateness.as_millis()
        ));
    }
    publish(&bench)
}

fn wanted(options: &Options) -> Result<Vec<&'static Measure>, String> {
    for name in &options.measures {
        if !measures::ALL.iter().any(|measure| measure.name == name) {
            let known: Vec<&str> = measures::ALL.iter().map(|measure| measure.name).collect();
            return Err(format!("there is no measure `{name}`; there are: {}", known.join(", ")));
        }
    }
    let chosen = |measure: &&Measure| {
        options.measures.is_empty() || options.measures.iter().any(|name| name == measure.name)
    };
    let wanted: Vec<&Measure> = measures::ALL.iter().filter(chosen).collect();
    let mut binaries: Vec<&str> =
        wanted.iter().flat_map(|measure| measure.binaries.iter().copied()).collect();
    binaries.sort_unstable();
    binaries.dedup();
    binaries.retain(|binary| !lab::command::ours(binary).is_file());
    if !binaries.is_empty() {
        let folder = lab::command::ours("");
        return Err(format!(
            "measures the programs that stand beside itself, and {} is not in {}: cargo build --release --workspace --bins",
            binaries.join(", "),
            folder.display()
        ));
    }
    match Ground::obstacle(&[]) {
        Some(reason) => {
            Err(format!("makes network namespaces for its load: {reason}; run it with sudo on Linux"))
        }
        None => Ok(wanted),
    }
}

fn publish(bench: &Bench) -> ExitCode {
    let (report, options) = (&bench.report, &bench.options);
    let json = report.json();
    let printed = match options.format {
        Format::Text => report::text(report, std::io::stdout().is_terminal()),
        Format::Json => json.clone() + "\n",
        Format::Markdown => report::markdown(report),
    };
    let _ = std::io::stdout().write_all(printed.as_bytes());
    let svg = || plot::cpu_against_destinations(&report.rows);
    let files = [
        (&options.json, json.clone()),
        (&options.svg, if options.svg.is_some() { svg() } else { String::new() }),
    ];
    for (path, text) in files.iter().filter_map(|(path, text)| Some((path.as_ref()?, text))) {
        if let Err(error) = std::fs::write(path, text) {
            eprintln!("{}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    if report.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
