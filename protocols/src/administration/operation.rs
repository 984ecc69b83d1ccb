//! The one list of what can be done, and of who may do it.

use super::role::Role;

/// Who may do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Audience {
    /// Whoever reaches the port.
    Everybody,
    /// Everybody; where the topology says `console = "accounts"`, whoever has an account.
    Reader,
    /// Whoever has an account.
    Account,
    /// Accounts with at least this role.
    AtLeast(Role),
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident: $audience:expr,)+) => {
        /// Everything that can be asked of a database server by people and their programs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Operation {
            $($(#[$doc])* $name,)+
        }

        impl Operation {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// Who may.
            pub const fn audience(self) -> Audience {
                match self {
                    $(Self::$name => $audience,)+
                }
            }

            /// Its name in the audit.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }
        }
    };
}

operations! {
    /// Sees servers, channels, networks, and how they do.
    ReadSite: Audience::Reader,
    /// Sees what is recorded.
    ReadRecordings: Audience::Reader,
    /// Reads the journal.
    ReadJournal: Audience::Reader,
    /// Reads the topology file, with the addresses and passwords of its inputs.
    ReadTopology: Audience::AtLeast(Role::Operator),
    /// Changes the topology file, or tries to.
    EditTopology: Audience::AtLeast(Role::Superuser),
    /// Has the topology file read again.
    Reload: Audience::AtLeast(Role::Operator),
    /// Has an acquisition server open an input anew.
    RestartInput: Audience::AtLeast(Role::Operator),
    /// Moves viewers away from a push server, or ends that.
    Drain: Audience::AtLeast(Role::Operator),
    /// Orders a recording of any channel.
    Record: Audience::AtLeast(Role::Operator),
    /// Gives up a recording of any channel.
    DeleteRecording: Audience::AtLeast(Role::Operator),
    /// Lists the accounts.
    ListAccounts: Audience::AtLeast(Role::Superuser),
    /// Makes, changes and removes accounts.
    ChangeAccounts: Audience::AtLeast(Role::Superuser),
    /// Changes one's own password.
    ChangeOwnPassword: Audience::Account,
    /// Reads who has changed what.
    ReadAudit: Audience::AtLeast(Role::Superuser),
}

impl Operation {
    /// Whether it changes something, and so is audited.
    pub const fn changes(self) -> bool {
        !matches!(
            self,
            Self::ReadSite
                | Self::ReadRecordings
                | Self::ReadJournal
                | Self::ReadTopology
                | Self::ListAccounts
                | Self::ReadAudit
        )
    }

    /// Whether somebody with `role` (`None`: without an account) may. `open`: whether everybody may read.
    pub fn is_allowed(self, role: Option<Role>, open: bool) -> bool {
        match self.audience() {
            Audience::Everybody => true,
            Audience::Reader => open || role.is_some(),
            Audience::Account => role.is_some(),
            Audience::AtLeast(least) => role.is_some_and(|role| role >= least),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_without_an_account_changes_anything() {
        for operation in Operation::ALL.iter().filter(|operation| operation.changes()) {
            assert!(!operation.is_allowed(None, true), "{operation:?}");
        }
    }

    #[test]
    fn each_role_may_what_the_lesser_ones_may() {
        for operation in Operation::ALL {
            for open in [false, true] {
                let mut before = operation.is_allowed(None, open);
                for role in Role::ALL {
                    let now = operation.is_allowed(Some(role), open);
                    assert!(now || !before, "{operation:?} {role}");
                    before = now;
                }
                assert!(before, "a superuser may {operation:?}");
            }
        }
    }
}
