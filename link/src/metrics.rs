//! Metrics as Prometheus reads them: text exposition format 0.0.4.
//!
//! ```text
//! # HELP masthead_push_fed Whether packets of the channel arrive.
//! # TYPE masthead_push_fed gauge
//! masthead_push_fed{channel="1"} 1
//! ```
//!
//! Every daemon writes its own with [`Exposition`]; `docs/metrics.md` has them all, and a test of each daemon compares.
//! Labels have values from the topology only, so nobody on a network can make new series.

use std::fmt::{self, Write as _};
use std::time::Instant;

use protocols::counters::Described;

/// What an answer says of its content.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How a number behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from the process's start; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        })
    }
}

/// What a metric is called and means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// Its name: `masthead_…`, with the unit, if it has one, before `_total`.
    pub name: String,
    /// How it behaves.
    pub kind: Kind,
    /// What each of its numbers is labelled with.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: String,
}

/// A number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A whole one.
    Whole(u64),
    /// Any other.
    Real(f64),
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<usize> for Number {
    fn from(number: usize) -> Self {
        Self::Whole(number as u64)
    }
}

impl From<bool> for Number {
    fn from(yes: bool) -> Self {
        Self::Whole(u64::from(yes))
    }
}

impl From<f64> for Number {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => number.fmt(f),
            Self::Real(number) if *number == f64::INFINITY => f.write_str("+Inf"),
            Self::Real(number) if *number == f64::NEG_INFINITY => f.write_str("-Inf"),
            Self::Real(number) => number.fmt(f),
        }
    }
}

/// Metrics being written.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
    families: Vec<Family>,
}

/// The numbers of one family being written.
#[derive(Debug)]
pub struct Samples<'e> {
    text: &'e mut String,
    family: &'e Family,
}

impl Exposition {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a family; its numbers follow. Each is begun once.
    pub fn family(
        &mut self,
        kind: Kind,
        name: &str,
        labels: &'static [&'static str],
        help: &str,
    ) -> Samples<'_> {
        debug_assert!(self.families.iter().all(|family| family.name != name), "{name} is begun twice");
        debug_assert_eq!(kind == Kind::Counter, name.ends_with("_total"), "{name}");
        let escaped = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "# HELP {name} {escaped}\n# TYPE {name} {kind}");
        self.families.push(Family { name: name.to_owned(), kind, labels, help: help.to_owned() });
        let family = &self.families[self.families.len() - 1];
        Samples { text: &mut self.text, family }
    }

    /// A gauge without labels.
    pub fn gauge(&mut self, name: &str, help: &str, number: impl Into<Number>) {
        self.family(Kind::Gauge, name, &[], help).add(&[], number);
    }

    /// A counter without labels.
    pub fn counter(&mut self, name: &str, help: &str, number: u64) {
        self.family(Kind::Counter, name, &[], help).add(&[], number);
    }

    /// A family for each of `counters`: `<prefix>_<name>_total`.
    pub fn counters(&mut self, prefix: &str, counters: &[Described]) {
        for counter in counters {
            self.counter(&format!("{prefix}_{}_total", counter.name), &counter.text(), counter.count);
        }
    }

    /// What every process says of itself: `server` names the daemon, `started` is when it began.
    pub fn process(&mut self, server: &str, version: &str, started: Instant) {
        let labels = &["server", "version"];
        let mut build =
            self.family(Kind::Gauge, "masthead_build_info", labels, "Always 1: which program this is.");
        build.add(&[server, version], 1_u64);
        self.gauge(
            "masthead_uptime_seconds",
            "Since the start of the process.",
            started.elapsed().as_secs_f64(),
        );
        if let Some(bytes) = resident_bytes() {
            self.gauge("masthead_resident_memory_bytes", "Memory that the process has (Linux only).", bytes);
        }
        if let Some(files) = open_files() {
            self.gauge(
                "masthead_open_files",
                "Files and sockets that the process has open (Linux only).",
                files,
            );
        }
    }

    /// All of it.
    pub fn into_text(self) -> String {
        self.text
    }

    /// What has been begun.
    pub fn families(&self) -> &[Family] {
        &self.families
    }

    /// What is missing in `document`, the text of `docs/metrics.md`, or is there though it is not written, of the names that
    /// begin with one of `prefixes`. Empty: nothing.
    pub fn undocumented(&self, document: &str, prefixes: &[&str]) -> String {
        let ours: Vec<String> = self.families.iter().map(Family::row).collect();
        let own = |line: &&str| prefixes.iter().any(|prefix| line.starts_with(&format!("| `{prefix}")));
        let theirs: Vec<&str> = document.lines().filter(own).collect();
        let missing = ours.iter().filter(|row| !document.lines().any(|line| line == *row));
        let stale = theirs.iter().filter(|line| !ours.iter().any(|row| row == *line));
        let missing = missing.map(|row| format!("missing: {row}\n"));
        missing.chain(stale.map(|line| format!("stale:   {line}\n"))).collect()
    }
}

impl Family {
    /// Its row of the table in `docs/metrics.md`.
    pub fn row(&self) -> String {
        format!("| `{}` | {} | {} | {} |", self.name, self.kind, self.labels.join(", "), self.help)
    }
}

impl Samples<'_> {
    /// A number, with a value for each label of the family.
    pub fn add(&mut self, values: &[&str], number: impl Into<Number>) {
        debug_assert_eq!(values.len(), self.family.labels.len(), "{}", self.family.name);
        self.text.push_str(&self.family.name);
        for (n, (label, value)) in self.family.labels.iter().zip(values).enumerate() {
            self.text.push(if n == 0 { '{' } else { ',' });
            let _ = write!(self.text, "{label}=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    other => self.text.push(other),
                }
            }
            self.text.push('"');
        }
        let close = if self.family.labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{close} {}", number.into());
    }
}

/// From the kernel's own account of this process; `None` where there is none.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix("kB")?;
    Some(kib.trim().parse::<u64>().ok()? << 10)
}

fn open_files() -> Option<u64> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_written_as_the_format_says() {
        let mut metrics = Exposition::new();
        let mut fed = metrics.family(Kind::Gauge, "fed", &["channel", "name"], "Whether \\ it\nis fed.");
        fed.add(&["1", "The \"News\"\\\n"], true);
        fed.add(&["2", "Zwölf"], 0.5);
        metrics.counter("seen_total", "How many.", u64::MAX);
        metrics.gauge("far", "How far.", f64::INFINITY);
        assert_eq!(
            metrics.into_text(),
            "# HELP fed Whether \\\\ it\\nis fed.\n# TYPE fed gauge\n\
             fed{channel=\"1\",name=\"The \\\"News\\\"\\\\\\n\"} 1\nfed{channel=\"2\",name=\"Zwölf\"} 0.5\n\
             # HELP seen_total How many.\n# TYPE seen_total counter\nseen_total 18446744073709551615\n\
             # HELP far How far.\n# TYPE far gauge\nfar +Inf\n"
        );
    }

    #[test]
    fn a_table_that_says_something_else_is_told_from_one_that_fits() {
        let mut metrics = Exposition::new();
        metrics.family(Kind::Gauge, "a_fed", &["channel"], "Fed.");
        assert_eq!(metrics.undocumented("text\n| `a_fed` | gauge | channel | Fed. |\n| `b` |", &["a_"]), "");
        let wrong = metrics.undocumented("| `a_fed` | gauge | | Fed. |", &["a_"]);
        assert!(wrong.contains("missing: | `a_fed`") && wrong.contains("stale:   | `a_fed`"), "{wrong}");
    }

    #[test]
    fn a_process_says_how_large_it_is() {
        let mut metrics = Exposition::new();
        metrics.process("test", "0", Instant::now());
        let text = metrics.into_text();
        assert!(text.contains("masthead_build_info{server=\"test\",version=\"0\"} 1\n"), "{text}");
    }
}
