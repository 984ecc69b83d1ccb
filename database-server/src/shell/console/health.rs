//! `/health` and `/ready`: for whoever restarts processes or sends them callers.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::answer::{ApiError, Fault};
use super::desk::Ask;

/// The routes below.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/health", get(health)).route("/ready", get(ready))
}

/// That all is well.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `ok`.
    status: &'static str,
}

/// Whether the process serves.
#[utoipa::path(get, path = "/health", tag = "health", responses((status = 200, body = Health)))]
pub(super) async fn health() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Whether this server can tell everybody where to go: the topology is in force and push servers had time to answer.
#[utoipa::path(get, path = "/ready", tag = "health", responses(
    (status = 200, body = Health),
    (status = 503, description = "Not yet, or too busy", body = Fault),
))]
pub(super) async fn ready(State(app): State<App>) -> Result<Json<Health>, ApiError> {
    match app.desk().ask(Ask::Ready).await? {
        Ok(()) => Ok(Json(Health { status: "ok" })),
        Err(why) => Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", why)),
    }
}
