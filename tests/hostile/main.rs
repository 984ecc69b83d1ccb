//! Hostile input: what random, mutated, replayed and foreign bytes do to every receiver of a site. Nothing, is the claim.
//!
//! | module | shows |
//! |---|---|
//! | [`push_server`], [`database_server`], [`client`] | a million datagrams to each receiver of P4 and P6: no panic, no state, no answer |
//! | [`live`] | P4 orders to live sessions: the same, and what recorded ones are good for |
//! | [`reassembly`] | P6 media, which nobody signs: bounded memory, and a forged packet costs its own place at most |
//! | [`handshake`], [`directory`], [`sealed_frames`] | a million connections that say anything to P1, P2, P3 |
//! | [`sockets`] | the defined answer of the real daemons to each kind of bad connection, and a good one that works meanwhile |
//! | [`memory`] | what channels, destinations and viewers cost, and an hour of zapping nothing: no hostility, but the heap is counted here |
//! | [`heap`], [`mutation`], [`trial`], [`wire`] | the tools: memory measured, bytes spoilt, seeds and counts, streams in memory |
//!
//! Each test prints its seed and counts; `MASTHEAD_SEED=n` replays, `MASTHEAD_TRIALS=n` changes how many inputs there are.
#![expect(clippy::unwrap_used, reason = "helpers of tests too: what cannot be unwrapped fails the test")]

mod client;
mod database_server;
mod directory;
mod handshake;
mod heap;
mod live;
mod memory;
mod mutation;
mod playback;
mod push_server;
mod reassembly;
mod sealed_frames;
mod site;
mod sockets;
mod trial;
mod wire;

#[global_allocator]
static HEAP: heap::Metered = heap::Metered;
