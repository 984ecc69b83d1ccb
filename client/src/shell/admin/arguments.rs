//! What `admin` is told.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use protocols::administration::Role;
use protocols::ids::{AcquisitionId, HostId, InputId};
use protocols::recording::RecordingId;
use protocols::topology::{TableName, Value};

use crate::when::When;

/// Administration: how one logs in, and what to do.
#[derive(Debug, Clone, Args)]
pub struct Admin {
    #[command(flatten)]
    pub(super) log_in: LogInArguments,
    #[command(subcommand)]
    pub(super) command: AdminCommand,
}

/// How one logs in.
#[derive(Debug, Clone, Args)]
pub(super) struct LogInArguments {
    /// Name of the account.
    // An id of its own: it is global, and `account add NAME` would give it its value.
    #[arg(id = "account_name", long = "name", env = "MASTHEAD_ACCOUNT", value_name = "NAME", global = true)]
    pub(super) name: Option<String>,
    /// File with the password in its first line [default: `MASTHEAD_PASSWORD` of the environment, or one is asked].
    #[arg(long, env = "MASTHEAD_PASSWORD_FILE", value_name = "FILE", global = true)]
    pub(super) password_file: Option<PathBuf>,
    /// Logs in by the site's cluster key instead: for the first account, and when all passwords are lost.
    #[arg(long, env = "MASTHEAD_CLUSTER_KEY", value_name = "FILE", global = true)]
    pub(super) cluster_key: Option<PathBuf>,
    /// SHA-256 of the server's certificate, as its log tells [default: what it was at the first call].
    #[arg(long, env = "MASTHEAD_FINGERPRINT", value_name = "SHA256", global = true)]
    pub(super) fingerprint: Option<String>,
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum AdminCommand {
    /// Accounts: who may log in.
    Account {
        #[command(subcommand)]
        command: AccountCommand,
    },
    /// The topology file: shown and changed, with its comments kept.
    Topology {
        #[command(subcommand)]
        command: TopologyCommand,
    },
    /// Moves the viewers of a push server away and keeps them away.
    Drain {
        /// Its id.
        push_server: HostId,
    },
    /// Ends that.
    Undrain {
        /// Its id.
        push_server: HostId,
    },
    /// Has an acquisition server open an input anew, which also tunes it anew.
    RestartInput {
        /// Its id.
        acquisition_server: AcquisitionId,
        /// The input's id.
        input: InputId,
    },
    /// Has the topology file read again.
    Reload,
    /// Orders a recording of any channel.
    Record {
        /// Id of the channel.
        channel: u32,
        /// From when: `now`, `+30m`, `20:15` (today), `2026-11-22 20:15`, or RFC 3339.
        #[arg(long, default_value = "now", value_name = "TIME")]
        from: When,
        /// Until when: like `--from`; `+45m` counts from the beginning.
        #[arg(long, value_name = "TIME")]
        to: When,
        /// What people call it.
        #[arg(long)]
        title: String,
    },
    /// Gives a recording of any channel up.
    Delete {
        /// Its id.
        id: RecordingId,
    },
    /// Prints who has changed what, newest first.
    Audit {
        /// Only lines before this one.
        #[arg(long, value_name = "ID")]
        before: Option<u64>,
        /// At most so many.
        #[arg(long, default_value_t = 50, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=500))]
        limit: u16,
    },
    /// Prints how the site does, as JSON.
    Status,
}

/// Accounts.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum AccountCommand {
    /// Makes an account; its password is asked, or read from a file.
    Add {
        /// 1 to 32 of `A-Z a-z 0-9 . _ - @`.
        name: String,
        /// viewer, operator or superuser.
        #[arg(long, default_value = "viewer")]
        role: Role,
        /// File with its password in the first line.
        #[arg(long = "new-password-file", value_name = "FILE")]
        password: Option<PathBuf>,
    },
    /// Prints the accounts.
    List,
    /// Gives an account another role; its sessions end.
    Role {
        /// Its name.
        name: String,
        /// viewer, operator or superuser.
        role: Role,
    },
    /// Gives an account another password; its sessions end.
    Password {
        /// Its name.
        name: String,
        /// File with the new password in the first line.
        #[arg(long = "new-password-file", value_name = "FILE")]
        password: Option<PathBuf>,
    },
    /// Removes an account; its sessions end.
    Remove {
        /// Its name.
        name: String,
    },
}

/// Whether to go through with it.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Consent {
    /// Only shows what would change.
    #[arg(long)]
    pub(super) trial: bool,
    /// Does not ask first, on a terminal either.
    #[arg(long, short)]
    pub(super) yes: bool,
}

/// The topology file. TABLE is `channel:7`, `acquisition-server:roof`, `input:roof/mux-5`, `push-server:hall`,
/// `destination:hall/239.192.1.1` or `database-server`; KEY=VALUE has a TOML value, or text without quotes.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum TopologyCommand {
    /// Prints the file.
    Show,
    /// Carries out edits of a JSON file, all or none.
    Edit {
        /// The file; `-`: standard input.
        file: PathBuf,
        #[command(flatten)]
        consent: Consent,
    },
    /// Adds a channel: `add-channel 7 name=Seven acquisition_server=roof input=mux-5 --push-server hall`.
    AddChannel {
        /// Its id, unique for ever.
        id: u32,
        /// KEY=VALUE.
        keys: Vec<Assignment>,
        /// A push server that carries it; more than once for several.
        #[arg(long = "push-server", value_name = "ID")]
        push_servers: Vec<HostId>,
        #[command(flatten)]
        consent: Consent,
    },
    /// Adds any table: `add input:roof/mux-6 url=testcard:`.
    Add {
        /// Which.
        table: TableName,
        /// KEY=VALUE.
        keys: Vec<Assignment>,
        #[command(flatten)]
        consent: Consent,
    },
    /// Changes a table: `set channel:7 name="Seven and a half" --unset service`.
    Set {
        /// Which.
        table: TableName,
        /// KEY=VALUE.
        keys: Vec<Assignment>,
        /// A key to take away.
        #[arg(long, value_name = "KEY")]
        unset: Vec<String>,
        /// What to put into a list: `channels=[7]`.
        #[arg(long, value_name = "KEY=LIST")]
        include: Vec<Assignment>,
        /// What to take out of a list.
        #[arg(long, value_name = "KEY=LIST")]
        exclude: Vec<Assignment>,
        #[command(flatten)]
        consent: Consent,
    },
    /// Moves a table, with all that is its.
    Move {
        /// Which.
        table: TableName,
        /// The acquisition server or push server that it is to be of.
        #[arg(long, value_name = "TABLE")]
        into: Option<TableName>,
        /// The table that it is to stand before [default: behind all].
        #[arg(long, value_name = "TABLE")]
        before: Option<TableName>,
        #[command(flatten)]
        consent: Consent,
    },
    /// Removes a table, with all that is its.
    Remove {
        /// Which.
        table: TableName,
        #[command(flatten)]
        consent: Consent,
    },
}

/// KEY=VALUE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) key: String,
    pub(super) value: Value,
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is no KEY=VALUE"))?;
        Ok(Self { key: key.trim().to_owned(), value: Value::read(value.trim()) })
    }
}
