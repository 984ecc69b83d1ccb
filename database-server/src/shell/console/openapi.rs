//! `/openapi.json`: the API described for programs (`OpenAPI` 3.1).
//!
//! Every handler has a `#[utoipa::path]` and stands in the list below.

use axum::routing::get;
use axum::{Json, Router};
use utoipa::OpenApi;

use super::{App, guide, health, journal, live, site};
use super::{accounts, commands, session, topology};

#[derive(Debug, OpenApi)]
#[openapi(
    info(title = "Masthead", description = "The state of a site, and commands to it. Times are ms since 1970."),
    servers((url = "/api/v1")),
    paths(health::health, health::ready, site::site, site::recordings, guide::guide, journal::events, live::live,
        session::log_in, session::who, session::log_out, topology::topology, topology::edit, topology::reload,
        accounts::accounts, accounts::add, accounts::change, accounts::remove, accounts::audit,
        commands::command, commands::drain, commands::record, commands::give_up)
)]
struct Description;

/// The route below.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/openapi.json", get(async || Json(description())))
}

/// The whole description.
fn description() -> utoipa::openapi::OpenApi {
    Description::openapi()
}
