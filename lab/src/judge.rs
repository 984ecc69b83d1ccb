//! Judges that did not come from us: ffprobe, ffmpeg, GStreamer, tshark, VLC, mpv.
//!
//! Each is shown to go red on a damaged stream in `tests/live/judges.rs`; only then does its green count.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::command::Command;
use crate::host::Host;
use crate::lan::Lan;
use crate::packets;
use crate::pcap::Pcap;
use crate::process::Process;

/// Longest that a player may take to end after it was asked to.
const END_LIMIT: Duration = Duration::from_secs(10);

/// One elementary stream, as ffprobe sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// `h264`, `aac`, …
    pub codec: String,
    /// Frames that it could cut out, whole or not.
    pub packets: u64,
}

/// What ffprobe says about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// In the order of the programme map.
    pub streams: Vec<Stream>,
    /// Its complaints, at level error.
    pub complaints: Vec<String>,
}

/// ffprobe's list of streams in `file`.
pub fn probe(file: &Path) -> Probe {
    let entries =
        "ffprobe -v error -count_packets -show_entries stream=index,codec_name,nb_read_packets -of csv=p=0";
    let output = Command::line(entries).arg(file).output();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // Each stream is listed twice: within its programme, and by itself.
    let mut streams: BTreeMap<u32, Stream> = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.split(',');
        let (Some(index), Some(codec), Some(packets)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let Ok(index) = index.parse() else { continue };
        streams.insert(index, Stream { codec: codec.into(), packets: packets.parse().unwrap_or(0) });
    }
    let streams = streams.into_values().collect();
    Probe { streams, complaints: lines(&output.stderr) }
}

/// Everything that ffmpeg complains about, at level warning, while it decodes `file` from its first random access point to
/// its last whole pictures and sounds (see [`packets::decodable`]): empty for a clean recording, wherever it was cut.
pub fn decode(file: &Path) -> Vec<String> {
    let recording = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let trimmed = file.with_extension("decodable.ts");
    std::fs::write(&trimmed, packets::decodable(&recording)).expect("the lab's folder is writable");
    let output =
        Command::line("ffmpeg -nostdin -v warning -i").arg(&trimmed).args(["-f", "null", "-"]).output();
    let mut complaints = lines(&output.stderr);
    if !output.status.success() {
        complaints.push(format!("ffmpeg ended with {}", output.status));
    }
    complaints
}

/// How the datagrams of a capture carry MPEG-TS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carriage {
    /// RTP, payload type 33.
    Rtp,
    /// Transport stream packets alone.
    Raw,
}

/// One RTP stream, as tshark's analysis sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct RtpStream {
    /// Synchronisation source.
    pub ssrc: u32,
    /// Received.
    pub packets: u64,
    /// By the gaps of sequence numbers.
    pub lost: i64,
    /// Longest time between two packets, in ms.
    pub max_delta_ms: f64,
    /// RFC 3550 jitter, in ms.
    pub max_jitter_ms: f64,
    /// tshark's mark for a stream with anything out of order or missing.
    pub problems: bool,
}

/// tshark's RTP analysis of what `pcap` holds to or from `port`.
pub fn rtp_streams(pcap: &Pcap, port: u16) -> Vec<RtpStream> {
    let table = tshark(pcap, port, Carriage::Rtp, &["-q", "-z", "rtp,streams"]);
    table.lines().filter_map(rtp_stream).collect()
}

/// Packets lost at a continuity counter, over all packet identifiers, as tshark counts them.
pub fn continuity_lost(pcap: &Pcap, port: u16, carriage: Carriage) -> u64 {
    let skips =
        tshark(pcap, port, carriage, &["-Y", "mp2t.cc.drop", "-T", "fields", "-e", "mp2t.analysis.skips"]);
    skips.split([',', '\n']).filter_map(|skip| skip.trim().parse::<u64>().ok()).sum()
}

/// A program that records a stream, or plays it, on a host.
#[derive(Debug)]
pub struct Recorder {
    process: Process,
    file: PathBuf,
}

impl Recorder {
    /// Bytes recorded so far.
    pub fn bytes(&self) -> u64 {
        self.file.metadata().map_or(0, |file| file.len())
    }

    /// What it records into.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The program, to look into its log.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Ends it as Ctrl-C would and gives the recording.
    pub fn finish(mut self) -> PathBuf {
        self.process.interrupt(END_LIMIT);
        self.file.clone()
    }
}

/// GStreamer's RTP receiver on `host`: joins `from` on `lan`, reorders within 200 ms, takes the transport stream out of the
/// RTP and writes it, every byte, to a file.
pub fn gstreamer_rtp(host: &Host, lan: &Lan, from: SocketAddr) -> Recorder {
    let file = recording(host, "gstreamer");
    let caps = "application/x-rtp,media=video,clock-rate=90000,encoding-name=MP2T,payload=33";
    let process = host.spawn(
        Command::line("gst-launch-1.0 -e udpsrc buffer-size=4000000")
            .args([&format!("address={}", from.ip()), &format!("port={}", from.port())])
            .args([&format!("multicast-iface={}", lan.name()), &format!("caps={caps}")])
            .args("! rtpjitterbuffer latency=200 ! rtpmp2tdepay ! filesink buffer-mode=unbuffered".split(' '))
            .arg(format!("location={}", file.display())),
    );
    started(process, file, "Setting pipeline to PLAYING")
}

/// As [`gstreamer_rtp`], with a session around it that speaks RTP's profile with feedback (RFC 4585) and 500 ms for what is
/// late: what is missing is asked for by generic NACKs, if there is somebody to send them to.
pub fn gstreamer_avpf(host: &Host, lan: &Lan, from: SocketAddr, asks: Option<SocketAddr>) -> Recorder {
    let file = recording(host, "gstreamer");
    let caps = "application/x-rtp,media=video,clock-rate=90000,encoding-name=MP2T,payload=33";
    // The way in is named first: without it there is no pad to take the media from.
    let mut command = Command::line(
        "gst-launch-1.0 -e rtpbin name=session rtp-profile=avpf do-retransmission=true latency=500",
    )
    .args(["udpsrc", "buffer-size=4000000", &format!("address={}", from.ip())])
    .args([&format!("port={}", from.port()), &format!("multicast-iface={}", lan.name())])
    .args([&format!("caps={caps}"), "!", "session.recv_rtp_sink_0"])
    .args("session. ! rtpmp2tdepay ! filesink buffer-mode=unbuffered".split(' '))
    .arg(format!("location={}", file.display()));
    if let Some(to) = asks {
        command = command
            .args("session.send_rtcp_src_0 ! udpsink sync=false async=false".split(' '))
            .args([&format!("host={}", to.ip()), &format!("port={}", to.port())]);
    }
    started(host.spawn(command), file, "Setting pipeline to PLAYING")
}

/// GStreamer's receiver of bare transport stream datagrams: joins `from` on `lan` and writes every byte to a file.
pub fn gstreamer_raw(host: &Host, lan: &Lan, from: SocketAddr) -> Recorder {
    let file = recording(host, "gstreamer");
    let process = host.spawn(
        Command::line("gst-launch-1.0 -e udpsrc buffer-size=4000000")
            .args([&format!("address={}", from.ip()), &format!("port={}", from.port())])
            .arg(format!("multicast-iface={}", lan.name()))
            .args("! filesink buffer-mode=unbuffered".split(' '))
            .arg(format!("location={}", file.display())),
    );
    started(process, file, "Setting pipeline to PLAYING")
}

/// VLC on `host`, as nobody: records what `url` (`rtp://@239.1.1.1:5004`, `udp://@…`, `http://…`) gives, muxed anew by VLC.
pub fn vlc(host: &Host, lan: &Lan, url: &str) -> Recorder {
    let file = recording(host, "vlc");
    let home = file.with_extension("home");
    std::fs::create_dir(&home).expect("a home for VLC");
    rustix::fs::chmod(&home, rustix::fs::Mode::from_raw_mode(0o777))
        .expect("own folder can be opened to all");
    let process = host.spawn(
        Command::line("cvlc -I dummy -vv --no-color --miface")
            .args([lan.name(), url, "--sout"])
            .arg(format!("#std{{access=file,mux=ts,dst={}}}", file.display()))
            .env("HOME", &home)
            .as_nobody(),
    );
    started(process, file, "VLC media player")
}

/// What a running [`vlc`] has said so far about packets that did not arrive.
pub fn vlc_complaints(vlc: &mut Recorder) -> Vec<String> {
    let complains = |line: &&str| line.contains("discontinuity") || line.contains("lost");
    vlc.process.log().lines().filter(complains).map(String::from).collect()
}

/// What mpv made of a stream.
#[derive(Debug)]
pub struct Playing {
    process: Process,
}

impl Playing {
    /// Waits until mpv has shown as many pictures as it was asked to, and gives its complaints (level warning and worse).
    /// Fails the test after `limit`.
    pub fn finish(mut self, limit: Duration) -> Vec<String> {
        let status = self.process.wait_exit(limit);
        let mut complaints = self
            .process
            .log()
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(String::from)
            .collect::<Vec<_>>();
        if !status.success() {
            complaints.push(format!("mpv ended with {status}"));
        }
        complaints
    }
}

/// mpv on `host` decodes `pictures` pictures of `url` without showing them.
pub fn mpv(host: &Host, url: &str, pictures: u32) -> Playing {
    let line = "mpv --no-config --vo=null --ao=null --really-quiet=no --term-status-msg= --msg-level=all=warn,statusline=no";
    Playing { process: host.spawn(Command::line(line).arg(format!("--frames={pictures}")).arg(url)) }
}

fn recording(host: &Host, by: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    host.namespace().ground().folder().join(format!("{number:03}-{}-{by}.ts", host.name()))
}

fn started(mut process: Process, file: PathBuf, sign: &str) -> Recorder {
    process.wait_for_line(sign, END_LIMIT);
    Recorder { process, file }
}

fn tshark(pcap: &Pcap, port: u16, carriage: Carriage, rest: &[&str]) -> String {
    let protocol = if carriage == Carriage::Rtp { "rtp" } else { "mp2t" };
    let command =
        Command::line("tshark -r").arg(&pcap.file).arg("-d").arg(format!("udp.port=={port},{protocol}"));
    command.args(rest).succeed()
}

/// One line of tshark's table: start end source port destination port ssrc payload packets lost (percent%) …
fn rtp_stream(line: &str) -> Option<RtpStream> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let ssrc_at = fields.iter().position(|field| field.starts_with("0x"))?;
    let ssrc = u32::from_str_radix(fields[ssrc_at].trim_start_matches("0x"), 16).ok()?;
    let percent_at = fields.iter().position(|field| field.starts_with('('))?;
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    Some(RtpStream {
        ssrc,
        packets: fields.get(percent_at.checked_sub(2)?)?.parse().ok()?,
        lost: fields.get(percent_at - 1)?.parse().ok()?,
        // min, mean and max of delta, then of jitter.
        max_delta_ms: number(percent_at + 3),
        max_jitter_ms: number(percent_at + 6),
        problems: fields.last() == Some(&"X"),
    })
}

fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes).lines().filter(|line| !line.trim().is_empty()).map(String::from).collect()
}
