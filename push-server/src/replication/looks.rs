//! When which channel is looked after, and at which peers: at the start, when its peers or its state here change, each
//! minute while there is news, and ever less often while there is none. A peer that fails is left alone for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use protocols::ids::{ChannelId, HostId};
use protocols::recording::RecordPeer;
use protocols::time::Time;

/// Looks without news before they become less frequent: a hole of now is told as complete by a peer within this many.
const PATIENT_LOOKS: u32 = 5;

/// How often.
#[derive(Debug, Clone, Copy)]
pub struct Intervals {
    /// Between two looks at the peers of a channel.
    pub look: Duration,
    /// The same at most, after many that brought nothing.
    pub longest: Duration,
    /// After a peer has failed; twice that after the next time, and so on up to `look`.
    pub retry: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        Self { look: Duration::from_mins(1), longest: Duration::from_mins(16), retry: Duration::from_secs(5) }
    }
}

/// What of a channel's recording here may be worth a look: when it changes, there is one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Concern {
    /// Rows of whole segments.
    pub rows: usize,
    /// Segments with holes.
    pub holed: usize,
    /// Segments that are damaged.
    pub damaged: usize,
}

/// How a look ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Peers have more, which this look had no time for.
    More,
    /// Something was fetched.
    News,
    /// All peers were asked, and had nothing better.
    Nothing,
    /// A peer could not be asked.
    Failed,
}

/// The looks of all channels, one at a time.
#[derive(Debug)]
pub struct Looks {
    own: HostId,
    intervals: Intervals,
    channels: BTreeMap<ChannelId, Watched>,
    standings: BTreeMap<HostId, Standing>,
}

#[derive(Debug)]
struct Watched {
    peers: Vec<RecordPeer>,
    concern: Concern,
    due: Time,
    quiet: u32,
}

/// How a peer did of late; there is one for peers that failed.
#[derive(Debug, Clone, Copy)]
struct Standing {
    failures: u32,
    until: Time,
}

impl Looks {
    /// Of the host `own`.
    pub fn new(own: HostId, intervals: Intervals) -> Self {
        Self { own, intervals, channels: BTreeMap::new(), standings: BTreeMap::new() }
    }

    /// These channels are recorded, with these peers, and this is how they are here. Others are forgotten.
    pub fn observe<'a>(
        &mut self,
        now: Time,
        channels: impl IntoIterator<Item = (ChannelId, &'a [RecordPeer], Concern)>,
    ) {
        let mut before = std::mem::take(&mut self.channels);
        for (channel, peers, concern) in channels {
            let known = before.remove(&channel).filter(|known| known.peers == peers);
            let watched = match known {
                Some(known) if known.concern == concern => known,
                // Not before the interval after a failure is over: what changes all the time is not looked at all the time.
                Some(known) => Watched {
                    concern,
                    quiet: 0,
                    due: known.due.min(now + self.intervals.retry),
                    peers: known.peers,
                },
                None => Watched { peers: peers.to_vec(), concern, due: now, quiet: 0 },
            };
            self.channels.insert(channel, watched);
        }
        let channels = &self.channels;
        let is_peer = |host: &HostId| {
            channels.values().flat_map(|watched| &watched.peers).any(|peer| peer.host == *host)
        };
        self.standings.retain(|host, _| is_peer(host));
    }

    /// The channel that has been due longest, and whom to ask: those after this host by id first, so that not all ask the
    /// same. Nobody, when all have failed of late.
    pub fn next(&self, now: Time) -> Option<(ChannelId, Vec<RecordPeer>)> {
        let due = self.channels.iter().filter(|(_, watched)| watched.due <= now);
        let (channel, watched) = due.min_by_key(|(_, watched)| watched.due)?;
        let rested =
            |peer: &&RecordPeer| self.standings.get(&peer.host).is_none_or(|standing| standing.until <= now);
        let others = || watched.peers.iter().filter(|peer| peer.host != self.own).filter(rested);
        let after = others().filter(|peer| peer.host > self.own);
        let before = others().filter(|peer| peer.host < self.own);
        Some((*channel, after.chain(before).cloned().collect()))
    }

    /// A channel was looked after.
    pub fn looked(&mut self, now: Time, channel: ChannelId, outcome: Outcome) {
        let Some(watched) = self.channels.get_mut(&channel) else { return };
        let Intervals { look, longest, retry } = self.intervals;
        let wait = match outcome {
            Outcome::More => Duration::ZERO,
            Outcome::News => {
                watched.quiet = 0;
                look
            }
            Outcome::Failed => retry,
            Outcome::Nothing => {
                watched.quiet = watched.quiet.saturating_add(1);
                let doubled = watched.quiet.saturating_sub(PATIENT_LOOKS).min(16);
                look.saturating_mul(1 << doubled).min(longest.max(look))
            }
        };
        watched.due = now + wait;
    }

    /// A peer failed, or lied.
    pub fn failed(&mut self, now: Time, host: &HostId) {
        let Intervals { look, retry, .. } = self.intervals;
        let standing = self.standings.entry(host.clone()).or_insert(Standing { failures: 0, until: now });
        standing.until = now + retry.saturating_mul(1 << standing.failures.min(16)).min(look.max(retry));
        standing.failures = standing.failures.saturating_add(1);
    }

    /// A peer did what it was asked.
    pub fn succeeded(&mut self, host: &HostId) {
        self.standings.remove(host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNEL: ChannelId = ChannelId(1);

    fn peer(host: &str) -> RecordPeer {
        RecordPeer { host: host.parse().unwrap(), feed: "127.0.0.1:7403".parse().unwrap() }
    }

    fn at(seconds: u64) -> Time {
        Time::from_ms(seconds * 1_000)
    }

    fn looks() -> Looks {
        Looks::new("c".parse().unwrap(), Intervals::default())
    }

    fn observe(looks: &mut Looks, now: u64, peers: &[&str], damaged: usize) {
        let peers: Vec<RecordPeer> = peers.iter().map(|host| peer(host)).collect();
        looks.observe(at(now), [(CHANNEL, &peers[..], Concern { damaged, ..Concern::default() })]);
    }

    fn asked(looks: &Looks, now: u64) -> Option<Vec<String>> {
        let (_, peers) = looks.next(at(now))?;
        Some(peers.iter().map(|peer| peer.host.to_string()).collect())
    }

    #[test]
    fn all_peers_are_asked_at_once_the_next_by_id_first() {
        let mut looks = looks();
        assert_eq!(asked(&looks, 0), None);
        observe(&mut looks, 1, &["a", "b", "c", "d", "e"], 0);
        assert_eq!(asked(&looks, 1).unwrap(), ["d", "e", "a", "b"]);
    }

    #[test]
    fn looks_without_news_become_rare_and_news_brings_them_back() {
        let mut looks = looks();
        observe(&mut looks, 0, &["a"], 0);
        let mut now = 0;
        let mut waits = Vec::new();
        for _ in 0..11 {
            looks.looked(at(now), CHANNEL, Outcome::Nothing);
            let due = (now..now + 3_600).find(|now| asked(&looks, *now).is_some()).unwrap();
            waits.push((due - now) / 60);
            now = due;
        }
        assert_eq!(waits, [1, 1, 1, 1, 1, 2, 4, 8, 16, 16, 16]);
        looks.looked(at(now), CHANNEL, Outcome::News);
        assert_eq!((asked(&looks, now + 59), asked(&looks, now + 60).is_some()), (None, true));
        looks.looked(at(now), CHANNEL, Outcome::More);
        assert!(asked(&looks, now).is_some());
    }

    #[test]
    fn damage_or_another_peer_brings_a_look_soon() {
        let mut looks = looks();
        observe(&mut looks, 0, &["a"], 0);
        (0..20).for_each(|_| looks.looked(at(0), CHANNEL, Outcome::Nothing));
        observe(&mut looks, 10, &["a"], 0);
        assert_eq!(asked(&looks, 100), None);
        observe(&mut looks, 100, &["a"], 1);
        assert_eq!((asked(&looks, 104), asked(&looks, 105).is_some()), (None, true));
        looks.looked(at(105), CHANNEL, Outcome::Nothing);
        observe(&mut looks, 106, &["a", "b"], 1);
        assert!(asked(&looks, 106).is_some());
        looks.observe(at(107), []);
        assert_eq!(asked(&looks, 1_000), None, "recorded no more");
    }

    #[test]
    fn a_peer_that_fails_is_left_alone_for_ever_longer_and_the_others_are_asked() {
        let mut looks = looks();
        observe(&mut looks, 0, &["a", "b"], 0);
        let mut rests = Vec::new();
        for _ in 0..6 {
            looks.failed(at(0), &"a".parse().unwrap());
            rests.push((0..3_600).find(|now| asked(&looks, *now).unwrap().len() == 2).unwrap());
        }
        assert_eq!(rests, [5, 10, 20, 40, 60, 60]);
        assert_eq!(asked(&looks, 1).unwrap(), ["b"]);
        looks.succeeded(&"a".parse().unwrap());
        assert_eq!(asked(&looks, 1).unwrap(), ["a", "b"]);
    }
}
