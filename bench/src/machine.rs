//! The machine that is measured on, as every result names it.

use serde::Serialize;

/// What somebody must know to compare figures with another machine's.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// Kernel release.
    pub kernel: String,
    /// Model of its processors.
    pub cpu: String,
    /// Processors that this process may use.
    pub cores: usize,
    /// Load average over the last minute as the bench begins: above 0.3 the figures will be noisy.
    pub load: f64,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Version of Masthead.
    pub version: String,
    /// Whether it was built with debug assertions: then no figure is worth anything.
    pub debug_build: bool,
}

impl Machine {
    /// This machine, now.
    pub fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let value = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':'))
                .map(|(_, value)| value.trim().to_owned())
                .unwrap_or_default()
        };
        let load = read("/proc/loadavg").split_whitespace().next().and_then(|word| word.parse().ok());
        let kib = value(&read("/proc/meminfo"), "MemTotal");
        let kib: u64 = kib.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0);
        Self {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            cpu: value(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            load: load.unwrap_or(0.0),
            memory_mib: kib / 1024,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            debug_build: cfg!(debug_assertions),
        }
    }

    /// One line.
    pub fn line(&self) -> String {
        let debug = if self.debug_build { "; DEBUG BUILD, figures mean nothing" } else { "" };
        format!(
            "Masthead {}, Linux {}, {} × {}, {} MiB, load {:.2} at the beginning{debug}",
            self.version, self.kernel, self.cores, self.cpu, self.memory_mib, self.load
        )
    }
}
