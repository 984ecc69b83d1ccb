//! The data thread's end of the recorder: packets are copied into a chunk, and the chunk is handed over. Nothing here waits.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocols::ids::ChannelId;
use protocols::time::Time;

use super::status::{Counts, Status};
use crate::recording::chunk::Chunk;

/// Chunks of one channel between its data thread and the disk at most: 8 MiB, 13 s of a 5 Mb/s channel. One more is
/// dropped, and counted.
pub const CHUNKS_WAITING: usize = 64;
/// A chunk is handed over at this age, however little it has.
pub const CHUNK_WINDOW: Duration = Duration::from_millis(250);
/// Empty chunks that a channel keeps for use again.
const SPARE_CHUNKS: usize = 4;

/// What comes to a recorder thread.
#[derive(Debug)]
pub(super) enum Delivery {
    /// Packets.
    Chunk(Chunk, Arc<Belt>),
    /// The channel is recorded no more.
    Ended(ChannelId),
    /// The recorder ends.
    Stop,
}

/// What a channel's chunks go to and fro on.
#[derive(Debug, Default)]
pub(super) struct Belt {
    waiting: AtomicUsize,
    spare: Mutex<Vec<Chunk>>,
}

impl Belt {
    /// A chunk was written or thrown away: its memory goes back.
    pub(super) fn give_back(&self, mut chunk: Chunk) {
        chunk.clear();
        if let Ok(mut spare) = self.spare.lock()
            && spare.len() < SPARE_CHUNKS
        {
            spare.push(chunk);
        }
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }

    fn spare(&self) -> Option<Chunk> {
        self.spare.try_lock().ok()?.pop()
    }
}

/// Takes one channel's packets to the recorder. When it is dropped, the channel's recording ends.
#[derive(Debug)]
pub struct Intake {
    channel: ChannelId,
    chunk: Option<Chunk>,
    /// When its first packet came.
    begun: Time,
    belt: Arc<Belt>,
    to: Sender<Delivery>,
    status: Arc<Status>,
}

impl Intake {
    pub(super) fn new(channel: ChannelId, to: Sender<Delivery>, status: Arc<Status>) -> Self {
        Self { channel, chunk: None, begun: Time::ZERO, belt: Arc::default(), to, status }
    }

    /// Copies an RTP packet of this number and date.
    pub fn take(&mut self, now: Time, packet: &[u8], number: u64, date_ms: u64) {
        if !self.room(now).push(packet, number, date_ms) {
            self.hand_over();
            // An empty chunk takes any packet.
            let _ = self.room(now).push(packet, number, date_ms);
        }
    }

    /// A packet came whose number or date is not known.
    pub(crate) fn undated(&self) {
        Counts::add(&self.status.counts.undated, 1);
    }

    fn room(&mut self, now: Time) -> &mut Chunk {
        let (channel, belt, begun) = (self.channel, &self.belt, &mut self.begun);
        self.chunk.get_or_insert_with(|| {
            *begun = now;
            belt.spare().unwrap_or_else(|| Chunk::new(channel))
        })
    }

    /// Hands over what is older than [`CHUNK_WINDOW`]. Call it when packets have come, and at times when none have.
    pub fn turn(&mut self, now: Time) {
        if self.chunk.is_some() && now.since(self.begun) >= CHUNK_WINDOW {
            self.hand_over();
        }
    }

    /// Hands over what there is.
    pub fn hand_over(&mut self) {
        let Some(mut chunk) = self.chunk.take() else { return };
        if self.belt.waiting.load(Ordering::Acquire) >= CHUNKS_WAITING {
            Counts::add(&self.status.counts.dropped, chunk.len() as u64);
            chunk.clear();
            self.chunk = None;
            return;
        }
        self.belt.waiting.fetch_add(1, Ordering::AcqRel);
        // Without a recorder there is nobody to miss it.
        let _ = self.to.send(Delivery::Chunk(chunk, self.belt.clone()));
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.hand_over();
        let _ = self.to.send(Delivery::Ended(self.channel));
    }
}
