//! What must hold in every world at every moment: a file per property. The glue in `nodes/` tells them what it sees;
//! each keeps as little as it needs to judge the next sight at once.

pub mod forgery;
pub mod hosts_only;
pub mod limits;
pub mod made_once;
pub mod one_sender;
pub mod pictures;
pub mod revisions;
pub mod silence;
pub mod status;

use protocols::time::Time;

use super::Dimensions;

/// A property that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which property.
    pub rule: &'static str,
    /// When it was seen, in the world's time.
    pub at: Time,
    /// What was seen.
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}: {}", self.rule, self.at, self.what)
    }
}

/// All properties of one world, and the first violation.
#[derive(Debug)]
pub struct Invariants {
    /// A packet is made once.
    pub made_once: made_once::MadeOnce,
    /// Nobody is sent what nobody watches.
    pub silence: silence::Silence,
    /// One push server sends, save for a partition.
    pub one_sender: one_sender::OneSender,
    /// Every viewer has pictures when the network is calm.
    pub pictures: pictures::Pictures,
    /// Assignments and generations never go back.
    pub revisions: revisions::Revisions,
    violation: Option<Violation>,
}

impl Invariants {
    /// For a world of this size in which nothing has happened yet.
    pub fn new(size: Dimensions) -> Self {
        Self {
            made_once: made_once::MadeOnce::new(size),
            silence: silence::Silence::new(size),
            one_sender: one_sender::OneSender::new(size),
            pictures: pictures::Pictures::new(size),
            revisions: revisions::Revisions::default(),
            violation: None,
        }
    }

    /// Keeps the first violation.
    pub fn note(&mut self, at: Time, rule: &'static str, sight: Result<(), String>) {
        if let Err(what) = sight
            && self.violation.is_none()
        {
            self.violation = Some(Violation { rule, at, what });
        }
    }

    /// The first violation.
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }
}
