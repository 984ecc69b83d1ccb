//! Players of other people's making: found on the search path, fed through their standard input.
//!
//! A pipe rather than a local address: the player then gets each packet once and in order, whichever push server it
//! came from, and its end is noticed at once.

use std::fs::File;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::str::FromStr;

use tokio::process::{Child, Command};

use super::Error;
use super::sink::{self, Sink, Writing};

/// The players that are known, in order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Player {
    /// mpv.
    Mpv,
    /// VLC.
    Vlc,
    /// ffplay.
    Ffplay,
}

const ALL: [Player; 3] = [Player::Mpv, Player::Vlc, Player::Ffplay];

impl FromStr for Player {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = ALL.into_iter().find(|player| player.program() == text);
        known.ok_or_else(|| format!("`{text}` is no player that is known here; mpv, vlc and ffplay are"))
    }
}

impl Player {
    fn program(self) -> &'static str {
        match self {
            Self::Mpv => "mpv",
            Self::Vlc => "vlc",
            Self::Ffplay => "ffplay",
        }
    }

    fn arguments(self, title: &str) -> Vec<String> {
        let arguments: &[&str] = match self {
            Self::Mpv => &["--no-terminal", "--force-window=immediate", "--cache=no", "--title={}", "-"],
            Self::Vlc => &["--quiet", "--no-video-title-show", "--play-and-exit", "--meta-title={}", "-"],
            Self::Ffplay => &["-loglevel", "error", "-autoexit", "-window_title", "{}", "-i", "-"],
        };
        arguments.iter().map(|argument| argument.replace("{}", title)).collect()
    }
}

/// A player that runs.
#[derive(Debug)]
pub(super) struct Running {
    name: &'static str,
    child: Child,
}

/// Whether a player may write to the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    /// Its errors are shown.
    Shown,
    /// The screen is ours.
    Hidden,
}

/// The player to use: the wanted one, or the first that is there and can run.
pub(super) fn find(wanted: Option<Player>) -> Result<(Player, PathBuf), Error> {
    let root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    find_in(wanted, &search_path(), root)
}

fn find_in(wanted: Option<Player>, folders: &[PathBuf], root: bool) -> Result<(Player, PathBuf), Error> {
    let mut refused = false;
    for player in wanted.map_or_else(|| ALL.to_vec(), |player| vec![player]) {
        let Some(path) = folders.iter().map(|folder| folder.join(player.program())).find(|path| runs(path))
        else {
            continue;
        };
        if player == Player::Vlc && root {
            refused = true;
            continue;
        }
        return Ok((player, path));
    }
    Err(Error::Player(match (refused, wanted) {
        (true, _) => "VLC refuses to run as root: run this as another user, or use mpv or ffplay".to_owned(),
        (false, Some(player)) => format!("no `{}` on the search path: install it", player.program()),
        (false, None) => "no player on the search path: install mpv, VLC or ffplay (of ffmpeg)".to_owned(),
    }))
}

/// Starts `player` and feeds it by the sink that comes with it.
pub(super) fn start(
    (player, path): (Player, PathBuf),
    title: &str,
    words: Words,
) -> Result<(Running, Sink, Writing), Error> {
    let name = player.program();
    let failed = |error: std::io::Error| Error::Player(format!("{name} cannot be started: {error}"));
    let mut child = Command::new(path)
        .args(player.arguments(title))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(if words == Words::Shown { Stdio::inherit() } else { Stdio::null() })
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let stdin = child.stdin.take().ok_or_else(|| failed(std::io::Error::other("no standard input")))?;
    let pipe = stdin.into_owned_fd().map_err(failed)?;
    let (sink, writing) = sink::pipe(name.to_owned(), File::from(pipe));
    Ok((Running { name, child }, sink, writing))
}

impl Running {
    /// Waits until the player is left. One that fails says so on standard error; that is told too.
    pub(super) async fn left(&mut self) -> Result<(), Error> {
        match self.child.wait().await {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Error::Player(format!("{} ended with {status}", self.name))),
            Err(error) => Err(Error::Player(format!("{}: {error}", self.name))),
        }
    }
}

fn search_path() -> Vec<PathBuf> {
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}

fn runs(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(programs: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for program in programs {
            let path = folder.path().join(program);
            std::fs::write(&path, "#!/bin/sh\n").unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        }
        folder
    }

    #[test]
    fn the_first_player_that_can_run_is_taken() {
        let folder = folder_with(&["vlc", "ffplay"]);
        let folders = [folder.path().to_owned()];
        assert_eq!(find_in(None, &folders, false).unwrap().0, Player::Vlc);
        assert_eq!(find_in(None, &folders, true).unwrap().0, Player::Ffplay, "VLC refuses root");
        let error = find_in(Some(Player::Vlc), &folders, true).unwrap_err();
        assert!(error.to_string().contains("refuses to run as root"), "{error}");
        let error = find_in(Some(Player::Mpv), &folders, false).unwrap_err();
        assert_eq!(error.to_string(), "no `mpv` on the search path: install it");
        assert!(find_in(None, &[], false).unwrap_err().to_string().contains("install mpv, VLC or ffplay"));
    }
}
