//! Thousands of clients of one database server, each a P2 connection, in one thread of the bench.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lab::Host;
use protocols::codec::{self, decode_message};
use protocols::ids::ChannelId;
use protocols::p2_directory::{ToClient, ToDatabase};
use protocols::preamble::{MAX_P2_ANSWER_BYTES, PREAMBLE_BYTES, Protocol, write_frame};
use protocols::topology::DEFAULT_DIRECTORY_PORT;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Clients of one address: the database server takes 1,000 at most.
const PER_ADDRESS: usize = 500;
/// Connections made before their preambles are read.
const VOLLEY: usize = 100;
/// Longest that the database server may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What clients ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Nothing: each says only that it is there.
    Ping,
    /// The channel list.
    List,
    /// The channel list with a tuning, and a lease, for each channel: what `masthead-client` asks for.
    ListWithTunings,
    /// A zap: this channel instead of the one before.
    Zap,
}

/// What came of asking.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// From each question to its answer, ms.
    pub waits_ms: Vec<f64>,
    /// From the first question to the last answer.
    pub took: Duration,
}

/// The clients.
#[derive(Debug)]
pub struct Audience {
    runtime: Runtime,
    clients: Vec<Client>,
    channels: u32,
}

#[derive(Debug)]
struct Client {
    stream: TcpStream,
    watched: u32,
}

impl Audience {
    /// Connects `count` clients on `host`, where the database server is; it has the channels 1 to `channels`.
    pub fn connect(host: &Host, count: usize, channels: u32) -> Self {
        link::open_files::raise_limit();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime can be had");
        let connect = || -> std::io::Result<Vec<std::net::TcpStream>> {
            let mut all = Vec::with_capacity(count);
            while all.len() < count {
                let first = all.len();
                for n in first..count.min(first + VOLLEY) {
                    all.push(call(n)?);
                }
                for stream in &mut all[first..] {
                    stream.read_exact(&mut [0; PREAMBLE_BYTES])?;
                }
            }
            Ok(all)
        };
        let streams = host.enter(connect).expect("the database server takes all clients");
        let guard = runtime.enter();
        let adopt = |stream: std::net::TcpStream| {
            stream.set_nonblocking(true).expect("own socket");
            Client { stream: TcpStream::from_std(stream).expect("a runtime is there"), watched: 0 }
        };
        let clients = streams.into_iter().map(adopt).collect();
        drop(guard);
        Self { runtime, clients, channels }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Asks for `period`, client after client, `at_once` of them at a time. `every`: how often each of those asks; `None`: as
    /// soon as it was answered.
    pub fn ask(
        &mut self,
        question: Question,
        at_once: usize,
        period: Duration,
        every: Option<Duration>,
    ) -> Answers {
        let (channels, stop) = (self.channels, Arc::new(AtomicBool::new(false)));
        let clients = std::mem::take(&mut self.clients);
        let share = clients.len().div_ceil(at_once);
        let mut clients = clients.into_iter().peekable();
        let begun = Instant::now();
        let (back, answers) = self.runtime.block_on(async {
            let mut askers = JoinSet::new();
            while clients.peek().is_some() {
                let own: Vec<Client> = clients.by_ref().take(share).collect();
                askers.spawn(one_after_the_other(own, question, channels, every, Arc::clone(&stop)));
            }
            tokio::time::sleep(period).await;
            stop.store(true, Ordering::Relaxed);
            let mut back = Vec::new();
            let mut answers = Answers::default();
            while let Some(ended) = askers.join_next().await {
                let (own, waits_ms) = ended.expect("a client is answered");
                back.extend(own);
                answers.waits_ms.extend(waits_ms);
            }
            answers.took = begun.elapsed();
            (back, answers)
        });
        self.clients = back;
        answers
    }

    /// Each client asks once, `at_once` of them at a time.
    pub fn ask_once(&mut self, question: Question, at_once: usize) {
        let channels = self.channels;
        let mut clients = std::mem::take(&mut self.clients);
        let share = clients.len().div_ceil(at_once).max(1);
        self.clients = self.runtime.block_on(async {
            let mut askers = JoinSet::new();
            while !clients.is_empty() {
                let mut own: Vec<Client> = clients.drain(..share.min(clients.len())).collect();
                askers.spawn(async move {
                    for client in &mut own {
                        client.ask(question, channels).await;
                    }
                    own
                });
            }
            askers.join_all().await.into_iter().flatten().collect()
        });
    }
}

async fn one_after_the_other(
    mut clients: Vec<Client>,
    question: Question,
    channels: u32,
    every: Option<Duration>,
    stop: Arc<AtomicBool>,
) -> (Vec<Client>, Vec<f64>) {
    let mut waits_ms = Vec::new();
    let mut tick = every.map(tokio::time::interval);
    let mut turn = 0;
    while !stop.load(Ordering::Relaxed) {
        if let Some(tick) = &mut tick {
            tick.tick().await;
        }
        let begun = Instant::now();
        clients[turn].ask(question, channels).await;
        waits_ms.push(begun.elapsed().as_secs_f64() * 1e3);
        turn = (turn + 1) % clients.len();
    }
    // Who has waited longest is first the next time: nobody falls silent for so long that he is given up.
    clients.rotate_left(turn);
    (clients, waits_ms)
}

impl Client {
    async fn ask(&mut self, question: Question, channels: u32) {
        let mut bytes = Vec::new();
        let mut say = |message: &ToDatabase| write_frame(&mut bytes, &codec::encode(message));
        match question {
            Question::Ping => say(&ToDatabase::Ping),
            Question::List => say(&ToDatabase::List { tunings: false }),
            Question::ListWithTunings => say(&ToDatabase::List { tunings: true }),
            Question::Zap => {
                let before = ChannelId(self.watched);
                self.watched = self.watched % channels + 1;
                if before.0 > 0 {
                    say(&ToDatabase::Unwatch { channel: before });
                }
                say(&ToDatabase::Watch { channel: ChannelId(self.watched) });
            }
        }
        tokio::time::timeout(PATIENCE, self.exchange(&bytes, question))
            .await
            .expect("an answer comes in time");
    }

    async fn exchange(&mut self, bytes: &[u8], question: Question) {
        use tokio::io::AsyncWriteExt as _;
        self.stream.write_all(bytes).await.expect("the database server reads");
        loop {
            let frame = link::frames::read_frame(&mut self.stream, MAX_P2_ANSWER_BYTES).await;
            let body = frame.expect("the database server answers").expect("the connection stays open");
            // A list is known by its first bytes; its decoding is no work of the database server's.
            match (question, body.first_chunk().map(|kind| u32::from_le_bytes(*kind))) {
                (Question::List | Question::ListWithTunings, Some(0)) | (Question::Ping, Some(4)) => return,
                (Question::Zap, Some(1..=2)) => {
                    let told = decode_message::<ToClient, MAX_P2_ANSWER_BYTES>(&body);
                    match told.expect("a message") {
                        ToClient::Tuning(tuning) if tuning.channel.0 == self.watched => return,
                        ToClient::Unavailable { reason, .. } => panic!("a client cannot be tuned: {reason}"),
                        _ => {}
                    }
                }
                (_, Some(5)) => panic!("a client is refused: {:?}", String::from_utf8_lossy(&body)),
                _ => {}
            }
        }
    }
}

/// The `n`th client calls, and says its preamble.
fn call(n: usize) -> std::io::Result<std::net::TcpStream> {
    let number = u16::try_from(n / PER_ADDRESS).expect("not that many clients");
    let [high, low] = number.to_be_bytes();
    let local = IpAddr::V4(Ipv4Addr::new(127, 1, high, low + 1));
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(local, 0).into())?;
    socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_DIRECTORY_PORT)).into())?;
    socket.set_tcp_nodelay(true)?;
    let mut stream = std::net::TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&Protocol::Directory.preamble())?;
    Ok(stream)
}
