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
    reassembly: Reassembly,
    out: Vec<Output>,
}

impl Rtp {
    pub(crate) fn open(endpoint: &DatagramInput) -> Result<Self, String> {
        let datagrams = Datagrams::open(endpoint)?;
        Ok(Self { datagrams, reassembly: Reassembly::new(Limits::default()), out: Vec::new() })
    }

    pub(crate) async fn next(&mut self, clock: &Clock, batch: &mut Batch) -> Result<(), String> {
        while batch.is_empty() {
            let Self { datagrams, reassembly, out } = self;
            let deadline = reassembly.deadline().map(|at| Time::ZERO + at);
            tokio::select! {
                received = datagrams.receive(|datagram| take(reassembly, clock, datagram, out, batch)) => received?,
                () = clock.reach(deadline) => reassembly.expire(clock.now().since_origin(), out),
            }
            self.hand_on(batch);
        }
        Ok(())
    }

    fn hand_on(&mut self, batch: &mut Batch) {
        for output in self.out.drain(..) {
            match output {
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

fn take(
    reassembly: &mut Reassembly,
    clock: &Clock,
    datagram: &[u8],
    out: &mut Vec<Output>,
    batch: &mut Batch,
) {
    let foreign = reassembly.counters().foreign;
    reassembly.datagram(clock.now().since_origin(), datagram, out);
    if reassembly.counters().foreign > foreign {
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
