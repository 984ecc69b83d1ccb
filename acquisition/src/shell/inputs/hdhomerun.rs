//! `hdhomerun://`: a tuner of an HDHomeRun. Control over TCP 65001 decides, packets come by UDP.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use link::clock::Clock;
use link::intake::Intake;
use link::interface;
use link::udp::MEDIA_BUFFER_BYTES;
use protocols::hdhomerun::{CONTROL_PORT, DeviceId, PACKET_BYTES_MAX};
use protocols::topology::{HdhomerunDevice, HdhomerunInput, PeerAddress};
use socket2::SockRef;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::debug;

use super::Batch;
use super::lent_tuner::{Lent, LentTuner};
use super::peer;
use super::udp::append_packets;
use crate::hdhomerun::discovery;
use crate::hdhomerun::session::Session;
use crate::pids::Pids;
use crate::signal::Signal;
use crate::tuner_session::TunerSession;

/// How often a device is called for, and how long its answer is waited for each time.
const CALLS: usize = 3;
const CALL_LIMIT: Duration = Duration::from_millis(400);
/// Networks that are called out on.
const MAX_NETWORKS: usize = 16;

/// A tuner that was asked for.
pub(crate) struct Hdhomerun {
    tuner: LentTuner<Session>,
    device: IpAddr,
    packets: Intake,
    /// Whether the lack of a signal was told.
    told_no_lock: bool,
}

/// What woke a turn.
enum Wake {
    Packets,
    Connection,
    Time,
}

impl Hdhomerun {
    /// Finds the device and connects to it. No tuner is taken before the first turn.
    pub(crate) async fn open(input: &HdhomerunInput) -> Result<Self, String> {
        let place = format!("hdhomerun://{}", input.device);
        let address = match &input.device {
            HdhomerunDevice::Address(address) => address.clone(),
            HdhomerunDevice::Id(id) => {
                let found = find(*id).await;
                let host = found.ok_or_else(|| {
                    format!("{place}: no device of this id answers on this host's networks; name it by its address where it is in another")
                })?;
                PeerAddress { host: host.to_string(), port: CONTROL_PORT }
            }
        };
        let connection = peer::connect(&address).await.map_err(|why| format!("{place}: {why}"))?;
        let told = |error: std::io::Error| format!("{place}: a socket for its packets: {error}");
        let own = connection.local_addr().map_err(told)?.ip();
        let device = connection.peer_addr().map_err(told)?.ip();
        let packets = std::net::UdpSocket::bind((own, 0)).map_err(told)?;
        // Less than asked for is no failure: the kernel's limit is the administrator's.
        let _ = SockRef::from(&packets).set_recv_buffer_size(MEDIA_BUFFER_BYTES);
        let packets = Intake::new(packets).map_err(told)?;
        let target = SocketAddr::new(own.to_canonical(), packets.local_addr().map_err(told)?.port());
        Ok(Self {
            device,
            packets,
            told_no_lock: false,
            tuner: LentTuner::new(place, Session::new(input, target), connection),
        })
    }

    pub(crate) fn select(&mut self, pids: &Pids) {
        self.tuner.session.select(pids);
    }

    pub(crate) fn signal(&self) -> Option<Signal> {
        self.tuner.session.signal()
    }

    fn converse(&mut self, clock: &Clock, batch: &mut Batch) {
        self.tuner.converse(clock.now());
        let no_lock = self.signal().filter(|signal| !signal.lock);
        if let Some(signal) = no_lock.filter(|_| !self.told_no_lock) {
            batch.strange = Some(format!("the tuner of {} has no lock ({signal})", self.tuner.place()));
        }
        self.told_no_lock = no_lock.is_some();
    }

    fn take_packets(&mut self, batch: &mut Batch) {
        let device = self.device;
        let taken = self.packets.take(|from, datagram| {
            if from.ip() == device && !append_packets(datagram, batch) {
                let len = datagram.len();
                batch.strange = Some(format!("datagrams of {len} bytes arrive that are no MPEG-TS"));
            }
        });
        if let Err(error) = taken {
            debug!(%error, "receiving from an HDHomeRun");
        }
    }
}

impl Lent for Hdhomerun {
    type Session = Session;

    fn tuner(&mut self) -> &mut LentTuner<Session> {
        &mut self.tuner
    }

    async fn turn(&mut self, clock: &Clock, batch: &mut Batch) -> Result<(), String> {
        self.tuner.carry_out()?;
        let Self { tuner, packets, .. } = &*self;
        let wake = tokio::select! {
            ready = packets.ready() => match ready {
                Ok(()) => Wake::Packets,
                Err(error) => return Err(format!("receiving: {error}")),
            },
            () = tuner.ready() => Wake::Connection,
            () = clock.reach(tuner.session.deadline()) => Wake::Time,
        };
        match wake {
            Wake::Packets => self.take_packets(batch),
            Wake::Connection => self.converse(clock, batch),
            Wake::Time => self.tuner.tick(clock.now()),
        }
        Ok(())
    }
}

/// Where the device of this id is: the first answer to a broadcast on each network of this host.
async fn find(id: DeviceId) -> Option<IpAddr> {
    let mut calls = JoinSet::new();
    for own in interface::own_ipv4().into_iter().take(MAX_NETWORKS) {
        calls.spawn(call(id, own));
    }
    while let Some(answer) = calls.join_next().await {
        if let Ok(Some(found)) = answer {
            return Some(found);
        }
    }
    None
}

async fn call(id: DeviceId, own: Ipv4Addr) -> Option<IpAddr> {
    let socket = UdpSocket::bind((own, 0)).await.ok()?;
    socket.set_broadcast(true).ok()?;
    let request = discovery::request(id);
    for _ in 0..CALLS {
        socket.send_to(&request, (Ipv4Addr::BROADCAST, CONTROL_PORT)).await.ok()?;
        if let Ok(found) = timeout(CALL_LIMIT, answer(id, &socket)).await {
            return found;
        }
    }
    None
}

async fn answer(id: DeviceId, socket: &UdpSocket) -> Option<IpAddr> {
    let mut bytes = [0; PACKET_BYTES_MAX];
    loop {
        let (count, from) = socket.recv_from(&mut bytes).await.ok()?;
        if bytes.get(..count).is_some_and(|datagram| discovery::is_answer_of(id, datagram)) {
            return Some(from.ip());
        }
    }
}
