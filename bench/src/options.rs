//! What `masthead bench` is told.

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

/// Options of `masthead bench`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// What to measure; nothing: all. `masthead bench --list` names them.
    pub measures: Vec<String>,
    /// Name the measures and what each shows, and end.
    #[arg(long)]
    pub list: bool,
    /// How often each point is measured with each sender; results are medians with the least and the greatest beside.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub runs: u32,
    /// How long one run measures, in seconds; it settles for a moment before.
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    pub seconds: f64,
    /// One short run of fewer points: shows that everything works, no figures to rely on.
    #[arg(long)]
    pub quick: bool,
    /// Measure only at these points, such as `50,200` destinations, where a measure has several.
    #[arg(long, value_delimiter = ',')]
    pub points: Vec<String>,
    /// Peers to measure beside: names such as `gstreamer,multicat`, `all` that are installed, or `none`.
    #[arg(long, value_delimiter = ',', default_value = "all")]
    pub peers: Vec<String>,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Also write the result as JSON to this file.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Also write a plot of CPU against destinations to this file.
    #[arg(long)]
    pub svg: Option<PathBuf>,
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people.
    Text,
    /// For programs.
    Json,
    /// Tables for `docs/performance.md`.
    Markdown,
}

impl Options {
    /// Times that each point is measured.
    pub fn runs(&self) -> u32 {
        if self.quick { 1 } else { self.runs }
    }

    /// Length of one run.
    pub fn period(&self) -> Duration {
        Duration::from_secs_f64(if self.quick { self.seconds.min(0.5) } else { self.seconds })
    }

    /// The points of `all` that were asked for: everything, unless some were named; the first `few` in a quick run.
    pub fn points<T: Copy + Display>(&self, all: &[T], few: usize) -> Vec<T> {
        let wanted = |point: &T| self.points.is_empty() || self.points.contains(&point.to_string());
        let asked = all.iter().copied().filter(wanted);
        asked.take(if self.quick { few } else { all.len() }).collect()
    }

    /// Whether the peer `name` is wanted.
    pub fn wants_peer(&self, name: &str) -> bool {
        self.peers.iter().any(|wanted| wanted == "all" || wanted == name)
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=600.0).contains(&seconds) => Ok(seconds),
        _ => Err("between 0.1 and 600 seconds".into()),
    }
}
