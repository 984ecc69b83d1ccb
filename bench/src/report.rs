//! The result of a bench: rows of figures, and the forms that it is printed in.

use std::fmt::Write as _;

use serde::Serialize;

use crate::figure::{Figure, digits};
use crate::machine::Machine;

/// Version of the JSON layout: grows when a field changes its meaning.
pub const LAYOUT: u32 = 1;

/// All that a bench found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`LAYOUT`].
    pub layout: u32,
    /// Where it ran.
    pub machine: Machine,
    /// The command line.
    pub command: Vec<String>,
    /// Figures, in the order in which they were measured.
    pub rows: Vec<Row>,
    /// What is missing, and what figures do not say.
    pub remarks: Vec<String>,
    /// What must hold and did not: lost packets, failed measures.
    pub faults: Vec<String>,
}

/// The figures of one sender at one point of a measure.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Row {
    /// The measure, filled in by [`crate::Bench::row`].
    pub measure: String,
    /// The point, such as `50 destinations`.
    pub point: String,
    /// The point as a number, where it is one.
    pub at: Option<f64>,
    /// Who did it: `reference`, `Masthead`, `GStreamer`.
    pub sender: String,
    /// The figures, the most telling first.
    pub figures: Vec<Figure>,
}

impl Report {
    /// An empty result.
    pub fn new(machine: Machine, command: Vec<String>) -> Self {
        Self { layout: LAYOUT, machine, command, rows: Vec::new(), remarks: Vec::new(), faults: Vec::new() }
    }

    /// As JSON.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain data without maps keyed by anything but strings")
    }

    fn measures(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.rows.iter().map(|row| row.measure.as_str()).collect();
        names.dedup();
        names
    }

    /// Lines of one measure: a heading and the rows' cells.
    fn table(&self, measure: &str) -> Vec<[String; 5]> {
        let mut lines = vec![["", "", "", "median (least – greatest)", "×"].map(String::from)];
        for row in self.rows.iter().filter(|row| row.measure == measure) {
            for (number, figure) in row.figures.iter().enumerate() {
                let first = |text: &str| if number == 0 { text.to_owned() } else { String::new() };
                lines.push([
                    first(&row.point),
                    first(&row.sender),
                    figure.name.clone(),
                    value(figure),
                    ratio(figure),
                ]);
            }
        }
        lines
    }
}

fn value(figure: &Figure) -> String {
    let median = digits(figure.median);
    let unit = if figure.unit.is_empty() { String::new() } else { format!(" {}", figure.unit) };
    if figure.runs.len() == 1 {
        return median + &unit;
    }
    format!("{median}{unit} ({} – {})", digits(figure.min), digits(figure.max))
}

fn ratio(figure: &Figure) -> String {
    figure.ratio.as_ref().map_or(String::new(), |ratio| format!("{:.2} × {}", ratio.median, ratio.to))
}

/// Aligned tables; with colours where a person looks at them.
pub fn text(report: &Report, coloured: bool) -> String {
    let paint = |code: &str, text: &str| {
        if coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    };
    let mut out = format!("{}\n", report.machine.line());
    for measure in report.measures() {
        let _ = writeln!(out, "\n{}", paint("1", measure));
        let lines = report.table(measure);
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 5] = std::array::from_fn(width);
        for (number, line) in lines.iter().enumerate() {
            let cells: Vec<String> =
                line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            let joined = format!("  {}", cells.join("  "));
            let code = match () {
                () if number == 0 => "2",
                () if line[1] == "Masthead" => "36",
                () => "0",
            };
            let _ = writeln!(out, "{}", paint(code, joined.trim_end()));
        }
    }
    for remark in &report.remarks {
        let _ = writeln!(out, "\n{remark}");
    }
    for fault in &report.faults {
        let _ = writeln!(out, "\n{}", paint("31", &format!("FAULT {fault}")));
    }
    out
}

/// Tables for a document.
pub fn markdown(report: &Report) -> String {
    let mut out = format!("{}. `{}`\n", report.machine.line(), report.command.join(" "));
    for measure in report.measures() {
        let _ = write!(
            out,
            "\n### {measure}\n\n| point | sender | figure | median (least – greatest) | ratio |\n|---|---|---|---|---|\n"
        );
        for line in report.table(measure).iter().skip(1) {
            let _ = writeln!(out, "| {} |", line.join(" | "));
        }
    }
    for remark in report.remarks.iter().chain(&report.faults) {
        let _ = writeln!(out, "\n{remark}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::new(Machine::here(), vec!["masthead".into(), "bench".into()]);
        let figures = vec![
            Figure::new("CPU", "µs", vec![2.0, 3.0, 4.0]).compared("reference", &[1.0, 3.0, 2.0]),
            Figure::single("lost", "", 0.0),
        ];
        let row = Row {
            point: "50 destinations".into(),
            at: Some(50.0),
            sender: "Masthead".into(),
            figures,
            ..Row::default()
        };
        report.rows.push(Row { measure: "fan_out".into(), ..row });
        report
    }

    #[test]
    fn a_table_in_a_pipe_is_plain_and_aligned() {
        let text = text(&report(), false);
        assert!(!text.contains('\x1b'), "{text}");
        assert!(
            text.contains("  50 destinations  Masthead  CPU   3.00 µs (2.00 – 4.00)      2.00 × reference\n"),
            "{text}"
        );
    }

    #[test]
    fn json_holds_every_run() {
        let json: serde_json::Value = serde_json::from_str(&report().json()).unwrap();
        assert_eq!(json["rows"][0]["figures"][0]["runs"][2], 4.0);
    }

    #[test]
    fn markdown_has_a_table_per_measure() {
        assert!(markdown(&report()).contains("### fan_out\n\n| point | sender |"), "{}", markdown(&report()));
    }
}
