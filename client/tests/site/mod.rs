//! A site made by hand: a directory, a push server and its media on loopback, in two threads of the test.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use link::clock::Clock;
use link::udp;
use media::Sequence;
use media::rtp::{RtpHeader, RtpPacket};
use protocols::authority::{ClusterKey, LEASE_LIFETIME, Lease};
use protocols::codec;
use protocols::guide::Event;
use protocols::ids::{BootId, ChannelId, Generation, Revision};
use protocols::p2_directory::{
    ChannelEntry, ChannelGuide, ChannelList, ChannelStatus, GuidePage, GuidePlace, GuideQuery,
    ProgrammeEntry, ProgrammeState, RecordRefusal, RecordingList, ToClient, ToDatabase, Tuning,
};
use protocols::p4_control::{INTEREST_TIMEOUT, Interest, Sealed};
use protocols::p6_broadcast::{ANNOUNCE_INTERVAL, Announcement};
use protocols::preamble::{MAX_P2_REQUEST_BYTES, PREAMBLE_BYTES, Protocol, frame_len, write_frame};
use protocols::recording::{RecordingId, Span};
use protocols::time::{ClusterTime, Time};

static NEXT_PORT: AtomicU16 = AtomicU16::new(0);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Between two packets.
const STEP: Duration = Duration::from_millis(3);

/// The site; its threads end with it.
pub(crate) struct Site {
    /// Where its directory is.
    pub(crate) directory: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    control: SocketAddr,
    destination: IpAddr,
    port: u16,
    ended: AtomicBool,
    directory_ended: AtomicBool,
    interests: AtomicU64,
    requests: Mutex<Vec<ToDatabase>>,
    /// Payload of each packet sent, by sequence number.
    sent: Mutex<BTreeMap<u16, Vec<u8>>>,
    lose: AtomicU64,
}

fn cluster() -> ClusterKey {
    ClusterKey::new([7; 32])
}

impl Site {
    /// A site whose channel 1, `News`, is sent to `destination`; 2, `Newsreel`, is inactive.
    pub(crate) fn start(destination: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let directory = listener.local_addr().unwrap();
        let control = UdpSocket::bind("127.0.0.1:0").unwrap();
        let spread = u16::try_from(std::process::id() % 500).unwrap() * 40;
        let shared = Arc::new(Shared {
            control: control.local_addr().unwrap(),
            destination: destination.parse().unwrap(),
            port: 20_000 + spread + NEXT_PORT.fetch_add(1, Ordering::Relaxed),
            ended: AtomicBool::new(false),
            directory_ended: AtomicBool::new(false),
            interests: AtomicU64::new(0),
            requests: Mutex::default(),
            sent: Mutex::default(),
            lose: AtomicU64::new(0),
        });
        let site = Arc::clone(&shared);
        std::thread::spawn(move || directory_loop(&listener, &site));
        let site = Arc::clone(&shared);
        std::thread::spawn(move || push_loop(&control, &site));
        Self { directory, shared }
    }

    /// The directory goes away: connections are refused, those that are open close.
    pub(crate) fn end_directory(&self) {
        self.shared.directory_ended.store(true, Ordering::SeqCst);
        // The listener wakes by a last connection, and is gone when the next is refused.
        while TcpStream::connect(self.directory).is_ok() {}
    }

    /// Genuine interests heard.
    pub(crate) fn interests(&self) -> u64 {
        self.shared.interests.load(Ordering::SeqCst)
    }

    /// What the directory was asked, by all clients.
    pub(crate) fn requests(&self) -> Vec<ToDatabase> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Every `n`th packet is not sent from here on; 0: all are.
    pub(crate) fn lose_every(&self, n: u64) {
        self.shared.lose.store(n, Ordering::SeqCst);
    }

    /// Whether `bytes` are payloads that were sent, whole, in order and none between missing.
    pub(crate) fn sent_without_gap(&self, bytes: &[u8]) -> bool {
        let sent = self.shared.sent.lock().unwrap();
        let all: Vec<&[u8]> = sent.values().map(Vec::as_slice).collect();
        let all = all.concat();
        !bytes.is_empty()
            && bytes.len().is_multiple_of(188)
            && all.windows(bytes.len()).step_by(188).any(|run| run == bytes)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.end_directory();
    }
}

fn directory_loop(listener: &TcpListener, site: &Arc<Shared>) {
    for stream in listener.incoming() {
        if site.directory_ended.load(Ordering::SeqCst) {
            return;
        }
        let (stream, site) = (stream.unwrap(), Arc::clone(site));
        std::thread::spawn(move || {
            let _ = serve(stream, &site);
        });
    }
}

fn serve(mut stream: TcpStream, site: &Shared) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    let mut preamble = [0; PREAMBLE_BYTES];
    stream.read_exact(&mut preamble)?;
    assert_eq!(Protocol::Directory.check(preamble), Ok(()));
    stream.write_all(&Protocol::Directory.preamble())?;
    let client = stream.peer_addr()?.ip();
    while !site.directory_ended.load(Ordering::SeqCst) {
        let mut header = [0; 4];
        match stream.read(&mut header[..1]) {
            Ok(0) => return Ok(()),
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
            {
                continue;
            }
            read => read?,
        };
        stream.read_exact(&mut header[1..])?;
        let mut body = vec![0; frame_len(header, MAX_P2_REQUEST_BYTES).unwrap()];
        stream.read_exact(&mut body)?;
        let request: ToDatabase = codec::decode_message::<_, MAX_P2_REQUEST_BYTES>(&body).unwrap();
        site.requests.lock().unwrap().push(request.clone());
        let answer = match request {
            ToDatabase::List { .. } => ToClient::Channels(site.list(client)),
            ToDatabase::Watch { channel: ChannelId(1) } => ToClient::Tuning(Box::new(site.tuning(client))),
            ToDatabase::Watch { channel } => {
                ToClient::Unavailable { channel, reason: "roof is away".to_owned() }
            }
            ToDatabase::Ping => ToClient::Pong,
            ToDatabase::Recordings { .. } => ToClient::Recordings(recordings()),
            ToDatabase::Record { channel, span, title } if title != "refused" => {
                ToClient::Recorded(Box::new(programme(channel, span, title)))
            }
            ToDatabase::Unrecord { id: id @ RecordingId(1) } => ToClient::Unrecorded { id },
            ToDatabase::Record { .. } => ToClient::RecordRefused(RecordRefusal::TooMany),
            ToDatabase::Unrecord { id } => ToClient::RecordRefused(RecordRefusal::UnknownRecording(id)),
            ToDatabase::Guide(query) => ToClient::Guide(Box::new(guide(&query))),
            _ => continue,
        };
        let mut frame = Vec::new();
        write_frame(&mut frame, &codec::encode(&answer));
        stream.write_all(&frame)?;
    }
    Ok(())
}

/// Two events of channel 1, a page each.
fn guide(query: &GuideQuery) -> GuidePage {
    let event = |id, minutes: i64, title: &str| Event {
        id,
        start_unix_s: 1_800_000_000 + minutes * 60,
        duration_s: 900,
        title: title.to_owned(),
        ..Event::default()
    };
    let channel = ChannelId(1);
    let page = |event: Event, more: bool| GuidePage {
        time: ClusterTime(1_800_000_000_000),
        more: more.then_some(GuidePlace { channel, start_unix_s: event.start_unix_s }),
        channels: vec![ChannelGuide { channel, events: vec![event] }],
    };
    match query.after {
        None => page(event(7, 0, "Morning"), true),
        Some(_) => page(event(8, 15, "Noon"), false),
    }
}

fn programme(channel: ChannelId, span: Span, title: String) -> ProgrammeEntry {
    ProgrammeEntry {
        id: RecordingId(1),
        channel,
        span,
        title,
        state: ProgrammeState::Scheduled,
        replicas: 0,
        recorders: 1,
        bytes: 0,
        missing_ms: 0,
        holes: Vec::new(),
    }
}

fn recordings() -> RecordingList {
    let span = Span { from: ClusterTime(1_800_000_000_000), to: ClusterTime(1_800_000_060_000) };
    let programmes = vec![programme(ChannelId(1), span, "News".to_owned())];
    RecordingList { programmes, ..RecordingList::default() }
}

impl Shared {
    fn tuning(&self, client: IpAddr) -> Tuning {
        let now = Clock::wall();
        let lease = Lease {
            client,
            channel: ChannelId(1),
            destination: self.destination,
            expires: now + LEASE_LIFETIME,
        };
        Tuning {
            channel: ChannelId(1),
            name: "News".to_owned(),
            destination: self.destination,
            port: self.port,
            push_server: "hall/1".parse().unwrap(),
            control: self.control,
            revision: Revision::new(1, 0),
            lease,
            secret: cluster().lease_key().secret(&lease),
            announce_key: cluster().announce_key(ChannelId(1)),
            time: now,
        }
    }

    fn list(&self, client: IpAddr) -> ChannelList {
        let news = ChannelEntry {
            id: ChannelId(1),
            name: "News".to_owned(),
            status: ChannelStatus::Active,
            tuning: Some(Box::new(self.tuning(client))),
            group: None,
            logo: None,
        };
        let reel = ChannelEntry {
            id: ChannelId(2),
            name: "Newsreel".to_owned(),
            status: ChannelStatus::Inactive { cause: "roof is away".to_owned() },
            tuning: None,
            group: None,
            logo: None,
        };
        ChannelList {
            generation: Generation(3),
            network: Some("127.0.0.0/8".to_owned()),
            offline: false,
            time: Clock::wall(),
            channels: vec![news, reel],
        }
    }

    fn is_interest(&self, datagram: &[u8], from: SocketAddr) -> bool {
        let Ok(sealed) = Sealed::parse(datagram) else { return false };
        let Ok(interest) = Interest::peek(&sealed) else { return false };
        sealed.verify(&cluster().lease_key().secret(&interest.lease)).is_ok()
            && interest.lease.client == from.ip()
            && interest.lease.destination == self.destination
            && interest.time.distance(Clock::wall()) < Duration::from_secs(2)
    }
}

/// Sends while interest holds, as a push server does; the wait for datagrams is what paces it.
fn push_loop(control: &UdpSocket, site: &Shared) {
    let media = udp::send(&udp::Aim {
        to: SocketAddr::new(site.destination, site.port),
        interface: Some(LOOPBACK.to_string()),
        ttl: 1,
        dscp: 0,
        broadcast: site.destination.to_string().ends_with(".255"),
    })
    .unwrap();
    control.set_read_timeout(Some(STEP)).unwrap();
    let clock = Clock::start();
    let (mut held_until, mut announce_at) = (Time::ZERO, Time::ZERO);
    let mut sequence = 65_500_u16;
    let mut count = 0_u64;
    while !site.ended.load(Ordering::SeqCst) {
        let mut buffer = [0; 2048];
        let step = Instant::now();
        while let Ok((len, from)) = control.recv_from(&mut buffer) {
            if site.is_interest(&buffer[..len], from) {
                site.interests.fetch_add(1, Ordering::SeqCst);
                held_until = clock.now() + INTEREST_TIMEOUT;
                announce_at = clock.now();
            }
            if step.elapsed() > STEP {
                break;
            }
        }
        let now = clock.now();
        if held_until <= now {
            continue;
        }
        let packet = packet(sequence);
        site.sent.lock().unwrap().insert(sequence.wrapping_add(36), packet.payload().to_vec());
        let lose = site.lose.load(Ordering::SeqCst);
        count += 1;
        if lose == 0 || !count.is_multiple_of(lose) {
            let _ = media.send(packet.as_bytes());
        }
        sequence = sequence.wrapping_add(1);
        if announce_at <= now {
            announce_at = now + ANNOUNCE_INTERVAL;
            let _ = media.send(&announcement(held_until.since(now)));
        }
    }
}

fn packet(sequence: u16) -> RtpPacket {
    let header = RtpHeader {
        marker: false,
        payload_type: 33,
        sequence: Sequence(sequence),
        timestamp_90k: 0,
        ssrc: 0x5eed,
    };
    let mut payload = [[0_u8; 188]; 7];
    for (place, bytes) in payload.iter_mut().enumerate() {
        let number = u32::from(sequence.wrapping_add(36)) * 7 + u32::try_from(place).unwrap();
        bytes[..4].copy_from_slice(&[0x47, 0x01, 0x00, 0x10 | u8::try_from(number % 16).unwrap()]);
        bytes[4..8].copy_from_slice(&number.to_be_bytes());
    }
    RtpPacket::new(&header, payload.as_flattened()).unwrap()
}

fn announcement(held_for: Duration) -> Vec<u8> {
    let ClusterTime(now) = Clock::wall();
    let announcement =
        Announcement { channel: ChannelId(1), held_for, boot_id: BootId(5), time: ClusterTime(now) };
    announcement.seal(&cluster().announce_key(ChannelId(1))).to_vec()
}
