//! Who asks, and what they may: the one place of the console where that is decided.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use link::http::Caller;
use protocols::administration::Role as AccountRole;
use protocols::administration::{Answer, Failure, Request};
use protocols::topology::Console;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use super::answer::ApiError;
use crate::access::sessions::{self, SessionId};
use crate::shell::administration::{Origin, Person};

/// Cookie of a session that began by TLS: browsers take it from this host and by TLS alone, and send it nowhere else.
pub(super) const SECURE_COOKIE: &str = "__Host-masthead";
/// Cookie of one that began on this machine, without TLS.
pub(super) const PLAIN_COOKIE: &str = "masthead";
/// Header by which a page shows that it is ours.
pub(super) const TOKEN_HEADER: &str = "x-masthead-token";

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

impl From<AccountRole> for Role {
    fn from(role: AccountRole) -> Self {
        match role {
            AccountRole::Viewer => Self::Viewer,
            AccountRole::Operator => Self::Operator,
            AccountRole::Superuser => Self::Superuser,
        }
    }
}

/// Who makes a request. An argument of every handler but health.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    role: Role,
    person: Option<Person>,
    session: Option<SessionId>,
    caller: Option<Caller>,
}

impl Visitor {
    /// What they may do.
    pub(super) fn role(&self) -> Role {
        self.role
    }

    /// Who they are; `None`: nobody has logged in.
    pub(super) fn person(&self) -> Option<&Person> {
        self.person.as_ref()
    }

    /// By which session.
    pub(super) fn session(&self) -> Option<SessionId> {
        self.session
    }

    /// The same visitor some time later; refused where the session is over.
    pub(super) fn renew(&self, app: &App) -> Result<Self, ApiError> {
        let Some(person) = &self.person else { return Ok(self.clone()) };
        let role = app.office().role(person).ok_or_else(ApiError::unauthorized)?;
        Ok(Self { role: role.into(), ..self.clone() })
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

    /// From where they ask.
    pub(super) fn origin(&self) -> Origin {
        let address =
            self.caller.map_or(std::net::Ipv4Addr::UNSPECIFIED.into(), |caller| caller.address.ip());
        Origin { address, door: "console", session: self.session }
    }

    /// Has the office carry out a request, which asks for the role that it takes.
    pub(super) async fn perform(&self, app: &App, request: Request) -> Result<Answer, ApiError> {
        let person = self.person().ok_or_else(ApiError::unauthorized)?;
        app.office().perform(person, self.origin(), request).await.map_err(refused)
    }

    /// As [`Self::perform`], for what has no answer but that it is done.
    pub(super) async fn carry_out(&self, app: &App, request: Request) -> Result<StatusCode, ApiError> {
        self.perform(app, request).await.map(|_| StatusCode::NO_CONTENT)
    }

    fn of(parts: &Parts, app: &App) -> Self {
        let caller = parts.extensions.get::<Caller>().copied();
        let anonymous = Self { role: Role::Anonymous, person: None, session: None, caller };
        let Some(session) = cookie(&parts.headers, caller) else { return anonymous };
        match app.office().use_session(&session) {
            Some((person, role)) => {
                Self { role: role.into(), person: Some(person), session: Some(session), caller }
            }
            None => anonymous,
        }
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

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        Ok(Self::of(parts, app))
    }
}

/// Who makes a request that changes something: it has to come from our own page, or from no page at all.
#[derive(Debug, Clone)]
pub(super) struct Actor(pub(super) Visitor);

impl FromRequestParts<App> for Actor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        require_same_origin(&parts.headers)?;
        let visitor = Visitor::of(parts, app);
        let session = visitor.session.ok_or_else(ApiError::unauthorized)?;
        let shown = parts.headers.get(TOKEN_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !sessions::is_token(&session, shown) {
            let message =
                "the header X-Masthead-Token has to bear the session's token, as POST /session told it";
            return Err(ApiError::new(StatusCode::FORBIDDEN, "token", message));
        }
        Ok(Self(visitor))
    }
}

/// Who wants to log in: from our own page or from none, and where nobody can listen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Newcomer(pub(super) Caller);

impl FromRequestParts<App> for Newcomer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        require_same_origin(&parts.headers)?;
        let caller = parts.extensions.get::<Caller>().copied().ok_or_else(ApiError::unauthorized)?;
        if caller.is_private() {
            Ok(Self(caller))
        } else {
            Err(refused(Failure::Unsafe(app.secure_address())))
        }
    }
}

/// Refuses what a page of another origin has sent (Fetch, section 3.2.5; Fetch Metadata).
fn require_same_origin(headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let foreign = || {
        let message = "this comes from a page of another origin";
        Err(ApiError::new(StatusCode::FORBIDDEN, "cross_origin", message))
    };
    if text("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return foreign();
    }
    let Some(origin) = text("origin") else { return Ok(()) };
    let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    match (authority, text("host")) {
        (Some(authority), Some(host)) if authority.eq_ignore_ascii_case(host) => Ok(()),
        _ => foreign(),
    }
}

/// The session that a request's cookie names.
fn cookie(headers: &HeaderMap, caller: Option<Caller>) -> Option<SessionId> {
    // Whoever shows a cookie where others can listen has lost it, and what they would say after it.
    let caller = caller.filter(Caller::is_private)?;
    let name = if caller.secure { SECURE_COOKIE } else { PLAIN_COOKIE };
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    Some(*blake3::Hash::from_hex(value).ok()?.as_bytes())
}

/// A failure as the API says it.
pub(super) fn refused(failure: Failure) -> ApiError {
    let message = failure.to_string();
    let new = |status, code| ApiError::new(status, code, message.clone());
    match failure {
        Failure::Unsafe(address) => new(StatusCode::FORBIDDEN, "unsafe").with("address", address),
        // 403 and not 401: the session goes on.
        Failure::WrongPassword => new(StatusCode::FORBIDDEN, "wrong_password"),
        Failure::Throttled { wait_ms } => {
            new(StatusCode::TOO_MANY_REQUESTS, "throttled").with("wait_ms", wait_ms)
        }
        Failure::NotLoggedIn => ApiError::unauthorized(),
        Failure::Role(role) => new(StatusCode::FORBIDDEN, "forbidden").with("role", role.name()),
        Failure::Conflict { revision, difference } => {
            new(StatusCode::CONFLICT, "conflict").with("revision", revision).with("difference", difference)
        }
        Failure::Faults(faults) => new(StatusCode::UNPROCESSABLE_ENTITY, "faults").with("faults", faults),
        Failure::Unknown(_) => new(StatusCode::NOT_FOUND, "unknown"),
        Failure::Invalid(_) => new(StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
        Failure::Exists(_) => new(StatusCode::CONFLICT, "exists"),
        Failure::Unavailable(_) => new(StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    }
}
