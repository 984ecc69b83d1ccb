//! Listens to members of groups at interfaces, one task each, and opens again what fails.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ipnet::IpNet;
use link::interface;
use link::tap::Tap;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::membership::wire::MAX_PACKET_BYTES;
use crate::membership::{Event, LinkId, Order};

/// Packets of all interfaces that wait for the driver; one more is dropped, and counted.
pub(super) const EVENTS_WAITING: usize = 1_024;
/// Packets to be sent that wait for one interface; one more is dropped.
const SAID_WAITING: usize = 256;
/// An interface that cannot be opened is tried again after this, and the address of one that can is looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Longest that the last words of all interfaces may take at the end.
const FAREWELL: Duration = Duration::from_millis(200);

/// All interfaces that are listened to.
#[derive(Debug)]
pub(super) struct Ears {
    heard: mpsc::Sender<Event>,
    dropped: Arc<AtomicU64>,
    open: BTreeMap<LinkId, Ear>,
}

#[derive(Debug)]
struct Ear {
    task: JoinHandle<()>,
    said: mpsc::Sender<(IpAddr, Vec<u8>)>,
}

impl Ears {
    pub(super) fn new(heard: mpsc::Sender<Event>) -> Self {
        Self { heard, dropped: Arc::default(), open: BTreeMap::new() }
    }

    pub(super) fn order(&mut self, order: Order) {
        match order {
            Order::Listen(link) => {
                let (said, to_say) = mpsc::channel(SAID_WAITING);
                let listener = Listener {
                    link: link.clone(),
                    heard: self.heard.clone(),
                    dropped: self.dropped.clone(),
                    complained: None,
                };
                let task = tokio::spawn(listener.listen(to_say));
                self.open.insert(link, Ear { task, said });
            }
            // Without a sender the task ends once it has said the last.
            Order::Deafen(link) => drop(self.open.remove(&link)),
            Order::Send { link, to, packet } => {
                if self.open.get(&link).is_some_and(|ear| ear.said.try_send((to, packet)).is_err()) {
                    self.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Packets dropped for [`EVENTS_WAITING`] or [`SAID_WAITING`].
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Lets each interface say its last words.
    pub(super) async fn end(self) {
        let tasks = self.open.into_values().map(|ear| ear.task);
        let all = async {
            for task in tasks {
                // A task that was cancelled has nothing to say.
                let _ = task.await;
            }
        };
        // Who hears nothing in time finds out by silence.
        let _ = tokio::time::timeout(FAREWELL, all).await;
    }
}

struct Listener {
    link: LinkId,
    heard: mpsc::Sender<Event>,
    dropped: Arc<AtomicU64>,
    /// What was last logged, so that it is said once.
    complained: Option<String>,
}

/// Why listening ended.
enum End {
    /// It is not wanted any more.
    Unwanted,
    /// Something failed.
    Failed(io::Error),
}

impl Listener {
    async fn listen(mut self, mut to_say: mpsc::Receiver<(IpAddr, Vec<u8>)>) {
        loop {
            match self.listen_once(&mut to_say).await {
                End::Unwanted => return,
                End::Failed(error) => self.complain(&error).await,
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                // Nothing can be said now; a closed queue says that nobody is interested any more.
                said = to_say.recv() => if said.is_none() { return },
            }
        }
    }

    async fn listen_once(&mut self, to_say: &mut mpsc::Receiver<(IpAddr, Vec<u8>)>) -> End {
        let addresses = match addresses(&self.link) {
            Ok(addresses) => addresses,
            Err(error) => return End::Failed(error),
        };
        let tap = match Tap::open(&addresses.interface, self.link.ipv6) {
            Ok(tap) => tap,
            Err(error) => return End::Failed(error),
        };
        let Addresses { own, source, on_link, .. } = addresses.clone();
        if self.heard.send(Event::Up { link: self.link.clone(), own, source, on_link }).await.is_err() {
            return End::Unwanted;
        }
        self.complained = None;
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut buffer = vec![0; MAX_PACKET_BYTES];
        loop {
            tokio::select! {
                read = tap.read(&mut buffer) => match read {
                    Ok(len) => {
                        let bytes = buffer[..len].to_vec();
                        let event = Event::Packet { link: self.link.clone(), bytes };
                        self.dropped.fetch_add(self.heard.try_send(event).is_err().into(), Ordering::Relaxed);
                    }
                    Err(error) => return End::Failed(error),
                },
                said = to_say.recv() => {
                    let Some((to, packet)) = said else { return End::Unwanted };
                    if let Err(error) = tap.send(to, &packet) {
                        return End::Failed(error);
                    }
                }
                _ = look.tick() => {
                    if self::addresses(&self.link).is_ok_and(|now| now != addresses) {
                        return End::Failed(io::Error::other("its addresses have changed"));
                    }
                }
            }
        }
    }

    async fn complain(&mut self, error: &io::Error) {
        let denied = error.kind() == io::ErrorKind::PermissionDenied;
        let text = error.to_string();
        if self.complained.as_ref() != Some(&text) {
            let advice = if denied { "; give this process CAP_NET_RAW" } else { "" };
            tracing::warn!(
                interface = self.link.interface,
                ipv6 = self.link.ipv6,
                "players that only join a group cannot be heard: {text}{advice}"
            );
        }
        self.complained = Some(text);
        // Where the driver is gone, so is the need.
        let _ = self.heard.send(Event::Down { link: self.link.clone(), denied }).await;
    }
}

/// What an interface is at present.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Addresses {
    interface: interface::Interface,
    own: IpAddr,
    source: IpAddr,
    on_link: Vec<IpNet>,
}

fn addresses(link: &LinkId) -> io::Result<Addresses> {
    let interface = interface::find(&link.interface).map_err(io::Error::other)?;
    let on_link: Vec<IpNet> = interface::prefixes(&interface.name)
        .into_iter()
        .filter(|prefix| prefix.addr().is_ipv6() == link.ipv6)
        .collect();
    let missing = || io::Error::other(format!("interface {} has no address of this family", interface.name));
    let is_link_local = |address: &IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let (own, source) = if link.ipv6 {
        let own = on_link.iter().map(IpNet::addr).find(is_link_local).ok_or_else(missing)?;
        let named = link.interface.parse::<IpAddr>().ok();
        let wide = on_link.iter().map(IpNet::addr).find(|address| !is_link_local(address));
        (own, named.or(wide).unwrap_or(own))
    } else {
        let own = IpAddr::V4(interface.ipv4.ok_or_else(missing)?);
        (own, own)
    };
    Ok(Addresses { interface, own, source, on_link })
}
