//! Who asks, and what they may: the one place of the console where that is decided.
//!
//! Until sessions are looked up here, everybody is anonymous.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use protocols::topology::Console;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use super::answer::ApiError;

/// What somebody may do; each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Role {
    /// Nobody has logged in.
    Anonymous,
    /// May look.
    Viewer,
    /// May also command servers and recordings, and see where inputs come from.
    Operator,
    /// May also change the topology and accounts.
    Superuser,
}

/// Who makes a request. An argument of every handler but health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Visitor {
    role: Role,
}

impl Visitor {
    /// What they may do.
    pub(super) fn role(&self) -> Role {
        self.role
    }

    /// The same visitor some time later; refused where the session is over.
    #[expect(clippy::unused_async, reason = "sessions will be looked up")]
    pub(super) async fn renew(&self, _app: &App) -> Result<Self, ApiError> {
        Ok(self.clone())
    }

    /// Refuses who may do less than `role`: 401 for who has not logged in, else 403.
    pub(super) fn require(&self, role: Role) -> Result<(), ApiError> {
        if self.role >= role {
            Ok(())
        } else if self.role == Role::Anonymous {
            Err(ApiError::unauthorized())
        } else {
            Err(ApiError::forbidden("this account's role does not suffice for that"))
        }
    }

    /// Refuses who may not look.
    pub(super) fn may_read(&self, app: &App) -> Result<(), ApiError> {
        self.require(app.readers())
    }
}

impl App {
    /// What one has to be in order to look, as the topology says.
    fn readers(&self) -> Role {
        match self.0.topology.borrow().database_server.console {
            Console::Open => Role::Anonymous,
            Console::Accounts => Role::Viewer,
        }
    }
}

impl FromRequestParts<App> for Visitor {
    type Rejection = ApiError;

    async fn from_request_parts(_parts: &mut Parts, _app: &App) -> Result<Self, ApiError> {
        Ok(Self { role: Role::Anonymous })
    }
}
