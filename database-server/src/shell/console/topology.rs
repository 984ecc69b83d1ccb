//! `/topology`: the file, and edits of it.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use protocols::administration::{Answer, Request};
use protocols::topology::Edit;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use super::answer::{ApiError, Fault};
use super::body::Body;
use super::visitor::{Actor, Visitor};

/// The routes below.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/topology", get(topology).post(edit)).route("/topology/reload", post(reload))
}

/// The topology file.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TopologyView {
    /// Which state of it: what edits are made from.
    revision: String,
    /// All of it.
    text: String,
}

/// Edits of the topology file, carried out together or not at all.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the API's word for them")]
pub(super) struct Edits {
    /// The revision that they were made from.
    base: String,
    /// 1 to 100; `docs/administration.md` has their forms: `{"add": {"table": {"channel": 7}, "keys": {"name": "Seven"}}}`.
    #[schema(value_type = Vec<Object>)]
    edits: Vec<Edit>,
    /// Whether to tell what would become of the file only.
    #[serde(default)]
    trial: bool,
}

/// What edits have made of the file, or would make.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EditedView {
    /// Revision of the new file.
    revision: String,
    /// A unified diff; empty when nothing changes.
    difference: String,
    /// What is doubtful in the new file.
    warnings: Vec<String>,
}

/// The topology file, with the addresses of inputs.
#[utoipa::path(get, path = "/topology", tag = "topology", responses(
    (status = 200, body = TopologyView),
    (status = 401, description = "Nobody has logged in", body = Fault),
    (status = 403, description = "The role does not suffice", body = Fault),
    (status = 503, description = "There is no file, or it cannot be read", body = Fault),
))]
pub(super) async fn topology(
    State(app): State<App>,
    visitor: Visitor,
) -> Result<Json<TopologyView>, ApiError> {
    match visitor.perform(&app, Request::Topology).await? {
        Answer::Topology { revision, text } => Ok(Json(TopologyView { revision, text })),
        _ => Err(ApiError::ending()),
    }
}

/// Checks edits and carries them out: the file is written whole, and what changed is taken up.
#[utoipa::path(post, path = "/topology", tag = "topology", request_body = Edits, responses(
    (status = 200, body = EditedView),
    (status = 400, description = "No JSON of this kind", body = Fault),
    (status = 401, description = "Nobody has logged in", body = Fault),
    (status = 403, description = "The role does not suffice, or the session's token is missing", body = Fault),
    (status = 404, description = "A table is not there", body = Fault),
    (status = 409, description = "The file is no more `base`, or a table is there already; nothing was changed", body = Fault),
    (status = 413, description = "Too long", body = Fault),
    (status = 415, description = "No JSON", body = Fault),
    (status = 422, description = "The file would have faults; nothing was changed", body = Fault),
    (status = 503, description = "There is no file, or it cannot be written; the old one is whole", body = Fault),
))]
pub(super) async fn edit(
    State(app): State<App>,
    Actor(visitor): Actor,
    Body(Edits { base, edits, trial }): Body<Edits>,
) -> Result<Json<EditedView>, ApiError> {
    match visitor.perform(&app, Request::Edit { base, edits, trial }).await? {
        Answer::Edited { revision, difference, warnings } => {
            Ok(Json(EditedView { revision, difference, warnings }))
        }
        _ => Err(ApiError::ending()),
    }
}

/// Reads the file again.
#[utoipa::path(post, path = "/topology/reload", tag = "topology", responses(
    (status = 204, description = "It is in force"),
    (status = 401, description = "Nobody has logged in", body = Fault),
    (status = 403, description = "The role does not suffice, or the session's token is missing", body = Fault),
    (status = 422, description = "The file has faults; the topology stays as it was", body = Fault),
    (status = 503, description = "There is no file, or it cannot be read", body = Fault),
))]
pub(super) async fn reload(State(app): State<App>, Actor(visitor): Actor) -> Result<StatusCode, ApiError> {
    visitor.carry_out(&app, Request::Reload).await
}
