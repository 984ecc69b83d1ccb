//! Whether a channel could be had at a network now, and if not, why: the one place that says it.
//!
//! Active needs all of: its acquisition server is registered, its input delivers, and at least one push server that
//! serves the network operates, can send there and is fed. Suspension does not enter: it is the push server's private business.

use protocols::ids::AcquisitionId;
use protocols::p1_registration::InputState;
use protocols::p2_directory::ChannelStatus;

/// All that the status of one channel at one network depends on.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The channel's only source.
    pub acquisition: &'a AcquisitionId,
    /// Whether it is registered.
    pub registered: bool,
    /// What it last said of the input; `None`: nothing yet.
    pub input: Option<&'a InputState>,
    /// The network, for people, such as `10.0.1.0/24`.
    pub network: &'a str,
    /// Of the push servers that serve the network, the best one's state.
    pub push: PushState,
    /// What is known of why push servers are not fed or cannot send; empty when nothing is.
    pub push_cause: &'a str,
}

/// How far the best push server of a channel at a network has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PushState {
    /// None operates.
    Dead,
    /// One operates, but its host cannot send to the destination.
    Faulty,
    /// One operates and could send, but gets no packets.
    Unfed,
    /// One operates, could send and is fed.
    Fit,
}

/// Status by the rule above; the cause names the first thing that is missing, from the source to the network.
pub fn status(facts: &Facts<'_>) -> ChannelStatus {
    let Facts { acquisition, network, push_cause, .. } = facts;
    let cause = if facts.registered {
        match (facts.input, facts.push) {
            (Some(InputState::Delivering), PushState::Fit) => return ChannelStatus::Active,
            (Some(InputState::Failed { cause }), _) => format!("input: {cause}"),
            (Some(InputState::Starting), _) => "input: nothing has arrived yet".to_owned(),
            (None, _) => format!("acquisition server `{acquisition}` has not reported on it yet"),
            (_, PushState::Dead) => format!("no push server for {network} is operating"),
            (_, PushState::Faulty) => format!("no push server can send to {network}{push_cause}"),
            (_, PushState::Unfed) => format!("no push server for {network} receives it{push_cause}"),
        }
    } else {
        format!("acquisition server `{acquisition}` is not connected")
    };
    ChannelStatus::Inactive { cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the status is active in exactly one of all combinations, and each other one names its first lack.
    #[test]
    fn a_channel_is_active_only_when_everything_from_source_to_network_works() {
        let acquisition: AcquisitionId = "roof".parse().unwrap();
        let failed = InputState::Failed { cause: "no such file /srv/a.ts".to_owned() };
        let inputs = [None, Some(&InputState::Starting), Some(&failed), Some(&InputState::Delivering)];
        let pushes = [PushState::Dead, PushState::Faulty, PushState::Unfed, PushState::Fit];
        let lacks = [
            "acquisition server `roof` has not reported on it yet",
            "input: nothing has arrived yet",
            "input: no such file /srv/a.ts",
        ];
        let push_lacks = [
            "no push server for 10.0.1.0/24 is operating",
            "no push server can send to 10.0.1.0/24: x",
            "no push server for 10.0.1.0/24 receives it: x",
        ];
        for registered in [false, true] {
            for (i, input) in inputs.into_iter().enumerate() {
                for (p, push) in pushes.into_iter().enumerate() {
                    let facts = Facts {
                        acquisition: &acquisition,
                        registered,
                        input,
                        network: "10.0.1.0/24",
                        push,
                        push_cause: ": x",
                    };
                    let expected = match (registered, i, p) {
                        (false, ..) => Some("acquisition server `roof` is not connected"),
                        (true, 3, 3) => None,
                        (true, 3, p) => Some(push_lacks[p]),
                        (true, i, _) => Some(lacks[i]),
                    };
                    match (status(&facts), expected) {
                        (ChannelStatus::Active, None) => {}
                        (ChannelStatus::Inactive { cause }, Some(lack)) => assert_eq!(cause, lack),
                        (got, expected) => panic!("{facts:?}: {got:?} where {expected:?}"),
                    }
                }
            }
        }
    }
}
