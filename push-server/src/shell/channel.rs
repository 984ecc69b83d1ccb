//! One channel in its data thread: its path, the feed that fills it, and the outlets that empty it.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use link::volley::Volley;
use protocols::ids::ChannelId;
use protocols::p3_feed::SILENCE_TIMEOUT;
use protocols::p6_broadcast::ANNOUNCEMENT_BYTES;
use protocols::time::Time;

use super::outlet::Outlet;
use super::queue::Queue;
use super::reader::{FeedReader, READ_BYTES, Turn};
use super::recorder::Intake;
use super::recorder::tap::Tap;
use super::stream::StreamSocket;
use super::tally::Counts;
use crate::live;
use crate::path::{ChannelPath, Pace, Wanted};
use crate::plan::{ChannelCounters, Plan};
use crate::repair::{Answer, Asker, Request, Requester};
use crate::server::FeedId;

/// Windows begin at multiples of themselves, put off by a multiple of this, so that not all channels leave at once.
const PHASE: Duration = Duration::from_micros(2_500);
const PHASES: usize = 4;
/// Channels that share a phase before the next is begun: few channels are served by one turn, and leave as 0.5 ms of
/// a 1 Gb/s port.
const CHANNELS_PER_PHASE: usize = 8;
/// A channel with so many destinations is worth a turn of its own: those after it wait less.
const MANY_DESTINATIONS: usize = 32;
/// An announcement waits this long for a batch to go along with; then it leaves alone.
const RIDER_WAITS: Duration = Duration::from_millis(20);
/// Later than everything: the channel waits for its feed or for an order.
pub(super) const NEVER: Time = Time::from_us(u64::MAX);

/// What a data thread's channels share.
pub(super) struct Tools {
    buffer: Box<[u8]>,
    volley: Volley,
    stream: StreamSocket,
    pub(super) counts: Counts,
}

impl Tools {
    /// Tools that send to single viewers by `stream`.
    pub(super) fn new(stream: StreamSocket) -> Self {
        Self {
            stream,
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            volley: Volley::default(),
            counts: Counts::default(),
        }
    }
}

/// A channel and its sockets.
#[derive(Debug)]
pub(super) struct Channel {
    id: ChannelId,
    path: ChannelPath,
    outlets: Vec<Outlet>,
    /// Outlets that have a rider, and when those leave alone that still wait.
    riders: usize,
    riders_leave: Time,
    feed: Option<FeedReader>,
    /// Whether the thread is woken when the feed brings something.
    awaited: bool,
    /// When its turn is, while it has turns.
    due: Option<Time>,
    /// It is sent to [`MANY_DESTINATIONS`].
    wide: bool,
    /// Where its packets go to be recorded.
    tap: Option<Tap>,
}

impl Channel {
    pub(super) fn new(id: ChannelId) -> Self {
        Self {
            id,
            path: ChannelPath::new(id),
            outlets: Vec::new(),
            riders: 0,
            riders_leave: NEVER,
            feed: None,
            awaited: false,
            due: None,
            wide: false,
            tap: None,
        }
    }

    pub(super) fn id(&self) -> ChannelId {
        self.id
    }

    pub(super) fn path(&self) -> &ChannelPath {
        &self.path
    }

    pub(super) fn path_mut(&mut self) -> &mut ChannelPath {
        &mut self.path
    }

    /// Puts a plan in force. What its feed has brought by now comes first, so that who resumes is given what is newest;
    /// and riders get off, since the outlets that they wait in may go.
    pub(super) fn apply(&mut self, now: Time, plan: Arc<Plan>, tools: &mut Tools) -> Option<String> {
        let ended = self.serve(now, tools).err();
        self.send_riders(now, tools);
        let outlets = std::mem::take(&mut self.outlets).into_iter();
        let mut before: BTreeMap<IpAddr, Outlet> = outlets.map(|outlet| (outlet.address(), outlet)).collect();
        let outlets = plan.targets.iter().map(|target| {
            let kept = before.remove(&target.address).filter(|outlet| outlet.fits(&plan, target));
            kept.unwrap_or_else(|| Outlet::new(self.id, &plan, target))
        });
        self.outlets = outlets.collect();
        self.wide = plan.targets.iter().filter(|target| target.sending).count() >= MANY_DESTINATIONS;
        self.path.apply(now, plan);
        self.send(now, tools);
        ended
    }

    /// Carries out an order to a live session, which begins with what its feed has brought by now. The error says why the feed has ended.
    pub(super) fn live(&mut self, now: Time, order: live::Order, tools: &mut Tools) -> Option<String> {
        let ended = self.serve(now, tools).err();
        self.path.live(now, order);
        self.send(now, tools);
        ended
    }

    /// Takes a connection in the place of the one before, whose packets end here.
    pub(super) fn take_feed(&mut self, reader: FeedReader) {
        self.path.feed_opened();
        (self.feed, self.awaited) = (Some(reader), false);
    }

    /// Gives up the connection: `feed`, or whichever it is.
    pub(super) fn drop_feed(&mut self, feed: Option<FeedId>) -> Option<FeedReader> {
        self.feed.take_if(|held| feed.is_none_or(|feed| held.feed == feed))
    }

    /// Says `frame` to whoever feeds; false when the socket does not take it.
    pub(super) fn tell_feed(&mut self, feed: FeedId, frame: &[u8]) -> bool {
        let reader = self.feed.as_mut().filter(|held| held.feed == feed);
        reader.is_none_or(|reader| reader.tell(frame))
    }

    /// Takes what the feed has brought, and sends what may leave. `Ok(true)`: the feed has more. The error says why the
    /// feed has ended; it is still held.
    pub(super) fn serve(&mut self, now: Time, tools: &mut Tools) -> Result<bool, String> {
        let turn = self.feed.as_mut().map_or(Turn::Dry, |reader| {
            tools.counts.reads += 1;
            let before = self.path.packets();
            let turn = reader.read(now, &mut self.path, &mut tools.buffer);
            tools.counts.packets_in += self.path.packets() - before;
            turn
        });
        self.path.came_late(self.due.map_or(Duration::ZERO, |due| now.since(due)));
        self.send(now, tools);
        self.copy(now);
        match turn {
            Turn::Dry => Ok(false),
            Turn::More => Ok(true),
            Turn::Ended(why) => Err(why),
        }
    }

    /// Records by way of `intake` what comes from now on; `None`: nothing.
    pub(super) fn record(&mut self, intake: Option<Intake>) {
        self.tap = intake.map(|intake| Tap::new(intake, &self.path));
    }

    /// Copies what has come for the recorder, and hands over what has waited for long enough.
    pub(super) fn copy(&mut self, now: Time) {
        if let Some(tap) = &mut self.tap {
            tap.turn(now, &self.path);
        }
    }

    fn send(&mut self, now: Time, tools: &mut Tools) {
        let Self { path, outlets, riders, .. } = self;
        let mut faulty = false;
        path.drain(now, &mut |index, runs| {
            let outlet = &mut outlets[index];
            let (fault, rider) = (outlet.fault(), outlet.has_rider());
            let taken = outlet.send(now, runs, &mut tools.volley);
            tools.counts.sends += 1;
            tools.counts.packets_out += taken as u64;
            faulty |= outlet.fault() != fault;
            *riders -= usize::from(rider && !outlet.has_rider());
            taken
        });
        if faulty {
            outlets.iter().enumerate().for_each(|(index, outlet)| path.set_fault(index, outlet.fault()));
        }
        if self.path.has_live() {
            self.stream(now, tools);
        }
        if now >= self.riders_due() {
            self.send_riders(now, tools);
        }
    }

    /// Sends live sessions what they may have now.
    #[cold]
    fn stream(&mut self, now: Time, tools: &mut Tools) {
        let before = self.path.streamed();
        self.path.stream(now, &mut |client, run| {
            let sent = tools.stream.send_run(client, run);
            tools.counts.live_sends += sent.calls;
            sent.packets
        });
        let after = self.path.streamed();
        tools.counts.live_packets += after.sent - before.sent;
        tools.counts.live_lost += after.refused - before.refused + after.overrun - before.overrun;
    }

    /// Sends again what `request` names, as far as it may have it. Who has no lease is answered to the destination whose
    /// network it is on.
    pub(super) fn repair(&mut self, now: Time, request: &Request, tools: &mut Tools) {
        let targets = &self.path.plan().targets;
        let (asker, target) = match request.from {
            Requester::Viewer { address, destination, round_trip } => {
                let found = targets.binary_search_by_key(&destination, |target| target.address);
                (Asker::Viewer { address, round_trip }, found.ok())
            }
            Requester::Receiver { address } => (Asker::Strangers, self.network_of(address)),
        };
        let before = self.path.repairs();
        let (outlets, missing) = (&mut self.outlets, &request.missing[..]);
        match target {
            Some(target) => {
                let dscp = self.path.plan().targets[target].dscp;
                let wanted = Wanted { asker, target, ssrc: request.ssrc, missing };
                self.path.repair(now, &wanted, &mut |answer, packet| match answer {
                    Answer::Stream(to) => tools.stream.send(to, dscp, packet),
                    Answer::Broadcast => outlets[target].send_again(now, packet),
                });
                self.path.set_fault(target, self.outlets[target].fault());
            }
            None => self.path.nobodys_network(missing),
        }
        let after = self.path.repairs();
        tools.counts.repairs_streamed += after.sent - before.sent;
        tools.counts.repairs_broadcast += after.broadcast - before.broadcast;
        tools.counts.repairs_withheld += after.withheld() - before.withheld();
    }

    /// The target that is sent to on a network of this host that `address` is on; the only one that is sent to, where that
    /// is on none.
    fn network_of(&mut self, address: IpAddr) -> Option<usize> {
        let sending = self.path.plan().targets.iter().enumerate().filter(|(_, target)| target.sending);
        let sending: Vec<usize> = sending.map(|(index, _)| index).collect();
        let beside = sending.iter().find(|index| self.outlets[**index].is_beside(address));
        let only = || sending.first().filter(|_| sending.len() == 1);
        beside.or_else(only).copied()
    }

    /// Sends an announcement, if its destination is being sent to: with the next batch while packets flow, at once
    /// otherwise. Answers when the channel is to be served for it.
    pub(super) fn announce(
        &mut self,
        now: Time,
        destination: IpAddr,
        bytes: &[u8; ANNOUNCEMENT_BYTES],
        tools: &mut Tools,
    ) -> Time {
        let targets = &self.path.plan().targets;
        let found = targets.binary_search_by_key(&destination, |target| target.address).ok();
        if let Some(index) = found.filter(|index| targets[*index].sending) {
            if self.riders == 0 {
                self.riders_leave = now + RIDER_WAITS;
            }
            self.riders += usize::from(!self.outlets[index].has_rider());
            self.outlets[index].board(bytes);
            if !self.path.streaming(now) {
                self.send_rider(now, index, tools);
            }
        }
        self.riders_due()
    }

    /// When those riders leave alone that no batch has taken.
    fn riders_due(&self) -> Time {
        if self.riders > 0 { self.riders_leave } else { NEVER }
    }

    fn send_riders(&mut self, now: Time, tools: &mut Tools) {
        for index in 0..self.outlets.len() {
            if self.riders == 0 {
                return;
            }
            if self.outlets[index].has_rider() {
                self.send_rider(now, index, tools);
            }
        }
    }

    fn send_rider(&mut self, now: Time, index: usize, tools: &mut Tools) {
        self.riders -= 1;
        self.outlets[index].send_rider(now);
        tools.counts.lone_announcements += 1;
        self.path.set_fault(index, self.outlets[index].fault());
    }

    /// When to serve it again, and whether its feed wakes the thread until then. `place` is what it is called there.
    pub(super) fn schedule(&mut self, now: Time, place: usize, queue: &Queue) -> io::Result<Time> {
        let (due, awaited) = match self.path.pace(now) {
            Pace::Arrival => (self.path.deadline().unwrap_or(NEVER), true),
            Pace::Every(window) => {
                let turn = if self.wide { place } else { place / CHANNELS_PER_PHASE };
                (next_window(now, window, turn), false)
            }
        };
        self.due = (!awaited).then_some(due);
        let riders_due = self.riders_due();
        let Some(reader) = &self.feed else {
            return Ok(self.path.deadline().unwrap_or(NEVER).min(riders_due));
        };
        if awaited != self.awaited {
            if awaited {
                queue.add(&reader.stream, place)?;
            } else {
                queue.remove(&reader.stream)?;
            }
            self.awaited = awaited;
        }
        Ok(due.min(riders_due))
    }

    /// Makes it wake this thread no more, before another takes it.
    pub(super) fn detach(&mut self, queue: &Queue) {
        if std::mem::take(&mut self.awaited)
            && let Some(reader) = &self.feed
        {
            // A socket that cannot be given up is one that is not waited for.
            let _ = queue.remove(&reader.stream);
        }
    }

    /// Whether its feed has said nothing for the silence timeout.
    pub(super) fn silent(&self, now: Time) -> bool {
        self.feed.as_ref().is_some_and(|reader| now.since(reader.heard) >= SILENCE_TIMEOUT)
    }

    pub(super) fn counters_due(&mut self, now: Time) -> Option<ChannelCounters> {
        self.path.counters_due(now)
    }

    /// Opens at most `most` sockets of destinations that have none, so that a missing interface is known before
    /// somebody watches. Answers how many were tried.
    pub(super) fn open_ahead(&mut self, now: Time, most: usize) -> usize {
        let mut tried = 0;
        for (index, outlet) in
            self.outlets.iter_mut().enumerate().filter(|(_, outlet)| outlet.wants_open(now))
        {
            if tried == most {
                break;
            }
            outlet.open(now, self.path.plan().targets[index].sending);
            self.path.set_fault(index, outlet.fault());
            tried += 1;
        }
        tried
    }
}

/// The next beginning of a `window` after `now`, in the phase of `turn`.
fn next_window(now: Time, window: Duration, turn: usize) -> Time {
    let phase = PHASE * u32::try_from(turn % PHASES).expect("below PHASES");
    (now - phase).floor(window) + window + phase
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use protocols::p3_feed::{HEADER_BYTES, MAX_PACKET_BYTES};

    use super::*;
    use crate::plan::Target;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const FULL: usize = MAX_PACKET_BYTES;
    const ANNOUNCEMENT: [u8; ANNOUNCEMENT_BYTES] = [0xaa; ANNOUNCEMENT_BYTES];

    /// A channel whose one destination is a socket of this host, with real outlets but literal times.
    struct Scene {
        channel: Channel,
        tools: Tools,
        receiver: UdpSocket,
        packets: u16,
    }

    impl Scene {
        fn new() -> Self {
            let receiver = UdpSocket::bind((HERE, 0)).unwrap();
            receiver.set_nonblocking(true).unwrap();
            let channel = Channel::new(ChannelId(1));
            let stream = UdpSocket::bind((HERE, 0)).unwrap();
            let tools = Tools::new(StreamSocket::new(stream).unwrap());
            let mut scene = Self { channel, tools, receiver, packets: 0 };
            scene.plan(0, true);
            scene
        }

        fn plan(&mut self, at_ms: u64, sending: bool) {
            let target = Target {
                address: HERE,
                interface: None,
                ttl: 1,
                dscp: 0,
                window: Duration::from_millis(10),
                broadcast: false,
                sending,
            };
            let port = self.receiver.local_addr().unwrap().port();
            let plan = Plan { port, targets: vec![target], ..Plan::default() };
            assert_eq!(self.channel.apply(Time::from_ms(at_ms), Arc::new(plan), &mut self.tools), None);
        }

        /// Packets of these lengths come.
        fn feed(&mut self, at_ms: u64, lengths: &[usize]) {
            for length in lengths {
                let mut packet = vec![0; *length];
                (packet[0], packet[1]) = (0x80, 33);
                packet[2..4].copy_from_slice(&self.packets.to_be_bytes());
                packet[4..8].copy_from_slice(&(u32::from(self.packets) * 190).to_be_bytes());
                self.packets += 1;
                self.channel.path_mut().feed(Time::from_ms(at_ms), &packet);
            }
        }

        fn announce(&mut self, at_ms: u64) -> Time {
            self.channel.announce(Time::from_ms(at_ms), HERE, &ANNOUNCEMENT, &mut self.tools)
        }

        fn serve(&mut self, at_ms: u64) {
            assert_eq!(self.channel.serve(Time::from_ms(at_ms), &mut self.tools), Ok(false));
        }

        /// Lengths of the datagrams that have come.
        fn come(&self) -> Vec<usize> {
            let mut bytes = [0; 2_000];
            std::iter::from_fn(|| self.receiver.recv(&mut bytes).ok()).collect()
        }

        /// System calls that sent batches, and announcements alone.
        fn calls(&self) -> (u64, u64) {
            (self.tools.counts.sends, self.tools.counts.lone_announcements)
        }
    }

    #[test]
    fn while_packets_flow_an_announcement_is_the_last_datagram_of_a_batch() {
        let mut scene = Scene::new();
        scene.feed(1, &[FULL; 2]);
        scene.serve(1);
        assert_eq!(scene.come(), [FULL; 2]);
        assert_eq!(scene.announce(3), Time::from_ms(23));
        assert!(scene.come().is_empty());
        scene.feed(10, &[FULL; 3]);
        scene.serve(10);
        assert_eq!(scene.come(), [FULL, FULL, FULL, ANNOUNCEMENT_BYTES]);
        scene.serve(23);
        assert_eq!((scene.come(), scene.calls()), (vec![], (2, 0)));
    }

    #[test]
    fn an_announcement_leaves_at_once_where_no_packets_flow() {
        let mut scene = Scene::new();
        assert_eq!(scene.announce(1), NEVER);
        assert_eq!(scene.come(), [ANNOUNCEMENT_BYTES]);
        scene.feed(2, &[FULL]);
        scene.serve(2);
        scene.announce(1_000);
        assert_eq!(scene.come(), [FULL, ANNOUNCEMENT_BYTES]);
        scene.feed(1_001, &[HEADER_BYTES]);
        scene.announce(1_002);
        assert_eq!((scene.come(), scene.calls()), (vec![ANNOUNCEMENT_BYTES], (1, 3)));
    }

    #[test]
    fn an_announcement_that_no_batch_takes_leaves_alone_after_20_ms() {
        let mut scene = Scene::new();
        scene.feed(1, &[FULL]);
        scene.serve(1);
        let due = scene.announce(2);
        scene.serve(21);
        assert_eq!((due, scene.come()), (Time::from_ms(22), vec![FULL]));
        scene.serve(22);
        assert_eq!((scene.come(), scene.calls()), (vec![ANNOUNCEMENT_BYTES], (1, 1)));
    }

    #[test]
    fn nothing_rides_behind_a_packet_that_is_short() {
        let mut scene = Scene::new();
        scene.feed(1, &[FULL, 576]);
        scene.announce(1);
        scene.serve(1);
        assert_eq!(scene.come(), [FULL, 576]);
        scene.feed(10, &[FULL]);
        scene.serve(10);
        assert_eq!((scene.come(), scene.calls()), (vec![FULL, ANNOUNCEMENT_BYTES], (2, 0)));
    }

    #[test]
    fn packets_that_leave_in_a_volley_take_the_announcement_with_them_where_there_is_room() {
        let mut scene = Scene::new();
        scene.feed(1, &[576, FULL]);
        scene.announce(1);
        scene.serve(1);
        assert_eq!(scene.come(), [576, FULL, ANNOUNCEMENT_BYTES]);
        scene.feed(400, &[576; 8]);
        scene.announce(400);
        scene.serve(400);
        assert_eq!(scene.come(), [576; 8]);
        scene.serve(420);
        assert_eq!((scene.come(), scene.calls()), (vec![ANNOUNCEMENT_BYTES], (2, 1)));
    }

    #[test]
    fn a_plan_that_suspends_lets_what_waits_leave_before_and_nothing_after() {
        let mut scene = Scene::new();
        scene.feed(1, &[FULL]);
        scene.serve(1);
        scene.announce(2);
        scene.plan(3, false);
        assert_eq!(scene.come(), [FULL, ANNOUNCEMENT_BYTES]);
        assert_eq!(scene.announce(4), NEVER);
        scene.plan(5, true);
        scene.serve(40);
        assert!(scene.come().is_empty());
        scene.feed(41, &[FULL]);
        scene.announce(42);
        scene.serve(42);
        assert_eq!((scene.come(), scene.calls()), (vec![FULL, ANNOUNCEMENT_BYTES], (2, 1)));
    }

    #[test]
    fn of_two_announcements_that_wait_the_newer_leaves() {
        let mut scene = Scene::new();
        scene.feed(1, &[FULL]);
        scene.serve(1);
        scene.announce(2);
        assert_eq!(scene.announce(10), Time::from_ms(22));
        scene.feed(11, &[FULL]);
        scene.serve(11);
        assert_eq!((scene.come(), scene.calls()), (vec![FULL, FULL, ANNOUNCEMENT_BYTES], (2, 0)));
    }

    #[test]
    fn windows_begin_at_multiples_of_themselves_in_four_phases() {
        let next = |now_us, turn| next_window(Time::from_us(now_us), Duration::from_millis(10), turn).as_us();
        assert_eq!((next(40_000, 0), next(49_999, 0)), (50_000, 50_000));
        assert_eq!((next(40_000, 1), next(42_500, 1), next(41_000, 2)), (42_500, 52_500, 45_000));
        assert_eq!((next(41_000, 3), next(41_000, 4)), (47_500, 50_000));
        let short = Duration::from_micros(1_250);
        assert_eq!(next_window(Time::from_us(40_000), short, 1).as_us(), 41_250);
    }
}
