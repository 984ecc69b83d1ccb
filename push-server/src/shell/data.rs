//! The driver's end of the data threads: the orders that they take.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{Builder, JoinHandle};

use link::clock::Clock;
use protocols::ids::ChannelId;
use protocols::p6_broadcast::ANNOUNCEMENT_BYTES;
use tokio::sync::mpsc;

use super::channel::{Channel, Tools};
use super::driver::News;
use super::plane::DataPlane;
use super::queue::{Queue, Waker};
use super::recorder::Intake;
use super::stream::StreamSocket;
use super::tally::Tally;
use crate::live;
use crate::plan::Plan;
use crate::repair::Request;
use crate::server::FeedId;

/// Orders that wait for a data thread at most; when full the host ends, since the thread is stuck.
const ORDERS_WAITING: usize = 65_536;
/// Requests for repair that wait for a data thread at most; when full they are dropped: who misses packets asks again.
const REPAIRS_WAITING: usize = 1_024;
/// What the driver tells a data thread to do.
#[derive(Debug)]
pub(super) enum Order {
    /// Put a plan in force.
    Plan { channel: ChannelId, plan: Arc<Plan> },
    /// Copy a channel's packets for the recorder; `None`: no more.
    Record { channel: ChannelId, intake: Option<Box<Intake>> },
    /// Forget a channel.
    Release { channel: ChannelId },
    /// Send an announcement.
    Announce { channel: ChannelId, destination: IpAddr, bytes: [u8; ANNOUNCEMENT_BYTES] },
    /// Begin or end a live session.
    Live { channel: ChannelId, order: live::Order },
    /// Let the packets of a connection in.
    Feed { channel: ChannelId, feed: FeedId, stream: std::net::TcpStream },
    /// Say `frame` to whoever feeds.
    TellFeed { channel: ChannelId, feed: FeedId, frame: Vec<u8> },
    /// Say `farewell` and close.
    CloseFeed { channel: ChannelId, feed: FeedId, farewell: Vec<u8> },
    /// Give a channel to another thread, which says when it has it.
    HandOver { channel: ChannelId, to: Mailbox },
    /// Take over a channel.
    Adopt(Box<Channel>),
    /// End.
    Stop,
}

/// Where a data thread is given orders.
#[derive(Debug, Clone)]
pub(super) struct Mailbox {
    orders: SyncSender<Order>,
    repairs: SyncSender<(ChannelId, Request)>,
    waker: Waker,
}

impl Mailbox {
    /// Lays an order in, which is seen at the next [`Self::wake`] at the latest; the order comes back when the thread is
    /// stuck or gone.
    pub(super) fn put(&self, order: Order) -> Result<(), Order> {
        self.orders.try_send(order).map_err(|error| match error {
            TrySendError::Full(order) | TrySendError::Disconnected(order) => order,
        })
    }

    /// Lays a request for repair in, apart from the orders, which no number of requests holds up; false when there is no
    /// room.
    #[must_use]
    pub(super) fn put_repair(&self, channel: ChannelId, request: Request) -> bool {
        self.repairs.try_send((channel, request)).is_ok()
    }

    /// Has the thread look at its orders now; false when it is gone.
    #[must_use]
    pub(super) fn wake(&self) -> bool {
        self.waker.wake().is_ok()
    }
}

/// The driver's end of one data thread.
#[derive(Debug)]
pub(super) struct DataThread {
    pub(super) mailbox: Mailbox,
    tally: Arc<Tally>,
    thread: JoinHandle<()>,
}

impl DataThread {
    /// What it has done so far.
    pub(super) fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// Ends it.
    pub(super) fn stop(self) {
        let told = self.mailbox.put(Order::Stop).is_ok() && self.mailbox.wake();
        if told && self.thread.join().is_err() {
            tracing::error!("a data thread has panicked");
        }
    }
}

/// Where a data thread finds what it is to do.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) orders: Receiver<Order>,
    pub(super) repairs: Receiver<(ChannelId, Request)>,
}

/// Starts a data thread for each of `tallies`, which it shows what it does; they tell `news`, and send to single viewers by
/// `stream`.
pub(super) fn start(
    tallies: &[Arc<Tally>],
    stream: &StreamSocket,
    clock: Clock,
    news: &mpsc::Sender<News>,
) -> io::Result<Vec<DataThread>> {
    let start_one = |(number, tally): (usize, &Arc<Tally>)| {
        let queue = Queue::new()?;
        let waker = queue.waker();
        let (orders, ordered) = sync_channel(ORDERS_WAITING);
        let (repairs, wanted) = sync_channel(REPAIRS_WAITING);
        let inbox = Inbox { orders: ordered, repairs: wanted };
        let stream = stream.clone();
        let (news, tally, shown) = (news.clone(), tally.clone(), tally.clone());
        let run = move || DataPlane::new(clock, queue, inbox, news, shown, Tools::new(stream)).run();
        let thread = Builder::new().name(format!("data-{number}")).spawn(run)?;
        Ok(DataThread { mailbox: Mailbox { orders, repairs, waker }, tally, thread })
    };
    tallies.iter().enumerate().map(start_one).collect()
}
