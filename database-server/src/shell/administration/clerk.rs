//! The topology file: shown, edited, read again; one at a time.
//!
//! ```text
//! edits ─► read the file ─► is it their base? ──no──► conflict, with what has changed since
//!                                └─yes─► apply, parse ─► write beside it, rename ─► driver
//! ```

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use link::whole_file;
use protocols::administration::{Answer, Failure};
use protocols::ids::HostId;
use protocols::topology::editing::{self, EditError, Edited};
use protocols::topology::{DatabaseServer, Edit, Keys, MAX_FILE_BYTES, TableName, Topology, Value};
use tokio::sync::Mutex;
use tracing::{error, info, warn};

use crate::shell::driver::Event;
use crate::shell::reload;
use crate::shell::{Error, Events};

/// States of the file that are remembered, to tell what has changed since.
const MAX_KEPT: usize = 16;
/// Bytes of them together; the newest is remembered whatever its length.
const MAX_KEPT_BYTES: usize = 32 << 20;

/// Keeps the topology file.
#[derive(Debug)]
pub(in crate::shell) struct Clerk {
    /// `None`: the topology is not from a file.
    path: Option<PathBuf>,
    /// What the ports were opened by: a change of it needs a restart.
    declared: DatabaseServer,
    events: Events,
    kept: Mutex<Kept>,
}

/// Earlier states of the file, the newest last.
#[derive(Debug, Default)]
struct Kept {
    states: VecDeque<(String, Arc<str>)>,
}

/// What edits are made from.
#[derive(Debug)]
enum Base {
    Revision(String),
    /// Whatever the file is now: for changes that go with every state of it.
    Present,
}

impl Clerk {
    pub(in crate::shell) fn new(path: Option<PathBuf>, declared: DatabaseServer, events: Events) -> Self {
        Self { path, declared, events, kept: Mutex::default() }
    }

    /// The file and its revision.
    pub(super) async fn show(&self) -> Result<Answer, Failure> {
        let mut kept = self.kept.lock().await;
        let text = self.read().await?;
        let revision = kept.keep(&text);
        Ok(Answer::Topology { revision, text: text.to_string() })
    }

    /// Carries out `edits` of the state `base`, or only tells what they would do.
    pub(super) async fn edit(&self, base: String, edits: Vec<Edit>, trial: bool) -> Result<Answer, Failure> {
        self.change(Base::Revision(base), edits, trial).await
    }

    /// Has a push server drained, or no more.
    pub(super) async fn drain(&self, push_server: HostId, draining: bool) -> Result<Answer, Failure> {
        let key = "drain".to_owned();
        let table = TableName::PushServer(push_server);
        let (mut set, mut unset) = (Keys::new(), Vec::new());
        if draining {
            set.insert(key, Value::Truth(true));
        } else {
            unset.push(key);
        }
        let edit = Edit::Change { table, set, unset, include: Keys::new(), exclude: Keys::new() };
        self.change(Base::Present, vec![edit], false).await
    }

    /// Reads the file again; one with faults is refused whole.
    pub(in crate::shell) async fn reload(&self) -> Result<(), Failure> {
        let _kept = self.kept.lock().await;
        let path = self.path()?.to_owned();
        match tokio::task::spawn_blocking(move || reload::read(&path)).await {
            Ok(Ok((topology, warnings))) => {
                reload::tell(&warnings);
                self.take_up(topology).await
            }
            Ok(Err(faults)) => {
                error!("the topology stays as it was, because the file is not right:\n{faults}");
                let _ = self.events.send(Event::ReloadRefused).await;
                Err(match faults {
                    Error::Topology(faults) => Failure::Faults(lines(&faults)),
                    other => Failure::Unavailable(other.to_string()),
                })
            }
            Err(_) => Err(Failure::Unavailable("the topology could not be read".to_owned())),
        }
    }

    async fn change(&self, base: Base, edits: Vec<Edit>, trial: bool) -> Result<Answer, Failure> {
        let mut kept = self.kept.lock().await;
        let before = self.read().await?;
        let present = kept.keep(&before);
        if let Base::Revision(base) = base
            && base != present
        {
            let difference = kept.text(&base).map(|base| editing::difference(&self.name(), &base, &before));
            return Err(Failure::Conflict { revision: present, difference });
        }
        let name = self.name();
        let applied = {
            let (before, name) = (Arc::clone(&before), name.clone());
            tokio::task::spawn_blocking(move || {
                let edited = editing::apply(&name, &before, &edits)?;
                let difference = editing::difference(&name, &before, &edited.text);
                Ok::<_, EditError>((edited, difference))
            })
        };
        let applied =
            applied.await.map_err(|_| Failure::Unavailable("the edits could not be tried".to_owned()))?;
        let (Edited { text, topology, warnings }, difference) = applied.map_err(refused)?;
        let revision = editing::revision(&text);
        let warnings = warnings.iter().map(|warning| warning.kind.to_string()).collect();
        let answer = Answer::Edited { revision, difference, warnings };
        if trial || *text == *before {
            return Ok(answer);
        }
        let (path, text) = (self.path()?.to_owned(), Arc::<str>::from(text));
        let written = {
            let (path, text) = (path.clone(), Arc::clone(&text));
            tokio::task::spawn_blocking(move || {
                // Somebody may have saved it in an editor meanwhile.
                if fs::read_to_string(&path)? != *before {
                    return Ok(false);
                }
                whole_file::replace(&path, &text).map(|()| true)
            })
        };
        match written.await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return Err(Failure::Conflict { revision: present, difference: None }),
            Ok(Err(error)) => {
                let text =
                    format!("{}: {error}; nothing was changed, and the old file is whole", path.display());
                return Err(Failure::Unavailable(text));
            }
            Err(_) => return Err(Failure::Unavailable("the topology could not be written".to_owned())),
        }
        kept.keep(&text);
        self.take_up(topology).await?;
        Ok(answer)
    }

    async fn take_up(&self, topology: Topology) -> Result<(), Failure> {
        if ports(&topology.database_server) != ports(&self.declared) {
            warn!("`[database_server]` has changed: its ports and address hold from the next start");
        }
        let event = Event::Reload(Arc::new(topology));
        self.events
            .send(event)
            .await
            .map_err(|_| Failure::Unavailable("this server is going down".to_owned()))
    }

    async fn read(&self) -> Result<Arc<str>, Failure> {
        let path = self.path()?.to_owned();
        let read = tokio::task::spawn_blocking(move || {
            let failed = |error: std::io::Error| Failure::Unavailable(format!("{}: {error}", path.display()));
            let length = fs::metadata(&path).map_err(failed)?.len();
            if length > MAX_FILE_BYTES as u64 {
                return Err(Failure::Unavailable(format!("{}: longer than any topology", path.display())));
            }
            fs::read_to_string(&path).map(Arc::from).map_err(failed)
        });
        read.await.unwrap_or_else(|_| Err(Failure::Unavailable("the topology could not be read".to_owned())))
    }

    fn path(&self) -> Result<&Path, Failure> {
        self.path.as_deref().ok_or_else(|| {
            let why = "this site runs without a topology file, so nothing of it can be changed: start it with --topology FILE";
            Failure::Unavailable(why.to_owned())
        })
    }

    /// The file as messages name it.
    fn name(&self) -> String {
        let name = self.path.as_deref().and_then(Path::file_name);
        name.map_or_else(|| "topology.toml".to_owned(), |name| name.to_string_lossy().into_owned())
    }
}

impl Kept {
    /// Remembers a state; returns its revision.
    fn keep(&mut self, text: &Arc<str>) -> String {
        let revision = editing::revision(text);
        self.states.retain(|(known, _)| *known != revision);
        self.states.push_back((revision.clone(), Arc::clone(text)));
        let bytes =
            |states: &VecDeque<(String, Arc<str>)>| states.iter().map(|(_, text)| text.len()).sum::<usize>();
        while self.states.len() > 1 && (self.states.len() > MAX_KEPT || bytes(&self.states) > MAX_KEPT_BYTES)
        {
            self.states.pop_front();
        }
        revision
    }

    fn text(&self, revision: &str) -> Option<Arc<str>> {
        self.states.iter().find(|(known, _)| known == revision).map(|(_, text)| Arc::clone(text))
    }
}

/// What is opened at the start and not again.
fn ports(server: &DatabaseServer) -> (std::net::IpAddr, u16, u16, u16) {
    (server.address, server.registration_port, server.directory_port, server.http_port)
}

fn refused(error: EditError) -> Failure {
    match error {
        EditError::Faults(faults) => Failure::Faults(lines(&faults)),
        EditError::Missing(_) => Failure::Unknown(error.to_string()),
        EditError::Present(_) => Failure::Exists(error.to_string()),
        other => Failure::Invalid(other.to_string()),
    }
}

fn lines(faults: &protocols::topology::Faults) -> Vec<String> {
    faults.0.iter().map(|fault| format!("{}: {}", fault.place, fault.kind)).collect()
}

/// Reads the file at each SIGHUP.
pub(in crate::shell) async fn on_hangup(mut hangups: tokio::signal::unix::Signal, clerk: Arc<super::Office>) {
    while hangups.recv().await.is_some() {
        info!("SIGHUP: reading the topology again");
        // Said in the log already.
        let _ = clerk.clerk().reload().await;
    }
}
