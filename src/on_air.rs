//! Asks the database server, as any viewer would, until there is television, and says what to type then.

use std::net::SocketAddr;
use std::time::Duration;

use link::frames::{self, LinkError};
use link::shutdown::Shutdown;
use protocols::codec;
use protocols::p2_directory::{ChannelEntry, ChannelList, ChannelStatus, ToClient, ToDatabase};
use protocols::preamble::{MAX_P2_ANSWER_BYTES, Protocol};
use tokio::net::TcpStream;

/// How often to ask.
const ASK_INTERVAL: Duration = Duration::from_millis(100);
/// After this long without television, say what is missing.
const PATIENCE: Duration = Duration::from_secs(10);

/// Says `Television is on` once a channel is active, or after [`PATIENCE`] why none is. `built_in`: the site is the
/// one on loopback, so the commands for it can be given to the letter.
pub(crate) async fn tell(directory: SocketAddr, built_in: bool, shutdown: &Shutdown) {
    let mut asks = PATIENCE.as_millis() / ASK_INTERVAL.as_millis();
    while !shutdown.is_requested() {
        if let Ok(list) = channels(directory).await {
            if list.channels.iter().any(is_active) {
                return announce(directory, &list, built_in);
            }
            asks = asks.saturating_sub(1);
            if asks == 0 {
                explain(directory, &list);
            }
        }
        tokio::time::sleep(ASK_INTERVAL).await;
    }
}

async fn channels(directory: SocketAddr) -> Result<ChannelList, LinkError> {
    let mut stream = TcpStream::connect(directory).await?;
    frames::open(&mut stream, Protocol::Directory).await?;
    frames::write_frame(&mut stream, &codec::encode(&ToDatabase::List { tunings: false })).await?;
    loop {
        let body = frames::read_frame(&mut stream, MAX_P2_ANSWER_BYTES).await?.ok_or(LinkError::Closed)?;
        match codec::decode_message::<ToClient, MAX_P2_ANSWER_BYTES>(&body)? {
            ToClient::Channels(list) => return Ok(list),
            ToClient::Refused(refusal) => return Err(LinkError::Refused(refusal)),
            _ => {}
        }
    }
}

fn is_active(channel: &ChannelEntry) -> bool {
    channel.status == ChannelStatus::Active
}

fn announce(directory: SocketAddr, list: &ChannelList, built_in: bool) {
    println!("Television is on: {} channels for viewers at this address.", list.channels.len());
    if built_in {
        println!(
            "
In a second terminal:
  cargo run --release -p masthead-client                                  the channel picker
  cargo run --release -p masthead-client -- watch 1 --player              in mpv, VLC or ffplay
  cargo run --release -p masthead-client -- watch 1 --output rtp://127.0.0.1:5004
                                                                          then open rtp://@127.0.0.1:5004 in VLC
  cargo run --release -p masthead-client -- recordings                    what is recorded: the last 30 minutes

Nothing is sent before somebody watches. Ctrl-C ends it."
        );
    } else {
        println!("Watch with: masthead-client --database {directory}");
    }
}

fn explain(directory: SocketAddr, list: &ChannelList) {
    if list.network.is_none() {
        println!("The site is up; no destination serves this address, so nothing can be watched from here.");
        println!("Watch from a served network with: masthead-client --database {directory}");
    }
    for channel in &list.channels {
        if let ChannelStatus::Inactive { cause } = &channel.status {
            println!("channel {} ({}) is inactive: {cause}", channel.id, channel.name);
        }
    }
}
