//! `rtp://`: transport packets in RTP; order restored, copies dropped, losses counted.

use link::clock::Clock;
use media::reassembly::{Limits, Output, Reassembly};
use protocols::time::Time;
use protocols::topology::DatagramInput;
use tracing::debug;

use super::Batch;
use super::datagrams::Datagrams;
use super::udp::append_packets;

/// Transport packets in RTP.
pub(crate) struct Rtp {
    datagrams: Datagrams,
    stream: RtpStream,
}

impl Rtp {
    pub(crate) fn open(endpoint: &DatagramInput) -> Result<Self, String> {
        Ok(Self { datagrams: Datagrams::open(endpoint)?, stream: RtpStream::new() })
    }

    pub(crate) async fn next(&mut self, clock: &Clock, batch: &mut Batch) -> Result<(), String> {
        while batch.is_empty() {
            let Self { datagrams, stream } = self;
            let deadline = stream.deadline();
            tokio::select! {
                received = datagrams.receive(|datagram| stream.take(clock.now(), datagram, batch)) => received?,
                () = clock.reach(deadline) => stream.expire(clock.now()),
            }
            self.stream.hand_on(batch);
        }
        Ok(())
    }
}

/// Datagrams of RTP, put in order.
pub(super) struct RtpStream {
    reassembly: Reassembly,
    out: Vec<Output>,
}

impl RtpStream {
    pub(super) fn new() -> Self {
        Self { reassembly: Reassembly::new(Limits::default()), out: Vec::new() }
    }

    /// When [`RtpStream::expire`] is due.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.reassembly.deadline().map(|at| Time::ZERO + at)
    }

    /// What has been waited for long enough is lost.
    pub(super) fn expire(&mut self, now: Time) {
        self.reassembly.expire(now.since_origin(), &mut self.out);
    }

    /// Takes a datagram.
    pub(super) fn take(&mut self, now: Time, datagram: &[u8], batch: &mut Batch) {
        let foreign = self.reassembly.counters().foreign;
        self.reassembly.datagram(now.since_origin(), datagram, &mut self.out);
        if self.reassembly.counters().foreign > foreign {
            let len = datagram.len();
            let hint = if datagram.first() == Some(&media::packet::SYNC_BYTE) {
                "; try udp:// instead of rtp://"
            } else {
                ""
            };
            batch.strange =
                Some(format!("datagrams of {len} bytes arrive that are no RTP of at most 1328 bytes{hint}"));
        }
    }

    /// Gives what is in order.
    pub(super) fn hand_on(&mut self, batch: &mut Batch) {
        for output in self.out.drain(..) {
            match output {
                // A SAT>IP server that has nothing to send shows that it lives.
                Output::Packet { packet, .. } if packet.payload().is_empty() => {}
                Output::Packet { packet, .. } => {
                    if !append_packets(packet.payload(), batch) {
                        let len = packet.payload().len();
                        batch.strange =
                            Some(format!("RTP with {len} bytes of something else than MPEG-TS arrives"));
                    }
                }
                Output::Lost { count, .. } => {
                    let lost = self.reassembly.counters().lost;
                    debug!(count, lost, "RTP packets lost before they came here");
                }
                Output::Reset => debug!("the RTP sender began anew"),
            }
        }
    }
}
