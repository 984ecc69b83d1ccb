//! `hdhomerun://` against the laboratory's device, which `hdhomerun_config` takes for one.

use std::net::Ipv4Addr;

use lab::broadcast::Broadcast;
use lab::hdhomerun_box::HdhomerunBox;
use protocols::hdhomerun::DeviceId;
use tokio::time::timeout;

use super::tests::{CLIP, PATIENCE, bring, open, refusal};
use super::*;

/// Bits of the test card in a second.
const RATE_BPS: u64 = 902_400;

fn device(tuners: usize) -> HdhomerunBox {
    let broadcast = Broadcast::new().with("177000000", CLIP, RATE_BPS);
    HdhomerunBox::start(Ipv4Addr::LOCALHOST, 0, DeviceId::of("lab"), broadcast, tuners)
}

fn url(device: &HdhomerunBox, rest: &str) -> String {
    format!("hdhomerun://{}/{rest}", device.control())
}

async fn end(input: &mut OpenInput) -> String {
    match bring(input, usize::MAX).await.1 {
        Some(End::Closed(cause)) => cause,
        other => panic!("{other:?}"),
    }
}

fn pid(packet: &PacketBytes) -> u16 {
    u16::from_be_bytes([packet[1], packet[2]]) & 0x1fff
}

#[tokio::test]
async fn a_tuner_is_taken_chooses_packets_tells_its_signal_and_is_given_back() {
    let device = device(2);
    let mut input = open(&url(&device, "auto/8vsb:177000000")).await;
    assert_eq!(device.taken(), 0, "a tuner is taken by who reads");
    let (batch, _) = bring(&mut input, 100).await;
    assert!(batch.packets.iter().any(|packet| pid(packet) != 0));
    assert_eq!(device.taken(), 1);
    let (clock, mut batch) = (Clock::start(), Batch::default());
    let turn = async {
        while input.signal().is_none() {
            batch = Batch::default();
            input.next(&clock, &mut batch).await.unwrap();
        }
        input.select(&Pids::Only([0].into()));
        while batch.packets.is_empty() || batch.packets.iter().any(|packet| pid(packet) != 0) {
            batch = Batch::default();
            input.next(&clock, &mut batch).await.unwrap();
        }
    };
    timeout(PATIENCE, turn).await.expect("it comes to that");
    let signal = Signal { lock: true, strength_percent: Some(83), quality_percent: Some(90) };
    assert_eq!(input.signal(), Some(signal));
    input.close().await;
    assert_eq!(device.taken(), 0);
    let set = device.set();
    assert!(set.contains(&"/tuner0/filter=0x0000".to_owned()), "{set:?}");
    assert_eq!(set[set.len() - 3..], ["/tuner0/target=none", "/tuner0/channel=none", "/tuner0/lockkey=none"]);
}

#[tokio::test]
async fn tuners_are_shared_out_and_their_lack_is_told() {
    let device = device(2);
    let mut first = open(&url(&device, "auto/8vsb:177000000")).await;
    bring(&mut first, 1).await;
    let mut second = open(&url(&device, "auto/auto:177000000")).await;
    bring(&mut second, 1).await;
    assert_eq!(device.taken(), 2);
    let mut third = open(&url(&device, "v5.1")).await;
    let cause = end(&mut third).await;
    assert!(cause.contains("all 2 tuners are in use (tuner0"), "{cause}");
    third.close().await;
    assert_eq!(device.taken(), 2, "who gets none takes none away");
    first.close().await;
    second.close().await;
    assert_eq!(device.taken(), 0);
}

#[tokio::test]
async fn deaf_tuners_wrong_channels_and_restarts_are_told() {
    let device = device(1);
    let mut deaf = open(&url(&device, "tuner0/8vsb:57000000")).await;
    let strange = bring(&mut deaf, 1).await.0.strange.unwrap();
    assert!(strange.ends_with("has no lock (strength 12 %, quality 0 %)"), "{strange}");
    deaf.close().await;
    let mut wrong = open(&url(&device, "tuner0/v5.1")).await;
    let cause = end(&mut wrong).await;
    assert!(cause.contains("does not take /tuner0/vchannel `5.1`: unknown getset variable"), "{cause}");
    wrong.close().await;
    assert_eq!(device.taken(), 0);
    let mut input = open(&url(&device, "8vsb:177000000")).await;
    bring(&mut input, 10).await;
    device.restart();
    let cause = end(&mut input).await;
    assert!(cause.contains("the connection to the device is lost"), "{cause}");
    input.close().await;
    let control = device.control();
    drop(device);
    let cause = refusal(&format!("hdhomerun://{control}/v5.1")).await;
    assert!(cause.contains("cannot reach"), "{cause}");
}
