//! `udp://`: datagrams of whole transport packets.

use media::packet::{PACKET_BYTES, SYNC_BYTE};
use protocols::topology::DatagramInput;

use super::Batch;
use super::datagrams::Datagrams;

/// Transport packets in datagrams.
pub(crate) struct Udp {
    datagrams: Datagrams,
}

impl Udp {
    pub(crate) fn open(endpoint: &DatagramInput) -> Result<Self, String> {
        Datagrams::open(endpoint).map(|datagrams| Self { datagrams })
    }

    pub(crate) async fn next(&mut self, batch: &mut Batch) -> Result<(), String> {
        while batch.is_empty() {
            self.datagrams.receive(|datagram| take(datagram, batch)).await?;
        }
        Ok(())
    }
}

fn take(datagram: &[u8], batch: &mut Batch) {
    if !append_packets(datagram, batch) {
        let hint =
            if media::rtp::RtpView::parse(datagram).is_ok() { "; try rtp:// instead of udp://" } else { "" };
        batch.strange =
            Some(format!("datagrams of {} bytes arrive that are no MPEG-TS{hint}", datagram.len()));
    }
}

/// Adds `bytes` to the batch when they are transport packets and nothing else.
pub(super) fn append_packets(bytes: &[u8], batch: &mut Batch) -> bool {
    let (packets, rest) = bytes.as_chunks::<PACKET_BYTES>();
    let whole = !packets.is_empty() && rest.is_empty() && packets.iter().all(|packet| packet[0] == SYNC_BYTE);
    if whole {
        batch.packets.extend_from_slice(packets);
    }
    whole
}
