//! The viewer and the effects around it: one step at a time, for whoever watches or picks.

use std::net::IpAddr;

use link::clock::Clock;
use link::udp::SocketError;
use link::{interface, random};
use media::RtpPacket;
use media::rtp::{self, Kind};
use protocols::time::Time;

use super::cache_file::CacheFile;
use super::directory::{Directory, Event};
use super::sink::Sink;
use super::sockets::{ANSWER_BUFFER_BYTES, ANSWERS_AT_ONCE, Ready, Sockets};
use super::{Error, Options};
use crate::cache::Kept;
use crate::meter::{Meter, ShellCounters, Summary};
use crate::viewer::{Counters, Input, Notice, Output, Viewer};

/// What a session has to tell its owner.
#[derive(Debug)]
pub(super) enum Told {
    /// By the viewer.
    Notice(Notice),
    /// A group cannot be received.
    Fault(SocketError),
}

/// A viewer at work.
#[derive(Debug)]
pub(super) struct Session {
    clock: Clock,
    viewer: Viewer,
    directory: Directory,
    sockets: Sockets,
    cache: Option<CacheFile>,
    kept: Option<Kept>,
    meter: Meter,
    sink: Option<Sink>,
    /// What was delivered since the last [`Session::tapped`], where somebody else shows it.
    tap: Option<Vec<RtpPacket>>,
    overflows: u64,
    outputs: Vec<Output>,
    told: Vec<Told>,
    /// Failures to send interest are told once in a row.
    control_failed: bool,
}

enum Wake {
    Ready(Ready),
    Directory(Event),
    Tick,
}

impl Session {
    /// A session that watches nothing yet; the kept list is read.
    pub(super) fn start(options: &Options) -> Result<Self, Error> {
        let clock = Clock::start();
        let cache = options.cache.as_deref().map(|folder| CacheFile::new(folder, &options.database));
        let kept = cache.as_ref().and_then(CacheFile::load);
        let local = options.interface.as_deref().map(local_address).transpose()?.flatten();
        let mut session = Self {
            viewer: Viewer::new(random::seed()).receiving(options.receiving),
            directory: Directory::new(options.database.clone(), local),
            sockets: Sockets::new(options.interface.clone()),
            cache,
            meter: Meter::new(clock.now()),
            sink: None,
            tap: None,
            overflows: 0,
            outputs: Vec::new(),
            told: Vec::new(),
            control_failed: false,
            clock,
            kept: None,
        };
        if let Some(kept) = kept {
            let now = kept.cluster_time(Clock::wall());
            session.give(Input::CachedList { list: kept.list.clone(), now });
            session.kept = Some(kept);
        }
        Ok(session)
    }

    /// Gives the viewer an input and does what it says.
    pub(super) fn give(&mut self, input: Input<'_>) {
        let now = self.clock.now();
        self.viewer.handle(now, input, &mut self.outputs);
        self.carry_out(now);
    }

    /// Waits for one thing to happen and handles it. May be dropped while it waits.
    pub(super) async fn step(&mut self) {
        let deadline = self.viewer.deadline().map(|(at, _)| at);
        let wake = tokio::select! {
            ready = self.sockets.ready() => Wake::Ready(ready),
            event = self.directory.event() => Wake::Directory(event),
            () = self.clock.reach(deadline) => Wake::Tick,
        };
        match wake {
            Wake::Ready(ready) => self.take_datagrams(ready),
            Wake::Directory(Event::Connected) => self.give(Input::DirectoryConnected),
            Wake::Directory(Event::Message(message)) => self.give(Input::DirectoryMessage(*message)),
            Wake::Directory(Event::Closed(cause)) => self.give(Input::DirectoryClosed { cause }),
            Wake::Tick => self.give(Input::Tick),
        }
    }

    /// What has been told since the last call.
    pub(super) fn told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    /// Where packets go from here on; `None`: nowhere.
    pub(super) fn set_sink(&mut self, sink: Option<Sink>) {
        self.overflows += self.sink.as_ref().map_or(0, Sink::overflows);
        self.sink = sink;
    }

    /// Takes the output away, to give it to somebody else.
    pub(super) fn take_sink(&mut self) -> Option<Sink> {
        self.overflows += self.sink.as_ref().map_or(0, Sink::overflows);
        self.sink.take()
    }

    /// Keeps what is delivered for [`Session::tapped`], which must be called after each step.
    pub(super) fn tap(&mut self) {
        self.tap = Some(Vec::new());
    }

    /// What was delivered since the last call; nothing unless tapped.
    pub(super) fn tapped(&mut self) -> Vec<RtpPacket> {
        self.tap.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Renews the rate; call once a second.
    pub(super) fn second(&mut self) {
        self.meter.second(self.clock.now());
    }

    /// The status line.
    pub(super) fn status(&self) -> String {
        self.meter.status(&self.counters())
    }

    /// When the first packet came.
    pub(super) fn first_packet(&self) -> Option<Time> {
        self.meter.first_packet()
    }

    /// The rate of what is handed on, bits per second.
    pub(super) fn rate_bps(&self) -> u64 {
        self.meter.rate_bps()
    }

    /// The numbers so far.
    pub(super) fn summary(&self) -> Summary {
        let media = self.sockets.counters();
        let shell = ShellCounters {
            output_overflows: self.overflows + self.sink.as_ref().map_or(0, Sink::overflows),
            datagrams: media.datagrams,
            receive_calls: media.calls,
        };
        self.meter.summary(self.clock.now(), &self.counters(), shell)
    }

    /// The viewer's counters.
    pub(super) fn counters(&self) -> Counters {
        self.viewer.counters()
    }

    /// The session's clock.
    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    /// The list kept from an earlier run.
    pub(super) fn kept(&self) -> Option<&Kept> {
        self.kept.as_ref()
    }

    /// Takes what waits; outputs are carried out, and the writer is woken, once for all of it.
    fn take_datagrams(&mut self, ready: Ready) {
        let now = self.clock.now();
        let Self { sockets, viewer, outputs, .. } = self;
        match ready {
            Ready::Media(group) => {
                sockets.media(group, |bytes| viewer.handle(now, Input::Media { group, bytes }, outputs));
            }
            Ready::Control => {
                let mut buffer = [0; ANSWER_BUFFER_BYTES];
                for _ in 0..ANSWERS_AT_ONCE {
                    let Some((from, bytes)) = sockets.control(&mut buffer) else { break };
                    // The first byte of P4 is none of RTP's.
                    let input = match rtp::classify(bytes) {
                        Kind::Rtp => Input::Stream { from, bytes },
                        _ => Input::Control { from, bytes },
                    };
                    viewer.handle(now, input, outputs);
                }
            }
        }
        self.carry_out(now);
    }

    fn carry_out(&mut self, now: Time) {
        let mut outputs = std::mem::take(&mut self.outputs);
        for output in outputs.drain(..) {
            match output {
                Output::Deliver(packet) => {
                    self.meter.packet(now, &packet);
                    if let Some(sink) = &mut self.sink {
                        sink.put(&packet);
                    }
                    if let Some(tap) = &mut self.tap {
                        tap.push(packet);
                    }
                }
                Output::SendControl { from, to, bytes } => {
                    let sent = self.sockets.send_control(from, to, &bytes);
                    self.note_control(sent);
                }
                Output::Join(group) => {
                    if let Err(error) = self.sockets.join(group) {
                        self.told.push(Told::Fault(error));
                    }
                }
                Output::Leave(group) => self.sockets.leave(group),
                Output::ConnectDirectory => self.directory.connect(),
                Output::SendDirectory(request) => self.directory.send(request),
                Output::DropDirectory => self.directory.close(),
                Output::KeepList(list) => {
                    if let Some(cache) = &mut self.cache {
                        cache.store(list);
                    }
                }
                Output::Notice(notice) => {
                    self.meter.notice(&notice);
                    self.told.push(Told::Notice(notice));
                }
            }
        }
        self.outputs = outputs;
        if let Some(sink) = &mut self.sink {
            sink.flush();
        }
    }

    /// Interest that cannot be sent is sent again by itself; that it cannot is told once.
    fn note_control(&mut self, sent: Result<(), SocketError>) {
        match sent {
            Ok(()) => self.control_failed = false,
            Err(error) if !self.control_failed => {
                self.control_failed = true;
                tracing::warn!(%error, "interest cannot be sent; tried again");
            }
            Err(_) => {}
        }
    }
}

/// The address of the interface that a person named, to ask the directory from.
pub(super) fn local_address(wanted: &str) -> Result<Option<IpAddr>, Error> {
    let found = interface::find(wanted).map_err(SocketError::from)?;
    Ok(wanted.parse().ok().or(found.ipv4.map(IpAddr::V4)))
}
