//! Commands: inputs restarted, push servers drained, recordings ordered and given up.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, post};
use axum::{Json, Router};
use protocols::administration::{Answer, Request};
use protocols::ids::{AcquisitionId, ChannelId, HostId, InputId};
use protocols::recording::{RecordingId, Span};
use protocols::time::ClusterTime;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use super::answer::{ApiError, Fault};
use super::body::Body;
use super::visitor::Actor;

/// The routes below.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/acquisition-servers/{id}/commands", post(command))
        .route("/push-servers/{id}/drain", post(drain))
        .route("/recordings/{id}", delete(give_up))
}

/// A command to an acquisition server.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum CommandBody {
    /// Opens this input anew, which also tunes it anew.
    RestartInput(String),
}

/// A command that waits for its server's next poll.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CommandedView {
    /// Its number; the journal tells how it ended.
    id: u64,
}

/// Whether to drain.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DrainBody {
    /// `true` moves viewers away and keeps them away; `false` ends that.
    draining: bool,
}

/// A recording to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordBody {
    /// The channel.
    channel: u32,
    /// From when, ms since 1970.
    from_ms: u64,
    /// To when, ms since 1970.
    to_ms: u64,
    /// What people call it.
    title: String,
}

/// A recording that is ordered.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RecordedView {
    /// Its number.
    id: u64,
}

/// Commands an acquisition server.
#[utoipa::path(post, path = "/acquisition-servers/{id}/commands", tag = "commands", params(("id" = String, Path)), request_body = CommandBody, responses(
    (status = 200, body = CommandedView),
    (status = 400, description = "No JSON of this kind, or no such id can be", body = Fault),
    (status = 401, description = "Nobody has logged in", body = Fault),
    (status = 403, description = "The role does not suffice, or the session's token is missing", body = Fault),
    (status = 413, description = "Too long", body = Fault),
    (status = 415, description = "No JSON", body = Fault),
    (status = 422, description = "There is no such server or input, or too many commands wait", body = Fault),
    (status = 503, description = "Too busy, or going down", body = Fault),
))]
pub(super) async fn command(
    State(app): State<App>,
    Actor(visitor): Actor,
    Path(id): Path<String>,
    Body(CommandBody::RestartInput(input)): Body<CommandBody>,
) -> Result<Json<CommandedView>, ApiError> {
    let acquisition_server: AcquisitionId = named(&id)?;
    let input: InputId = named(&input)?;
    match visitor.perform(&app, Request::RestartInput { acquisition_server, input }).await? {
        Answer::Commanded { id } => Ok(Json(CommandedView { id })),
        _ => Err(ApiError::ending()),
    }
}

/// Moves the viewers of a push server away and keeps them away, or ends that.
#[utoipa::path(post, path = "/push-servers/{id}/drain", tag = "commands", params(("id" = String, Path)), request_body = DrainBody, responses(
    (status = 204, description = "It is in the topology"),
    (status = 400, description = "No JSON of this kind, or no such id can be", body = Fault),
    (status = 401, description = "Nobody has logged in", body = Fault),
    (status = 403, description = "The role does not suffice, or the session's token is missing", body = Fault),
    (status = 404, description = "There is no such push server", body = Fault),
    (status = 409, description = "The file is being changed: try again", body = Fault),
    (status = 413, description = "Too long", body = Fault),
    (status = 415, description = "No JSON", body = Fault),
    (status = 422, description = "The file has faults", body = Fault),
    (status = 503, description = "There is no file, or it cannot be written; the old one is whole", body = Fault),
))]
pub(super) async fn drain(
    State(app): State<App>,
    Actor(visitor): Actor,
    Path(id): Path<String>,
    Body(DrainBody { draining }): Body<DrainBody>,
) -> Result<StatusCode, ApiError> {
    let push_server: HostId = named(&id)?;
    visitor.carry_out(&app, Request::Drain { push_server, draining }).await
}

/// Orders a recording.
#[utoipa::path(post, path = "/recordings", tag = "recordings", request_body = RecordBody, responses(
    (status = 200, body = RecordedView),
    (status = 400, description = "No JSON of this kind", body = Fault),
    (status = 401, description = "Nobody has logged in", body = Fault),
    (status = 403, description = "The role does not suffice, or the session's token is missing", body = Fault),
    (status = 413, description = "Too long", body = Fault),
    (status = 415, description = "No JSON", body = Fault),
    (status = 422, description = "It cannot be recorded", body = Fault),
    (status = 503, description = "Too busy, or going down", body = Fault),
))]
pub(super) async fn record(
    State(app): State<App>,
    Actor(visitor): Actor,
    Body(RecordBody { channel, from_ms, to_ms, title }): Body<RecordBody>,
) -> Result<Json<RecordedView>, ApiError> {
    let span = Span { from: ClusterTime(from_ms), to: ClusterTime(to_ms) };
    match visitor.perform(&app, Request::Record { channel: ChannelId(channel), span, title }).await? {
        Answer::Recorded(entry) => Ok(Json(RecordedView { id: entry.id.0.into() })),
        _ => Err(ApiError::ending()),
    }
}

/// Gives a recording up.
#[utoipa::path(delete, path = "/recordings/{id}", tag = "recordings", params(("id" = u64, Path)), responses(
    (status = 204, description = "It is given up"),
    (status = 400, description = "No number", body = Fault),
    (status = 401, description = "Nobody has logged in", body = Fault),
    (status = 403, description = "The role does not suffice, or the session's token is missing", body = Fault),
    (status = 422, description = "There is no such recording", body = Fault),
    (status = 503, description = "Too busy, or going down", body = Fault),
))]
pub(super) async fn give_up(
    State(app): State<App>,
    Actor(visitor): Actor,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let id = RecordingId(id.parse().map_err(|_| ApiError::bad_request("a recording's id is a number"))?);
    visitor.carry_out(&app, Request::DeleteRecording { id }).await
}

fn named<T: std::str::FromStr<Err = protocols::ids::IdError>>(text: &str) -> Result<T, ApiError> {
    text.parse().map_err(|error| ApiError::bad_request(format!("{error}")))
}
