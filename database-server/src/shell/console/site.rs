//! `/site` and `/recordings`: what there is.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};

use super::answer::{ApiError, Fault};
use super::desk::Ask;
use super::visitor::Visitor;
use super::{App, commands};
use crate::recordings_view::RecordingsView;
use crate::site_view::SiteView;

/// The routes below.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/site", get(site)).route("/recordings", get(recordings).post(commands::record))
}

/// The whole picture, made at most once a second.
#[utoipa::path(get, path = "/site", tag = "site", responses(
    (status = 200, body = SiteView),
    (status = 401, description = "This site asks for an account", body = Fault),
    (status = 503, description = "Too busy, or going down", body = Fault),
))]
pub(super) async fn site(State(app): State<App>, visitor: Visitor) -> Result<Response, ApiError> {
    visitor.may_read(&app)?;
    let picture = app.gallery().picture().await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], picture.json(visitor.role())).into_response())
}

/// What is held of each channel and what was ordered.
#[utoipa::path(get, path = "/recordings", tag = "recordings", responses(
    (status = 200, body = RecordingsView),
    (status = 401, description = "This site asks for an account", body = Fault),
    (status = 503, description = "Too busy, or going down", body = Fault),
))]
pub(super) async fn recordings(
    State(app): State<App>,
    visitor: Visitor,
) -> Result<Json<RecordingsView>, ApiError> {
    visitor.may_read(&app)?;
    Ok(Json(app.desk().ask(Ask::Recordings).await?))
}
