//! `dvb://`: a multiplex received by a tuner of this host.
//!
//! ```text
//! choose a free tuner ─► dish ─► tune ─► wait for a lock ─► filters ─► read until closed, gone, or the lock is lost for good
//! ```
//!
//! The tuner is ours from the choice on and is free again when the input is dropped. A task beside the reading one looks after the
//! lock and measures the signal.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use link::clock::Clock;
use media::sync::Synchroniser;
use nix::errno::Errno;
use protocols::topology::{DvbInput, DvbSystem};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::{Batch, Faults, ToldErrors};
use crate::dvb::diseqc::{self, Step};
use crate::dvb::lock::{self, LockWatch};
use crate::dvb::statistics::{DTV_STAT_CNR, DTV_STAT_SIGNAL_STRENGTH, Measure};
use crate::dvb::tuning;
use crate::pids::Pids;
use crate::shell::dvb_device::{EVERY_PID, Filter, Frontend, Stream};
use crate::shell::task::Task;
use crate::signal::Signal;

/// Where the kernel shows tuners.
const DEVICES: &str = "/dev/dvb";
/// Bytes read at a time: 348 packets.
const READ_BYTES: usize = 348 * 188;
/// Buffer in the kernel: over a second of the fastest multiplex.
const BUFFER_BYTES: i32 = 8 << 20;
/// Filters for single PIDs. When more are needed the whole multiplex is let through: many tuners have no more, and any number of
/// them serves the same channels.
const MAX_FILTERS: usize = 30;
/// How often a first lock is looked for.
const SEARCH_INTERVAL: Duration = Duration::from_millis(10);
/// How often the lock is looked after and the signal measured.
const MEASURE_INTERVAL: Duration = Duration::from_millis(500);
/// How long the measuring task gets to end.
const END_PATIENCE: Duration = Duration::from_millis(300);

/// A tuner that has a lock.
pub(crate) struct Dvb {
    tuner: Tuner,
    stream: Stream,
    filters: Filters,
    synchroniser: Synchroniser,
    told: ToldErrors,
    buffer: Vec<u8>,
    reception: watch::Receiver<Reception>,
    measuring: Task,
    overflows: u64,
}

/// Which one, with the nodes that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tuner {
    /// `adapter0/frontend0`.
    name: String,
    frontend: PathBuf,
    demultiplexer: PathBuf,
    stream: PathBuf,
}

/// What was measured last.
#[derive(Debug, Clone)]
struct Reception {
    signal: Signal,
    /// What a tuner without lock lacks.
    lacks: Option<&'static str>,
    /// Why the tuner is given up.
    lost: Option<String>,
}

impl Dvb {
    /// Takes a tuner, and returns when it has a lock; says what is wrong where it gets none.
    pub(crate) async fn open(input: &DvbInput) -> Result<Self, String> {
        let wanted = input.clone();
        let taken = spawn_blocking(move || take_tuner(Path::new(DEVICES), &wanted)).await;
        let (tuner, frontend) = taken.map_err(|error| format!("taking a tuner: {error}"))??;
        let frontend = Arc::new(frontend);
        tune(&tuner, &frontend, input).await?;
        let stream =
            Stream::open(&tuner.stream, BUFFER_BYTES).map_err(|error| failed(&tuner.stream, &error))?;
        let (sender, reception) = watch::channel(Reception {
            signal: Signal { lock: true, strength_percent: None, quality_percent: None },
            lacks: None,
            lost: None,
        });
        let measuring = Task::start(measure(tuner.name.clone(), frontend, input.system, sender));
        Ok(Self {
            filters: Filters::new(tuner.demultiplexer.clone()),
            tuner,
            stream,
            synchroniser: Synchroniser::new(),
            told: ToldErrors::default(),
            buffer: vec![0; READ_BYTES],
            reception,
            measuring,
            overflows: 0,
        })
    }

    /// Waits for packets. May be dropped without losing any.
    pub(crate) async fn next(&mut self, batch: &mut Batch) -> Result<(), String> {
        self.filters.check()?;
        loop {
            tokio::select! {
                changed = self.reception.changed() => {
                    if changed.is_err() {
                        return Err(format!("{}: nobody looks after the lock any more", self.tuner.name));
                    }
                    let reception = self.reception.borrow_and_update();
                    if let Some(lost) = &reception.lost {
                        return Err(lost.clone());
                    }
                    if let Some(lacks) = reception.lacks {
                        batch.strange = Some(format!("{} has lost its lock: {lacks}", self.tuner.name));
                        return Ok(());
                    }
                }
                read = self.stream.read(&mut self.buffer) => {
                    if self.take(read, batch)? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Adds the packets that were read; whether there were some.
    fn take(&mut self, read: io::Result<usize>, batch: &mut Batch) -> Result<bool, String> {
        match read {
            Ok(count) => {
                let bytes = self.buffer.get(..count).unwrap_or_default();
                let before = batch.packets.len();
                // A stream that is out of step says so by its count of losses; the search goes on.
                let _ = self.synchroniser.push(bytes, |packet| batch.packets.push(*packet));
                let found = batch.packets.len() > before;
                if found {
                    // Without packets the next read tells them.
                    batch.sync_errors = self.told.news(&self.synchroniser);
                }
                Ok(found)
            }
            Err(error) if error.raw_os_error() == Some(Errno::EOVERFLOW as i32) => {
                self.overflows += 1;
                self.synchroniser.reset();
                warn!(tuner = self.tuner.name, overflows = self.overflows, "packets lost: read too late");
                Ok(false)
            }
            Err(error) => Err(failed(&self.tuner.stream, &error)),
        }
    }

    /// Lets these packets through from now on.
    pub(crate) fn select(&mut self, pids: &Pids) {
        self.filters.select(pids);
    }

    pub(crate) fn signal(&self) -> Signal {
        self.reception.borrow().signal
    }

    pub(crate) fn faults(&self) -> Faults {
        Faults { sync_losses: self.synchroniser.losses(), overflows: self.overflows }
    }

    /// Gives the tuner back; it is free when this returns.
    pub(crate) async fn close(self) {
        let (faults, skipped_bytes) = (self.faults(), self.synchroniser.skipped_bytes());
        let Self { tuner, reception, measuring, .. } = self;
        drop(reception);
        measuring.finish(END_PATIENCE).await;
        debug!(tuner = tuner.name, ?faults, skipped_bytes, "tuner released");
    }
}

/// The filters that are set.
struct Filters {
    demultiplexer: PathBuf,
    all: Option<Filter>,
    single: BTreeMap<u16, Filter>,
    /// What the kernel refused; told when packets are next waited for.
    refused: Option<String>,
}

impl Filters {
    fn new(demultiplexer: PathBuf) -> Self {
        Self { demultiplexer, all: None, single: BTreeMap::new(), refused: None }
    }

    /// New filters are there before old ones go, so that what both let through does not pause.
    fn select(&mut self, pids: &Pids) {
        let nothing = BTreeSet::new();
        let (every, wanted) = match pids {
            Pids::All => (true, &nothing),
            Pids::Only(wanted) if wanted.len() > MAX_FILTERS => (true, &nothing),
            Pids::Only(wanted) => (false, wanted),
        };
        if every && self.all.is_none() {
            self.all = self.open(EVERY_PID);
        }
        for pid in wanted {
            if !self.single.contains_key(pid)
                && let Some(filter) = self.open(*pid)
            {
                self.single.insert(*pid, filter);
            }
        }
        if !every {
            self.all = None;
        }
        self.single.retain(|pid, _| wanted.contains(pid));
    }

    fn open(&mut self, pid: u16) -> Option<Filter> {
        match Filter::open(&self.demultiplexer, pid) {
            Ok(filter) => Some(filter),
            Err(error) => {
                let what =
                    if pid == EVERY_PID { "the whole multiplex".to_owned() } else { format!("PID {pid}") };
                self.refused =
                    Some(format!("{}: no filter for {what}: {error}", self.demultiplexer.display()));
                None
            }
        }
    }

    fn check(&mut self) -> Result<(), String> {
        self.refused.take().map_or(Ok(()), Err)
    }
}

/// Takes the first tuner that fits and is free.
fn take_tuner(devices: &Path, input: &DvbInput) -> Result<(Tuner, Frontend), String> {
    let all = tuners(devices);
    let fits = |(adapter, frontend): &&(u8, u8)| {
        input.adapter.is_none_or(|wanted| wanted == *adapter)
            && input.frontend.is_none_or(|wanted| wanted == *frontend)
    };
    let mut refusals = Vec::new();
    for (adapter, frontend) in all.iter().filter(fits) {
        let tuner = Tuner::new(devices, *adapter, *frontend);
        match take(&tuner, input.system) {
            Ok(frontend) => return Ok((tuner, frontend)),
            Err(cause) => refusals.push(cause),
        }
    }
    if !refusals.is_empty() {
        return Err(refusals.join("; "));
    }
    let named = |(adapter, frontend): &(u8, u8)| format!("adapter{adapter}/frontend{frontend}");
    let there: Vec<String> = all.iter().map(named).collect();
    if there.is_empty() {
        let folder = devices.display();
        return Err(format!(
            "no tuner in {folder}: plug it in, and look in the kernel's log for its driver and firmware"
        ));
    }
    Err(format!("no such tuner on this host; there are {}", there.join(", ")))
}

/// Adapters and frontends, in order.
fn tuners(devices: &Path) -> Vec<(u8, u8)> {
    let numbered = |folder: &Path, prefix: &str| -> BTreeSet<u8> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let number = |name: &str| name.strip_prefix(prefix)?.parse().ok();
        entries.filter_map(|entry| number(entry.file_name().to_str()?)).collect()
    };
    let frontends = |adapter: u8| {
        let found = numbered(&devices.join(format!("adapter{adapter}")), "frontend");
        found.into_iter().map(move |frontend| (adapter, frontend))
    };
    numbered(devices, "adapter").into_iter().flat_map(frontends).collect()
}

impl Tuner {
    fn new(devices: &Path, adapter: u8, frontend: u8) -> Self {
        let folder = devices.join(format!("adapter{adapter}"));
        // Where several frontends share one demultiplexer, it is the first.
        let own = folder.join(format!("demux{frontend}")).exists();
        let node = if own { frontend } else { 0 };
        Self {
            name: format!("adapter{adapter}/frontend{frontend}"),
            frontend: folder.join(format!("frontend{frontend}")),
            demultiplexer: folder.join(format!("demux{node}")),
            stream: folder.join(format!("dvr{node}")),
        }
    }
}

/// Opens a frontend that knows the system.
fn take(tuner: &Tuner, system: DvbSystem) -> Result<Frontend, String> {
    let frontend = Frontend::open(&tuner.frontend).map_err(|error| failed(&tuner.frontend, &error))?;
    let systems = frontend.systems().map_err(|error| failed(&tuner.frontend, &error))?;
    if systems.iter().any(|known| u32::from(*known) == tuning::delivery_system(system)) {
        return Ok(frontend);
    }
    let known: Vec<String> = systems.into_iter().filter_map(tuning::system_name).collect();
    let name = frontend.name().unwrap_or_default();
    Err(format!("{} ({name}) knows {}, not {system}", tuner.name, known.join(", ")))
}

/// Brings the transponder onto the cable, tunes, and waits for a lock.
async fn tune(tuner: &Tuner, frontend: &Arc<Frontend>, input: &DvbInput) -> Result<(), String> {
    let refused = |error: io::Error| match error.raw_os_error() {
        Some(code) if code == Errno::EINVAL as i32 => {
            format!(
                "{} refuses what {} asks for: correct frequency and symbol_rate, or take another tuner",
                tuner.name, input.system
            )
        }
        _ => failed(&tuner.frontend, &error),
    };
    for step in diseqc::steps(input) {
        let frontend = frontend.clone();
        let done = match step {
            Step::Wait(time) => {
                sleep(time).await;
                Ok(())
            }
            Step::Set(property) => blocking(move || frontend.set(&[property])).await,
            Step::Message(message) => blocking(move || frontend.message(message)).await,
            Step::Burst(burst) => blocking(move || frontend.burst(burst)).await,
        };
        done.map_err(|error| format!("{}: telling the dish: {error}", tuner.name))?;
    }
    let (properties, tuned) = (tuning::properties(input), frontend.clone());
    blocking(move || tuned.set(&properties)).await.map_err(refused)?;
    let clock = Clock::start();
    let begun = clock.now();
    loop {
        let asked = frontend.clone();
        let status = blocking(move || asked.status()).await.map_err(refused)?;
        let waited = clock.now().since(begun);
        if lock::has_lock(status) {
            info!(tuner = tuner.name, milliseconds = waited.as_millis(), "tuner has a lock");
            return Ok(());
        }
        if waited >= lock::search_patience(input.system) {
            let (seconds, why) = (waited.as_secs(), lock::explain(status));
            return Err(format!("{}: no lock for {seconds} s: {why}", tuner.name));
        }
        sleep(SEARCH_INTERVAL).await;
    }
}

/// Looks after the lock until nobody listens or the tuner is given up.
async fn measure(name: String, frontend: Arc<Frontend>, system: DvbSystem, told: watch::Sender<Reception>) {
    let clock = Clock::start();
    let mut lock_watch = LockWatch::locked();
    let mut had_lock = true;
    loop {
        let asked = frontend.clone();
        let measured = blocking(move || reception(&asked, system)).await;
        let reception = match measured {
            Err(error) => Reception {
                signal: Signal { lock: false, strength_percent: None, quality_percent: None },
                lacks: None,
                lost: Some(failed(Path::new(&name), &error)),
            },
            Ok((status, signal)) => {
                let lost = lock_watch.is_lost(clock.now(), status);
                let lacks = (!signal.lock).then(|| lock::explain(status));
                let cause = lost.then(|| format!("{name} has lost its lock: {}", lock::explain(status)));
                Reception { signal, lacks, lost: cause }
            }
        };
        if had_lock != reception.signal.lock {
            had_lock = reception.signal.lock;
            info!(tuner = name, lock = had_lock, lacks = reception.lacks, "lock changed");
        }
        let over = reception.lost.is_some();
        if told.send(reception).is_err() || over {
            return;
        }
        tokio::select! {
            () = told.closed() => return,
            () = sleep(MEASURE_INTERVAL) => {}
        }
    }
}

/// What the frontend says now; measures that its driver does not make are left out.
fn reception(frontend: &Frontend, system: DvbSystem) -> io::Result<(u32, Signal)> {
    let status = frontend.status()?;
    let measure = |command: u32| frontend.get(command).ok().and_then(|data| Measure::read(&data));
    let strength =
        measure(DTV_STAT_SIGNAL_STRENGTH).or_else(|| frontend.old_strength().ok().map(Measure::Relative));
    let quality = measure(DTV_STAT_CNR).or_else(|| frontend.old_noise_ratio().ok().map(Measure::Relative));
    let signal = Signal {
        lock: lock::has_lock(status),
        strength_percent: strength.map(Measure::strength_percent),
        quality_percent: quality.map(|measure| measure.quality_percent(system)),
    };
    Ok((status, signal))
}

/// Calls a device where waiting hurts nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// What an error of a device means, and what to do.
fn failed(device: &Path, error: &io::Error) -> String {
    let device = device.display();
    let code = error.raw_os_error();
    let is = |errno: Errno| code == Some(errno as i32);
    if is(Errno::EBUSY) {
        format!(
            "{device} is in use by another program, which `fuser -v {device}` names: end it, or take another tuner"
        )
    } else if is(Errno::ENODEV) || is(Errno::ENXIO) {
        format!("{device} is gone: the tuner was unplugged, or its driver unloaded")
    } else if error.kind() == ErrorKind::PermissionDenied {
        format!(
            "{device}: permission denied; put the server's user into the group that owns it, mostly `video`"
        )
    } else {
        format!("{device}: {error}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(url: &str) -> DvbInput {
        let Ok(protocols::topology::InputUrl::Dvb(input)) = url.parse() else { panic!("{url}") };
        input
    }

    /// A folder like `/dev/dvb`, of files that are no devices.
    fn devices(nodes: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for node in nodes {
            let path = folder.path().join(node);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"").unwrap();
        }
        folder
    }

    fn refusal(folder: &Path, url: &str) -> String {
        take_tuner(folder, &input(url)).err().unwrap()
    }

    #[test]
    fn tuners_are_listed_by_number_and_a_missing_one_is_told_with_those_there() {
        let folder = devices(&[
            "adapter10/frontend0",
            "adapter2/frontend1",
            "adapter2/frontend0",
            "adapter2/net0",
            "x/y",
        ]);
        assert_eq!(tuners(folder.path()), [(2, 0), (2, 1), (10, 0)]);
        let cause = refusal(folder.path(), "dvb://adapter0?system=dvb-t&frequency=506MHz");
        assert_eq!(
            cause,
            "no such tuner on this host; there are adapter2/frontend0, adapter2/frontend1, adapter10/frontend0"
        );
        let nothing = refusal(Path::new("/nonexistent"), "dvb://?system=dvb-t&frequency=506MHz");
        assert!(nothing.starts_with("no tuner in /nonexistent: plug it in"), "{nothing}");
    }

    #[test]
    fn each_tuner_that_does_not_serve_says_why() {
        let folder = devices(&["adapter0/frontend0", "adapter0/frontend1"]);
        let cause = refusal(folder.path(), "dvb://adapter0?system=dvb-t&frequency=506MHz");
        assert_eq!(cause.matches("Inappropriate ioctl").count(), 2, "{cause}");
        assert!(cause.contains("adapter0/frontend0") && cause.contains("; "), "{cause}");
    }

    #[test]
    fn frontends_that_share_a_demultiplexer_use_the_first() {
        let folder = devices(&[
            "adapter0/frontend0",
            "adapter0/frontend1",
            "adapter0/demux0",
            "adapter1/frontend1",
            "adapter1/demux1",
        ]);
        let node = |adapter, frontend| Tuner::new(folder.path(), adapter, frontend).stream;
        assert!(node(0, 1).ends_with("adapter0/dvr0"));
        assert!(node(1, 1).ends_with("adapter1/dvr1"));
    }

    #[test]
    fn errors_of_devices_say_what_to_do() {
        let cause = |errno: Errno| {
            failed(Path::new("/dev/dvb/adapter0/frontend0"), &io::Error::from_raw_os_error(errno as i32))
        };
        assert!(
            cause(Errno::EBUSY)
                .contains("in use by another program, which `fuser -v /dev/dvb/adapter0/frontend0` names")
        );
        assert!(cause(Errno::ENODEV).contains("is gone: the tuner was unplugged"));
        assert!(cause(Errno::EACCES).contains("mostly `video`"));
    }

    #[test]
    fn filters_that_the_kernel_refuses_are_told_once() {
        let folder = devices(&["adapter0/demux0"]);
        let mut filters = Filters::new(folder.path().join("adapter0/demux0"));
        filters.select(&Pids::Only([17].into()));
        let cause = filters.check().unwrap_err();
        assert!(cause.contains("no filter for PID 17"), "{cause}");
        filters.select(&Pids::Only((0..=31).collect()));
        let cause = filters.check().unwrap_err();
        assert!(cause.contains("no filter for the whole multiplex"), "{cause}");
        assert_eq!(filters.check(), Ok(()));
    }
}
