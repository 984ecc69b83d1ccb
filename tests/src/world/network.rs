//! The network between the nodes, as a pure function of its seed: what arrives, when, and how often.
//!
//! Datagrams may be lost, doubled, delayed and so overtaken. A *cut* stops one direction between two nodes: datagrams
//! vanish, streams (`streams.rs`) stall. TCP hides loss behind a retransmission, so loss only delays its messages.

use std::time::Duration;

use super::{MAX_NODES, NodeId};

/// How bad the network is. Probabilities in 0..=1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weather {
    /// A datagram is lost, at each receiver independently.
    pub loss: f64,
    /// A datagram comes twice.
    pub duplicate: f64,
    /// A datagram is held up by up to [`DETOUR`], so that later ones overtake it.
    pub detour: f64,
    /// Delay added at random, at most this.
    pub jitter: Duration,
}

/// Longest hold-up of a datagram that is overtaken.
pub const DETOUR: Duration = Duration::from_millis(30);
/// Retransmission timeout that a lost TCP segment costs.
pub const RETRANSMISSION: Duration = Duration::from_millis(200);
/// Least delay between two nodes.
const WIRE: Duration = Duration::from_micros(150);

impl Weather {
    /// A good LAN: nothing lost, nothing doubled.
    pub const CLEAR: Self =
        Self { loss: 0.0, duplicate: 0.0, detour: 0.0, jitter: Duration::from_micros(200) };
}

/// When the copies of one datagram arrive: none when it is lost, two when it is doubled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fate {
    /// Delay of the first copy.
    pub first: Option<Duration>,
    /// Delay of the second.
    pub second: Option<Duration>,
}

impl Fate {
    const LOST: Self = Self { first: None, second: None };
}

/// The state of the network.
#[derive(Debug)]
pub struct Network {
    random: fastrand::Rng,
    weather: Weather,
    odds: Odds,
    /// Bit `b` of entry `a`: nothing goes from `a` to `b`.
    cuts: [u64; MAX_NODES],
    /// Extra loss at a node, both ways.
    bursts: [u32; MAX_NODES],
}

/// The weather as thresholds of a 32-bit draw.
#[derive(Debug, Clone, Copy)]
struct Odds {
    loss: u32,
    duplicate: u32,
    detour: u32,
    jitter_us: u32,
}

impl Network {
    /// A network in good weather.
    pub fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            weather: Weather::CLEAR,
            odds: Odds::of(Weather::CLEAR),
            cuts: [0; MAX_NODES],
            bursts: [0; MAX_NODES],
        }
    }

    /// Changes the weather for what is sent from now on.
    pub fn set_weather(&mut self, weather: Weather) {
        self.weather = weather;
        self.odds = Odds::of(weather);
    }

    /// The weather.
    pub fn weather(&self) -> Weather {
        self.weather
    }

    /// Loses this share of all datagrams from and to `node`, on top of the weather; 0 ends it.
    pub fn set_burst(&mut self, node: NodeId, loss: f64) {
        self.bursts[node.index()] = threshold(loss);
    }

    /// Stops everything from `from` to `to`.
    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cuts[from.index()] |= 1 << to.index();
    }

    /// Ends all cuts.
    pub fn heal(&mut self) {
        self.cuts = [0; MAX_NODES];
    }

    /// Whether nothing goes from `from` to `to`.
    pub fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.cuts[from.index()] & (1 << to.index()) != 0
    }

    /// Whether any cut stands.
    pub fn has_cuts(&self) -> bool {
        self.cuts.iter().any(|mask| *mask != 0)
    }

    /// What becomes of a datagram sent now.
    pub fn datagram(&mut self, from: NodeId, to: NodeId) -> Fate {
        if self.is_cut(from, to) || self.lost(from, to) {
            return Fate::LOST;
        }
        let first = Some(self.delay());
        let second =
            (self.odds.duplicate > 0 && self.random.u32(..) < self.odds.duplicate).then(|| self.delay());
        Fate { first, second }
    }

    /// How long one message of a stream takes: a loss costs a retransmission.
    pub fn segment(&mut self, from: NodeId, to: NodeId) -> Duration {
        let delay = WIRE + Duration::from_micros(u64::from(self.jitter_us()));
        if self.lost(from, to) { delay + RETRANSMISSION } else { delay }
    }

    fn lost(&mut self, from: NodeId, to: NodeId) -> bool {
        let odds = self.odds.loss.max(self.bursts[from.index()]).max(self.bursts[to.index()]);
        odds > 0 && self.random.u32(..) < odds
    }

    fn delay(&mut self) -> Duration {
        let delay = WIRE + Duration::from_micros(u64::from(self.jitter_us()));
        if self.odds.detour > 0 && self.random.u32(..) < self.odds.detour {
            return delay + DETOUR.mul_f64(self.random.f64());
        }
        delay
    }

    fn jitter_us(&mut self) -> u32 {
        if self.odds.jitter_us == 0 { 0 } else { self.random.u32(..self.odds.jitter_us) }
    }
}

impl Odds {
    fn of(weather: Weather) -> Self {
        Self {
            loss: threshold(weather.loss),
            duplicate: threshold(weather.duplicate),
            detour: threshold(weather.detour),
            jitter_us: u32::try_from(weather.jitter.as_micros()).unwrap_or(u32::MAX),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a probability times 2^32 - 1 fits, and casts of floats saturate"
)]
fn threshold(probability: f64) -> u32 {
    (probability * f64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(0);
    const B: NodeId = NodeId(1);

    #[test]
    fn the_same_seed_gives_the_same_fates() {
        let fates = |seed| {
            let mut network = Network::new(seed);
            network.set_weather(Weather { loss: 0.2, duplicate: 0.2, detour: 0.2, ..Weather::CLEAR });
            (0..50).map(|_| network.datagram(A, B)).collect::<Vec<_>>()
        };
        assert_eq!(fates(1), fates(1));
        assert_ne!(fates(1), fates(2));
    }

    #[test]
    fn a_cut_stops_one_direction_until_it_heals() {
        let mut network = Network::new(1);
        network.cut(A, B);
        assert_eq!(network.datagram(A, B), Fate::LOST);
        assert!(network.datagram(B, A).first.is_some());
        network.heal();
        assert!(network.datagram(A, B).first.is_some());
    }

    #[test]
    fn loss_is_what_the_weather_says() {
        let mut network = Network::new(1);
        network.set_weather(Weather { loss: 0.2, ..Weather::CLEAR });
        let lost = (0..10_000).filter(|_| network.datagram(A, B) == Fate::LOST).count();
        assert!((1_800..2_200).contains(&lost), "{lost}");
    }
}
