//! What each hot path costs, against what it is allowed: instructions, counted by callgrind, and allocations. Neither
//! depends on how busy the machine is, so both are gates.
//!
//! A path that costs more on purpose, or less by good work, is given another line in [`ALLOWED`]; the failure says what
//! the line should be. The counts are those of the release profile on `x86_64` with the compiler that CI uses.

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

use hot_paths::{HotPath, all};

mod heap;

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

/// What one hot path may cost.
struct Allowed {
    name: &'static str,
    /// For each unit; more than [`TOLERANCE_PERCENT`] above fails.
    instructions: u64,
    /// For each thousand units; one more fails.
    allocations_per_1000: u64,
}

const fn allowed(name: &'static str, instructions: u64, allocations_per_1000: u64) -> Allowed {
    Allowed { name, instructions, allocations_per_1000 }
}

/// One line for each hot path.
const ALLOWED: &[Allowed] = &[
    allowed("deframer", 449, 0),
    allowed("ring", 73, 0),
    allowed("path-suspended", 317, 0),
    allowed("path-1-destination", 436, 0),
    allowed("path-1-destination-repaired", 436, 0),
    allowed("path-50-destinations", 4_665, 0),
    allowed("interest", 14_226, 3_680),
    allowed("topology", 509, 0),
    allowed("ts-header", 63, 0),
    allowed("psi-section", 497, 0),
    allowed("random-access", 294, 0),
    allowed("acquire", 310, 0),
    allowed("health", 224, 0),
    allowed("feed", 2_506, 0),
    allowed("reassembly", 2_621, 0),
    allowed("reassembly-swapped", 2_596, 0),
    allowed("reassembly-twice", 1_955, 0),
    allowed("encode", 3_941, 7_000),
    allowed("decode", 5_491, 5_000),
];

/// What a count may be above its line before it fails, for compilers that differ a little.
const TOLERANCE_PERCENT: u64 = 5;
/// A count so far below its line is told, so that the line is brought down and the gain is kept.
const STALE_PERCENT: u64 = 15;
/// Done before anything is counted: tables have grown to their size by then.
const WARM_UP_STEPS: u64 = 3_000;
const COUNTED_STEPS: u64 = 1_000;
/// The C library's copies use no wider registers and no string instructions: the same count on every processor.
const SAME_COPIES: &str = "glibc.cpu.hwcaps=-AVX2,-AVX,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM,-AVX2_Usable";

#[test]
fn every_hot_path_has_an_allowance_and_every_allowance_a_path() {
    let paths: Vec<&str> = all().iter().map(|path| path.name).collect();
    let lines: Vec<&str> = ALLOWED.iter().map(|line| line.name).collect();
    assert_eq!(paths, lines);
}

#[test]
fn no_hot_path_allocates_more_than_it_is_allowed() {
    let over = all().into_iter().zip(ALLOWED).filter_map(|(path, line)| {
        let found = allocations_per_1000(path);
        println!("{:24} {found:>6} allocations for 1,000 × {}", path.name, path.unit);
        (found > line.allocations_per_1000)
            .then(|| format!("{path}: {found} allocations for 1,000, allowed {}", line.allocations_per_1000))
    });
    let over: Vec<String> = over.collect();
    assert!(over.is_empty(), "{}", over.join("\n"));
}

fn allocations_per_1000(path: HotPath) -> u64 {
    let mut step = (path.prepare)();
    (0..WARM_UP_STEPS).for_each(|_| step());
    let before = heap::allocations();
    (0..COUNTED_STEPS).for_each(|_| step());
    // Upwards: one allocation in all is not none.
    ((heap::allocations() - before) * 1_000).div_ceil(COUNTED_STEPS * path.units_per_step)
}

#[test]
fn no_hot_path_takes_more_instructions_than_it_is_allowed() {
    if let Err(reason) = callgrind_works() {
        // Uncaptured, and on a line of its own: `tests/run` counts it.
        let name = "no_hot_path_takes_more_instructions_than_it_is_allowed";
        let _ = write!(std::io::stderr(), "\nSKIPPED {name}: {reason}\n");
        return;
    }
    let over: Vec<String> =
        counted_by_two().into_iter().filter_map(|(path, found)| judge(path, found)).collect();
    assert!(over.is_empty(), "{}\nIf that is meant, put the new number into ALLOWED.", over.join("\n"));
}

/// Every path with its instructions for each unit, counted by two threads: most of a count is valgrind's start.
fn counted_by_two() -> Vec<(HotPath, u64)> {
    let paths = all();
    let (first, second) = paths.split_at(paths.len() / 2);
    let count = |paths: &[HotPath]| paths.iter().map(|path| (*path, instructions(*path))).collect::<Vec<_>>();
    thread::scope(|scope| {
        let others = scope.spawn(|| count(second));
        let mut counted = count(first);
        counted.extend(others.join().expect("a failed count has said why"));
        counted
    })
}

/// What is wrong with a count; prints it in any case.
fn judge(path: HotPath, found: u64) -> Option<String> {
    let line = ALLOWED.iter().find(|line| line.name == path.name)?;
    let stale = found * 100 < line.instructions * (100 - STALE_PERCENT);
    let note = if stale { "  far below: bring its line in ALLOWED down" } else { "" };
    println!(
        "{:24} {found:>6} instructions for each {}, allowed {}{note}",
        path.name, path.unit, line.instructions
    );
    (found * 100 > line.instructions * (100 + TOLERANCE_PERCENT)).then(|| {
        format!("{path}: {found} instructions for each {}, allowed {}", path.unit, line.instructions)
    })
}

/// For each unit.
fn instructions(path: HotPath) -> u64 {
    collected(path).expect("callgrind counts") / (COUNTED_STEPS * path.units_per_step)
}

fn callgrind_works() -> Result<(), String> {
    if !cfg!(target_arch = "x86_64") {
        return Err("the allowances are those of x86_64".to_owned());
    }
    match Command::new("valgrind").arg("--version").stdout(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        _ => Err("valgrind is not installed (apt-get install valgrind)".to_owned()),
    }
}

/// Instructions of all counted steps, without setting up and warming up, which may differ from run to run.
fn collected(path: HotPath) -> Result<u64, String> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*counted_steps*"])
        .arg(env!("CARGO_BIN_EXE_masthead-hot-paths"))
        .args([path.name, &WARM_UP_STEPS.to_string(), &COUNTED_STEPS.to_string()])
        .env("GLIBC_TUNABLES", SAME_COPIES)
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let count = said.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    count.filter(|count| *count > 0 && output.status.success()).ok_or_else(|| format!("{path}: {said}"))
}
