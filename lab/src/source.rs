//! A reference source: a clip made by ffmpeg, and senders of which every byte is known.

use std::fs::File;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::Lab;
use crate::command::Command;
use crate::host::Host;
use crate::packets::PACKET_BYTES;
use crate::process::Process;
use crate::timeline;

/// Transport stream packets in one datagram, as everybody does on Ethernet.
const PACKETS_PER_DATAGRAM: usize = 7;

/// A transport stream of constant rate: H.264 with a picture group per second, and AAC, made once per machine.
#[derive(Debug, Clone)]
pub struct Clip {
    /// The `.ts` file.
    pub path: PathBuf,
    /// Its constant rate.
    pub rate_bps: u64,
}

impl Clip {
    /// The packet identifier of the video, as ffmpeg numbers streams.
    pub const VIDEO_PID: u16 = 0x100;

    /// 5 Mb/s, 640 × 360, 25 pictures a second, for `seconds`. Kept between runs in the temporary folder.
    pub fn five_megabits(seconds: u32) -> Self {
        let rate_bps = 5_000_000;
        let path = std::env::temp_dir().join(format!("masthead-clip-5m-{seconds}s-1.ts"));
        let lock = File::create(path.with_extension("lock")).expect("a lock file in the temporary folder");
        lock.lock().expect("the lock of the clip");
        if !path.is_file() {
            let unfinished = path.with_extension("part");
            let start = Instant::now();
            encode(seconds, rate_bps).arg(&unfinished).succeed();
            std::fs::rename(&unfinished, &path).expect("both are in one folder");
            timeline::report(&format!("made {}", path.display()), start.elapsed());
        }
        Self { path, rate_bps }
    }

    /// At least `seconds` of the same: a clip of `each` seconds again and again, with times that go on, in the folder of `lab`.
    pub fn five_megabits_for(lab: &Lab, seconds: u64, each: u32) -> Self {
        let short = Self::five_megabits(each);
        let again = seconds / u64::from(each);
        if again == 0 {
            return short;
        }
        let path = lab.path("clip.ts");
        let rate = short.rate_bps.to_string();
        Command::line(&format!("ffmpeg -nostdin -v error -stream_loop {again} -i"))
            .arg(&short.path)
            .args(["-c", "copy", "-muxrate", &rate, "-pcr_period", "20", "-f", "mpegts"])
            .arg(&path)
            .succeed();
        Self { path, ..short }
    }

    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.path).unwrap_or_else(|error| panic!("{}: {error}", self.path.display()))
    }
}

fn encode(seconds: u32, rate_bps: u64) -> Command {
    let rate_kbps = rate_bps / 1000;
    Command::line(&format!(
        "ffmpeg -nostdin -v error -y -f lavfi -i testsrc2=s=640x360:r=25:d={seconds} -f lavfi -i sine=f=440:r=48000:d={seconds} \
         -c:v libx264 -preset ultrafast -g 25 -sc_threshold 0 -bf 0 -pix_fmt yuv420p -b:v 4200k -maxrate 4200k -bufsize 2000k \
         -x264-params nal-hrd=cbr -c:a aac -b:a 128k -muxrate {rate_kbps}k -pcr_period 20 -f mpegts"
    ))
}

/// ffmpeg on `host` playing `clip` in real time to `url`: `udp://239.1.1.1:5000?pkt_size=1316` or
/// `rtp://239.1.1.1:5000` (then RTP by ffmpeg's own packetizer). ffmpeg muxes anew: what it sent is what a capture at the
/// host shows, not the clip's bytes.
pub fn ffmpeg(host: &Host, clip: &Clip, url: &str) -> Process {
    let format = if url.starts_with("rtp:") { "rtp_mpegts" } else { "mpegts" };
    let rate = clip.rate_bps;
    host.spawn(
        Command::line("ffmpeg -nostdin -v warning -re -i")
            .arg(&clip.path)
            .args(["-c", "copy", "-muxrate"])
            .args([&rate.to_string(), "-f", format, url]),
    )
}

/// Sends a stream's own bytes as UDP datagrams of 1316 bytes at its constant rate: no header, nothing changed.
#[derive(Debug)]
pub struct Sender {
    stream: Arc<Vec<u8>>,
    sent_bytes: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sender {
    /// Begins to send `clip` from `host` to `to`, out of the LAN that the host was attached to first.
    pub fn start(host: &Host, clip: &Clip, to: SocketAddr) -> Self {
        Self::start_bytes(host, clip.bytes(), clip.rate_bps, to)
    }

    /// As [`Self::start`] for any `stream` (whole packets), at `rate_bps`.
    pub fn start_bytes(host: &Host, stream: Vec<u8>, rate_bps: u64, to: SocketAddr) -> Self {
        assert!(stream.len().is_multiple_of(PACKET_BYTES), "a transport stream is whole packets");
        let socket = host.enter(|| open(host, to));
        let (sent_bytes, ended): (Arc<AtomicUsize>, Arc<AtomicBool>) = Default::default();
        let stream = Arc::new(stream);
        let thread = std::thread::spawn({
            let (stream, sent_bytes, ended) = (stream.clone(), sent_bytes.clone(), ended.clone());
            move || pace(&socket, &stream, rate_bps, &sent_bytes, &ended)
        });
        Self { stream, sent_bytes, ended, thread: Some(thread) }
    }

    /// Bytes sent so far.
    pub fn sent_bytes(&self) -> usize {
        self.sent_bytes.load(Ordering::Relaxed)
    }

    /// Whether it has come to the end of the stream.
    pub fn is_finished(&self) -> bool {
        self.sent_bytes() == self.stream.len()
    }

    /// Ends it, and gives all bytes that it sent, in order.
    pub fn stop(mut self) -> Vec<u8> {
        self.end();
        self.stream[..self.sent_bytes()].to_vec()
    }

    fn end(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.end();
    }
}

/// Bound to the host's own address: Linux sends multicast out of the interface that has it.
fn open(host: &Host, to: SocketAddr) -> UdpSocket {
    let from = match to.ip() {
        IpAddr::V4(_) => IpAddr::V4(host.address()),
        IpAddr::V6(_) => IpAddr::V6(host.address_v6()),
    };
    let socket =
        UdpSocket::bind((from, 0)).unwrap_or_else(|error| panic!("{from} on {}: {error}", host.name()));
    socket.set_broadcast(true).expect("any UDP socket may broadcast");
    socket.connect(to).unwrap_or_else(|error| panic!("{to} from {}: {error}", host.name()));
    socket
}

fn pace(socket: &UdpSocket, stream: &[u8], rate_bps: u64, sent_bytes: &AtomicUsize, ended: &AtomicBool) {
    let start = Instant::now();
    let mut sent: u64 = 0;
    for datagram in stream.chunks(PACKETS_PER_DATAGRAM * PACKET_BYTES) {
        let due = start + Duration::from_nanos(sent * 8_000_000_000 / rate_bps);
        let now = Instant::now();
        if due > now {
            timeline::pause(due - now);
        }
        if ended.load(Ordering::Relaxed) {
            return;
        }
        // A unicast receiver that does not listen yet answers with ICMP: an error on the next send, and not our concern.
        let _ = socket.send(datagram).or_else(|_| socket.send(datagram));
        sent += datagram.len() as u64;
        sent_bytes.store(usize::try_from(sent).unwrap_or(usize::MAX), Ordering::Relaxed);
    }
}
