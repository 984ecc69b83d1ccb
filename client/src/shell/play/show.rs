//! A playback and the effects around it: one step at a time, for whoever plays or picks.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use link::clock::Clock;
use link::random;
use media::RtpPacket;
use media::continuity::ContinuityCheck;
use media::packet::Packet;
use media::rtp::PAYLOAD_BYTES_MAX;
use protocols::authority::MacKey;
use protocols::ids::HostId;
use protocols::p2_directory::{PlayTarget, Presentation};
use protocols::p4_control::{Kind, PlayAnswer, PlayRefusal, PlayState, Sealed};
use protocols::p5_stream::Header;
use protocols::recording::Span;
use protocols::time::{ClusterClock, ClusterTime, Time};
use tokio::task::JoinHandle;

use super::super::session::{Session, Told};
use super::super::sink::Sink;
use super::super::{Error, Options};
use super::wire::Wire;
use super::{Flow, Speed, ask};
use crate::flow::{self, Base, Conditions, Guards, Mode};
use crate::playback::pictures::PictureShow;
use crate::playback::{Config, Delivery, Input, Output, Playback, Reader, Wish};
use crate::progress::{PUSH_SERVERS_MAX, Progress, State, Summary};
use crate::remote_control::Standing;
use crate::viewer::{self, Notice};

/// What a title whose rate nobody knows yet is taken for, bytes/s; its base then follows what is consumed.
const RATE_GUESS: u64 = 625_000;
/// At full speed a recording is asked for so many times as fast as it is.
const FULL_SPEED: u32 = 16;
/// So many packets may wait for the output; more come when [`READER_READY`] do.
const READER_BEHIND: usize = 1_024;
const READER_READY: usize = 256;
/// While the output is behind it is looked at this often.
const READER_POLL: Duration = Duration::from_millis(20);
/// When the directory cannot renew a lease it is asked again after this.
const RENEW_RETRY: Duration = Duration::from_secs(5);
/// While no push server answers, the directory is asked this often who else plays.
const DESERTED_RETRY: Duration = Duration::from_secs(2);
/// Addresses from which genuine answers came that are remembered; P5 of further ones is not taken.
const SENDERS_MAX: usize = 64;
/// Datagrams taken before anything else has its turn.
const DATAGRAMS_MAX: usize = 1_024;

/// A playback at work.
#[derive(Debug)]
pub(in crate::shell) struct Show {
    clock: Clock,
    options: Options,
    target: PlayTarget,
    presentation: Presentation,
    /// The present, by the directory's clock.
    cluster: ClusterClock,
    /// Of the present lease, and of the one before it: an answer to an earlier order may be under way.
    secrets: [MacKey; 2],
    playback: Playback,
    wire: Wire,
    /// Addresses from which genuine answers came.
    senders: BTreeSet<IpAddr>,
    sink: Option<Sink>,
    /// What was handed on since the last [`Show::tapped`], where somebody else reads it.
    tap: Option<Vec<RtpPacket>>,
    reader: Reader,
    pictures: Option<PictureShow>,
    live: Option<Session>,
    renewal: Option<JoinHandle<Result<Presentation, Error>>>,
    renew_at: Time,
    outputs: Vec<Output>,
    news: Vec<String>,
    ended: Option<End>,
    tally: Tally,
}

/// What is counted here.
#[derive(Debug)]
struct Tally {
    started: Time,
    first_packet: Option<Time>,
    /// When a datagram last came.
    heard: Time,
    packets: u64,
    bytes: u64,
    pictures: u64,
    overflows: u64,
    foreign: u64,
    continuity: ContinuityCheck,
    servers: BTreeSet<String>,
    server: Option<SocketAddr>,
    least_buffer: Option<Duration>,
}

/// How a playback ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::shell) enum End {
    /// The recording's end, or the viewer's wish.
    Whole,
    /// A push server refused.
    Refused(PlayRefusal),
}

enum Wake {
    Wire,
    Live,
    Renewed(Box<Result<Presentation, Error>>),
    Due,
}

/// How a show is set up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::shell) struct Setup {
    /// B, at the mean rate.
    pub(in crate::shell) buffer: Duration,
    /// The law.
    pub(in crate::shell) flow: Flow,
    /// How fast.
    pub(in crate::shell) speed: Speed,
    /// Where to begin; `None`: at the beginning of what there is.
    pub(in crate::shell) start: Option<ClusterTime>,
}

impl Setup {
    /// The flow for a title of so many bytes/s (0: unknown).
    pub(super) fn flow(&self, rate_bytes_per_s: u64) -> Result<flow::Config, flow::TooSmall> {
        let (rate, base) = match rate_bytes_per_s {
            0 => (RATE_GUESS, Base::Consumption),
            rate => (rate, Base::Mean),
        };
        #[expect(clippy::cast_precision_loss, reason = "rates are far below 2^52")]
        let mean_delta_p = Duration::from_secs_f64(PAYLOAD_BYTES_MAX as f64 / rate as f64);
        let usual = Conditions::default();
        let (mode, conditions) = match (self.speed, self.flow) {
            (Speed::Max, _) => {
                let fastest = f64::from(FULL_SPEED);
                (Mode::PauseResume(mean_delta_p / FULL_SPEED), Conditions { fastest, ..usual })
            }
            (Speed::Normal, Flow::Zones) => (Mode::Zones, usual),
            (Speed::Normal, Flow::Pause) => (Mode::PauseResume(mean_delta_p.div_f64(usual.peak)), usual),
        };
        let guards = Guards::sized(self.buffer, &conditions)?;
        Ok(flow::Config { mean_delta_p, capacity: self.buffer, mode, base, guards })
    }
}

impl Show {
    /// Begins to play what the directory has said.
    pub(in crate::shell) fn start(
        options: &Options,
        target: PlayTarget,
        presentation: Presentation,
        setup: Setup,
    ) -> Result<Self, Error> {
        let clock = Clock::start();
        let now = clock.now();
        let flow =
            setup.flow(presentation.rate_bytes_per_s).map_err(|error| Error::Usage(error.to_string()))?;
        let Span { from, to } = presentation.span;
        let config = Config {
            lease: presentation.lease,
            cluster: presentation.time,
            servers: servers(&presentation),
            start: setup.start.unwrap_or(from).clamp(from, to.max(from)),
            until: presentation.lease.to,
            flow,
            seed: random::seed(),
        };
        let delivery = if setup.speed == Speed::Max { Delivery::AtOnce } else { Delivery::InTime };
        let wire = Wire::bind(presentation.lease.client)?;
        let secret = presentation.secret.clone();
        let mut show = Self {
            playback: Playback::new(config, now).delivering(delivery),
            cluster: ClusterClock::new(now, presentation.time),
            secrets: [secret.clone(), secret],
            renew_at: now + half_life(&presentation),
            tally: Tally::new(now),
            options: options.clone(),
            clock,
            target,
            presentation,
            wire,
            senders: BTreeSet::new(),
            sink: None,
            tap: None,
            reader: Reader::Ready,
            pictures: None,
            live: None,
            renewal: None,
            outputs: Vec::new(),
            news: Vec::new(),
            ended: None,
        };
        show.give(Input::Due);
        Ok(show)
    }

    /// Where packets go from here on.
    pub(in crate::shell) fn set_sink(&mut self, sink: Option<Sink>) {
        self.tally.overflows += self.sink.as_ref().map_or(0, Sink::overflows);
        self.sink = sink;
    }

    /// Keeps what is handed on for [`Show::tapped`], which must be called after each step.
    pub(in crate::shell) fn tap(&mut self) {
        self.tap = Some(Vec::new());
    }

    /// What was handed on since the last call; nothing unless tapped.
    pub(in crate::shell) fn tapped(&mut self) -> Vec<RtpPacket> {
        self.tap.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Takes the output away, to give it to somebody else.
    pub(in crate::shell) fn take_sink(&mut self) -> Option<Sink> {
        self.tally.overflows += self.sink.as_ref().map_or(0, Sink::overflows);
        self.sink.take()
    }

    /// The viewer wants something.
    pub(in crate::shell) fn wish(&mut self, wish: Wish) {
        self.tally.continuity.restart();
        self.give(Input::Wish(wish));
    }

    /// Waits for one thing to happen and handles it. May be dropped while it waits.
    pub(in crate::shell) async fn step(&mut self) {
        let poll = (self.reader == Reader::Behind).then(|| self.clock.now() + READER_POLL);
        let renew = self.renewal.is_none().then_some(self.renew_at);
        let deadline = [self.playback.deadline(), poll, renew].into_iter().flatten().min();
        let wake = tokio::select! {
            _ = self.wire.ready() => Wake::Wire,
            () = step_live(&mut self.live) => Wake::Live,
            renewed = renewed(&mut self.renewal) => Wake::Renewed(Box::new(renewed)),
            () = self.clock.reach(deadline) => Wake::Due,
        };
        match wake {
            Wake::Wire => self.take_datagrams(),
            Wake::Live => self.take_live(),
            Wake::Renewed(renewed) => self.renewed(*renewed),
            Wake::Due => self.give(Input::Due),
        }
        self.look_at_reader();
        self.look_at_lease();
    }

    /// What is new since the last call, for people.
    pub(in crate::shell) fn news(&mut self) -> Vec<String> {
        std::mem::take(&mut self.news)
    }

    /// Whether it is over, and why when not for the recording's end or the viewer's wish.
    pub(in crate::shell) fn ended(&self) -> Option<End> {
        self.ended
    }

    /// For how long nothing at all has come, though the viewer waits.
    pub(in crate::shell) fn silence(&self) -> Duration {
        self.clock.now().since(self.tally.heard)
    }

    /// Title, or the channel's name.
    pub(in crate::shell) fn name(&self) -> &str {
        self.presentation.title.as_deref().unwrap_or(&self.presentation.name)
    }

    /// What there is to play now.
    pub(in crate::shell) fn span(&self) -> Span {
        let Span { from, to } = self.presentation.span;
        let present = self.cluster.at(self.clock.now()).min(self.presentation.lease.to);
        Span { from, to: if self.presentation.growing { present.max(to) } else { to } }
    }

    /// Where the viewer is, for the keys.
    pub(in crate::shell) fn standing(&self) -> Standing {
        Standing {
            place: self.playback.place(),
            span: self.span(),
            growing: self.presentation.growing,
            paused: self.playback.is_paused(),
            speed: self.playback.speed(),
        }
    }

    /// How it goes.
    pub(in crate::shell) fn progress(&self) -> Progress {
        let playback = &self.playback;
        let state = match playback.speed() {
            _ if playback.is_paused() => State::Paused,
            _ if playback.is_live() => State::Live,
            Some(speed) => State::Fast(speed),
            None if playback.is_deserted() => State::Deserted,
            None if playback.is_showing() => State::Playing,
            None => State::Waiting,
        };
        let server = playback.server().and_then(|server| self.host(server));
        Progress {
            name: self.name().to_owned(),
            span: self.span(),
            growing: self.presentation.growing,
            place: playback.place(),
            state,
            buffer: playback.flow().seconds(playback.buffer().held()),
            push_server: server.map(ToString::to_string).unwrap_or_default(),
        }
    }

    /// The numbers so far.
    pub(in crate::shell) fn summary(&self) -> Summary {
        let (counters, buffer) = (self.playback.counters(), self.playback.buffer().counters());
        let tally = &self.tally;
        let since_start = |at: Time| at.since(tally.started).as_secs_f64();
        Summary {
            title: self.presentation.title.clone(),
            channel: self.presentation.name.clone(),
            duration_s: since_start(self.clock.now()),
            time_to_first_packet_s: tally.first_packet.map(since_start),
            packets: tally.packets,
            bytes: tally.bytes,
            lost: buffer.lost,
            late: buffer.late,
            buffer_overflows: buffer.overflows,
            repairs_asked: counters.asked_again,
            stops: counters.dry,
            least_buffer_s: tally.least_buffer.map(|least| least.as_secs_f64()),
            failovers: counters.failovers,
            handovers: counters.handovers,
            pictures: tally.pictures,
            torn_pictures: counters.torn_pictures,
            rate_commands: self.playback.flow().counters().commands,
            continuity_errors: tally.continuity.errors(),
            output_overflows: tally.overflows + self.sink.as_ref().map_or(0, Sink::overflows),
            foreign: counters.foreign + counters.stray_answers + tally.foreign,
            push_servers: tally.servers.clone(),
        }
    }

    fn host(&self, server: SocketAddr) -> Option<&HostId> {
        self.presentation.servers.iter().find(|known| known.control == server).map(|known| &known.host)
    }

    fn take_datagrams(&mut self) {
        let (mut inputs, mut foreign) = (Vec::new(), 0);
        let Self { wire, secrets, presentation, senders, .. } = self;
        wire.take(|from, datagram| {
            let from = from.ip().to_canonical();
            let input = parse(datagram, secrets);
            match &input {
                // A host of several addresses answers, and sends, from the one that is nearest to us.
                Some(Input::Answer(_)) if senders.len() < SENDERS_MAX => {
                    senders.insert(from);
                }
                Some(Input::Stream { .. }) if !senders.contains(&from) && !serves(presentation, from) => {
                    foreign += 1;
                    return;
                }
                _ => {}
            }
            match input {
                Some(input) if inputs.len() < DATAGRAMS_MAX => inputs.push(input),
                _ => foreign += 1,
            }
        });
        self.tally.foreign += foreign;
        if !inputs.is_empty() {
            self.tally.heard = self.clock.now();
        }
        for input in inputs {
            self.give(input);
        }
    }

    fn take_live(&mut self) {
        let Some(live) = &mut self.live else { return };
        let packets = live.tapped();
        for told in live.told() {
            match told {
                Told::Notice(Notice::Unavailable { reason, .. }) => {
                    self.news.push(format!("on air: {reason}"));
                }
                Told::Fault(error) => self.news.push(format!("on air: {error}")),
                Told::Notice(_) => {}
            }
        }
        if !packets.is_empty() {
            self.tally.heard = self.clock.now();
        }
        for packet in packets {
            self.give(Input::Live { packet: packet.as_bytes().to_vec() });
        }
    }

    /// Gives the machine an input and does what it says.
    fn give(&mut self, input: Input) {
        let now = self.clock.now();
        let was_live = self.playback.is_live();
        let mut outputs = std::mem::take(&mut self.outputs);
        self.playback.handle(now, input, &mut outputs);
        for output in outputs.drain(..) {
            self.carry_out(now, output);
        }
        self.outputs = outputs;
        if let Some(sink) = &mut self.sink {
            sink.flush();
        }
        if self.playback.is_live() && !was_live {
            self.news.push("live".to_owned());
        }
        self.observe();
    }

    fn carry_out(&mut self, now: Time, output: Output) {
        match output {
            Output::Order { to, request } => {
                tracing::debug!(%to, session = %request.session, request.sequence, order = ?request.order, "order");
                self.wire.send(to, &request.seal(&self.secrets[0]));
            }
            Output::Missing { to, request } => self.wire.send(to, &request.seal(&self.secrets[0])),
            Output::Deliver(packets) => {
                if let Some(mut pictures) = self.pictures.take() {
                    pictures.leap(&packets).iter().for_each(|packet| self.put(packet));
                }
                for packet in &packets {
                    if let Ok(packet) = RtpPacket::from_datagram(packet) {
                        self.tally.packet(now, &packet);
                        self.put(&packet);
                    }
                }
            }
            Output::Picture(packets) => {
                let shown = self.pictures.get_or_insert_with(PictureShow::new).picture(now, &packets);
                self.tally.pictures += u64::from(!shown.is_empty());
                shown.iter().for_each(|packet| self.put(packet));
            }
            Output::JoinLive => match Session::start(&self.options) {
                Ok(mut session) => {
                    session.tap();
                    session.give(viewer::Input::Watch(self.presentation.channel));
                    self.live = Some(session);
                }
                Err(error) => self.news.push(format!("on air: {error}")),
            },
            Output::LeaveLive => self.live = None,
            Output::Refused(refusal) => self.news.push(format!("not done: {refusal}")),
            Output::Ended(reason) => {
                self.ended = Some(reason.map_or(End::Whole, End::Refused));
                self.live = None;
            }
        }
    }

    fn put(&mut self, packet: &RtpPacket) {
        if let Some(sink) = &mut self.sink {
            sink.put(packet);
        }
        if let Some(tap) = &mut self.tap {
            tap.push(*packet);
        }
    }

    /// Keeps an eye on who serves and on what the buffer holds.
    fn observe(&mut self) {
        let server = self.playback.server();
        if server != self.tally.server {
            let name =
                server.map(|server| self.host(server).map_or_else(|| server.to_string(), HostId::to_string));
            let name = name.unwrap_or_default();
            let word = if self.tally.server.is_none() { "from" } else { "goes on from" };
            self.news.push(format!("{} {word} {name}", self.name()));
            self.tally.server = server;
            if self.tally.servers.len() < PUSH_SERVERS_MAX {
                self.tally.servers.insert(name);
            }
        }
        let held = self.playback.flow().seconds(self.playback.buffer().held());
        let half = self.playback.flow().capacity() / 2;
        let steady = self.playback.is_showing()
            && !self.playback.is_live()
            && matches!(self.playback.remote(), PlayState::Playing | PlayState::Paused);
        self.tally.least_buffer = match self.tally.least_buffer {
            _ if !steady && self.ended.is_none() => self.tally.least_buffer,
            None => (held >= half).then_some(held),
            Some(least) => Some(least.min(held)),
        };
    }

    /// Tells the machine when the output falls behind or has caught up.
    fn look_at_reader(&mut self) {
        let waiting = self.sink.as_ref().map_or(0, Sink::waiting);
        let reader = match self.reader {
            Reader::Ready if waiting > READER_BEHIND => Reader::Behind,
            Reader::Behind if waiting < READER_READY => Reader::Ready,
            reader => reader,
        };
        if reader != self.reader {
            self.reader = reader;
            self.give(Input::Reader(reader));
        }
    }

    /// Asks the directory again when the lease is half over, or when no push server answers.
    fn look_at_lease(&mut self) {
        let now = self.clock.now();
        if self.playback.is_deserted() {
            self.renew_at = self.renew_at.min(now + DESERTED_RETRY);
        }
        if self.renewal.is_none() && self.renew_at <= now && self.ended.is_none() {
            self.renewal = Some(tokio::spawn(ask::renew(self.options.clone(), self.target)));
        }
    }

    fn renewed(&mut self, renewed: Result<Presentation, Error>) {
        let now = self.clock.now();
        self.renewal = None;
        let presentation = match renewed {
            Ok(presentation) if presentation.lease.client == self.presentation.lease.client => presentation,
            Ok(_) => {
                self.renew_at = now + RENEW_RETRY;
                return;
            }
            Err(error) => {
                tracing::debug!(%error, "the lease is not renewed yet");
                self.renew_at = now + RENEW_RETRY;
                return;
            }
        };
        self.renew_at = now + half_life(&presentation);
        let [present, _] = &self.secrets;
        self.secrets = [presentation.secret.clone(), present.clone()];
        self.cluster = ClusterClock::new(now, presentation.time);
        let (lease, servers, cluster) = (presentation.lease, servers(&presentation), presentation.time);
        self.presentation = presentation;
        self.give(Input::Lease { lease, servers, cluster });
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        if let Some(renewal) = &self.renewal {
            renewal.abort();
        }
    }
}

impl Tally {
    fn new(now: Time) -> Self {
        Self {
            started: now,
            first_packet: None,
            heard: now,
            packets: 0,
            bytes: 0,
            pictures: 0,
            overflows: 0,
            foreign: 0,
            continuity: ContinuityCheck::new(),
            servers: BTreeSet::new(),
            server: None,
            least_buffer: None,
        }
    }

    fn packet(&mut self, now: Time, packet: &RtpPacket) {
        self.first_packet.get_or_insert(now);
        self.packets += 1;
        self.bytes += packet.payload().len() as u64;
        for bytes in packet.packets() {
            if let Ok(packet) = Packet::parse(bytes) {
                self.continuity.push(packet);
            }
        }
    }
}

fn servers(presentation: &Presentation) -> Vec<SocketAddr> {
    presentation.servers.iter().map(|server| server.control).collect()
}

/// When half of the lease is over.
fn half_life(presentation: &Presentation) -> Duration {
    presentation.lease.expires.since(presentation.time) / 2
}

fn serves(presentation: &Presentation, address: IpAddr) -> bool {
    presentation.servers.iter().any(|server| server.control.ip().to_canonical() == address)
}

/// What a datagram from a push server is; `None`: nothing of ours.
fn parse(datagram: &[u8], secrets: &[MacKey; 2]) -> Option<Input> {
    if let Ok((header, packet)) = Header::split(datagram) {
        return Some(Input::Stream { header, packet: packet.to_vec() });
    }
    let sealed = Sealed::parse(datagram).ok().filter(|sealed| sealed.kind == Kind::PlayAnswer)?;
    secrets.iter().find_map(|secret| sealed.open::<PlayAnswer>(secret).ok()).map(Input::Answer)
}

async fn step_live(live: &mut Option<Session>) {
    match live {
        Some(session) => session.step().await,
        None => std::future::pending().await,
    }
}

async fn renewed(
    renewal: &mut Option<JoinHandle<Result<Presentation, Error>>>,
) -> Result<Presentation, Error> {
    match renewal {
        Some(task) => task.await.unwrap_or_else(|error| Err(Error::System(error.to_string()))),
        None => std::future::pending().await,
    }
}
