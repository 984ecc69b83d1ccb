//! `satip://`: a tuner of a SAT>IP server. RTSP over TCP decides, packets come by RTP, reports of the signal by RTCP.

use std::io::{self, ErrorKind};
use std::net::IpAddr;

use link::clock::Clock;
use link::intake::Intake;
use link::udp::MEDIA_BUFFER_BYTES;
use protocols::time::Time;
use protocols::topology::SatipInput;
use socket2::SockRef;
use tokio::net::UdpSocket;
use tracing::debug;

use super::Batch;
use super::peer::{self, Conversation};
use super::rtp::RtpStream;
use crate::pids::Pids;
use crate::satip::report;
use crate::satip::session::{Input, Output, Session};
use crate::signal::Signal;

/// Bytes of one report that are looked at.
const REPORT_BYTES: usize = 2 << 10;
/// Pairs of ports that are tried: two neighbours have to be free.
const PORT_ATTEMPTS: usize = 64;

/// A tuner that was asked for.
pub(crate) struct Satip {
    /// For messages: `satip://HOST`.
    place: String,
    session: Session,
    out: Vec<Output>,
    connection: Conversation,
    server: IpAddr,
    packets: Intake,
    reports: UdpSocket,
    stream: RtpStream,
    signal: Option<Signal>,
    /// Of the first turn, with which the tuner is asked for.
    clock: Option<Clock>,
}

/// What the session wants of the shell, when that is not to go on.
enum Stop {
    Failed(String),
    GivenBack,
}

/// What woke a turn.
enum Wake {
    Packets,
    Connection,
    Report,
    Time,
}

impl Satip {
    /// Connects to the server. No tuner is taken before the first turn.
    pub(crate) async fn open(input: &SatipInput) -> Result<Self, String> {
        let place = format!("satip://{}", input.server.authority(554));
        let told = |why: String| format!("{place}: {why}");
        let connection = peer::connect(&input.server).await.map_err(told)?;
        let told = |error: io::Error| format!("{place}: sockets for its packets: {error}");
        let own = connection.local_addr().map_err(told)?.ip();
        let server = connection.peer_addr().map_err(told)?.ip();
        let (packets, reports) = port_pair(own).map_err(told)?;
        // Less than asked for is no failure: the kernel's limit is the administrator's.
        let _ = SockRef::from(&packets).set_recv_buffer_size(MEDIA_BUFFER_BYTES);
        let packets = Intake::new(packets).map_err(told)?;
        let port = packets.local_addr().map_err(told)?.port();
        reports.set_nonblocking(true).map_err(told)?;
        Ok(Self {
            session: Session::new(input, port),
            out: Vec::new(),
            connection: Conversation::new(connection),
            server,
            packets,
            reports: UdpSocket::from_std(reports).map_err(told)?,
            stream: RtpStream::new(),
            signal: None,
            clock: None,
            place,
        })
    }

    /// Waits for the next packets. May be dropped at any time without losing any.
    pub(crate) async fn next(&mut self, clock: &Clock, batch: &mut Batch) -> Result<(), String> {
        let begins = self.clock.replace(*clock).is_none();
        let input = if begins { Input::Connected } else { Input::Tick };
        self.session.handle(clock.now(), input, &mut self.out);
        while batch.is_empty() {
            match self.turn(clock, batch).await {
                Ok(()) => {}
                Err(Stop::Failed(why)) => return Err(format!("{}: {why}", self.place)),
                Err(Stop::GivenBack) => return Err(format!("{}: the tuner was given back", self.place)),
            }
        }
        Ok(())
    }

    pub(crate) fn select(&mut self, pids: &Pids) {
        self.session.select(pids);
    }

    pub(crate) fn signal(&self) -> Option<Signal> {
        self.signal
    }

    /// Gives the tuner back.
    pub(crate) async fn close(mut self) {
        // Without a turn none was taken.
        let Some(clock) = self.clock else { return };
        if self.session.is_over() {
            if let Some(bytes) = self.session.farewell() {
                self.connection.say(&bytes);
                // A lost connection has nobody to hear it.
                let _ = self.connection.turn(|_| ());
            }
            return;
        }
        self.session.handle(clock.now(), Input::Close, &mut self.out);
        let mut unheard = Batch::default();
        // The session's own limit ends it.
        while !self.session.is_over() && self.turn(&clock, &mut unheard).await.is_ok() {
            unheard = Batch::default();
        }
    }

    async fn turn(&mut self, clock: &Clock, batch: &mut Batch) -> Result<(), Stop> {
        self.carry_out()?;
        let deadline = self.session.deadline().into_iter().chain(self.stream.deadline()).min();
        let Self { connection, packets, reports, .. } = &*self;
        let wake = tokio::select! {
            ready = packets.ready() => match ready {
                Ok(()) => Wake::Packets,
                Err(error) => return Err(Stop::Failed(format!("receiving: {error}"))),
            },
            () = connection.ready() => Wake::Connection,
            _ = reports.readable() => Wake::Report,
            () = clock.reach(deadline) => Wake::Time,
        };
        match wake {
            Wake::Packets => self.take_packets(clock, batch),
            Wake::Connection => self.converse(clock.now()),
            Wake::Report => self.report(batch),
            Wake::Time => {
                self.session.handle(clock.now(), Input::Tick, &mut self.out);
                self.stream.expire(clock.now());
                self.stream.hand_on(batch);
            }
        }
        Ok(())
    }

    fn converse(&mut self, now: Time) {
        let Self { connection, session, out, .. } = self;
        let lost = connection.turn(|bytes| session.handle(now, Input::Bytes(bytes), out)).err();
        if let Some(why) = lost {
            session.handle(now, Input::Disconnected(&why), out);
        }
    }

    fn carry_out(&mut self) -> Result<(), Stop> {
        for output in self.out.drain(..) {
            match output {
                Output::Send(bytes) => self.connection.say(&bytes),
                Output::Fail(why) => return Err(Stop::Failed(why)),
                Output::Drop => return Err(Stop::GivenBack),
            }
        }
        Ok(())
    }

    fn take_packets(&mut self, clock: &Clock, batch: &mut Batch) {
        let (server, source) = (self.server, self.session.source());
        let Self { packets, stream, .. } = self;
        let taken = packets.take(|from, datagram| {
            if from.ip() == server || Some(from.ip()) == source {
                stream.take(clock.now(), datagram, batch);
            }
        });
        if let Err(error) = taken {
            debug!(%error, "receiving from a SAT>IP server");
        }
        stream.hand_on(batch);
    }

    fn report(&mut self, batch: &mut Batch) {
        let mut bytes = [0; REPORT_BYTES];
        // An error of this socket tells of the past only.
        let Ok((count, from)) = self.reports.try_recv_from(&mut bytes) else { return };
        let is_servers = from.ip() == self.server || Some(from.ip()) == self.session.source();
        let report = bytes.get(..count).filter(|_| is_servers).and_then(report::signal);
        let Some(signal) = report else { return };
        let had_none = self.signal.is_some_and(|signal| !signal.lock);
        if !signal.lock && !had_none {
            batch.strange = Some(format!("the tuner of {} has no lock ({signal})", self.place));
        }
        self.signal = Some(signal);
    }
}

/// An even port and the odd one above it (RFC 3550 §11).
fn port_pair(own: IpAddr) -> io::Result<(std::net::UdpSocket, std::net::UdpSocket)> {
    let mut last = ErrorKind::AddrInUse.into();
    for _ in 0..PORT_ATTEMPTS {
        let first = std::net::UdpSocket::bind((own, 0))?;
        let port = first.local_addr()?.port();
        if port % 2 == 0 {
            match std::net::UdpSocket::bind((own, port + 1)) {
                Ok(second) => return Ok((first, second)),
                Err(error) => last = error,
            }
        }
    }
    Err(last)
}
