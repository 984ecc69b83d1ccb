//! Nothing that the catalogue has listed is lost, whatever is killed, and whenever.
#![expect(
    clippy::disallowed_methods,
    reason = "the test dates its kills by the wall clock, as marks are dated"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lab::site::{Daemon, READY_LIMIT, Site};
use lab::{Command, Host, Lab, Process, packets, timeline};

use crate::replication::{Range, end_of, folder, indexes, listed, segments, site, start};

const PATIENCE: Duration = Duration::from_mins(1);
/// Kills instead of [`KILLS`]: `MASTHEAD_KILLS=200`.
const KILLS_VARIABLE: &str = "MASTHEAD_KILLS";
const KILLS: u32 = 3;
/// Seed of the moments instead of a new one: `MASTHEAD_KILLS_SEED=7`.
const SEED_VARIABLE: &str = "MASTHEAD_KILLS_SEED";
/// A kill comes so long after the last, at random.
const CALM_MS: std::ops::Range<u64> = 300..4_000;
/// What is played while they are killed was on the air so long ago.
const BEHIND: Duration = Duration::from_secs(8);
/// Played after the last kill.
const CALM_AT_END: Duration = Duration::from_secs(4);
/// The stated loss bound at the live edge, and what a noisy machine may add until a packet is dated, copied, flushed.
const LOSS_BOUND: Duration = Duration::from_millis(2_300);
const NOISE: Duration = Duration::from_secs(5);

/// Draws numbers that follow from a seed (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut drawn = self.0;
        drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (drawn ^ (drawn >> 31)) % end
    }
}

/// What was listed at any time, as one row of spans.
#[derive(Debug, Default)]
struct Remembered(BTreeMap<String, String>);

impl Remembered {
    fn add(&mut self, ranges: &[Range]) {
        for range in ranges {
            let (from, to) = (sortable(&range.from), sortable(&range.to));
            let known = self.0.entry(from).or_default();
            if *known < to {
                *known = to;
            }
        }
    }

    /// Spans that `now` does not cover.
    fn lost(&self, now: &[Range]) -> Vec<(String, String)> {
        let mut now: Vec<(String, String)> =
            now.iter().map(|range| (sortable(&range.from), sortable(&range.to))).collect();
        now.sort();
        let lost = |(from, to): &(&String, &String)| {
            let mut reached = (*from).clone();
            for (next_from, next_to) in &now {
                if *next_from <= reached && *next_to > reached {
                    reached.clone_from(next_to);
                }
            }
            reached < **to
        };
        self.0.iter().filter(lost).map(|(from, to)| (from.clone(), to.clone())).collect()
    }
}

/// A time of the list with all digits of its milliseconds, so that texts sort as times do.
fn sortable(time: &str) -> String {
    let (seconds, fraction) =
        time.trim_end_matches('Z').split_once('.').unwrap_or((time.trim_end_matches('Z'), ""));
    format!("{seconds}.{fraction:0<3}")
}

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Where the newest complete segment ends, ms since 1970, of those that ended by `by_ms`.
fn newest_end_ms(folder: &Path, by_ms: u64) -> Option<u64> {
    let complete = indexes(folder).into_iter().filter_map(|index| {
        let bytes = fs::read(index).ok()?;
        end_of(&bytes).map(|end| u64::from_le_bytes(*end[16..].first_chunk().unwrap()))
    });
    complete.filter(|end_ms| *end_ms <= by_ms).max()
}

/// One that is killed, and comes back.
struct Victim {
    daemon: Daemon,
    process: Process,
    folder: Option<PathBuf>,
}

impl Victim {
    /// Kills it and starts it again. How much of what it recorded is gone, in ms.
    fn kill(&mut self) -> Option<u64> {
        let killed_ms = now_ms();
        self.process.kill9();
        self.process.restart();
        let folder = self.folder.as_ref()?;
        self.process.wait_for_line("ready", READY_LIMIT);
        let end_ms = newest_end_ms(folder, killed_ms + 1_000)?;
        Some(killed_ms.saturating_sub(end_ms))
    }
}

/// Goal: of what the catalogue has listed nothing is missing or differs, after SIGKILLs of push servers and the database server at
/// random moments while they record and somebody plays; at the live edge no more is gone than is stated; who plays plays on.
/// Method: one victim after another, chosen and timed by a seed; what is listed is remembered before each kill. Meanwhile a viewer
/// plays what was on the air a little before. At the end all that was listed must be listed still; both push servers must hold the same
/// packets, byte for byte, and each segment must be sound. (Not the same files: what one cut at its death may lie whole in a segment
/// of the other. And what both had not made last when they died one soon after the other, nobody has: so what was played need not be
/// all that was recorded, nor the other way round.)
#[test]
fn nothing_that_was_listed_is_lost_by_kills_at_random_moments() {
    const NAME: &str = "nothing_that_was_listed_is_lost_by_kills_at_random_moments";
    let Some(lab) = Lab::open(NAME, &[]) else { return };
    let number =
        |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a whole number"));
    let kills = number(KILLS_VARIABLE).unwrap_or(u64::from(KILLS));
    let seed = number(SEED_VARIABLE).unwrap_or_else(now_ms);
    lab.note(format_args!("{kills} kills; {SEED_VARIABLE}={seed}"));
    let site = site(&lab);
    let viewer = site.viewer("anna", &site.room);
    let mut victims = start_all(&site);
    let mut acquisition = site.start(Daemon::Acquisition);
    timeline::until("something is listed", PATIENCE, || {
        timeline::lasts(Duration::from_secs(3));
        acquisition.kill9();
        acquisition.restart();
        listed(&site, &viewer).is_some_and(|listed| !listed.ranges.is_empty())
    });

    timeline::lasts(BEHIND + Duration::from_secs(2));
    let played = site.lab.path("played.ts");
    let mut player = viewer.spawn(
        site.client(&viewer)
            .args(["play", "1", "--speed", "normal", "--to", "+3h", "--from"])
            .arg(format!("-{}s", BEHIND.as_secs()))
            .arg("--output")
            .arg(&played),
    );
    let (mut dice, mut remembered, mut losses_ms) = (Dice(seed), Remembered::default(), Vec::new());
    for kill in 0..kills {
        timeline::lasts(Duration::from_millis(CALM_MS.start + dice.below(CALM_MS.end - CALM_MS.start)));
        let victim = usize::try_from(dice.below(3)).unwrap();
        remember(&site, &viewer, &mut remembered);
        let daemon = victims[victim].daemon;
        let lost_ms = victims[victim].kill();
        println!("kill {kill}: {daemon:?}, {lost_ms:?} ms gone");
        losses_ms.extend(lost_ms);
    }
    remember(&site, &viewer, &mut remembered);
    timeline::lasts(CALM_AT_END);
    assert!(player.is_running(), "{}", player.last_words());
    player.interrupt(PATIENCE);

    // What grows is completed by another life of the acquisition server; then all is to become equal.
    for victim in &mut victims {
        timeline::until("it runs", PATIENCE, || victim.process.is_running());
    }
    let folders: Vec<&PathBuf> = victims.iter().filter_map(|victim| victim.folder.as_ref()).collect();
    let sources: BTreeSet<u32> =
        folders.iter().flat_map(|folder| indexes(folder)).map(|index| source_of(&index)).collect();
    acquisition.kill9();
    acquisition.restart();
    let mut last = [Packets::new(), Packets::new()];
    timeline::until("both hold the same packets", PATIENCE, || {
        timeline::lasts(Duration::from_secs(1));
        last = [packets_in(folders[0]), packets_in(folders[1])];
        // The source that came last is still being recorded.
        last.iter_mut().for_each(|all| all.retain(|(ssrc, _), _| sources.contains(ssrc)));
        last[0].keys().eq(last[1].keys())
            && last[0].keys().map(|(ssrc, _)| *ssrc).collect::<BTreeSet<u32>>() == sources
            && !folders.iter().any(|folder| sources.iter().any(|ssrc| grows(folder, *ssrc)))
    });
    let differing = last[0].iter().filter(|(number, packet)| last[1].get(number) != Some(packet)).count();
    assert_eq!(differing, 0, "packets of one number differ");
    compare_played(&lab, &last[0], &played);
    let mut missing = Vec::new();
    timeline::until("all that was listed is listed", PATIENCE, || {
        missing = listed(&site, &viewer).map_or_else(Vec::new, |listed| remembered.lost(&listed.ranges));
        missing.is_empty()
    });
    losses_ms.sort_unstable();
    let median = losses_ms.get(losses_ms.len() / 2).copied().unwrap_or_default();
    let most = losses_ms.last().copied().unwrap_or_default();
    lab.note(format_args!(
        "{kills} kills, {} of push servers: gone at the live edge, ms: median {median}, most {most}; {} spans were listed, none is missing; {} packets at both, equal",
        losses_ms.len(),
        remembered.0.len(),
        last[0].len()
    ));
    let within = losses_ms.iter().filter(|lost| Duration::from_millis(**lost) <= LOSS_BOUND).count();
    lab.note(format_args!("{within} of {} within the stated bound of {LOSS_BOUND:?}", losses_ms.len()));
    assert!(Duration::from_millis(median) <= LOSS_BOUND + NOISE, "{losses_ms:?}");
    for victim in &mut victims {
        victim.process.terminate(PATIENCE);
    }
    for folder in victims.iter().filter_map(|victim| victim.folder.as_ref()) {
        let verified = Command::line("masthead-push-server --verify --recordings").arg(folder).output();
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
        assert!(fs::read_dir(folder.join("recordings/.incoming")).map_or(0, Iterator::count) <= 2);
    }
}

/// Tells how what was played compares with what was recorded of the source that was recorded for longest; some of it was played.
fn compare_played(lab: &Lab, recorded: &Packets, played: &Path) {
    let played = fs::read(played).unwrap();
    let source = recorded
        .keys()
        .map(|(ssrc, _)| *ssrc)
        .max_by_key(|ssrc| recorded.range((*ssrc, 0)..=(*ssrc, u64::MAX)).count());
    let source = source.expect("something was recorded");
    let stream: Vec<u8> =
        recorded.range((source, 0)..=(source, u64::MAX)).flat_map(|(_, packet)| packet).copied().collect();
    let comparison = packets::compare(&stream, &played);
    lab.note(format_args!("played meanwhile, transport packets: {comparison:?}"));
    assert!(comparison.same > 0, "{comparison:?}");
}

/// Each packet, by source and number.
type Packets = BTreeMap<(u32, u64), Vec<u8>>;

/// Every packet of complete segments under `folder`; of one number there may be several segments, which must agree.
fn packets_in(folder: &Path) -> Packets {
    let files = segments(folder);
    let mut found = Packets::new();
    for (path, index) in
        files.iter().filter(|(path, _)| path.extension().is_some_and(|suffix| suffix == "index"))
    {
        let transport = &files[&path.with_extension("ts")];
        let ssrc = u32::from_le_bytes(*index[12..].first_chunk().unwrap());
        let first = u64::from_le_bytes(*index[16..].first_chunk().unwrap());
        let mut at = 0;
        for entry in index[48..index.len() - 72].as_chunks::<12>().0 {
            let number = first + u64::from(u32::from_le_bytes(*entry[4..].first_chunk().unwrap()));
            let end = at + usize::from(entry[10]) * 188;
            let packet = transport[at..end].to_vec();
            if let Some(other) = found.get(&(ssrc, number)) {
                assert!(*other == packet, "{}: packet {number} differs", path.display());
            }
            found.insert((ssrc, number), packet);
            at = end;
        }
    }
    found
}

/// Synchronisation source of a segment, as its name says: time, source, first number.
fn source_of(index: &Path) -> u32 {
    let name = index.file_stem().unwrap().to_str().unwrap();
    u32::from_str_radix(name.split('-').nth(1).unwrap(), 16).unwrap()
}

/// Whether a segment of the source is not complete.
fn grows(folder: &Path, ssrc: u32) -> bool {
    let of_source = indexes(folder).into_iter().filter(|index| source_of(index) == ssrc);
    of_source.into_iter().any(|index| fs::read(index).map_or(true, |index| end_of(&index).is_none()))
}

fn start_all(site: &Site) -> Vec<Victim> {
    let mut database = site.start(Daemon::Database);
    database.wait_for_line("ready", READY_LIMIT);
    let mut victims = vec![Victim { daemon: Daemon::Database, process: database, folder: None }];
    for (daemon, name) in [(Daemon::Hall, "hall"), (Daemon::Annex, "annex")] {
        let folder = folder(site, name);
        let process = start(site, daemon, &folder);
        victims.push(Victim { daemon, process, folder: Some(folder) });
    }
    victims
}

fn remember(site: &Site, viewer: &Host, remembered: &mut Remembered) {
    if let Some(listed) = listed(site, viewer) {
        remembered.add(&listed.ranges);
    }
}

#[test]
fn a_span_is_lost_unless_spans_of_now_cover_it_without_a_gap() {
    let range = |from: &str, to: &str| Range {
        from: from.to_owned(),
        to: to.to_owned(),
        replicas: 1,
        state: "kept".to_owned(),
    };
    let mut remembered = Remembered::default();
    remembered.add(&[range("2026-11-22T05:00:00Z", "2026-11-22T05:00:10.5Z")]);
    let covered = |ranges: &[Range]| remembered.lost(ranges).is_empty();
    assert!(covered(&[range("2026-11-22T05:00:00Z", "2026-11-22T05:00:10.501Z")]));
    assert!(!covered(&[range("2026-11-22T05:00:00Z", "2026-11-22T05:00:10Z")]));
    assert!(covered(&[
        range("2026-11-22T05:00:04Z", "2026-11-22T05:01:00Z"),
        range("2026-11-22T04:59:00Z", "2026-11-22T05:00:04Z")
    ]));
    assert!(!covered(&[
        range("2026-11-22T05:00:04.001Z", "2026-11-22T05:01:00Z"),
        range("2026-11-22T04:59:00Z", "2026-11-22T05:00:04Z")
    ]));
}
