//! Surveys one input, and puts what was found into a topology.

use std::fs;
use std::io::{IsTerminal, Write, stderr};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use link::shutdown::Shutdown;
use link::whole_file;
use media::Packet;
use media::packet::PacketBytes;
use media::si::survey::Survey;
use protocols::time::Time;
use protocols::topology::{InputUrl, MAX_EDITS, MAX_FILE_BYTES, Topology, editing};

use crate::scan::entries::{Entries, Wish};
use crate::scan::{self, Found};
use crate::shell::listening::listen;

/// A survey that is complete goes on until packets came for this long: whether they are scrambled shows only then.
const LEAST: Duration = Duration::from_secs(1);
/// How often progress is told where it does not stand in a place of its own.
const LINES: Duration = Duration::from_secs(5);
const BAR_WIDTH: usize = 24;

/// What to scan, and what to do with it.
#[derive(Debug)]
pub struct Scan {
    /// The input.
    pub input: InputUrl,
    /// How long to wait for all tables.
    pub length: Duration,
    /// Which channels are wanted.
    pub wish: Wish,
    /// The topology to add them to.
    pub topology: Option<PathBuf>,
}

/// What a scan came to.
#[derive(Debug)]
pub struct Scanned {
    /// What is there.
    pub found: Found,
    /// What can be made of it, beside what the topology had.
    pub entries: Entries,
    /// How many channels the topology has got; `None`: there was none to add to.
    pub added: Option<usize>,
}

/// Why a scan fails.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The input cannot be opened; why.
    #[error("{0}")]
    Closed(String),
    /// The topology cannot be read, is faulty, or has no place for the channels.
    #[error("{0}")]
    Topology(String),
    /// The topology cannot be written; it is as it was.
    #[error("{0} cannot be written: {1}")]
    Unwritten(String, std::io::Error),
}

impl ScanError {
    /// Exit status of a process that ends with it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Closed(_) | Self::Unwritten(..) => 1,
            Self::Topology(_) => 2,
        }
    }
}

/// Surveys the input until everything is known, the time is over or `shutdown`, with its progress on standard error.
pub async fn scan(scan: Scan, shutdown: &Shutdown) -> Result<Scanned, ScanError> {
    let Scan { input, length, wish, topology: path } = scan;
    let url = input.to_string();
    // What cannot be added in the end is refused before anybody waits.
    if let Some(path) = &path {
        let (_, topology) = read(path)?;
        let nothing = Found::new(&Survey::new(), Duration::ZERO, None);
        Entries::of(&nothing, &url, &wish, Some(&topology))
            .map_err(|error| ScanError::Topology(error.to_string()))?;
    }
    let mut survey = Survey::new();
    let mut progress = Progress::new(length);
    let mut heard = Heard::default();
    let circumstances = listen(&input, length, shutdown, |now, packets| {
        heard.at(now, packets);
        packets.iter().filter_map(|bytes| Packet::parse(bytes).ok()).for_each(|packet| survey.push(packet));
        progress.show(now, &survey);
        if survey.is_complete() && heard.length() >= LEAST {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .await;
    progress.clear();
    let circumstances = circumstances
        .map_err(|cause| ScanError::Closed(format!("{}: {cause}", InputUrl::without_secrets(&url))))?;
    let found = Found::new(&survey, heard.length(), circumstances.ended);
    let Some(path) = path else {
        let entries = Entries::of(&found, &url, &wish, None);
        let entries = entries.map_err(|error| ScanError::Topology(error.to_string()))?;
        return Ok(Scanned { found, entries, added: None });
    };
    // Anew: somebody may have edited it meanwhile.
    let (text, topology) = read(&path)?;
    let entries = Entries::of(&found, &url, &wish, Some(&topology));
    let entries = entries.map_err(|error| ScanError::Topology(error.to_string()))?;
    add(&path, text, &entries)?;
    let added = Some(entries.channels().len());
    Ok(Scanned { found, entries, added })
}

/// The text of a topology, and what it says.
fn read(path: &Path) -> Result<(String, Topology), ScanError> {
    let name = path.display().to_string();
    let unreadable =
        |error: &dyn std::fmt::Display| ScanError::Topology(format!("{name} cannot be read: {error}"));
    let length = fs::metadata(path).map_err(|error| unreadable(&error))?.len();
    if length > MAX_FILE_BYTES as u64 {
        return Err(unreadable(&format!("it is longer than {MAX_FILE_BYTES} bytes")));
    }
    let text = fs::read_to_string(path).map_err(|error| unreadable(&error))?;
    let (topology, _) =
        Topology::parse(&name, &text).map_err(|faults| ScanError::Topology(faults.to_string()))?;
    Ok((text, topology))
}

fn add(path: &Path, mut text: String, entries: &Entries) -> Result<(), ScanError> {
    let name = path.display().to_string();
    let edits = entries.edits();
    if edits.is_empty() {
        return Ok(());
    }
    for edits in edits.chunks(MAX_EDITS) {
        let edited =
            editing::apply(&name, &text, edits).map_err(|error| ScanError::Topology(error.to_string()))?;
        text = edited.text;
    }
    whole_file::replace(path, &text).map_err(|error| ScanError::Unwritten(name, error))
}

/// When packets came.
#[derive(Debug, Default)]
struct Heard {
    first: Option<Time>,
    last: Time,
}

impl Heard {
    fn at(&mut self, now: Time, packets: &[PacketBytes]) {
        if !packets.is_empty() {
            self.first.get_or_insert(now);
            self.last = now;
        }
    }

    fn length(&self) -> Duration {
        self.first.map_or(Duration::ZERO, |first| self.last.since(first))
    }
}

/// Progress on standard error: in a place of its own on a terminal, now and then a line elsewhere.
struct Progress {
    whole: Duration,
    in_place: bool,
    begun: Option<Time>,
    shown: Option<Time>,
}

impl Progress {
    fn new(whole: Duration) -> Self {
        Self { whole, in_place: stderr().is_terminal(), begun: None, shown: None }
    }

    fn show(&mut self, now: Time, survey: &Survey) {
        let begun = *self.begun.get_or_insert(now);
        let pause = if self.in_place { Duration::from_millis(200) } else { LINES };
        if now.since(self.shown.unwrap_or(begun)) < pause {
            return;
        }
        self.shown = Some(now);
        let elapsed = now.since(begun);
        let line = scan::progress(survey, elapsed);
        // Progress that nobody can read is no reason to stop.
        let _ = if self.in_place {
            write!(stderr(), "\r{} {line}\u{1b}[K", scan::bar(elapsed, self.whole, BAR_WIDTH))
        } else {
            writeln!(stderr(), "{line}")
        };
    }

    fn clear(&mut self) {
        if self.in_place && self.shown.take().is_some() {
            let _ = write!(stderr(), "\r\u{1b}[K");
        }
    }
}
