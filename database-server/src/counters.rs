//! What the database server has counted since its start: one number for each thing refused, dropped or repeated.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts since the start of the process. None is ever reset.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Every counter by name, in the order of their declaration.
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }
    };
}

counters! {
    /// Datagrams that are no P4, of another version, or of a kind that no database server takes.
    datagrams_malformed,
    /// Datagrams from a host that the topology does not declare.
    datagrams_unknown_host,
    /// Datagrams whose tag is wrong.
    datagrams_unauthenticated,
    /// Genuine responses to no command that waits: late, repeated or replayed.
    responses_unexpected,
    /// Report items about more push servers or destinations than a host may have.
    report_items_over_limit,
    /// Report items about extents that are not taken: too many, impossible, or of what the host is not to record.
    extents_refused,
    /// Lists of recordings served.
    recording_lists_served,
    /// Questions what can be played that were answered with leave to play it.
    presentations_served,
    /// Questions what can be played that were refused.
    presentations_refused,
    /// Programme recordings ordered.
    programmes_ordered,
    /// Programme recordings given up.
    programmes_removed,
    /// Orders and removals of programme recordings refused.
    programmes_refused,
    /// Hosts taken for dead.
    hosts_lost,
    /// Hosts that came up, or came back.
    hosts_found,
    /// Configure datagrams sent for the first time.
    configurations_sent,
    /// Configure datagrams sent again for want of an acknowledgement.
    configurations_repeated,
    /// Configurations that a living host would not acknowledge in the time allowed; tried again later.
    configurations_given_up,
    /// Assignments of a push server to a channel at a network, first ones included.
    assignments,
    /// Assignments that moved from one push server to another.
    reassignments,
    /// P1 connections accepted.
    acquisition_accepted,
    /// P1 connections refused: unknown server, or too many.
    acquisition_refused,
    /// P1 connections closed for silence.
    acquisition_silent,
    /// P1 messages that broke a rule: not registered, foreign channels, long causes.
    acquisition_faults,
    /// Commands refused because too many wait.
    commands_refused,
    /// Commands whose result came.
    commands_done,
    /// P2 connections accepted.
    clients_accepted,
    /// P2 connections refused for the limit of all connections.
    clients_refused,
    /// P2 connections refused for the limit of one address.
    clients_refused_by_address,
    /// P2 connections closed for silence.
    clients_silent,
    /// Watches refused because the connection has too many.
    watches_refused,
    /// Lists served.
    lists_served,
    /// Lists made anew because something on them had changed; all others were copies.
    lists_prepared,
    /// Tunings handed out, those in lists included.
    tunings_served,
    /// Changes of a list that were told together with a later one.
    list_changes_coalesced,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_its_name() {
        let counters = Counters { hosts_lost: 3, ..Counters::default() };
        assert!(counters.named().contains(&("hosts_lost", 3)));
    }
}
