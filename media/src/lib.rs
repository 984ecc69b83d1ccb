//! MPEG transport streams and the RTP packets that carry them, as plain data: bytes and times in, bytes and times out.
//!
//! ```text
//! input bytes ─► Synchroniser ─► packets ─► PcrClock ─► (packet, MediaTime) ─► Packetizer ─► RtpPacket ─► P3 … P6
//! a multiplex ─► Demultiplexer ─► packets of one service ─► PcrClock
//! packets ───────► si (names, network, guide of a multiplex)
//! a clip ──────► Looper ───────► packets ─► PcrClock ─► FilePacer (when) ────► Packetizer
//! packets ─────► Health (TR 101 290), Delivery (RFC 4445): how the input fares
//! P6, P5 ──────► captions::Reader (what is said, as text)
//! P3 … P6 ─────► RandomAccessFinder (where decoding may begin)
//! P6 ──────────► fmp4::Muxer (fragmented MP4)
//! P6, P5 ──────► Reassembly ───► packets in order ─► ContinuityCheck, a player
//! ```
//!
//! Nothing here reads a clock, a file or a socket: time comes in as `now`, a [`std::time::Duration`] since an origin
//! that the caller chose. Input from the network never panics. Section numbers in comments are those of
//! ISO/IEC 13818-1 unless another document is named.

pub mod captions;
pub mod continuity;
pub mod demultiplexer;
pub mod fmp4;
pub mod health;
pub mod looper;
pub mod pacer;
pub mod packet;
pub mod pcr;
pub mod pes;
pub mod pes_assembler;
mod picture_start;
pub mod psi;
pub mod random_access;
pub mod reassembly;
pub mod rtcp;
pub mod rtp;
pub mod section;
pub mod sequence;
pub mod si;
pub mod splice;
mod start_code;
pub mod sync;
pub mod time;

pub use packet::{Packet, PacketBytes};
pub use rtp::RtpPacket;
pub use sequence::Sequence;
pub use time::MediaTime;
