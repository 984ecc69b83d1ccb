//! The driver of the control machine: waits for a datagram, news or the deadline, calls the machine once, and does what
//! it wants.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use link::clock::Clock;
use link::metrics_port::Question;
use link::shutdown::Shutdown;
use link::supervision::Supervision;
use link::udp::{self, Aim, SocketError};
use protocols::codec;
use protocols::handshake::FrameSeal;
use protocols::ids::ChannelId;
use protocols::p3_feed::{FeedOrder, Opened};
use protocols::p4_control::MAX_DATAGRAM_BYTES;
use protocols::preamble::{self, Refusal};
use serde::Serialize;
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;

use super::Error;
use super::data::{DataThread, Order};
use super::ears::Ears;
use super::metrics::Measures;
use super::openings::Opening;
use super::playback::{Call, Playback};
use super::recorder::desk::{Change, Desk};
use super::replication;
use super::tally::Counts;
use crate::live;
use crate::membership;
use crate::placement::{Move, Placement};
use crate::plan::ChannelCounters;
use crate::repair::Request;
use crate::server::{FeedId, Input, Output, PushServer};
use crate::session_announcement::Notice;

/// Datagrams taken in a row before news and deadlines have their turn.
const DATAGRAMS_PER_TURN: usize = 64;
/// Feeds open at a time; one more is refused. Each channel has one, and for a moment a second.
const MAX_FEEDS: usize = 8_192;
/// How often the counters are logged.
const LOG_INTERVAL: Duration = Duration::from_mins(1);
/// How often the recorder is asked what has changed.
const RECORDINGS_INTERVAL: Duration = Duration::from_secs(1);

/// What data threads and openings tell the driver.
#[derive(Debug)]
pub(super) enum News {
    /// An acquisition server wants to feed a channel.
    Opening(Box<Opening>),
    /// A feed has ended.
    FeedClosed { channel: ChannelId, feed: FeedId },
    /// A channel's counters, and its load as [`ChannelPath::load`](crate::path::ChannelPath::load) counts it.
    Counters { counters: ChannelCounters, load: u64 },
    /// Something has become of a live session.
    Live { channel: ChannelId, event: live::Event },
    /// A data thread has taken over a channel.
    Adopted { channel: ChannelId },
}

/// Who looks after the driver: those who read metrics, and the service manager.
#[derive(Debug)]
pub(super) struct Visits {
    pub(super) asked: mpsc::Receiver<Question<Measures>>,
    /// What replication counts, where there is any.
    pub(super) replicated: Option<Arc<replication::Counts>>,
    pub(super) supervision: Supervision,
}

/// The driver task.
#[derive(Debug)]
pub(super) struct Driver {
    machine: PushServer,
    clock: Clock,
    control: UdpSocket,
    threads: Vec<DataThread>,
    placement: Placement,
    /// Channels on their way from one thread to another, with the orders that wait for their arrival.
    moving: BTreeMap<ChannelId, Vec<Order>>,
    /// Threads that have orders to look at.
    to_wake: BTreeSet<usize>,
    feeds: BTreeMap<FeedId, Feed>,
    feeds_opened: u64,
    /// Requests for repair that found no room in a data thread's inbox.
    repairs_dropped: u64,
    playback: Playback,
    /// Orders to sessions and requests for repair that found no room in playback's inbox.
    plays_dropped: u64,
    desk: Desk,
    ears: Ears,
    outputs: Vec<Output>,
}

/// What is needed to answer a feed, or to say farewell to it.
#[derive(Debug)]
struct Feed {
    /// Ours until the feed is accepted; then the data thread's.
    stream: Option<TcpStream>,
    seal: FrameSeal,
}

impl Feed {
    fn frame(&mut self, message: &impl Serialize) -> Vec<u8> {
        let mut frame = Vec::new();
        preamble::write_frame(&mut frame, &self.seal.seal(codec::encode(message)));
        frame
    }
}

impl Driver {
    pub(super) fn new(
        machine: PushServer,
        clock: Clock,
        control: UdpSocket,
        threads: Vec<DataThread>,
        playback: Playback,
        desk: Desk,
        ears: Ears,
    ) -> Self {
        Self {
            machine,
            clock,
            control,
            placement: Placement::new(threads.len()),
            threads,
            moving: BTreeMap::new(),
            to_wake: BTreeSet::new(),
            feeds: BTreeMap::new(),
            feeds_opened: 0,
            repairs_dropped: 0,
            playback,
            plays_dropped: 0,
            desk,
            ears,
            outputs: Vec::new(),
        }
    }

    /// Drives until `shutdown` is requested or a data thread fails.
    pub(super) async fn drive(
        mut self,
        mut heard: mpsc::Receiver<News>,
        mut members: mpsc::Receiver<membership::Event>,
        mut visits: Visits,
        shutdown: Shutdown,
    ) -> Result<(), Error> {
        let started = Instant::now();
        let mut log = tokio::time::interval(LOG_INTERVAL);
        let mut recordings = tokio::time::interval(RECORDINGS_INTERVAL);
        let ended = loop {
            let deadline = self.machine.deadline().map(|(at, _)| at);
            let done = tokio::select! {
                () = shutdown.requested() => break Ok(()),
                readable = self.control.readable() => self.datagrams(readable).await,
                Some(news) = heard.recv() => self.news(news),
                Some(event) = members.recv() => self.handle(Input::Membership(event)),
                () = self.clock.reach(deadline) => self.handle(Input::Tick),
                _ = recordings.tick() => self.desk.news().into_iter().try_for_each(|news| self.handle(news)),
                () = visits.supervision.due() => {
                    visits.supervision.alive();
                    Ok(())
                }
                Some(question) = visits.asked.recv() => {
                    // Lost where nobody waits for it any more.
                    let _ = question.send(self.measures(started, visits.replicated.as_deref()));
                    Ok(())
                }
                _ = log.tick() => {
                    tracing::debug!(counters = ?self.machine.counters().named(), threads = ?self.counts(), repairs_dropped = self.repairs_dropped, recorder = ?self.desk.counts(), playback = ?self.playback.counts(), plays_dropped = self.plays_dropped, members_dropped = self.ears.dropped(), "counters");
                    Ok(())
                }
            };
            if let Err(error) = done {
                break Err(error);
            }
        };
        tracing::info!(counters = ?self.machine.counters().named(), threads = ?self.counts(), repairs_dropped = self.repairs_dropped, recorder = ?self.desk.counts(), playback = ?self.playback.counts(), plays_dropped = self.plays_dropped, members_dropped = self.ears.dropped(), "ending");
        for farewell in self.machine.farewells() {
            self.carry_out(farewell)?;
        }
        self.ears.end().await;
        self.playback.stop();
        self.threads.into_iter().for_each(DataThread::stop);
        ended
    }

    fn measures(&self, started: Instant, replicated: Option<&replication::Counts>) -> Measures {
        Measures {
            started,
            counters: self.machine.counters().described(),
            threads: self.counts(),
            playback: self.playback.counts(),
            recorder: self.desk.described(),
            replication: replicated.map(replication::Counts::described).unwrap_or_default(),
            repairs_dropped: self.repairs_dropped,
            plays_dropped: self.plays_dropped,
            members_dropped: self.ears.dropped(),
            channels: self.machine.numbers(),
        }
    }

    fn counts(&self) -> Vec<Counts> {
        self.threads.iter().map(|thread| thread.tally().counts()).collect()
    }

    async fn datagrams(&mut self, readable: io::Result<()>) -> Result<(), Error> {
        // One more than the largest, so that a longer one is seen to be too long.
        let mut buffer = [0; MAX_DATAGRAM_BYTES + 1];
        let mut taken = 0;
        let trouble = loop {
            if taken == DATAGRAMS_PER_TURN {
                return Ok(());
            }
            taken += 1;
            if let Err(error) = &readable {
                break error.to_string();
            }
            match self.control.try_recv_from(&mut buffer) {
                Ok((len, from)) => self.datagram(from, &buffer[..len])?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => break error.to_string(),
            }
        };
        tracing::warn!(error = trouble, "P4 cannot be read; trying on");
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok(())
    }

    fn datagram(&mut self, from: SocketAddr, bytes: &[u8]) -> Result<(), Error> {
        self.handle(Input::Datagram { from, bytes: bytes.to_vec() })
    }

    fn news(&mut self, news: News) -> Result<(), Error> {
        match news {
            News::Opening(opening) => self.opening(*opening),
            News::FeedClosed { channel, feed } => {
                self.feeds.remove(&feed);
                self.handle(Input::FeedClosed { channel, feed })
            }
            News::Counters { counters, load } => {
                self.placement.loaded(counters.channel, load);
                self.handle(Input::Counters(counters))?;
                self.rebalance()
            }
            News::Live { channel, event } => self.handle(Input::Live { channel, event }),
            News::Adopted { channel } => {
                let waited = self.moving.remove(&channel).unwrap_or_default();
                waited.into_iter().try_for_each(|order| self.order(channel, order))?;
                self.wake()
            }
        }
    }

    fn opening(&mut self, opening: Opening) -> Result<(), Error> {
        let Opening { open, peer, stream, session } = opening;
        let mut feed = Feed { stream: Some(stream), seal: session.seal };
        if self.feeds.len() >= MAX_FEEDS {
            let refusal = Refusal::Busy(format!("this host takes at most {MAX_FEEDS} feeds"));
            answer(&mut feed, &Opened::Refused(refusal));
            return Ok(());
        }
        self.feeds_opened += 1;
        let id = FeedId(self.feeds_opened);
        self.feeds.insert(id, feed);
        self.handle(Input::FeedOpened { channel: open.channel, feed: id, peer, ssrc: open.ssrc })
    }

    fn handle(&mut self, input: Input) -> Result<(), Error> {
        let mut outputs = std::mem::take(&mut self.outputs);
        self.machine.handle(self.clock.now(), input, &mut outputs);
        for output in outputs.drain(..) {
            self.carry_out(output)?;
        }
        self.outputs = outputs;
        self.wake()
    }

    /// Has the threads look at the orders that they were given, once for all of them.
    fn wake(&mut self) -> Result<(), Error> {
        while let Some(number) = self.to_wake.pop_first() {
            if !self.threads[number].mailbox.wake() {
                return Err(Error::DataThread(number));
            }
        }
        Ok(())
    }

    /// Moves a channel where that makes the threads more alike.
    fn rebalance(&mut self) -> Result<(), Error> {
        if !self.moving.is_empty() {
            return Ok(()); // one at a time: what a move does to the load is seen before the next
        }
        let Some(Move { channel, from, to }) = self.placement.rebalance(self.clock.now()) else {
            return Ok(());
        };
        tracing::info!(%channel, from, to, "channel goes to another data thread");
        self.moving.entry(channel).or_default();
        let mailbox = self.threads[to].mailbox.clone();
        self.put(from, Order::HandOver { channel, to: mailbox })?;
        self.wake()
    }

    fn carry_out(&mut self, output: Output) -> Result<(), Error> {
        match output {
            Output::Send { to, bytes } => {
                // P4 bears loss: whoever misses an answer asks again.
                if let Err(error) = self.control.try_send_to(&bytes, to) {
                    tracing::debug!(%to, %error, "an answer could not be sent");
                }
                Ok(())
            }
            Output::Plan { channel, plan } => self.order(channel, Order::Plan { channel, plan }),
            Output::Record { channel, order } => match self.desk.order(channel, order.map(|order| *order)) {
                Change::None => Ok(()),
                Change::Begin(intake) => self.order(channel, Order::Record { channel, intake: Some(intake) }),
                Change::End => self.order(channel, Order::Record { channel, intake: None }),
            },
            Output::Repair { channel, request } => {
                self.repair(channel, request);
                Ok(())
            }
            Output::Play(order) => {
                self.play(Call::Order(order));
                Ok(())
            }
            Output::PlayRepair(missed) => {
                self.play(Call::Missed(missed));
                Ok(())
            }
            Output::Live { channel, order } => self.order(channel, Order::Live { channel, order }),
            Output::Release { channel } => self.order(channel, Order::Release { channel }),
            Output::Announce { channel, destination, bytes } => {
                self.order(channel, Order::Announce { channel, destination, bytes })
            }
            Output::Membership(order) => {
                self.ears.order(order);
                Ok(())
            }
            Output::Notify(notice) => {
                notify(&notice);
                Ok(())
            }
            Output::AcceptFeed { channel, feed } => self.accept(channel, feed),
            Output::TellFeed { channel, feed, order } => self.tell_feed(channel, feed, &order),
            Output::CloseFeed { channel, feed, refusal } => self.close(channel, feed, refusal),
        }
    }

    /// Gives the channel's thread an order, which it sees at the next [`Self::wake`].
    fn order(&mut self, channel: ChannelId, order: Order) -> Result<(), Error> {
        if let Some(waiting) = self.moving.get_mut(&channel) {
            waiting.push(order);
            return Ok(());
        }
        let number = self.placement.thread(channel);
        if matches!(order, Order::Release { .. }) {
            self.placement.release(channel);
        }
        // An announcement is not worth a wake-up: windows come often enough.
        if matches!(order, Order::Announce { .. }) {
            return self.threads[number].mailbox.put(order).map_err(|_| Error::DataThread(number));
        }
        self.put(number, order)
    }

    /// Gives the channel's thread a request for repair, unless it is on its way to another or has too many.
    fn repair(&mut self, channel: ChannelId, request: Request) {
        let number = self.placement.thread(channel);
        if self.moving.contains_key(&channel) || !self.threads[number].mailbox.put_repair(channel, request) {
            self.repairs_dropped += 1;
            return;
        }
        self.to_wake.insert(number);
    }

    /// Gives playback a call, unless it has too many.
    fn play(&mut self, call: Call) {
        self.plays_dropped += u64::from(!self.playback.put(call));
    }

    fn put(&mut self, number: usize, order: Order) -> Result<(), Error> {
        self.to_wake.insert(number);
        self.threads[number].mailbox.put(order).map_err(|_| Error::DataThread(number))
    }

    fn accept(&mut self, channel: ChannelId, id: FeedId) -> Result<(), Error> {
        let Some(feed) = self.feeds.get_mut(&id) else { return Ok(()) };
        answer(feed, &Opened::Accepted);
        if let Some(Ok(stream)) = feed.stream.take().map(TcpStream::into_std) {
            return self.order(channel, Order::Feed { channel, feed: id, stream });
        }
        self.feeds.remove(&id);
        self.handle(Input::FeedClosed { channel, feed: id })
    }

    fn tell_feed(&mut self, channel: ChannelId, id: FeedId, order: &FeedOrder) -> Result<(), Error> {
        let Some(feed) = self.feeds.get_mut(&id) else { return Ok(()) };
        let frame = feed.frame(order);
        self.order(channel, Order::TellFeed { channel, feed: id, frame })
    }

    fn close(&mut self, channel: ChannelId, id: FeedId, refusal: Refusal) -> Result<(), Error> {
        let Some(mut feed) = self.feeds.remove(&id) else { return Ok(()) };
        tracing::info!(%channel, why = %refusal, "feed closed");
        let refused = Opened::Refused(refusal);
        if feed.stream.is_some() {
            answer(&mut feed, &refused);
            return Ok(());
        }
        let farewell = feed.frame(&refused);
        self.order(channel, Order::CloseFeed { channel, feed: id, farewell })
    }
}

/// Sends an announcement by a socket of its own: they are minutes apart.
fn notify(notice: &Notice) {
    let interface = notice.interface.clone();
    let aim = Aim { to: notice.to, interface, ttl: notice.ttl, dscp: 0, broadcast: false };
    let sent = udp::send(&aim).and_then(|socket| {
        let sent = socket.send(&notice.bytes);
        sent.map_err(|error| SocketError::new(format!("announcing to {}", notice.to), error))
    });
    if let Err(error) = sent {
        tracing::warn!(to = %notice.to, %error, "a channel could not be announced; trying again in some minutes");
    }
}

/// Answers an opening. The frame is far smaller than a fresh connection's send buffer; where it does not fit all the
/// same, the peer sees the connection close without a word.
fn answer(feed: &mut Feed, opened: &Opened) {
    let frame = feed.frame(opened);
    if let Some(stream) = &feed.stream
        && let Err(error) = stream.try_write(&frame)
    {
        tracing::debug!(%error, "a feed could not be answered");
    }
}
