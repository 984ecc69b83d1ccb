//! `/session`: logging in and out.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use protocols::administration::{Failure, Secret};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use super::answer::{ApiError, Fault};
use super::body::Body;
use super::visitor::{Actor, Newcomer, PLAIN_COOKIE, Role, SECURE_COOKIE, Visitor, refused};
use crate::access::sessions::SessionId;
use crate::shell::administration::{self, Origin, Person};

/// The route below.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/session", post(log_in).get(who).delete(log_out))
}

/// Name and password.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogIn {
    /// Name of the account.
    name: String,
    /// Its password.
    #[schema(value_type = String, format = "password")]
    password: Secret,
}

/// Who is logged in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionView {
    /// Name of the account; null: nobody has logged in.
    name: Option<String>,
    /// What one may do.
    role: Role,
    /// For the header `X-Masthead-Token` of requests that change something; null: nobody has logged in.
    token: Option<String>,
}

/// Logs in: answers with a cookie. A session that there was ends.
#[utoipa::path(post, path = "/session", tag = "session", request_body = LogIn, responses(
    (status = 200, body = SessionView),
    (status = 400, description = "No JSON of this kind", body = Fault),
    (status = 401, description = "Wrong name or password", body = Fault),
    (status = 403, description = "Without TLS, or from a page of another origin", body = Fault),
    (status = 413, description = "Too long", body = Fault),
    (status = 415, description = "No JSON", body = Fault),
    (status = 429, description = "Too many wrong passwords", body = Fault),
    (status = 503, description = "Too busy, or going down", body = Fault),
))]
pub(super) async fn log_in(
    State(app): State<App>,
    Newcomer(caller): Newcomer,
    before: Visitor,
    Body(LogIn { name, password }): Body<LogIn>,
) -> Result<Response, ApiError> {
    let origin = Origin { address: caller.address.ip(), door: "console", session: None };
    let logged_in = app.office().log_in(name, password, origin).await;
    let (person, role) = logged_in.map_err(|failure| match failure {
        Failure::WrongPassword => {
            ApiError::new(StatusCode::UNAUTHORIZED, "wrong_password", failure.to_string())
        }
        other => refused(other),
    })?;
    let Person::Account(holder) = person else { return Err(ApiError::unauthorized()) };
    if let Some(session) = before.session() {
        app.office().end_session(&session);
    }
    let name = holder.name.clone();
    let id = app.office().begin_session(holder);
    let view = SessionView { name: Some(name), role: role.into(), token: Some(administration::token(&id)) };
    Ok(([(header::SET_COOKIE, set_cookie(caller.secure, Some(&id)))], Json(view)).into_response())
}

/// Who one is.
#[utoipa::path(get, path = "/session", tag = "session", responses((status = 200, body = SessionView)))]
pub(super) async fn who(visitor: Visitor) -> Json<SessionView> {
    let name = visitor.person().map(|person| match person {
        Person::Account(holder) => holder.name.clone(),
        Person::KeyHolder => String::new(),
    });
    let token = visitor.session().map(|id| administration::token(&id));
    Json(SessionView { name, role: visitor.role(), token })
}

/// Logs out.
#[utoipa::path(delete, path = "/session", tag = "session", responses(
    (status = 204, description = "The session has ended"),
    (status = 401, description = "Nobody has logged in", body = Fault),
    (status = 403, description = "Without the session's token, or from a page of another origin", body = Fault),
))]
pub(super) async fn log_out(State(app): State<App>, Actor(visitor): Actor) -> Response {
    if let Some(session) = visitor.session() {
        app.office().end_session(&session);
    }
    let cookies = [true, false].map(|secure| (header::SET_COOKIE, set_cookie(secure, None)));
    let mut response = StatusCode::NO_CONTENT.into_response();
    for (name, value) in cookies {
        response.headers_mut().append(name, value);
    }
    response
}

/// A cookie that scripts cannot read and other sites cannot use; `None`: it is taken back.
fn set_cookie(secure: bool, id: Option<&SessionId>) -> HeaderValue {
    let (name, also) = if secure { (SECURE_COOKIE, "; Secure") } else { (PLAIN_COOKIE, "") };
    let value = match id {
        Some(id) => format!(
            "{name}={}; HttpOnly; SameSite=Strict; Path=/{also}",
            blake3::Hash::from_bytes(*id).to_hex()
        ),
        None => format!("{name}=; HttpOnly; SameSite=Strict; Path=/{also}; Max-Age=0"),
    };
    HeaderValue::try_from(value).expect("hexadecimal digits and fixed words are a header")
}
