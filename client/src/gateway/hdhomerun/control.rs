//! What a tuner is asked and told: by name, as `hdhomerun_config` does it.
//!
//! A channel of the site is a virtual channel of its id. A tuner is taken by an HTTP stream, or by a target that a control
//! connection has set: such a target is the caller's own address, and gone with its connection, so that nobody has anything
//! sent to somebody else.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use protocols::hdhomerun::{ERROR, GETSET_REPLY, LOCK_KEY, Message, NAME, VALUE};
use protocols::ids::ChannelId;
use protocols::p2_directory::ChannelEntry;

use super::{FIRMWARE, MODEL};
use crate::listing::printable;

/// A control connection; never used again for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Its number.
    pub connection: u64,
    /// Whence it comes.
    pub address: IpAddr,
}

/// What has to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Effect {
    /// Send a channel to a caller, for this tuner, instead of anything else.
    Start {
        /// The tuner.
        tuner: usize,
        /// What.
        channel: ChannelId,
        /// To where.
        to: SocketAddr,
    },
    /// Send nothing more for this tuner.
    Stop {
        /// The tuner.
        tuner: usize,
    },
}

/// A tuner.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Tuner {
    /// What it is tuned to.
    channel: Option<ChannelId>,
    lock: Option<(u32, IpAddr)>,
    /// Where the channel is sent, and for which connection.
    target: Option<(SocketAddr, u64)>,
    /// An HTTP stream has it.
    streams: bool,
}

impl Tuner {
    fn is_free(&self) -> bool {
        !self.streams && self.target.is_none() && self.lock.is_none()
    }
}

/// The tuners.
#[derive(Debug)]
pub struct Control {
    tuners: Vec<Tuner>,
}

impl Control {
    /// So many tuners, all free.
    pub fn new(count: u8) -> Self {
        Self { tuners: vec![Tuner::default(); usize::from(count)] }
    }

    /// Takes a tuner for an HTTP stream, this one or any that is free; `None`: there is none.
    pub fn take(&mut self, wanted: Option<usize>, channel: ChannelId) -> Option<usize> {
        let place = match wanted {
            Some(place) => Some(place),
            // The last first: control programs begin with tuner 0.
            None => self.tuners.iter().rposition(Tuner::is_free),
        };
        let tuner = self.tuners.get_mut(place?).filter(|tuner| tuner.is_free())?;
        (tuner.streams, tuner.channel) = (true, Some(channel));
        place
    }

    /// The HTTP stream of a tuner is over.
    pub fn give_back(&mut self, tuner: usize) {
        if let Some(tuner) = self.tuners.get_mut(tuner) {
            (tuner.streams, tuner.channel) = (false, None);
        }
    }

    /// Tuners that are taken.
    pub fn taken(&self) -> usize {
        self.tuners.iter().filter(|tuner| !tuner.is_free()).count()
    }

    /// Whether a channel is sent to a connection.
    pub fn has_target(&self, connection: u64) -> bool {
        self.tuners.iter().any(|tuner| tuner.target.is_some_and(|(_, owner)| owner == connection))
    }

    /// A control connection is gone.
    pub fn closed(&mut self, connection: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (place, tuner) in self.tuners.iter_mut().enumerate() {
            if tuner.target.take_if(|(_, owner)| *owner == connection).is_some() {
                effects.push(Effect::Stop { tuner: place });
            }
        }
        effects
    }

    /// Answers a request.
    pub fn handle(
        &mut self,
        caller: Caller,
        request: &Message,
        channels: &[ChannelEntry],
    ) -> (Message, Vec<Effect>) {
        let mut effects = Vec::new();
        let name = request.text(NAME).unwrap_or_default();
        let set = request.text(VALUE);
        let answered = self.answer(caller, (name, set, request.number(LOCK_KEY)), channels, &mut effects);
        let reply = Message::new(GETSET_REPLY);
        let reply = match answered {
            Ok(value) => reply.with_text(NAME, name).with_text(VALUE, &value),
            Err(error) => reply.with_text(ERROR, &format!("ERROR: {error}")),
        };
        (reply, effects)
    }

    fn answer(
        &mut self,
        caller: Caller,
        (name, set, key): (&str, Option<&str>, Option<u32>),
        channels: &[ChannelEntry],
        effects: &mut Vec<Effect>,
    ) -> Result<String, String> {
        match (name, set) {
            ("/sys/model", None) => return Ok("hdhomeruntc_atsc".to_owned()),
            ("/sys/hwmodel", None) => return Ok(MODEL.to_owned()),
            ("/sys/version", None) => return Ok(FIRMWARE.to_owned()),
            ("/sys/features", None) => {
                return Ok("channelmap: us-bcast\nmodulation: auto\nauto-modulation: auto\n".to_owned());
            }
            ("/sys/copyright", None) => return Ok("Masthead".to_owned()),
            ("help", None) => return Ok(HELP.to_owned()),
            _ => {}
        }
        let unknown = || "unknown getset variable".to_owned();
        let (tuner, item) =
            name.strip_prefix("/tuner").and_then(|rest| rest.split_once('/')).ok_or_else(unknown)?;
        let place: usize = tuner.parse().map_err(|_| unknown())?;
        let tuner = self.tuners.get_mut(place).ok_or_else(unknown)?;
        let Some(value) = set else { return tuner.told(item, channels).ok_or_else(unknown) };
        if let Some((lock, holder)) = tuner.lock
            && key != Some(lock)
            && (item, value) != ("lockkey", "force")
        {
            return Err(format!("resource locked by {holder}"));
        }
        if tuner.streams {
            return Err("resource busy".to_owned());
        }
        tuner.set(caller, place, (item, value), channels, effects)
    }
}

const HELP: &str = "Supported configuration options:\n/sys/model\n/sys/version\n/tuner<n>/channel <modulation>:<id>\n\
                    /tuner<n>/vchannel <id>\n/tuner<n>/program <id>\n/tuner<n>/target udp://<ip>:<port>\n/tuner<n>/status\n\
                    /tuner<n>/streaminfo\n/tuner<n>/lockkey\n";

impl Tuner {
    /// The value of an item; `None`: there is no such item.
    fn told(&self, item: &str, channels: &[ChannelEntry]) -> Option<String> {
        let none = || "none".to_owned();
        let tuned = self.channel.map(|channel| channel.to_string());
        Some(match item {
            "channel" => tuned.map_or_else(none, |id| format!("auto:{id}")),
            "vchannel" => tuned.unwrap_or_else(none),
            "program" => tuned.unwrap_or_else(|| "0".to_owned()),
            "channelmap" => "us-bcast".to_owned(),
            "filter" => "0x0000-0x1FFF".to_owned(),
            "target" => self.target.map_or_else(none, |(to, _)| format!("udp://{to}")),
            "lockkey" => self.lock.map_or_else(none, |(_, holder)| holder.to_string()),
            "status" => self.channel.map_or_else(
                || "ch=none lock=none ss=0 snq=0 seq=0 bps=0 pps=0".to_owned(),
                |id| format!("ch=auto:{id} lock=auto ss=100 snq=100 seq=100 bps=0 pps=0"),
            ),
            "vstatus" => match self.entry(channels) {
                Some(entry) => {
                    format!("vch={} name={} auth=unspecified cci=none", entry.id, printable(&entry.name))
                }
                None => "vch=none name=none auth=unspecified cci=none".to_owned(),
            },
            "streaminfo" => {
                let mut text = String::new();
                if let Some(entry) = self.entry(channels) {
                    let _ = writeln!(text, "{0}: {0} {1}", entry.id, printable(&entry.name));
                }
                if text.is_empty() { none() } else { text }
            }
            "debug" => "tun: ch=none".to_owned(),
            _ => return None,
        })
    }

    fn entry<'a>(&self, channels: &'a [ChannelEntry]) -> Option<&'a ChannelEntry> {
        channels.iter().find(|entry| Some(entry.id) == self.channel)
    }

    fn set(
        &mut self,
        caller: Caller,
        place: usize,
        (item, value): (&str, &str),
        channels: &[ChannelEntry],
        effects: &mut Vec<Effect>,
    ) -> Result<String, String> {
        let invalid = || "invalid value".to_owned();
        match item {
            "channel" | "vchannel" if value == "none" => self.channel = None,
            "channel" | "vchannel" => {
                let id = value.rsplit(':').next().and_then(|id| id.parse().ok()).ok_or_else(invalid)?;
                if !channels.iter().any(|entry| entry.id == id) {
                    return Err("unknown virtual channel".to_owned());
                }
                self.channel = Some(id);
            }
            // A channel is one programme here, and all of it is sent.
            "program" | "filter" | "channelmap" => return Ok(value.to_owned()),
            "lockkey" => {
                self.lock = match value {
                    "none" | "force" => None,
                    key => Some((key.parse().map_err(|_| invalid())?, caller.address)),
                };
                return Ok(value.to_owned());
            }
            "target" if value == "none" => self.target = None,
            "target" => {
                let rest = value.strip_prefix("udp://").ok_or_else(invalid)?;
                let to = rest
                    .split_whitespace()
                    .next()
                    .and_then(|to| to.parse::<SocketAddr>().ok())
                    .ok_or_else(invalid)?;
                if to.ip().to_canonical() != caller.address || to.port() < 1_024 {
                    return Err("a target is the caller's own address".to_owned());
                }
                self.target = Some((to, caller.connection));
            }
            _ => return Err("unknown getset variable".to_owned()),
        }
        effects.push(match (self.channel, self.target) {
            (Some(channel), Some((to, _))) => Effect::Start { tuner: place, channel, to },
            _ => Effect::Stop { tuner: place },
        });
        Ok(value.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use protocols::hdhomerun::GETSET_REQUEST;

    use super::*;
    use crate::gateway::lineup::tests::channels;

    const ME: Caller = Caller { connection: 1, address: IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 1, 9)) };

    fn ask(control: &mut Control, caller: Caller, name: &str, value: Option<&str>) -> (String, Vec<Effect>) {
        let request = Message::new(GETSET_REQUEST).with_text(NAME, name);
        let request = match value {
            Some(value) => request.with_text(VALUE, value),
            None => request,
        };
        let (reply, effects) = control.handle(caller, &request, &channels());
        (reply.text(VALUE).or(reply.text(ERROR)).unwrap().to_owned(), effects)
    }

    #[test]
    fn a_tuner_is_tuned_and_sends_to_its_caller_until_that_is_gone() {
        let mut control = Control::new(2);
        assert_eq!(
            ask(&mut control, ME, "/tuner0/status", None).0,
            "ch=none lock=none ss=0 snq=0 seq=0 bps=0 pps=0"
        );
        let (_, effects) = ask(&mut control, ME, "/tuner0/vchannel", Some("1"));
        assert_eq!(effects, [Effect::Stop { tuner: 0 }]);
        assert_eq!(ask(&mut control, ME, "/tuner0/streaminfo", None).0, "1: 1 One\n");
        let to = "10.0.1.9:5000".parse().unwrap();
        let (_, effects) = ask(&mut control, ME, "/tuner0/target", Some("udp://10.0.1.9:5000"));
        assert_eq!(effects, [Effect::Start { tuner: 0, channel: ChannelId(1), to }]);
        assert_eq!((control.taken(), control.take(None, ChannelId(1))), (1, Some(1)));
        assert_eq!(control.take(None, ChannelId(1)), None, "all tuners in use");
        assert_eq!(control.closed(1), [Effect::Stop { tuner: 0 }]);
    }

    #[test]
    fn nothing_is_sent_to_anybody_but_the_caller() {
        let mut control = Control::new(1);
        for target in ["udp://10.0.1.8:5000", "udp://10.0.1.9:53", "udp://x", "rtp://10.0.1.9:5000"] {
            let (told, effects) = ask(&mut control, ME, "/tuner0/target", Some(target));
            assert!(told.starts_with("ERROR: ") && effects.is_empty(), "{target}: {told}");
        }
    }

    #[test]
    fn a_lock_keeps_others_out_and_a_stream_keeps_all_out() {
        let mut control = Control::new(1);
        let other = Caller { connection: 2, address: "10.0.1.8".parse().unwrap() };
        ask(&mut control, ME, "/tuner0/lockkey", Some("77"));
        let locked = "ERROR: resource locked by 10.0.1.9";
        assert_eq!(ask(&mut control, other, "/tuner0/vchannel", Some("1")).0, locked);
        assert_eq!(ask(&mut control, other, "/tuner0/lockkey", None).0, "10.0.1.9");
        ask(&mut control, other, "/tuner0/lockkey", Some("force"));
        assert_eq!(control.take(Some(0), ChannelId(1)), Some(0));
        assert_eq!(ask(&mut control, ME, "/tuner0/vchannel", Some("1")).0, "ERROR: resource busy");
        control.give_back(0);
        assert_eq!(control.taken(), 0);
        assert_eq!(ask(&mut control, ME, "/tuner9/status", None).0, "ERROR: unknown getset variable");
    }
}
