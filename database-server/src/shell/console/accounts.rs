//! `/accounts` and `/audit`: who may log in, and who has changed what.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, patch};
use axum::{Json, Router};
use protocols::administration::{Answer, MAX_AUDIT_LISTED, Request, Role as AccountRole, Secret};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::answer::{ApiError, Fault};
use super::body::Body;
use super::query::Query;
use super::visitor::{Actor, Role, Visitor};
use crate::shell::administration::Person;

/// The routes below.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/accounts", get(accounts).post(add))
        .route("/accounts/{name}", patch(change).delete(remove))
        .route("/audit", get(audit))
}

/// All accounts.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AccountsView {
    /// By name.
    accounts: Vec<AccountView>,
}

/// An account.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AccountView {
    /// Its name.
    name: String,
    /// What it may do.
    role: Role,
    /// When it was made, ms since 1970.
    created_ms: u64,
    /// When its role or password was last changed, ms since 1970.
    changed_ms: u64,
}

/// A new account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAccount {
    /// 1 to 32 of `A-Z a-z 0-9 . _ - @`.
    name: String,
    /// At least 12 characters.
    #[schema(value_type = String, format = "password")]
    password: Secret,
    /// `viewer`, `operator` or `superuser`.
    #[schema(value_type = Role)]
    role: AccountRole,
}

/// What is to change of an account: its role or its password.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountChange {
    /// `viewer`, `operator` or `superuser`.
    #[schema(value_type = Option<Role>)]
    role: Option<AccountRole>,
    /// The new password.
    #[schema(value_type = Option<String>, format = "password")]
    password: Option<Secret>,
    /// The present one: needed for one's own.
    #[schema(value_type = Option<String>, format = "password")]
    old_password: Option<Secret>,
}

/// Which lines.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// Only lines with an id below this.
    before: Option<u64>,
    /// How many.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<u16>,
}

/// A part of the audit.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditView {
    /// Newest first.
    audit: Vec<AuditLine>,
}

/// A line of the audit.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditLine {
    /// Grows with time; never used again.
    id: u64,
    /// When, ms since 1970.
    at_ms: u64,
    /// Name of the account, or `cluster key`.
    who: String,
    /// From which address, and by which door.
    origin: String,
    /// What was asked.
    what: String,
    /// `done`, or why not.
    outcome: String,
}

/// All accounts.
#[utoipa::path(get, path = "/accounts", tag = "accounts", responses(
    (status = 200, body = AccountsView),
    (status = 401, description = "Nobody has logged in", body = Fault),
    (status = 403, description = "The role does not suffice", body = Fault),
))]
pub(super) async fn accounts(
    State(app): State<App>,
    visitor: Visitor,
) -> Result<Json<AccountsView>, ApiError> {
    let Answer::Accounts(accounts) = visitor.perform(&app, Request::Accounts).await? else {
        return Err(ApiError::ending());
    };
    let view = |account: protocols::administration::AccountEntry| AccountView {
        name: account.name,
        role: account.role.into(),
        created_ms: account.created_ms,
        changed_ms: account.changed_ms,
    };
    Ok(Json(AccountsView { accounts: accounts.into_iter().map(view).collect() }))
}

/// Makes an account.
#[utoipa::path(post, path = "/accounts", tag = "accounts", request_body = NewAccount, responses(
    (status = 204, description = "It is made"),
    (status = 400, description = "No JSON of this kind", body = Fault),
    (status = 401, description = "Nobody has logged in", body = Fault),
    (status = 403, description = "The role does not suffice, or the session's token is missing", body = Fault),
    (status = 409, description = "There is one of this name", body = Fault),
    (status = 413, description = "Too long", body = Fault),
    (status = 415, description = "No JSON", body = Fault),
    (status = 422, description = "The name or the password does not do", body = Fault),
    (status = 503, description = "Too many, or the disk is full", body = Fault),
))]
pub(super) async fn add(
    State(app): State<App>,
    Actor(visitor): Actor,
    Body(NewAccount { name, password, role }): Body<NewAccount>,
) -> Result<StatusCode, ApiError> {
    visitor.carry_out(&app, Request::AddAccount { name, role, password }).await
}

/// Changes the role or the password of an account, whose other sessions end; one's own password by the present one.
#[utoipa::path(patch, path = "/accounts/{name}", tag = "accounts", params(("name" = String, Path)), request_body = AccountChange, responses(
    (status = 204, description = "It is changed"),
    (status = 400, description = "No JSON of this kind", body = Fault),
    (status = 401, description = "Nobody has logged in", body = Fault),
    (status = 403, description = "The role does not suffice, the session's token is missing, or the present password is wrong", body = Fault),
    (status = 404, description = "There is no such account", body = Fault),
    (status = 413, description = "Too long", body = Fault),
    (status = 415, description = "No JSON", body = Fault),
    (status = 422, description = "The password does not do, or it is the last superuser", body = Fault),
    (status = 429, description = "Too many wrong passwords", body = Fault),
    (status = 503, description = "Too busy, or the disk is full", body = Fault),
))]
pub(super) async fn change(
    State(app): State<App>,
    Actor(visitor): Actor,
    Path(name): Path<String>,
    Body(AccountChange { role, password, old_password }): Body<AccountChange>,
) -> Result<StatusCode, ApiError> {
    let own = matches!(visitor.person(), Some(Person::Account(holder)) if holder.name == name);
    let request = match (role, password, old_password) {
        (None, Some(new), Some(old)) if own => Request::OwnPassword { old, new },
        (None, Some(password), None) => Request::SetPassword { name, password },
        (Some(role), None, None) => Request::SetRole { name, role },
        _ => {
            return Err(ApiError::bad_request(
                "give `role`, or `password`, or for one's own account `password` and `old_password`",
            ));
        }
    };
    visitor.carry_out(&app, request).await
}

/// Removes an account; its sessions end.
#[utoipa::path(delete, path = "/accounts/{name}", tag = "accounts", params(("name" = String, Path)), responses(
    (status = 204, description = "It is gone"),
    (status = 401, description = "Nobody has logged in", body = Fault),
    (status = 403, description = "The role does not suffice, or the session's token is missing", body = Fault),
    (status = 404, description = "There is no such account", body = Fault),
    (status = 422, description = "It is the last superuser", body = Fault),
    (status = 503, description = "The disk is full", body = Fault),
))]
pub(super) async fn remove(
    State(app): State<App>,
    Actor(visitor): Actor,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    visitor.carry_out(&app, Request::RemoveAccount { name }).await
}

/// Who has changed what, newest first.
#[utoipa::path(get, path = "/audit", tag = "accounts", params(Page), responses(
    (status = 200, body = AuditView),
    (status = 400, description = "Parameters that make no sense", body = Fault),
    (status = 401, description = "Nobody has logged in", body = Fault),
    (status = 403, description = "The role does not suffice", body = Fault),
    (status = 503, description = "The disk cannot be read", body = Fault),
))]
pub(super) async fn audit(
    State(app): State<App>,
    visitor: Visitor,
    Query(page): Query<Page>,
) -> Result<Json<AuditView>, ApiError> {
    let limit = page.limit.unwrap_or(100);
    if !(1..=MAX_AUDIT_LISTED).contains(&limit) {
        return Err(ApiError::bad_request(format!("`limit` is 1 to {MAX_AUDIT_LISTED}")));
    }
    let Answer::Audit(lines) = visitor.perform(&app, Request::Audit { before: page.before, limit }).await?
    else {
        return Err(ApiError::ending());
    };
    let view = |line: protocols::administration::AuditEntry| AuditLine {
        id: line.id,
        at_ms: line.at_ms,
        who: line.who,
        origin: line.origin,
        what: line.what,
        outcome: line.outcome,
    };
    Ok(Json(AuditView { audit: lines.into_iter().map(view).collect() }))
}
