//! `masthead-client admin`: what takes an account, from a terminal.
//!
//! ```text
//! arguments ─► connection by TLS (pinned certificate) ─► log in ─► requests ─► answers, for people or as JSON
//! ```

mod arguments;
mod connection;
mod password;
mod pins;
mod show;

use std::io::{IsTerminal, Write, stdin, stdout};

use link::shutdown::Shutdown;
use protocols::administration::{Answer, Request};
use protocols::topology::{Edit, Keys, TableName, Value};

pub use self::arguments::Admin;
use self::arguments::{AccountCommand, AdminCommand, Assignment, TopologyCommand};
use self::connection::Connection;
use super::{Error, Format, Options};

/// Does what was asked for, or ends cleanly when told to.
pub(super) async fn run(options: &Options, admin: &Admin, shutdown: &Shutdown) -> Result<(), Error> {
    tokio::select! {
        done = perform(options, admin) => done,
        () = shutdown.requested() => Ok(()),
    }
}

async fn perform(options: &Options, admin: &Admin) -> Result<(), Error> {
    let mut desk = Desk { options, admin, connection: None };
    match &admin.command {
        AdminCommand::Account { command } => desk.account(command).await,
        AdminCommand::Topology { command } => desk.topology(command).await,
        AdminCommand::Drain { push_server } => {
            desk.tell(Request::Drain { push_server: push_server.clone(), draining: true }).await
        }
        AdminCommand::Undrain { push_server } => {
            desk.tell(Request::Drain { push_server: push_server.clone(), draining: false }).await
        }
        AdminCommand::RestartInput { acquisition_server, input } => {
            let (acquisition_server, input) = (acquisition_server.clone(), input.clone());
            desk.tell(Request::RestartInput { acquisition_server, input }).await
        }
        AdminCommand::Reload => desk.tell(Request::Reload).await,
        AdminCommand::Record { channel, from, to, title } => {
            let span = super::recordings::span_of(from, to)?;
            let channel = protocols::ids::ChannelId(*channel);
            desk.tell(Request::Record { channel, span, title: title.clone() }).await
        }
        AdminCommand::Delete { id } => desk.tell(Request::DeleteRecording { id: *id }).await,
        AdminCommand::Audit { before, limit } => {
            desk.tell(Request::Audit { before: *before, limit: *limit }).await
        }
        AdminCommand::Status => desk.tell(Request::Status).await,
    }
}

/// Asks, over one connection or several: one that has been silent while somebody thought is opened anew.
struct Desk<'a> {
    options: &'a Options,
    admin: &'a Admin,
    connection: Option<Connection>,
}

impl Desk<'_> {
    async fn ask(&mut self, request: Request) -> Result<Answer, Error> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(self.options, &self.admin.log_in).await?,
        };
        let answer = connection.ask(request).await;
        self.connection = Some(connection);
        answer
    }

    /// Asks and prints the answer.
    async fn tell(&mut self, request: Request) -> Result<(), Error> {
        let answer = self.ask(request).await?;
        self.print(&answer);
        Ok(())
    }

    fn print(&self, answer: &Answer) {
        let text = match self.options.format {
            Format::Text => show::text(answer, super::colour()),
            Format::Json => show::json(answer),
        };
        print(&text);
    }

    async fn account(&mut self, command: &AccountCommand) -> Result<(), Error> {
        let request = match command {
            AccountCommand::Add { name, role, password } => {
                let password = password::new(name, password.as_deref())?;
                Request::AddAccount { name: name.clone(), role: *role, password }
            }
            AccountCommand::List => Request::Accounts,
            AccountCommand::Role { name, role } => Request::SetRole { name: name.clone(), role: *role },
            AccountCommand::Password { name, password } => {
                let password = password::new(name, password.as_deref())?;
                Request::SetPassword { name: name.clone(), password }
            }
            AccountCommand::Remove { name } => Request::RemoveAccount { name: name.clone() },
        };
        self.tell(request).await
    }

    async fn topology(&mut self, command: &TopologyCommand) -> Result<(), Error> {
        let (edits, trial, yes) = match command {
            TopologyCommand::Show => return self.tell(Request::Topology).await,
            TopologyCommand::Edit { file, consent } => {
                let text = if file.as_os_str() == "-" {
                    std::io::read_to_string(stdin())
                } else {
                    std::fs::read_to_string(file)
                };
                let text = text.map_err(|error| Error::Usage(format!("{}: {error}", file.display())))?;
                let edits: Vec<Edit> = serde_json::from_str(&text).map_err(|error| {
                    Error::Usage(format!("{}: no list of edits: {error}", file.display()))
                })?;
                (edits, consent.trial, consent.yes)
            }
            TopologyCommand::AddChannel { id, keys, push_servers, consent } => {
                let id = protocols::ids::ChannelId(*id);
                let mut edits = vec![Edit::Add { table: TableName::Channel(id), keys: pairs(keys) }];
                edits.extend(push_servers.iter().map(|host| Edit::Change {
                    table: TableName::PushServer(host.clone()),
                    set: Keys::new(),
                    unset: Vec::new(),
                    include: [("channels".to_owned(), Value::Numbers(vec![id.0.into()]))].into(),
                    exclude: Keys::new(),
                }));
                (edits, consent.trial, consent.yes)
            }
            TopologyCommand::Add { table, keys, consent } => {
                (vec![Edit::Add { table: table.clone(), keys: pairs(keys) }], consent.trial, consent.yes)
            }
            TopologyCommand::Set { table, keys, unset, include, exclude, consent } => {
                let edit = Edit::Change {
                    table: table.clone(),
                    set: pairs(keys),
                    unset: unset.clone(),
                    include: pairs(include),
                    exclude: pairs(exclude),
                };
                (vec![edit], consent.trial, consent.yes)
            }
            TopologyCommand::Move { table, into, before, consent } => {
                let edit = Edit::Move { table: table.clone(), into: into.clone(), before: before.clone() };
                (vec![edit], consent.trial, consent.yes)
            }
            TopologyCommand::Remove { table, consent } => {
                (vec![Edit::Remove { table: table.clone() }], consent.trial, consent.yes)
            }
        };
        self.edit(edits, trial, yes).await
    }

    /// Shows what edits would do, asks on a terminal whether to, and carries them out.
    async fn edit(&mut self, edits: Vec<Edit>, trial: bool, yes: bool) -> Result<(), Error> {
        let Answer::Topology { revision, .. } = self.ask(Request::Topology).await? else {
            return Err(Error::Refused("the database server answers something else".to_owned()));
        };
        let asks = !yes && stdin().is_terminal() && stdout().is_terminal();
        if trial || asks {
            let tried =
                self.ask(Request::Edit { base: revision.clone(), edits: edits.clone(), trial: true }).await?;
            self.print(&tried);
            let is_nothing = matches!(&tried, Answer::Edited { difference, .. } if difference.is_empty());
            if trial || is_nothing {
                return Ok(());
            }
            // Somebody may think for longer than a silent connection lasts.
            self.connection = None;
            if !password::confirmed("Carry this out?")? {
                return Err(Error::Refused("nothing was changed".to_owned()));
            }
            self.ask(Request::Edit { base: revision, edits, trial: false }).await?;
            return Ok(());
        }
        self.tell(Request::Edit { base: revision, edits, trial: false }).await
    }
}

fn pairs(assignments: &[Assignment]) -> Keys {
    assignments.iter().map(|Assignment { key, value }| (key.clone(), value.clone())).collect()
}

fn print(text: &str) {
    // A reader that has seen enough, such as `head`, is no failure.
    let _ = stdout().write_all(text.as_bytes());
}
