//! `satip://`: a tuner of a SAT>IP server. RTSP over TCP decides, packets come by RTP, reports of the signal by RTCP.

use std::io::{self, ErrorKind};
use std::net::IpAddr;

use link::clock::Clock;
use link::intake::Intake;
use link::udp::MEDIA_BUFFER_BYTES;
use protocols::topology::SatipInput;
use socket2::SockRef;
use tokio::net::UdpSocket;
use tracing::debug;

use super::Batch;
use super::lent_tuner::{Lent, LentTuner};
use super::peer;
use super::rtp::RtpStream;
use crate::pids::Pids;
use crate::satip::report;
use crate::satip::session::Session;
use crate::signal::Signal;
use crate::tuner_session::TunerSession;

/// Bytes of one report that are looked at.
const REPORT_BYTES: usize = 2 << 10;
/// Pairs of ports that are tried: two neighbours have to be free.
const PORT_ATTEMPTS: usize = 64;

/// A tuner that was asked for.
pub(crate) struct Satip {
    tuner: LentTuner<Session>,
    server: IpAddr,
    packets: Intake,
    reports: UdpSocket,
    stream: RtpStream,
    signal: Option<Signal>,
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
            server,
            packets,
            reports: UdpSocket::from_std(reports).map_err(told)?,
            stream: RtpStream::new(),
            signal: None,
            tuner: LentTuner::new(place, Session::new(input, port), connection),
        })
    }

    pub(crate) fn select(&mut self, pids: &Pids) {
        self.tuner.session.select(pids);
    }

    pub(crate) fn signal(&self) -> Option<Signal> {
        self.signal
    }

    fn take_packets(&mut self, clock: &Clock, batch: &mut Batch) {
        let (server, source) = (self.server, self.tuner.session.source());
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
        let is_servers = from.ip() == self.server || Some(from.ip()) == self.tuner.session.source();
        let report = bytes.get(..count).filter(|_| is_servers).and_then(report::signal);
        let Some(signal) = report else { return };
        let had_none = self.signal.is_some_and(|signal| !signal.lock);
        if !signal.lock && !had_none {
            batch.strange = Some(format!("the tuner of {} has no lock ({signal})", self.tuner.place()));
        }
        self.signal = Some(signal);
    }
}

impl Lent for Satip {
    type Session = Session;

    fn tuner(&mut self) -> &mut LentTuner<Session> {
        &mut self.tuner
    }

    async fn turn(&mut self, clock: &Clock, batch: &mut Batch) -> Result<(), String> {
        self.tuner.carry_out()?;
        let deadline = self.tuner.session.deadline().into_iter().chain(self.stream.deadline()).min();
        let Self { tuner, packets, reports, .. } = &*self;
        let wake = tokio::select! {
            ready = packets.ready() => match ready {
                Ok(()) => Wake::Packets,
                Err(error) => return Err(format!("receiving: {error}")),
            },
            () = tuner.ready() => Wake::Connection,
            _ = reports.readable() => Wake::Report,
            () = clock.reach(deadline) => Wake::Time,
        };
        match wake {
            Wake::Packets => self.take_packets(clock, batch),
            Wake::Connection => self.tuner.converse(clock.now()),
            Wake::Report => self.report(batch),
            Wake::Time => {
                self.tuner.tick(clock.now());
                self.stream.expire(clock.now());
                self.stream.hand_on(batch);
            }
        }
        Ok(())
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
