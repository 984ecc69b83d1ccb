//! A viewer reduced to its socket: joins a group, or just listens, and keeps what arrives.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::host::Host;
use crate::lan::Lan;

/// How often the listening thread looks whether it should end.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A listening socket on a host; leaves the group when it goes.
#[derive(Debug)]
pub struct Member {
    received: Arc<Mutex<Vec<Received>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A datagram as a program gets it.
#[derive(Debug, Clone)]
pub struct Received {
    /// When it was read.
    pub time: Instant,
    /// Who sent it.
    pub source: SocketAddr,
    /// What.
    pub payload: Vec<u8>,
}

impl Member {
    /// Listens on `host` for `to`: joins it on `lan` when it is a group, otherwise (broadcast, own address) only listens.
    /// The group is joined when this returns.
    pub fn join(host: &Host, lan: &Lan, to: SocketAddr) -> Self {
        let socket = host.enter(|| join(host, lan, to));
        socket.set_read_timeout(Some(LOOK_EVERY)).expect("a socket has timeouts");
        let (received, ended): (Arc<Mutex<Vec<Received>>>, Arc<AtomicBool>) = Default::default();
        let thread = std::thread::spawn({
            let (received, ended) = (received.clone(), ended.clone());
            move || listen(&socket, &received, &ended)
        });
        Self { received, ended, thread: Some(thread) }
    }

    /// Datagrams so far.
    pub fn packets(&self) -> usize {
        self.received.lock().expect("the listener never panics").len()
    }

    /// A copy of all datagrams so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().expect("the listener never panics").clone()
    }

    /// Leaves, and gives all that arrived.
    pub fn leave(mut self) -> Vec<Received> {
        self.end();
        std::mem::take(&mut *self.received.lock().expect("the listener never panics"))
    }

    fn end(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.end();
    }
}

fn join(host: &Host, lan: &Lan, to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(to).unwrap_or_else(|error| panic!("{to} on {}: {error}", host.name()));
    let joined = match to.ip() {
        IpAddr::V4(group) if group.is_multicast() => socket.join_multicast_v4(&group, &host.address_on(lan)),
        IpAddr::V6(group) if group.is_multicast() => {
            socket.join_multicast_v6(&group, host.interface_index(lan))
        }
        _ => Ok(()),
    };
    joined.unwrap_or_else(|error| panic!("joining {to} on {}: {error}", host.name()));
    socket
}

fn listen(socket: &UdpSocket, received: &Mutex<Vec<Received>>, ended: &AtomicBool) {
    let mut buffer = vec![0; 65_536];
    while !ended.load(Ordering::Relaxed) {
        // The timeout is the only error that an open UDP socket gives here.
        let Ok((length, source)) = socket.recv_from(&mut buffer) else { continue };
        let datagram = Received { time: Instant::now(), source, payload: buffer[..length].to_vec() };
        received.lock().expect("readers never panic with it").push(datagram);
    }
}
