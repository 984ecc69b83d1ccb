//! One P3 connection: dial, handshake, offer the channel, then RTP packets in batches, or samples while it is held.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use link::frames::LinkError;
use link::session::{self, Call};
use protocols::codec;
use protocols::handshake::FrameSeal;
use protocols::ids::{ChannelId, HostId};
use protocols::p3_feed::{FeedOrder, KEEPALIVE_INTERVAL, Open, Opened, length_prefix};
use protocols::preamble::{MAX_OPENING_BYTES, Protocol, Refusal};
use protocols::time::Time;
use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::ReadHalf;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tracing::debug;

use crate::Input;
use crate::feed_queues::FeedPlace;
use crate::shell::Context;
use crate::shell::channel::Shared;
use crate::shell::driver::{Event, Run};

/// A push server that does not take a batch within this is unreachable.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// A push server that has not accepted the channel within this, from dialling on, is unreachable. Shorter than the
/// machine's own patience, so that the cause is known and logged.
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);
/// Packets written together at most: 42 kB.
const BATCH_PACKETS: usize = 32;
/// What may wait in the socket, not yet sent: so little of the past that packets made meanwhile hardly wait for it.
const UNSENT_BYTES: u32 = 64 << 10;

/// Whom to feed with what.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) channel: ChannelId,
    pub(crate) host: HostId,
    pub(crate) address: SocketAddr,
}

/// Where a feed's task reports to.
#[derive(Debug)]
pub(crate) struct Reports {
    pub(crate) run: Run,
    pub(crate) events: mpsc::Sender<Event>,
}

/// Why a feed ends.
#[derive(Debug, thiserror::Error)]
enum FeedError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("{0}")]
    Refused(Refusal),
    #[error("did not take the stream for {} s", WRITE_TIMEOUT.as_secs())]
    Slow,
    #[error("did not answer for {} s", OPEN_TIMEOUT.as_secs())]
    Silent,
    #[error("closed the connection")]
    Closed,
    #[error("sent bytes where P3 has none")]
    Talked,
}

impl From<std::io::Error> for FeedError {
    fn from(error: std::io::Error) -> Self {
        Self::Link(error.into())
    }
}

/// A place in the queues that is given up with its connection.
struct Attached {
    shared: Arc<Shared>,
    place: FeedPlace,
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.shared.queues().detach(self.place);
    }
}

/// Feeds until the connection fails; then says why.
pub(crate) async fn run(context: Arc<Context>, target: Target, shared: Arc<Shared>, reports: Reports) {
    let Err(error) = feed(&context, &target, &shared, &reports).await;
    let Target { channel, host, address } = target;
    let cause = format!("push server {host} at {address}: {error}");
    let input = match error {
        FeedError::Refused(Refusal::NotConfigured(_)) => Input::FeedRefused { channel, host, cause },
        _ => Input::FeedFailed { channel, host, cause },
    };
    reports.send(input).await;
}

impl Reports {
    async fn send(&self, input: Input) {
        // Nobody hears it when the driver has ended.
        let _ = self.events.send(Event { run: self.run, input }).await;
    }
}

async fn feed(
    context: &Context,
    target: &Target,
    shared: &Arc<Shared>,
    reports: &Reports,
) -> Result<std::convert::Infallible, FeedError> {
    let offered = timeout(OPEN_TIMEOUT, offer(context, target, shared)).await;
    let (mut stream, mut opener) = offered.unwrap_or(Err(FeedError::Silent))?;
    let mut changes = shared.changes();
    let attached = Attached { shared: shared.clone(), place: shared.queues().attach(&target.host) };
    reports.send(Input::FeedConnected { channel: target.channel, host: target.host.clone() }).await;
    let (mut reader, mut writer) = stream.split();
    let mut batch = Vec::new();
    loop {
        batch.clear();
        let next_sample = {
            let mut queues = shared.queues();
            queues.take_framed(context.clock.now(), attached.place, BATCH_PACKETS, &mut batch);
            queues.next_sample(attached.place)
        };
        let ordered = tokio::select! {
            biased;
            heard = spoken(&mut reader) => heard.map(|()| true)?,
            // A feed that always has packets hears orders all the same.
            () = std::future::ready(()), if !batch.is_empty() => false,
            () = context.clock.reach(next_sample) => continue,
            waited = timeout(KEEPALIVE_INTERVAL, packets(&mut changes, next_sample)) => {
                if waited.is_ok() {
                    continue;
                }
                batch.extend_from_slice(&length_prefix(&[]));
                false
            }
        };
        timeout(WRITE_TIMEOUT, writer.write_all(&batch)).await.map_err(|_| FeedError::Slow)??;
        if ordered {
            obey(&order(&mut reader, &mut opener).await?, context, target, &attached)?;
        }
    }
}

/// Returns when the push server has said something, or the connection has ended. Readiness alone may be a leftover of
/// the opening; a byte or the end is not.
async fn spoken(reader: &mut ReadHalf<'_>) -> std::io::Result<()> {
    reader.peek(&mut [0]).await.map(drop)
}

/// Holds the feed's queue or lets it flow; an error when it is to end.
fn obey(order: &FeedOrder, context: &Context, target: &Target, attached: &Attached) -> Result<(), FeedError> {
    let (now, mut queues) = (context.clock.now(), attached.shared.queues());
    match order {
        FeedOrder::Close(refusal) => return Err(FeedError::Refused(refusal.clone())),
        FeedOrder::Hold => queues.hold(now, attached.place),
        FeedOrder::Flow => queues.flow(now, attached.place),
    }
    let held = queues.held().get(&target.host).copied().unwrap_or_default();
    let past = queues.past();
    drop(queues);
    debug!(channel = %target.channel, host = %target.host, ?order, held, ?past, "feed ordered");
    Ok(())
}

/// Returns when packets were made since it was last asked. A held feed does not care: it wakes for its samples.
async fn packets(changes: &mut watch::Receiver<()>, next_sample: Option<Time>) {
    if next_sample.is_some() || changes.changed().await.is_err() {
        // The channel is gone; this feed is about to be closed as well.
        std::future::pending::<()>().await;
    }
}

/// What the push server has begun to say.
async fn order(reader: &mut ReadHalf<'_>, opener: &mut FrameSeal) -> Result<FeedOrder, FeedError> {
    let frame = session::read_sealed(reader, opener, MAX_OPENING_BYTES);
    let frame = timeout(OPEN_TIMEOUT, frame).await.map_err(|_| FeedError::Talked)??;
    let order = codec::decode::<FeedOrder, MAX_OPENING_BYTES>(&frame.ok_or(FeedError::Closed)?);
    Ok(order.map_err(LinkError::from)?)
}

async fn offer(
    context: &Context,
    target: &Target,
    shared: &Shared,
) -> Result<(TcpStream, FrameSeal), FeedError> {
    let mut stream = TcpStream::connect(target.address).await?;
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES)?;
    let call = Call {
        protocol: Protocol::Feed,
        caller: context.id.to_string(),
        callee: target.host.to_string(),
        boot_id: context.boot_id,
        key: context.key.host_key(&target.host),
    };
    let mut session = session::call(&mut stream, &call).await.map_err(refusal)?;
    let open = Open { channel: target.channel, ssrc: shared.ssrc };
    session::write_sealed(&mut stream, &mut session.seal, &open).await?;
    let answer = session::read_sealed(&mut stream, &mut session.opener, MAX_OPENING_BYTES).await?;
    let answer = answer.ok_or(FeedError::Closed)?;
    match codec::decode::<Opened, MAX_OPENING_BYTES>(&answer).map_err(LinkError::from)? {
        Opened::Accepted => Ok((stream, session.opener)),
        Opened::Refused(refusal) => Err(FeedError::Refused(refusal)),
    }
}

fn refusal(error: LinkError) -> FeedError {
    match error {
        LinkError::Refused(refusal) => FeedError::Refused(refusal),
        other => FeedError::Link(other),
    }
}
