//! CPU time of processes, to the nanosecond.
//!
//! Counted is the process's CPU clock (`clock_getcpuclockid(3)`): user and system time of all of its threads, those that have
//! ended too. The kernel's work on a packet that it does within the process's system call (UDP, IP, segmentation, the
//! device) is in it; so are soft interrupts that happen to run while the process does. What `ksoftirqd` does by itself is
//! counted apart by [`SoftInterrupts`].

use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// The CPU clock of one process.
#[derive(Debug, Clone, Copy)]
pub struct CpuClock(ClockId);

impl CpuClock {
    /// The clock of the process `pid`, which must live.
    pub fn of(pid: u32) -> Self {
        let pid =
            Pid::from_raw(i32::try_from(pid).expect("the kernel's process ids are positive 32 bit numbers"));
        Self(
            clock_getcpuclockid(pid)
                .unwrap_or_else(|error| panic!("process {pid} has no CPU clock: {error}")),
        )
    }

    /// CPU time used until now.
    pub fn read(self) -> Duration {
        let time =
            clock_gettime(self.0).unwrap_or_else(|error| panic!("a measured process has ended: {error}"));
        duration(time)
    }
}

/// The CPU clocks of several processes that do one job.
#[derive(Debug, Clone)]
pub struct CpuClocks(Vec<CpuClock>);

impl CpuClocks {
    /// Clocks of the processes `pids`.
    pub fn of(pids: impl IntoIterator<Item = u32>) -> Self {
        Self(pids.into_iter().map(CpuClock::of).collect())
    }

    /// CPU time that all together have used until now.
    pub fn read(&self) -> Duration {
        self.0.iter().map(|clock| clock.read()).sum()
    }
}

/// CPU time of the kernel's `ksoftirqd` threads: work that a sender caused and nobody is charged with.
#[derive(Debug, Clone)]
pub struct SoftInterrupts(Vec<String>);

impl SoftInterrupts {
    /// Finds the threads, one per processor.
    pub fn find() -> Self {
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let is_one = |folder: &std::path::Path| {
            std::fs::read_to_string(folder.join("comm")).is_ok_and(|name| name.starts_with("ksoftirqd/"))
        };
        let found = processes.map(|entry| entry.path()).filter(|folder| is_one(folder));
        Self(found.map(|folder| folder.join("schedstat").display().to_string()).collect())
    }

    /// CPU time that they have used until now.
    pub fn read(&self) -> Duration {
        let one = |path: &String| {
            let text = std::fs::read_to_string(path).ok()?;
            text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
        };
        self.0.iter().filter_map(one).sum()
    }
}

/// Processor time, of all processors, that a hypervisor gave to other machines until now; nothing where the kernel cannot
/// tell. In steps of 10 ms.
pub fn stolen() -> Duration {
    stolen_of(&std::fs::read_to_string("/proc/stat").unwrap_or_default())
}

/// By the first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal (proc(5)).
fn stolen_of(text: &str) -> Duration {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "));
    let ticks = line.and_then(|line| line.split_whitespace().nth(7)?.parse().ok());
    Duration::from_millis(ticks.unwrap_or(0_u64) * 10)
}

fn duration(time: TimeSpec) -> Duration {
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stolen_time_is_found_in_the_kernels_table() {
        let text = "cpu  2947100 124901 429501 1572691 11297 0 28129 99889 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0";
        assert_eq!(stolen_of(text), Duration::from_millis(998_890));
        assert_eq!(stolen_of(""), Duration::ZERO);
    }

    #[test]
    fn time_of_a_thread_that_has_ended_is_counted() {
        let clock = CpuClock::of(std::process::id());
        let before = clock.read();
        let busy = std::thread::spawn(|| {
            let own = || duration(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
            while own() < Duration::from_millis(5) {}
        });
        busy.join().unwrap();
        assert!(clock.read() >= before + Duration::from_millis(5));
    }
}
