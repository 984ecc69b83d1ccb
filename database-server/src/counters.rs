//! What the database server has counted since its start: one number for each thing refused, dropped or repeated.

protocols::counters! {
    /// Counts since the start of the process. None is ever reset.
    pub struct Counters {
        /// Datagrams that are no P4, of another version, or of a kind that no database server takes.
        pub datagrams_malformed: u64,
        /// Datagrams from a host that the topology does not declare.
        pub datagrams_unknown_host: u64,
        /// Datagrams whose tag is wrong.
        pub datagrams_unauthenticated: u64,
        /// Genuine responses to no command that waits: late, repeated or replayed.
        pub responses_unexpected: u64,
        /// Report items about more push servers or destinations than a host may have.
        pub report_items_over_limit: u64,
        /// Report items about extents that are not taken: too many, impossible, or of what the host is not to record.
        pub extents_refused: u64,
        /// Lists of recordings served.
        pub recording_lists_served: u64,
        /// Questions what can be played that were answered with leave to play it.
        pub presentations_served: u64,
        /// Questions what can be played that were refused.
        pub presentations_refused: u64,
        /// Programme recordings ordered.
        pub programmes_ordered: u64,
        /// Programme recordings given up.
        pub programmes_removed: u64,
        /// Orders and removals of programme recordings refused.
        pub programmes_refused: u64,
        /// Hosts taken for dead.
        pub hosts_lost: u64,
        /// Hosts that came up, or came back.
        pub hosts_found: u64,
        /// Configure datagrams sent for the first time.
        pub configurations_sent: u64,
        /// Configure datagrams sent again for want of an acknowledgement.
        pub configurations_repeated: u64,
        /// Configurations that a living host would not acknowledge in the time allowed; tried again later.
        pub configurations_given_up: u64,
        /// Assignments of a push server to a channel at a network, first ones included.
        pub assignments: u64,
        /// Assignments that moved from one push server to another.
        pub reassignments: u64,
        /// P1 connections accepted.
        pub acquisition_accepted: u64,
        /// P1 connections refused: unknown server, or too many.
        pub acquisition_refused: u64,
        /// P1 connections closed for silence.
        pub acquisition_silent: u64,
        /// P1 messages that broke a rule: not registered, foreign channels, long causes.
        pub acquisition_faults: u64,
        /// Schedules of the programme guide taken from acquisition servers.
        pub guide_schedules: u64,
        /// Programmes left out of the guide: over, too far ahead, too many of their channel, or no room.
        pub guide_events_left_out: u64,
        /// Pages of the guide served.
        pub guide_pages_served: u64,
        /// Commands refused because too many wait.
        pub commands_refused: u64,
        /// Commands whose result came.
        pub commands_done: u64,
        /// P2 connections accepted.
        pub clients_accepted: u64,
        /// P2 connections refused for the limit of all connections.
        pub clients_refused: u64,
        /// P2 connections refused for the limit of one address.
        pub clients_refused_by_address: u64,
        /// P2 connections closed for silence.
        pub clients_silent: u64,
        /// Watches refused because the connection has too many.
        pub watches_refused: u64,
        /// Lists served.
        pub lists_served: u64,
        /// Lists made anew because something on them had changed; all others were copies.
        pub lists_prepared: u64,
        /// Tunings handed out, those in lists included.
        pub tunings_served: u64,
        /// Changes of a list that were told together with a later one.
        pub list_changes_coalesced: u64,
    }
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
