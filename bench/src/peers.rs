//! The programs that people use today for the same job, as they are installed here: receive one RTP stream of MPEG-TS, send
//! it to any number of destinations.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

use lab::skip::find;
use lab::{Command, Host, Process, timeline};

use std::time::Duration;

/// What a peer sends as its input: a unicast address on loopback for programs that carry all destinations in one process.
pub const INPUT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 5_000);
/// A group on loopback, for programs of which each destination needs a process of its own.
pub const INPUT_GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 255, 0, 1), 5_000);
/// More processes of one peer than this make a machine of a few cores measure its scheduler.
const MAX_PROCESSES: usize = 200;
/// Outputs at which a peer that takes them on its command line still starts within a moment.
const MAX_OUTPUTS: usize = 1_000;
/// From the start of a process until it listens; nothing tells.
const START: Duration = Duration::from_millis(500);

/// A program of somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// `udpsrc ! multiudpsink`.
    Gstreamer,
    /// RTP in, RTP out, a process per destination.
    Multicat,
    /// Demultiplexes, and makes the tables anew.
    Dvblast,
    /// `-c copy`, an output per destination: demultiplexes and multiplexes anew.
    Ffmpeg,
    /// `duplicate`: demultiplexes and multiplexes anew; no RTP header at the output.
    Vlc,
    /// Datagrams as they are, a process per destination.
    Socat,
    /// UDP to HTTP.
    Udpxy,
}

impl Peer {
    /// All that are known, the usual best first.
    pub const ALL: [Self; 7] =
        [Self::Gstreamer, Self::Multicat, Self::Dvblast, Self::Ffmpeg, Self::Vlc, Self::Socat, Self::Udpxy];

    /// Its name in results and in `--peers`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gstreamer => "gstreamer",
            Self::Multicat => "multicat",
            Self::Dvblast => "dvblast",
            Self::Ffmpeg => "ffmpeg",
            Self::Vlc => "vlc",
            Self::Socat => "socat",
            Self::Udpxy => "udpxy",
        }
    }

    fn program(self) -> &'static str {
        match self {
            Self::Gstreamer => "gst-launch-1.0",
            Self::Vlc => "cvlc",
            other => other.name(),
        }
    }

    /// Why it cannot be measured, and what to do about it; `None` when it can.
    pub fn obstacle(self) -> Option<String> {
        let package = match self {
            // It answers HTTP requests: another job, which the gateway's measure compares.
            Self::Udpxy => {
                return Some("udpxy: sends HTTP over TCP only; not the same job, and not in Debian".into());
            }
            Self::Gstreamer => "gstreamer1.0-tools gstreamer1.0-plugins-good",
            Self::Vlc => "vlc-bin vlc-plugin-base",
            other => other.name(),
        };
        find(self.program())
            .is_none()
            .then(|| format!("{}: not installed; apt install {package}", self.name()))
    }

    /// Whether it is sensible to ask it for this many destinations.
    pub fn can_carry(self, destinations: usize) -> bool {
        destinations <= if self.has_process_each() { MAX_PROCESSES } else { MAX_OUTPUTS }
    }

    /// Whether every destination needs a process.
    pub fn has_process_each(self) -> bool {
        matches!(self, Self::Multicat | Self::Socat)
    }

    /// Whether what arrives carries RTP, packet for packet as it came in: then nothing may be missing. The others make a
    /// new stream, and begin when they have recognised what is in the old one.
    pub fn passes_packets_on(self) -> bool {
        matches!(self, Self::Gstreamer | Self::Multicat | Self::Socat)
    }

    /// How long the input must have run before it sends.
    pub fn warm_up(self) -> Duration {
        match self {
            Self::Ffmpeg => Duration::from_secs(7), // probes for 5 s of the stream
            Self::Vlc | Self::Dvblast => Duration::from_secs(3),
            _ => Duration::from_millis(500),
        }
    }

    /// Where the source must send for it: on the loopback of the host that it runs on.
    pub fn input(self) -> SocketAddrV4 {
        if self.has_process_each() { INPUT_GROUP } else { INPUT }
    }

    /// The commands, all of which together carry the stream from `input` to `destinations`. May put files into `folder`.
    pub fn commands(self, input: SocketAddrV4, destinations: &[SocketAddrV4], folder: &Path) -> Vec<Command> {
        let (at, port) = (input.ip(), input.port());
        match self {
            Self::Gstreamer => {
                let clients = joined(destinations, ",", SocketAddrV4::to_string);
                let line = format!(
                    "gst-launch-1.0 -q udpsrc address={at} port={port} buffer-size=4000000 ! multiudpsink"
                );
                vec![Command::line(&line).args([&format!("clients={clients}"), "sync=false", "async=false"])]
            }
            Self::Multicat => each(destinations, |to| {
                let interface = if at.is_multicast() { "/ifaddr=127.0.0.1" } else { "" };
                format!("multicat @{input}{interface} {to}")
            }),
            Self::Socat => each(destinations, |to| {
                let group = format!(",reuseaddr,ip-add-membership={at}:127.0.0.1");
                let group = if at.is_multicast() { group } else { String::new() };
                format!("socat -u UDP4-RECV:{port},bind={at},rcvbuf=4000000{group} UDP4-SENDTO:{to}")
            }),
            Self::Dvblast => {
                let outputs = folder.join("dvblast.conf");
                write(&outputs, &joined(destinations, "\n", |to| format!("{to} 1 1")));
                vec![Command::line(&format!("dvblast -D {input} -c")).arg(outputs)]
            }
            Self::Ffmpeg => {
                let session = folder.join("ffmpeg.sdp");
                write(&session, &session_description(input));
                let inputs = Command::line("ffmpeg -nostdin -v error -protocol_whitelist file,udp,rtp -i")
                    .arg(session);
                let output = |to: &SocketAddrV4| {
                    ["-map", "0", "-c", "copy", "-f", "rtp_mpegts"]
                        .map(String::from)
                        .into_iter()
                        .chain([format!("rtp://{to}")])
                };
                vec![inputs.args(destinations.iter().flat_map(output))]
            }
            Self::Vlc => {
                let outputs =
                    joined(destinations, ",", |to| format!("dst=std{{access=udp,mux=ts,dst={to}}}"));
                let line = format!("cvlc -q --no-dbus rtp://@{input} --sout");
                vec![
                    Command::line(&line)
                        .arg(format!("#duplicate{{{outputs}}}"))
                        .env("HOME", folder)
                        .as_nobody(),
                ]
            }
            Self::Udpxy => Vec::new(),
        }
    }

    /// Starts it on `host`, whose `lo` carries [`INPUT_GROUP`] (see [`prepare`]), and lets it begin to listen.
    pub fn start(self, host: &Host, destinations: &[SocketAddrV4], folder: &Path) -> Vec<Process> {
        let commands = self.commands(self.input(), destinations, folder);
        let processes = commands.into_iter().map(|command| host.spawn(command)).collect();
        timeline::lasts(START);
        processes
    }
}

/// Lets groups of inputs stay on the loopback of `host`.
pub fn prepare(host: &Host) {
    host.run("ip route replace 239.255.0.0/16 dev lo");
}

/// The peers that can be measured out of those that are wanted, and for each other one why not.
pub fn present(wanted: impl Fn(&str) -> bool) -> (Vec<Peer>, Vec<String>) {
    let (mut present, mut missing) = (Vec::new(), Vec::new());
    for peer in Peer::ALL.into_iter().filter(|peer| wanted(peer.name())) {
        match peer.obstacle() {
            None => present.push(peer),
            Some(reason) => missing.push(reason),
        }
    }
    (present, missing)
}

fn each(destinations: &[SocketAddrV4], line: impl Fn(&SocketAddrV4) -> String) -> Vec<Command> {
    destinations.iter().map(|to| Command::line(&line(to))).collect()
}

fn joined(destinations: &[SocketAddrV4], between: &str, word: impl Fn(&SocketAddrV4) -> String) -> String {
    destinations.iter().map(word).collect::<Vec<_>>().join(between)
}

fn session_description(input: SocketAddrV4) -> String {
    let (at, port) = (input.ip(), input.port());
    let mut text = format!("v=0\no=- 0 0 IN IP4 {at}\ns=bench\nc=IN IP4 {at}\nt=0 0\n");
    let _ = write!(text, "m=video {port} RTP/AVP 33\na=rtpmap:33 MP2T/90000\n");
    text
}

fn write(file: &Path, text: &str) {
    std::fs::write(file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}
