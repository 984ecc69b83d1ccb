//! The office: everything that takes an account passes here, whether it comes by P2 or by the console's API.
//!
//! ```text
//! P2 over TLS ──┐                        ┌─► clerk: the topology file ─► driver
//!               ├─► log in ─► may they? ─┼─► accounts and audit (SQLite, on blocking threads)
//! console API ──┘                        └─► driver: commands
//! ```

mod clerk;
mod password;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use link::clock::Clock;
use link::random;
use protocols::administration::{
    Answer, AuditEntry, Failure, KEY_LOG_IN, MAX_ACCOUNTS, MAX_AUDIT_LISTED, Request, Role, Secret,
};
use protocols::authority::{ClusterKey, Tag};
use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

pub(super) use self::clerk::{Clerk, on_hangup};
use self::password::Hasher;
use super::console::{Ask, Desk};
use crate::access::sessions::{self, Holder, SessionId};
use crate::access::{Account, Sessions, Throttle, check_name, check_password};
use crate::database_server::SiteCommand;
use crate::store::{AccountBook, StoreError};

/// Who holds the cluster key is called this in the audit; no account can have the name.
const KEY_HOLDER: &str = "cluster key";

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Person {
    /// An account, as it was when it logged in.
    Account(Holder),
    /// Whoever holds the cluster key.
    KeyHolder,
}

impl Person {
    /// What they are called.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Account(holder) => &holder.name,
            Self::KeyHolder => KEY_HOLDER,
        }
    }
}

/// By which session of the console somebody asks, and from where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    /// The address.
    pub(super) address: IpAddr,
    /// `P2` or `console`.
    pub(super) door: &'static str,
    /// The session, which goes on when its account changes its own password.
    pub(super) session: Option<SessionId>,
}

/// Takes requests of people.
#[derive(Debug)]
pub(super) struct Office {
    clerk: Clerk,
    desk: Desk,
    clock: Clock,
    key: ClusterKey,
    hasher: Hasher,
    book: Arc<Mutex<AccountBook>>,
    accounts: Mutex<BTreeMap<String, Account>>,
    /// Held while an account is changed, from the look at what there is until it is on the disk.
    changing: tokio::sync::Mutex<()>,
    sessions: Mutex<Sessions>,
    throttle: Mutex<Throttle>,
}

impl Office {
    /// Opens the accounts of the data folder.
    pub(super) fn open(data: &Path, clerk: Clerk, desk: Desk, key: ClusterKey) -> Result<Self, StoreError> {
        let book = AccountBook::open(data)?;
        let accounts = book.accounts()?.into_iter().map(|account| (account.name.clone(), account)).collect();
        let hasher = Hasher::new().map_err(|why| StoreError::Io {
            path: PathBuf::from("argon2"),
            error: std::io::Error::other(why),
        })?;
        Ok(Self {
            clerk,
            desk,
            clock: Clock::start(),
            key,
            hasher,
            book: Arc::new(Mutex::new(book)),
            accounts: Mutex::new(accounts),
            changing: tokio::sync::Mutex::default(),
            sessions: Mutex::default(),
            throttle: Mutex::default(),
        })
    }

    /// The topology file.
    pub(super) fn clerk(&self) -> &Clerk {
        &self.clerk
    }

    /// Logs in by name and password. The caller has seen to it that nobody can have read them.
    pub(super) async fn log_in(
        &self,
        name: String,
        password: Secret,
        origin: Origin,
    ) -> Result<(Person, Role), Failure> {
        let begun = lock(&self.throttle).begin(self.clock.now(), &name, origin.address);
        if let Err(wait) = begun {
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
            return Err(Failure::Throttled { wait_ms });
        }
        let account = lock(&self.accounts).get(&name).cloned();
        let known = account.as_ref().map(|account| account.hash.clone());
        let right = self.hasher.verify(password, known).await?;
        let Some(account) = account.filter(|_| right) else {
            // Not the name: people type their password into the wrong field.
            warn!(address = %origin.address, door = origin.door, "somebody could not log in: wrong name or password");
            return Err(Failure::WrongPassword);
        };
        lock(&self.throttle).right(&name, origin.address);
        info!(%name, role = %account.role, address = %origin.address, door = origin.door, "logged in");
        let person = Person::Account(Holder { name, epoch: account.epoch });
        self.audit(&person, origin, "log in".to_owned(), "done".to_owned()).await;
        Ok((person, account.role))
    }

    /// Logs in by the cluster key: `proof` over what both ends of the TLS connection and nobody else knows.
    pub(super) async fn log_in_by_key(
        &self,
        proof: [u8; Tag::BYTES],
        exporter: &[u8],
        origin: Origin,
    ) -> Result<(Person, Role), Failure> {
        if !self.key.administration_key().verifies(&Tag(proof), KEY_LOG_IN, &[exporter]) {
            warn!(address = %origin.address, "somebody does not hold this site's cluster key");
            return Err(Failure::WrongPassword);
        }
        self.audit(&Person::KeyHolder, origin, "log in".to_owned(), "done".to_owned()).await;
        Ok((Person::KeyHolder, Role::Superuser))
    }

    /// Begins a session of the console.
    pub(super) fn begin_session(&self, holder: Holder) -> SessionId {
        let id = random::session_id();
        lock(&self.sessions).begin(self.clock.now(), &id, holder);
        id
    }

    /// Who uses a session; `None` when it has ended.
    pub(super) fn use_session(&self, id: &SessionId) -> Option<(Person, Role)> {
        let holder = lock(&self.sessions).use_now(self.clock.now(), id)?;
        let person = Person::Account(holder);
        let role = self.role(&person)?;
        Some((person, role))
    }

    /// Ends a session.
    pub(super) fn end_session(&self, id: &SessionId) {
        lock(&self.sessions).end(id);
    }

    /// What somebody may do now; `None` when the account is gone or has changed since they logged in.
    pub(super) fn role(&self, person: &Person) -> Option<Role> {
        match person {
            Person::KeyHolder => Some(Role::Superuser),
            Person::Account(holder) => {
                let accounts = lock(&self.accounts);
                accounts
                    .get(&holder.name)
                    .filter(|account| account.epoch == holder.epoch)
                    .map(|account| account.role)
            }
        }
    }

    /// Carries out a request, if who asks may.
    pub(super) async fn perform(
        &self,
        person: &Person,
        origin: Origin,
        request: Request,
    ) -> Result<Answer, Failure> {
        let role = self.role(person).ok_or(Failure::NotLoggedIn)?;
        let operation = request.operation();
        if !operation.is_allowed(Some(role), true) {
            let least = match operation.audience() {
                protocols::administration::Audience::AtLeast(least) => least,
                _ => Role::Viewer,
            };
            return Err(Failure::Role(least));
        }
        let audited = operation.changes() && !matches!(request, Request::Edit { trial: true, .. });
        let what =
            if audited { format!("{}: {}", operation.name(), request.subject()) } else { String::new() };
        let outcome = self.carry_out(person, origin, request).await;
        if audited {
            let told = match &outcome {
                Ok(_) => "done".to_owned(),
                Err(failure) => failure.to_string(),
            };
            self.audit(person, origin, what, told).await;
        }
        outcome
    }

    async fn carry_out(&self, person: &Person, origin: Origin, request: Request) -> Result<Answer, Failure> {
        match request {
            Request::Topology => self.clerk.show().await,
            Request::Edit { base, edits, trial } => self.clerk.edit(base, edits, trial).await,
            Request::Reload => self.clerk.reload().await.map(|()| Answer::Done),
            Request::Drain { push_server, draining } => self.clerk.drain(push_server, draining).await,
            Request::RestartInput { acquisition_server, input } => {
                self.command(SiteCommand::RestartInput { acquisition_server, input }).await
            }
            Request::Record { channel, span, title } => {
                self.command(SiteCommand::Record { channel, span, title }).await
            }
            Request::DeleteRecording { id } => self.command(SiteCommand::DeleteRecording { id }).await,
            Request::Accounts => {
                Ok(Answer::Accounts(lock(&self.accounts).values().map(Account::entry).collect()))
            }
            Request::AddAccount { name, role, password } => self.add_account(name, role, password).await,
            Request::SetRole { name, role } => {
                self.change_account(&name, None, |account| account.role = role).await.map(|_| Answer::Done)
            }
            Request::SetPassword { name, password } => {
                let hash = self.hashed(&name, password).await?;
                self.change_account(&name, None, |account| account.hash = hash).await.map(|_| Answer::Done)
            }
            Request::RemoveAccount { name } => self.remove_account(name).await,
            Request::OwnPassword { old, new } => self.own_password(person, origin, old, new).await,
            Request::Audit { before, limit } => {
                let limit = limit.clamp(1, MAX_AUDIT_LISTED);
                self.with_book(move |book| book.audited(before, limit)).await.map(Answer::Audit)
            }
            Request::Status => {
                let looked = self.desk.ask(Ask::Site).await;
                let view = looked.map_err(|error| Failure::Unavailable(error.message().to_owned()))?.view;
                let operator = self.role(person).is_some_and(|role| role >= Role::Operator);
                let json = if operator {
                    serde_json::to_string(&*view)
                } else {
                    serde_json::to_string(&view.for_readers())
                };
                json.map(Answer::Status).map_err(|error| Failure::Unavailable(error.to_string()))
            }
        }
    }

    async fn command(&self, command: SiteCommand) -> Result<Answer, Failure> {
        let asked = self.desk.ask(|answer| Ask::Command(command, answer)).await;
        match asked {
            Ok(outcome) => outcome.map_err(Failure::Invalid),
            Err(error) => Err(Failure::Unavailable(error.message().to_owned())),
        }
    }

    async fn hashed(&self, name: &str, password: Secret) -> Result<String, Failure> {
        check_password(name, &password.0).map_err(Failure::Invalid)?;
        self.hasher.hash(password).await
    }

    async fn add_account(&self, name: String, role: Role, password: Secret) -> Result<Answer, Failure> {
        check_name(&name).map_err(Failure::Invalid)?;
        let hash = self.hashed(&name, password).await?;
        let _changing = self.changing.lock().await;
        {
            let accounts = lock(&self.accounts);
            if accounts.contains_key(&name) {
                return Err(Failure::Exists(format!("there is an account `{name}` already")));
            }
            if accounts.len() >= MAX_ACCOUNTS {
                return Err(Failure::Unavailable(format!("there are {MAX_ACCOUNTS} accounts already")));
            }
        }
        let now = Clock::wall().0;
        let account = Account { name, hash, role, created_ms: now, changed_ms: now, epoch: random::seed() };
        self.keep(account).await?;
        Ok(Answer::Done)
    }

    /// Changes an account; what was opened by it before ends, but for `session`. The new epoch.
    async fn change_account(
        &self,
        name: &str,
        session: Option<SessionId>,
        change: impl FnOnce(&mut Account),
    ) -> Result<u64, Failure> {
        let _changing = self.changing.lock().await;
        let mut account = lock(&self.accounts).get(name).cloned().ok_or_else(|| unknown(name))?;
        let was = account.role;
        change(&mut account);
        if was == Role::Superuser && account.role != Role::Superuser {
            self.refuse_last_superuser(name)?;
        }
        account.changed_ms = Clock::wall().0;
        account.epoch = random::seed();
        let epoch = account.epoch;
        self.keep(account).await?;
        let mut sessions = lock(&self.sessions);
        if let Some(session) = session {
            sessions.renew(&session, epoch);
        }
        sessions.end_others(name, Some(epoch));
        Ok(epoch)
    }

    async fn remove_account(&self, name: String) -> Result<Answer, Failure> {
        let _changing = self.changing.lock().await;
        let role =
            lock(&self.accounts).get(&name).map(|account| account.role).ok_or_else(|| unknown(&name))?;
        if role == Role::Superuser {
            self.refuse_last_superuser(&name)?;
        }
        let removed = name.clone();
        self.with_book(move |book| book.remove(&removed)).await?;
        lock(&self.accounts).remove(&name);
        lock(&self.sessions).end_others(&name, None);
        Ok(Answer::Done)
    }

    async fn own_password(
        &self,
        person: &Person,
        origin: Origin,
        old: Secret,
        new: Secret,
    ) -> Result<Answer, Failure> {
        let Person::Account(holder) = person else {
            return Err(Failure::Invalid("the cluster key has no password".to_owned()));
        };
        // As many guesses as at the door: a session left open must not be a way to find the password out.
        let begun = lock(&self.throttle).begin(self.clock.now(), &holder.name, origin.address);
        if let Err(wait) = begun {
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
            return Err(Failure::Throttled { wait_ms });
        }
        let known = lock(&self.accounts).get(&holder.name).map(|account| account.hash.clone());
        if !self.hasher.verify(old, known).await? {
            return Err(Failure::WrongPassword);
        }
        lock(&self.throttle).right(&holder.name, origin.address);
        let hash = self.hashed(&holder.name, new).await?;
        self.change_account(&holder.name, origin.session, |account| account.hash = hash).await?;
        Ok(Answer::Done)
    }

    /// Without a superuser nobody but who holds the cluster key could change anything.
    fn refuse_last_superuser(&self, name: &str) -> Result<(), Failure> {
        let others = lock(&self.accounts)
            .values()
            .any(|account| account.role == Role::Superuser && account.name != name);
        if others {
            Ok(())
        } else {
            Err(Failure::Invalid(format!("`{name}` is the last superuser: make another one first")))
        }
    }

    /// Writes an account down, and then knows it.
    async fn keep(&self, account: Account) -> Result<(), Failure> {
        let written = account.clone();
        self.with_book(move |book| book.put(&written)).await?;
        lock(&self.accounts).insert(account.name.clone(), account);
        Ok(())
    }

    async fn audit(&self, person: &Person, origin: Origin, what: String, outcome: String) {
        let short = |text: String| text.chars().take(MAX_AUDIT_CHARS).collect::<String>();
        let line = AuditEntry {
            id: 0,
            at_ms: Clock::wall().0,
            who: person.name().to_owned(),
            origin: format!("{} by {}", origin.address, origin.door),
            what: short(what),
            outcome: short(outcome),
        };
        info!(who = line.who, origin = line.origin, what = line.what, outcome = line.outcome, "audit");
        // It is done already; that it cannot be written down is said in the log.
        if let Err(failure) = self.with_book(move |book| book.audit(&line)).await {
            error!(%failure, "the audit cannot be written");
        }
    }

    async fn with_book<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut AccountBook) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Failure> {
        let book = Arc::clone(&self.book);
        match spawn_blocking(move || work(&mut lock(&book))).await {
            Ok(outcome) => outcome.map_err(|error| Failure::Unavailable(error.to_string())),
            Err(_) => Err(Failure::Unavailable("the accounts cannot be read".to_owned())),
        }
    }
}

/// Longest text of one field of the audit.
const MAX_AUDIT_CHARS: usize = 500;

fn unknown(name: &str) -> Failure {
    Failure::Unknown(format!("there is no account `{}`", name.chars().take(64).collect::<String>()))
}

/// The tables here are whole after each statement, so that a panic elsewhere does not spoil them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a page has to show beside its cookie.
pub(super) fn token(id: &SessionId) -> String {
    sessions::token(id)
}
