//! Players that people have, playing something for a while: ffmpeg, mpv, VLC, GStreamer. Nothing is shown; all is decoded.
//!
//! Each says how many pictures it made, as far as it tells, and what it complained of.

use std::time::Duration;

use crate::command::Command;
use crate::host::Host;
use crate::process::Process;

/// Longest that a player may take beyond what it was told to play: opening, buffering, ending.
const MARGIN: Duration = Duration::from_secs(25);
/// Pictures a second of everything that is played here.
const PICTURES_PER_SECOND: u64 = 25;

/// One of the players.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Player {
    /// Decodes to nothing, by the stream's own clock where it is live.
    Ffmpeg,
    /// Without screen and sound.
    Mpv,
    /// As nobody: it refuses root. With its dummy screen and sound.
    Vlc,
    /// `playbin3`, or for RTP a pipeline of its own.
    Gstreamer,
}

/// A player at work.
#[derive(Debug)]
pub struct Playing {
    player: Player,
    what: String,
    wanted: Duration,
    process: Process,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Played {
    /// Which player, and what.
    pub what: String,
    /// Pictures decoded; VLC tells only whether there was one.
    pub pictures: Option<u64>,
    /// Every line that speaks of an error, a loss or a discontinuity, and how it ended if not well.
    pub complaints: Vec<String>,
}

impl Player {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ffmpeg, Self::Mpv, Self::Vlc, Self::Gstreamer];

    /// The program to be installed for it.
    pub fn program(self) -> &'static str {
        match self {
            Self::Ffmpeg => "ffmpeg",
            Self::Mpv => "mpv",
            Self::Vlc => "cvlc",
            Self::Gstreamer => "gst-launch-1.0",
        }
    }

    /// Begins to play `url` (`http://…`, or `rtp://GROUP:PORT`) on `host` for `wanted`.
    pub fn play(self, host: &Host, url: &str, wanted: Duration) -> Playing {
        let seconds = wanted.as_secs();
        let pictures = (seconds * PICTURES_PER_SECOND).to_string();
        let command = match self {
            Self::Ffmpeg => Command::line("ffmpeg -nostdin -v warning -progress - -i").arg(url).args([
                "-t",
                &seconds.to_string(),
                "-f",
                "null",
                "-",
            ]),
            Self::Mpv => Command::line(
                "mpv --no-config --vo=null --ao=null --term-status-msg= --msg-level=all=warn,statusline=no",
            )
            .arg(format!("--frames={pictures}"))
            // It would else take the RTP for a bare transport stream.
            .arg(url.replace("rtp://", "av://rtp:rtp://")),
            Self::Vlc => {
                let home = host.namespace().ground().folder().join(format!("home-{}", host.name()));
                std::fs::create_dir_all(&home).expect("a home for VLC");
                rustix::fs::chmod(&home, rustix::fs::Mode::from_raw_mode(0o777))
                    .expect("own folder can be opened to all");
                // Its own `--run-time` does not end RTP.
                Command::line(&format!(
                    "timeout {} cvlc -I dummy -vv --no-color -V vdummy -A adummy",
                    seconds + 1
                ))
                .arg(url.replace("rtp://", "rtp://@"))
                .env("HOME", home)
                .as_nobody()
            }
            Self::Gstreamer => {
                // It is told to end from outside: two sinks would each have to count.
                let line = format!("timeout -s INT {} gst-launch-1.0 -v", seconds + 1);
                let shown = "fpsdisplaysink video-sink=fakesink text-overlay=false";
                match url.strip_prefix("rtp://").and_then(|to| to.split_once(':')) {
                    Some((group, port)) => Command::line(&line)
                        .args(["udpsrc", "buffer-size=4000000", &format!("address={group}"), &format!("port={port}")])
                        .arg("caps=application/x-rtp,media=video,clock-rate=90000,encoding-name=MP2T,payload=33")
                        .args("! rtpjitterbuffer latency=200 ! rtpmp2tdepay ! decodebin3 name=d d. !".split(' '))
                        .args("video/x-raw !".split(' '))
                        .args(shown.split(' '))
                        .args("d. ! audio/x-raw ! fakesink sync=true".split(' ')),
                    None => Command::line(&line)
                        .args(["playbin3", &format!("uri={url}"), &format!("video-sink={shown}")])
                        .arg("audio-sink=fakesink sync=true"),
                }
            }
        };
        let what = format!("{self:?} {url}");
        Playing { player: self, what, wanted, process: host.spawn(command) }
    }
}

impl Playing {
    /// Waits until it has played as long as it was to.
    pub fn finish(mut self) -> Played {
        let status = self.process.wait_exit(self.wanted + MARGIN);
        let log = self.process.log();
        let mut complaints: Vec<String> =
            log.lines().filter(|line| self.player.complains(line)).map(String::from).collect();
        // `timeout` ends with 124 when it had to end the player, which here is as it should be.
        let ended_for_it = matches!(self.player, Player::Vlc | Player::Gstreamer);
        let well = status.success() || ended_for_it && status.code() == Some(124);
        if !well {
            complaints.push(format!("ended with {status}"));
        }
        Played { what: self.what, pictures: self.player.pictures(&log), complaints }
    }
}

impl Player {
    fn complains(self, line: &str) -> bool {
        let speaks_of = |words: &[&str]| words.iter().any(|word| line.to_ascii_lowercase().contains(word));
        // Who joins a group in the middle of a picture group has no parameter sets until the next one begins.
        if speaks_of(&[
            "non-existing pps",
            "non-existing sps",
            "decode_slice_header error",
            "no frame!",
            "last message repeated",
        ]) {
            return false;
        }
        match self {
            // What it says at this level is a complaint; its progress is key=value.
            // FFmpeg reads a playlist's initialisation section anew with each playlist.
            Self::Ffmpeg => !line.trim().is_empty() && !is_progress(line) && !speaks_of(&["duplicated moov"]),
            Self::Mpv => !line.trim().is_empty() && !speaks_of(&["duplicated moov"]),
            // Without a desktop it misses its desktop's interfaces.
            Self::Vlc => {
                speaks_of(&[" error:", "discontinuity", "lost", "corrupt"])
                    && !speaks_of(&["interface error", "interface \"", "libvlc debug", "dbus"])
                    // It finds out at the start how much to buffer, and that a live stream's first fragment is not number 0.
                    && !speaks_of(&["pts_delay increased", "fragment sequence discontinuity detected 1 != 0"])
            }
            Self::Gstreamer => {
                // RTCP comes at the port of the RTP (RFC 5761), which `rtpjitterbuffer` drops with a warning.
                speaks_of(&["error", "warning", "critical"])
                    && !speaks_of(&[
                        "padname sink is not unique",
                        "rtpjitterbuffer0: could not decode stream",
                    ])
            }
        }
    }

    fn pictures(self, log: &str) -> Option<u64> {
        let behind = |mark: &str| {
            let rest = log.rsplit_once(mark)?.1.trim_start();
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        };
        match self {
            Self::Ffmpeg => behind("frame="),
            // It ends when it has shown as many as it was told to.
            Self::Mpv => None,
            Self::Vlc => log.contains("Received first picture").then_some(1),
            Self::Gstreamer => behind("rendered:"),
        }
    }
}

fn is_progress(line: &str) -> bool {
    let key = line.split('=').next().unwrap_or_default();
    line.contains('=') && !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_told_from_progress_and_missing_desktops() {
        assert!(
            !Player::Ffmpeg.complains("frame=750") && Player::Ffmpeg.complains("[mpegts] corrupt packet")
        );
        assert!(!Player::Vlc.complains("[00] main interface error: no suitable interface module"));
        assert!(Player::Vlc.complains("[00] ts demux warning: discontinuity received 0x5 instead of 0x4"));
        assert!(Player::Vlc.complains("[00] http stream error: cannot connect to 127.0.0.1:8899"));
        assert!(Player::Gstreamer.complains("ERROR: from element /GstPlayBin3"));
    }

    #[test]
    fn pictures_are_counted_from_what_is_said_last() {
        assert_eq!(Player::Ffmpeg.pictures("frame=1\nfps=0\nframe=750\nprogress=end"), Some(750));
        assert_eq!(Player::Gstreamer.pictures("x rendered: 184, dropped: 0, current: 25.01"), Some(184));
        assert_eq!(Player::Vlc.pictures("nothing"), None);
    }
}
