//! Recordings played to many clients at once: what a session costs from the page cache, beside a sender that reads the same files
//! and does nothing but the system calls; what it holds in memory; and what arrives when the disk must be waited for.
//!
//! The clients are played blind: their addresses lie behind the device that discards, their orders come from there.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lab::{Command, Process, timeline};
use nix::sys::socket::{setsockopt, sockopt::UdpGsoSegment};
use nix::time::{ClockId, clock_gettime};
use protocols::authority::{ClusterKey, RecordingLease};
use protocols::ids::{BootId, HostId};
use protocols::p4_control::{
    Command as Order, CommandOrder, Kind, PlayAnswer, PlayOrder, PlayRequest, PlayStart, PlayVerdict, Query,
    Report, Response, Sealed, SessionId, seal,
};
use protocols::p5_stream;
use protocols::time::ClusterTime;
use rustix::fs::{Advice, fadvise};
use socket2::{Domain, Socket, Type};

use crate::cpu::CpuClock;
use crate::figure::Figure;
use crate::ground::{self, Traffic};
use crate::measures::Measure;
use crate::recorded::{PACKETS_PER_SECOND, PAYLOAD_BYTES, Recorded};
use crate::{Bench, Ground, Row};

/// This measure.
pub const MEASURE: Measure = Measure {
    name: "playback",
    about: "5 Mb/s sessions of recordings: CPU and bytes each, from the page cache and from the disk",
    binaries: &["masthead-push-server"],
    run,
};

/// Sessions at a time.
const SESSIONS: [u32; 3] = [100, 500, 1_000];
/// Sessions while nothing is in the page cache.
const FROM_DISK: u32 = 100;
/// 225 MB: far more than any processor's cache, and within any page cache.
const RECORDED: Recorded = Recorded { channels: 2, minutes: 3 };
/// Sessions begin within the first so many seconds, so that none ends while it is measured.
const SPREAD_S: u32 = 120;
const HOST: &str = "bench";
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 99, 255, 254);
const FEED_PORT: u16 = 7_403;
const CONTROL_PORT: u16 = 7_404;
/// Port of every client.
const CLIENT_PORT: u16 = 7_500;
/// Sessions that one client may have.
const PER_CLIENT: u32 = 4;
/// Headers of P5 and RTP.
const HEAD_BYTES: usize = 24;
const DATAGRAM_BYTES: usize = HEAD_BYTES + PAYLOAD_BYTES;
/// Packets that are read at a time: 200 ms.
const READ_PACKETS: usize = 95;
const DELTA_P_NS: u32 = 1_000_000_000 / PACKETS_PER_SECOND;
const PATIENCE: Duration = Duration::from_secs(20);
/// Until all sessions have begun, and buffers have the size that they keep.
const SETTLE: Duration = Duration::from_secs(2);
/// Of what is due, so much must leave.
const LEAST_SENT: f64 = 0.98;

/// What one run gave.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    /// CPU time for a session and a second.
    cpu_us: f64,
    /// Resident memory for a session.
    resident_bytes: f64,
    /// Sent of what was due.
    sent: f64,
}

fn run(bench: &mut Bench) {
    // The reference has a socket for each session.
    link::open_files::raise_limit();
    let ground = bench.ground();
    let data = ground.lab().path("data");
    bench.progress("writing recordings");
    RECORDED.write(&data).expect("the laboratory's folder can be written");
    warm(&data);
    for sessions in bench.options.points(&SESSIONS, 1) {
        let (mut ours, mut reads, mut memory) = (Vec::new(), Vec::new(), Vec::new());
        for run in 1..=bench.options.runs() {
            bench.progress(&format!("{sessions} sessions, run {run} of {}", bench.options.runs()));
            let outcome = serve(bench, &ground, &data, sessions);
            // A quick run, on a machine that does other things beside, may fall behind.
            if outcome.sent < LEAST_SENT && !bench.options.quick {
                bench.fault(format!(
                    "{sessions} sessions: {:.1} % of what was due left",
                    outcome.sent * 100.0
                ));
            }
            ours.push(outcome);
            reads.push(reference(bench, &ground, &data, sessions, Source::Files));
            memory.push(reference(bench, &ground, &data, sessions, Source::Memory));
        }
        rows(bench, sessions, &ours, reads, memory);
    }
    from_disk(bench, &ground, &data);
    bench.remark(
        "playback: one playback thread; orders (a keepalive each second for each session) are in its CPU time. The reference reads \
         each session's 200 ms by one `pread` of the same files and sends what is due each 10 ms by one call.",
    );
}

fn rows(bench: &mut Bench, sessions: u32, ours: &[Outcome], reads: Vec<f64>, memory: Vec<f64>) {
    let point = format!("{sessions} sessions");
    let at = Some(f64::from(sessions));
    let cpu: Vec<f64> = ours.iter().map(|outcome| outcome.cpu_us).collect();
    let per_core = |cpu: &[f64]| cpu.iter().map(|us| 1e6 / us).collect::<Vec<f64>>();
    let figures = vec![
        Figure::new("CPU per session", "µs/s", cpu.clone()).compared("reference", &reads),
        Figure::new("sessions per core", "", per_core(&cpu)).compared("reference", &per_core(&reads)),
        Figure::new("resident per session", "B", ours.iter().map(|outcome| outcome.resident_bytes).collect()),
        Figure::new("sent of what was due", "%", ours.iter().map(|outcome| outcome.sent * 100.0).collect()),
    ];
    bench.row(Row { point: point.clone(), at, sender: "Masthead".into(), figures, ..Row::default() });
    for (sender, cpu) in [("reference", reads), ("reference, from memory", memory)] {
        let figures = vec![
            Figure::new("CPU per session", "µs/s", cpu.clone()),
            Figure::new("sessions per core", "", per_core(&cpu)),
        ];
        bench.row(Row { point: point.clone(), at, sender: sender.into(), figures, ..Row::default() });
    }
}

fn from_disk(bench: &mut Bench, ground: &Ground, data: &std::path::Path) {
    let mut runs = Vec::new();
    for run in 1..=bench.options.runs() {
        bench.progress(&format!("{FROM_DISK} sessions from the disk, run {run} of {}", bench.options.runs()));
        evict(data);
        runs.push(serve(bench, ground, data, FROM_DISK));
    }
    let figures = vec![
        Figure::new("CPU per session", "µs/s", runs.iter().map(|outcome| outcome.cpu_us).collect()),
        Figure::new("sent of what was due", "%", runs.iter().map(|outcome| outcome.sent * 100.0).collect()),
    ];
    let point = format!("{FROM_DISK} sessions, nothing in the page cache");
    bench.row(Row { point, sender: "Masthead".into(), figures, ..Row::default() });
}

/// Has all of it in the page cache.
fn warm(data: &std::path::Path) {
    for path in RECORDED.files(data) {
        let _ = std::fs::read(path);
    }
}

/// Has nothing of it in the page cache.
fn evict(data: &std::path::Path) {
    for path in RECORDED.files(data) {
        let Ok(file) = File::open(path) else { continue };
        let _ = file.sync_all();
        let _ = fadvise(&file, 0, None, Advice::DontNeed);
    }
}

/// The push server plays to `sessions` for a period.
fn serve(bench: &Bench, ground: &Ground, data: &std::path::Path, sessions: u32) -> Outcome {
    let key = ClusterKey::new([0x6d; 32]);
    let key_file = ground.lab().path("cluster.key");
    write_key(&key_file, &key);
    let mut process: Process = ground.host().spawn(
        Command::line(&format!(
            "masthead-push-server --id {HOST} --listen {ADDRESS} --feed-port {FEED_PORT} --control-port {CONTROL_PORT} \
             --data-threads 1 --cluster-key"
        ))
        .arg(&key_file)
        .arg("--recordings")
        .arg(data),
    );
    process.wait_for_line("ready", PATIENCE);
    let (set_clock, probe) = ground.host().enter(|| (own_socket(), own_socket()));
    tell_time(&set_clock, &key);
    let mut first = Client::new(probe, ADDRESS, &key, 0, 0);
    first.until_played();
    let before = resident(&process);
    let clients = ground.host().enter(|| clients(&key, sessions));
    let audience = Audience::start(clients);
    timeline::lasts(SETTLE);
    let (clock, begun) = (CpuClock::of(process.pid()), Instant::now());
    let (cpu, traffic) = (clock.read(), ground.traffic());
    timeline::lasts(bench.options.period());
    let (cpu, traffic) = (clock.read().saturating_sub(cpu), ground.traffic().since(traffic));
    let period = begun.elapsed().as_secs_f64();
    let after = resident(&process);
    drop(audience);
    let _ = process.terminate(PATIENCE);
    let due = period * f64::from(PACKETS_PER_SECOND) * f64::from(sessions);
    Outcome {
        cpu_us: cpu.as_secs_f64() * 1e6 / period / f64::from(sessions),
        resident_bytes: (after - before) / f64::from(sessions),
        sent: packets(traffic) / due,
    }
}

fn packets(traffic: Traffic) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "packets of seconds")]
    let packets = traffic.payload_bytes() as f64 / DATAGRAM_BYTES as f64;
    packets
}

fn resident(process: &Process) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
    let bytes = process.rss_bytes() as f64;
    bytes
}

fn write_key(path: &std::path::Path, key: &ClusterKey) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, key.to_file_text()).expect("the laboratory's folder can be written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("own file");
}

fn now() -> ClusterTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    ClusterTime(u64::try_from(since.as_millis()).expect("it is not the year 500,000,000"))
}

fn own_socket() -> UdpSocket {
    let socket = UdpSocket::bind((ADDRESS, 0)).expect("the sender's own address");
    socket.set_read_timeout(Some(Duration::from_millis(500))).expect("not zero");
    socket
}

/// Plays the database server: tells the time. The first answer says the boot id, the second query counts.
fn tell_time(socket: &UdpSocket, key: &ClusterKey) {
    let id: HostId = HOST.parse().expect("a valid id");
    let (host_key, mut boot) = (key.host_key(&id), BootId(0));
    let begun = Instant::now();
    let mut sequence = 0;
    loop {
        sequence += 1;
        let order = CommandOrder { start: 1, sequence };
        let body = Query { time: now(), since: 0, padding: [0; 16] };
        let query = seal(Kind::Query, &Order { host: id.clone(), host_boot: boot, order, body }, &host_key);
        let _ = socket.send_to(&query, (ADDRESS, CONTROL_PORT));
        let mut bytes = [0; 2_048];
        if let Ok(len) = socket.recv(&mut bytes)
            && let Ok(report) =
                Sealed::parse(&bytes[..len]).and_then(|sealed| sealed.open::<Response<Report>>(&host_key))
        {
            if report.host_boot == boot {
                return;
            }
            boot = report.host_boot;
        }
        assert!(begun.elapsed() < PATIENCE, "the push server answers no query");
    }
}

/// One client with one session.
#[derive(Debug)]
struct Client {
    socket: Arc<UdpSocket>,
    lease: RecordingLease,
    secret: protocols::authority::MacKey,
    session: SessionId,
    start: ClusterTime,
    sequence: u32,
}

impl Client {
    fn new(
        socket: impl Into<Arc<UdpSocket>>,
        address: Ipv4Addr,
        key: &ClusterKey,
        index: u32,
        start_s: u32,
    ) -> Self {
        let lease = RecordingLease {
            client: address.into(),
            channel: RECORDED.channel(index),
            from: Recorded::date(0),
            to: RECORDED.end(),
            expires: ClusterTime(now().0 + 3_600_000),
        };
        let secret = key.lease_key().recording_secret(&lease);
        let (session, start) = (SessionId(u64::from(index) + 1), Recorded::date(start_s.into()));
        Self { socket: socket.into(), lease, secret, session, start, sequence: 0 }
    }

    fn say(&self, order: PlayOrder) {
        let Self { lease, session, sequence, .. } = *self;
        let request = PlayRequest { lease, time: now(), session, sequence, order };
        let to = SocketAddr::from((ADDRESS, CONTROL_PORT));
        let _ = self.socket.send_to(&request.seal(&self.secret), to);
    }

    fn play(&self) {
        let (start, until) = (PlayStart::Date(self.start), RECORDED.end());
        self.say(PlayOrder::Play { start, until, delta_p_ns: DELTA_P_NS });
    }

    fn keep_alive(&mut self) {
        self.sequence += 1;
        self.say(PlayOrder::Keepalive);
    }

    /// Plays until it is told that it does, and stops: the push server knows its disk then.
    fn until_played(&mut self) {
        let begun = Instant::now();
        loop {
            self.play();
            let mut bytes = [0; 2_048];
            while let Ok(len) = self.socket.recv(&mut bytes) {
                if p5_stream::Header::split(&bytes[..len]).is_ok() {
                    continue;
                }
                let answer =
                    Sealed::parse(&bytes[..len]).and_then(|sealed| sealed.open::<PlayAnswer>(&self.secret));
                if answer.is_ok_and(|answer| matches!(answer.verdict, PlayVerdict::Done { .. })) {
                    self.sequence += 1;
                    self.say(PlayOrder::Stop);
                    return;
                }
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "the push server does not play");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Clients behind the device that discards.
fn clients(key: &ClusterKey, sessions: u32) -> Vec<Client> {
    let mut clients = Vec::new();
    for (number, address) in (0..).zip(ground::destinations(0, sessions.div_ceil(PER_CLIENT))) {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("sockets");
        // Its address is nobody's: what is sent there leaves by the device.
        socket.set_ip_transparent_v4(true).expect("the bench runs as root");
        socket.bind(&SocketAddrV4::new(address, CLIENT_PORT).into()).expect("any address, when transparent");
        let socket = Arc::new(UdpSocket::from(socket));
        for index in (number * PER_CLIENT..sessions).take(PER_CLIENT as usize) {
            let start_s = index * 7 % SPREAD_S;
            clients.push(Client::new(socket.clone(), address, key, index, start_s));
        }
    }
    clients
}

/// Clients that play, and say each second that they are there.
struct Audience {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Audience {
    fn start(mut clients: Vec<Client>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let run = move || {
            // Twice, since one that is lost is not heard of.
            for _ in 0..2 {
                for (number, client) in clients.iter().enumerate() {
                    client.play();
                    if number % 16 == 0 {
                        std::thread::sleep(Duration::from_millis(2));
                    }
                }
            }
            let (begun, count) = (Instant::now(), u32::try_from(clients.len()).expect("a few thousand"));
            for number in 0_u32.. {
                let client = &mut clients[(number % count) as usize];
                let due = begun
                    + Duration::from_secs(1) * (number / count)
                    + Duration::from_secs(1) * (number % count) / count;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                client.keep_alive();
            }
        };
        Self { stop, thread: Some(std::thread::spawn(run)) }
    }
}

impl Drop for Audience {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Where the reference has its packets from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// The recordings, read as it goes.
    Files,
    /// What it read once.
    Memory,
}

/// What a session costs a thread that makes the system calls alone: CPU time in µs for each second.
fn reference(bench: &Bench, ground: &Ground, data: &std::path::Path, sessions: u32, source: Source) -> f64 {
    let files: Vec<File> =
        RECORDED.files(data).iter().map(|path| File::open(path).expect("just written")).collect();
    let period = bench.options.period();
    ground.host().enter(|| {
        let mut viewers: Vec<Viewer> = (0..sessions).map(Viewer::open).collect();
        let begun = Instant::now();
        let (mut from, mut measured) = (None, Duration::ZERO);
        for tick in 0_u32.. {
            let elapsed = begun.elapsed();
            if from.is_none() && elapsed >= SETTLE / 2 {
                from = Some((thread_time(), elapsed));
            }
            if let Some((cpu, since)) = from.filter(|(_, since)| elapsed >= *since + period) {
                let (cpu, lasted) = (thread_time().saturating_sub(cpu), elapsed.saturating_sub(since));
                measured = cpu.div_f64(lasted.as_secs_f64());
                break;
            }
            for viewer in viewers.iter_mut().skip((tick % 10) as usize).step_by(10) {
                viewer.serve(&files, source, tick);
            }
            std::thread::sleep(
                (begun + Duration::from_millis(1) * (tick + 1)).saturating_duration_since(Instant::now()),
            );
        }
        measured.as_secs_f64() * 1e6 / f64::from(sessions)
    })
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every thread has one");
    Duration::new(u64::try_from(time.tv_sec()).unwrap_or(0), u32::try_from(time.tv_nsec()).unwrap_or(0))
}

/// One session of the reference.
struct Viewer {
    socket: UdpSocket,
    /// 200 ms of datagrams.
    datagrams: Vec<u8>,
    /// Which of them is next.
    next: usize,
    file: usize,
    offset: u64,
    sent: u64,
}

impl Viewer {
    fn open(index: u32) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("sockets");
        let address = ground::destinations(index / PER_CLIENT, 1)[0];
        socket.connect((address, CLIENT_PORT)).expect("a route there");
        let bytes = i32::try_from(DATAGRAM_BYTES).expect("1,340 fits");
        setsockopt(&socket, UdpGsoSegment, &bytes).expect("the kernel has it");
        let packets = u64::from(index * 7 % SPREAD_S * PACKETS_PER_SECOND);
        Self {
            socket,
            datagrams: vec![0; READ_PACKETS * DATAGRAM_BYTES],
            next: READ_PACKETS,
            file: (index % RECORDED.channels * RECORDED.minutes) as usize,
            offset: packets * PAYLOAD_BYTES as u64,
            sent: 0,
        }
    }

    /// Sends what is due at the `tick`-th millisecond.
    fn serve(&mut self, files: &[File], source: Source, tick: u32) {
        let due = u64::from(tick) * u64::from(PACKETS_PER_SECOND) / 1_000;
        let mut count = usize::try_from(due - self.sent).unwrap_or(0).min(44);
        self.sent = due;
        while count > 0 {
            if self.next == READ_PACKETS {
                self.read(files, source);
            }
            let some = count.min(READ_PACKETS - self.next);
            let train = &self.datagrams[self.next * DATAGRAM_BYTES..(self.next + some) * DATAGRAM_BYTES];
            let _ = self.socket.send(train);
            self.next += some;
            count -= some;
        }
    }

    fn read(&mut self, files: &[File], source: Source) {
        self.next = 0;
        if source == Source::Memory {
            return;
        }
        let into = &mut self.datagrams[..READ_PACKETS * PAYLOAD_BYTES];
        let segment_bytes = u64::from(PACKETS_PER_SECOND) * 60 * PAYLOAD_BYTES as u64;
        let minute = usize::try_from(self.offset / segment_bytes).unwrap_or(0) % RECORDED.minutes as usize;
        let at = (self.offset % segment_bytes).min(segment_bytes - into.len() as u64);
        let _ = files[self.file + minute].read_exact_at(into, at);
        self.offset += into.len() as u64;
    }
}
