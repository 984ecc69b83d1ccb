//! Which of several push servers serves a channel at a network: exactly one, an operating one, and the same for as
//! long as it operates.
//!
//! ```text
//! none ──fit rivals──► assigned ──dead, or unfit while a rival is fit──► assigned to the rival, higher epoch
//! ```
//!
//! A push server is *fit* when its host answers, it is fed, and its host can send to the destination. Among fit rivals the
//! order is that of rendezvous hashing (Thaler & Ravishankar 1998): each pair of (channel, network) ranks the
//! hosts by a hash of its own, so load spreads, and a lost host moves only what it served.
//! A push server that the topology has *draining* is taken only where no other is fit, and hands its viewers over at once,
//! though it could go on: both send until the other one is seen to be sending. An assignment does not lapse: with no fit rival it stays, whatever is or is not heard of its push server.

use std::time::Duration;

use protocols::ids::{ChannelId, HostId};
use protocols::time::Time;

/// After the database server's start, for this long stored assignments hold although their push servers have not been
/// heard yet, and no first assignment is made while a rival may still speak up.
pub const START_GRACE: Duration = Duration::from_millis(1_500);
/// How long a living but unfit push server keeps what a fit rival could take: feeds of rivals open and stall
/// within one report of each other, and who is a report late should not lose its channels.
pub const FIT_PATIENCE: Duration = Duration::from_millis(500);
/// A push server that drains goes on beside its successor for at most this long: where nobody watches, the successor
/// never sends.
pub const HANDOVER_LIMIT: Duration = Duration::from_secs(3);
/// It goes on for this long after its successor is seen to be sending: that is said when interest comes, and the first
/// packet may still be on its way. Longer than a report can be old.
pub const HANDOVER_LINGER: Duration = Duration::from_millis(500);

/// One push server that could serve a channel at a network, as its host last reported.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "four facts that are reported or declared apart")]
pub struct Rival<'a> {
    /// Its host.
    pub host: &'a HostId,
    /// Whether its host answers.
    pub alive: bool,
    /// Whether it is fed and its host can send to the destination.
    pub fit: bool,
    /// Whether it sends to the destination now.
    pub sending: bool,
    /// Whether the topology has it drained: it serves only where no other can.
    pub draining: bool,
}

impl Rival<'_> {
    fn serves(&self) -> bool {
        self.alive && self.fit
    }
}

/// When the present decision is taken.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Now.
    pub now: Time,
    /// End of [`START_GRACE`].
    pub grace_end: Time,
    /// Since when the assigned push server has been unfit, or none assigned, while a rival was fit.
    pub undecided_since: Option<Time>,
}

/// What to do with an assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Leave it as it is until something is heard.
    Keep,
    /// Leave it as it is, and decide again at this time.
    Wait(Time),
    /// Assign the rival with this index.
    Assign(usize),
}

/// Decides for one channel at one network. `assigned` is the index of the present push server among `rivals`; `None` when
/// there is none or the topology has taken it away. `rank` gives a rival's rendezvous rank.
pub fn decide(
    rivals: &[Rival<'_>],
    assigned: Option<usize>,
    moment: Moment,
    rank: impl Fn(&HostId) -> u64,
) -> Decision {
    if rivals.len() == 1 {
        return if assigned.is_some() { Decision::Keep } else { Decision::Assign(0) };
    }
    let Some(best) = best(rivals, rank) else { return Decision::Keep };
    let patience_end = moment.undecided_since.unwrap_or(moment.now) + FIT_PATIENCE;
    if let Some(present) = assigned {
        let present = &rivals[present];
        if present.serves() {
            if !present.draining || rivals[best].draining {
                return Decision::Keep;
            }
            // After a start once all had time to speak up.
            let in_grace = moment.now < moment.grace_end;
            return if in_grace { Decision::Wait(moment.grace_end) } else { Decision::Assign(best) };
        }
        let wait_until = if present.alive { patience_end.max(moment.grace_end) } else { moment.grace_end };
        return if moment.now < wait_until { Decision::Wait(wait_until) } else { Decision::Assign(best) };
    }
    // Nobody serves: decide at once when no rival can still turn out to be better.
    let in_grace = moment.now < moment.grace_end;
    let settled = rivals.iter().all(|rival| rival.serves() || (!rival.alive && !in_grace));
    let wait_until = if rivals.iter().all(|rival| rival.alive) {
        patience_end
    } else {
        patience_end.max(moment.grace_end)
    };
    if settled || moment.now >= wait_until { Decision::Assign(best) } else { Decision::Wait(wait_until) }
}

/// The fit rival to take: one that is not draining, one that sends already, and then the highest rank.
fn best(rivals: &[Rival<'_>], rank: impl Fn(&HostId) -> u64) -> Option<usize> {
    (0..rivals.len()).filter(|index| rivals[*index].serves()).max_by_key(|index| {
        let rival = &rivals[*index];
        (!rival.draining, rival.sending, rank(rival.host))
    })
}

/// Rendezvous rank of `host` for `channel` at `network`: the same in every life of every database server.
pub fn rank(channel: ChannelId, network: &str, host: &HostId) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"masthead assignment 1");
    hasher.update(&channel.0.to_le_bytes());
    hasher.update(network.as_bytes());
    hasher.update(&[0]);
    hasher.update(host.as_str().as_bytes());
    let mut word = [0; 8];
    word.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const LATE: Moment =
        Moment { now: Time::from_ms(9_000), grace_end: Time::from_ms(1_500), undecided_since: None };

    fn hosts() -> [HostId; 3] {
        ["a", "b", "c"].map(|name| name.parse().unwrap())
    }

    fn rival(host: &HostId, alive: bool, fit: bool) -> Rival<'_> {
        Rival { host, alive, fit, sending: false, draining: false }
    }

    /// `a` ranks highest.
    fn by_name(host: &HostId) -> u64 {
        u64::from(b'z' - host.as_str().as_bytes()[0])
    }

    #[test]
    fn a_living_assigned_push_server_stays_when_a_better_one_returns() {
        let [a, b, _] = hosts();
        let rivals = [rival(&a, true, true), rival(&b, true, true)];
        assert_eq!(decide(&rivals, Some(1), LATE, by_name), Decision::Keep);
    }

    #[test]
    fn a_dead_one_is_replaced_at_once_by_the_best_fit_rival() {
        let [a, b, c] = hosts();
        let rivals = [rival(&a, false, true), rival(&b, true, false), rival(&c, true, true)];
        assert_eq!(decide(&rivals, Some(0), LATE, by_name), Decision::Assign(2));
    }

    #[test]
    fn without_a_fit_rival_an_assignment_does_not_lapse() {
        let [a, b, _] = hosts();
        let rivals = [rival(&a, false, false), rival(&b, true, false)];
        assert_eq!(decide(&rivals, Some(0), LATE, by_name), Decision::Keep);
    }

    #[test]
    fn an_unfed_but_living_one_is_given_patience() {
        let [a, b, _] = hosts();
        let rivals = [rival(&a, true, false), rival(&b, true, true)];
        let since = Time::from_ms(8_900);
        let moment = Moment { undecided_since: Some(since), ..LATE };
        assert_eq!(decide(&rivals, Some(0), moment, by_name), Decision::Wait(since + FIT_PATIENCE));
        let moment = Moment { now: since + FIT_PATIENCE, ..moment };
        assert_eq!(decide(&rivals, Some(0), moment, by_name), Decision::Assign(1));
    }

    #[test]
    fn stored_assignments_hold_until_the_grace_after_a_start_is_over() {
        let [a, b, _] = hosts();
        let rivals = [rival(&a, false, false), rival(&b, true, true)];
        let moment = Moment { now: Time::from_ms(300), ..LATE };
        assert_eq!(decide(&rivals, Some(0), moment, by_name), Decision::Wait(Time::from_ms(1_500)));
        let moment = Moment { now: Time::from_ms(1_500), ..LATE };
        assert_eq!(decide(&rivals, Some(0), moment, by_name), Decision::Assign(1));
    }

    #[test]
    fn a_first_assignment_waits_for_rivals_that_may_still_come_and_prefers_who_sends() {
        let [a, b, _] = hosts();
        let moment = Moment { now: Time::from_ms(300), ..LATE };
        let half = [rival(&a, false, false), rival(&b, true, true)];
        assert!(matches!(decide(&half, None, moment, by_name), Decision::Wait(_)));
        let all = [rival(&a, true, true), rival(&b, true, true)];
        assert_eq!(decide(&all, None, moment, by_name), Decision::Assign(0));
        let sending = [rival(&a, true, true), Rival { sending: true, ..rival(&b, true, true) }];
        assert_eq!(decide(&sending, None, moment, by_name), Decision::Assign(1));
    }

    #[test]
    fn a_push_server_without_rivals_is_assigned_before_it_is_heard() {
        let [a, ..] = hosts();
        assert_eq!(decide(&[rival(&a, false, false)], None, LATE, by_name), Decision::Assign(0));
    }

    #[test]
    fn a_draining_push_server_serves_only_where_no_other_can() {
        let [a, b, _] = hosts();
        let draining = |rival| Rival { draining: true, sending: true, ..rival };
        let rivals = [draining(rival(&a, true, true)), rival(&b, true, true)];
        assert_eq!(decide(&rivals, Some(0), LATE, by_name), Decision::Assign(1), "handed over at once");
        assert_eq!(decide(&rivals, None, LATE, by_name), Decision::Assign(1));
        let rivals = [draining(rival(&a, true, true)), rival(&b, true, false)];
        assert_eq!(decide(&rivals, Some(0), LATE, by_name), Decision::Keep, "no other is fit");
        assert_eq!(decide(&rivals[..1], Some(0), LATE, by_name), Decision::Keep, "there is no other");
        let rivals = [draining(rival(&a, true, true)), draining(rival(&b, true, true))];
        assert_eq!(decide(&rivals, Some(1), LATE, by_name), Decision::Keep, "no use in moving");
        let early = Moment { now: Time::from_ms(300), ..LATE };
        let rivals = [draining(rival(&a, true, true)), rival(&b, true, true)];
        assert_eq!(decide(&rivals, Some(0), early, by_name), Decision::Wait(Time::from_ms(1_500)));
    }

    /// Goal: load spreads, and the loss of one of four hosts moves what it served and nothing else.
    #[test]
    fn ranks_spread_channels_and_move_few() {
        let hosts: Vec<HostId> = (0..4).map(|i| format!("host-{i}").parse().unwrap()).collect();
        let winner = |channel: u32, hosts: &[HostId]| {
            hosts.iter().max_by_key(|host| rank(ChannelId(channel), "10.0.1.0/24", host)).cloned().unwrap()
        };
        let mut shares: BTreeMap<HostId, u32> = BTreeMap::new();
        for channel in 1..=4_000 {
            let first = winner(channel, &hosts);
            *shares.entry(first.clone()).or_default() += 1;
            if first != hosts[3] {
                assert_eq!(winner(channel, &hosts[..3]), first);
            }
        }
        assert!(shares.values().all(|share| (900..1_100).contains(share)), "{shares:?}");
    }
}
