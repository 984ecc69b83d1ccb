//! `/events`: the journal, newest first.

use std::time::Duration;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::warn;
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::answer::{ApiError, Fault};
use super::query::Query;
use super::visitor::Visitor;
use crate::store::{self, JournalLine, JournalQuery, Question};

/// Lines in an answer unless asked otherwise.
const DEFAULT_LIMIT: u32 = 100;
/// A disk that has not answered by then is busy with more urgent things.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// The route below.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/events", get(events))
}

/// Which lines.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// Only lines with an id below this: that of the oldest line one has.
    before: Option<u64>,
    /// How many.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// A part of the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct EventsView {
    /// Newest first.
    pub(super) events: Vec<EventView>,
}

/// A line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct EventView {
    /// Grows with time; never used again.
    pub(super) id: u64,
    /// When it happened, ms since 1970.
    at_ms: u64,
    /// What it is about.
    subject: String,
    /// What happened, for people.
    text: String,
}

impl EventView {
    fn of(line: JournalLine) -> Self {
        let JournalLine { id, event } = line;
        Self { id, at_ms: event.at.0, subject: event.subject, text: event.text }
    }
}

/// Lines of the journal, newest first.
#[utoipa::path(get, path = "/events", tag = "events", params(Page), responses(
    (status = 200, body = EventsView),
    (status = 400, description = "Parameters that make no sense", body = Fault),
    (status = 401, description = "This site asks for an account", body = Fault),
    (status = 503, description = "Too busy, or going down", body = Fault),
))]
pub(super) async fn events(
    State(app): State<App>,
    visitor: Visitor,
    Query(page): Query<Page>,
) -> Result<Json<EventsView>, ApiError> {
    visitor.may_read(&app)?;
    let limit = page.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=store::MAX_LINES).contains(&limit) {
        return Err(ApiError::bad_request(format!("`limit` is 1 to {}", store::MAX_LINES)));
    }
    if page.before.is_some_and(|before| before > i64::MAX.cast_unsigned()) {
        return Err(ApiError::bad_request("`before` is at most 9223372036854775807"));
    }
    let before = page.before.unwrap_or(u64::MAX);
    let events = read(&app.0.journal, JournalQuery { after: 0, before, limit }).await?;
    Ok(Json(EventsView { events }))
}

/// Lines of the journal, newest first.
pub(super) async fn read(journal: &store::Reader, query: JournalQuery) -> Result<Vec<EventView>, ApiError> {
    let (answer, lines) = oneshot::channel();
    journal.ask(Question::Journal(query, answer)).map_err(|_| ApiError::busy())?;
    match timeout(ANSWER_LIMIT, lines).await {
        Ok(Ok(Ok(lines))) => Ok(lines.into_iter().map(EventView::of).collect()),
        Ok(Ok(Err(error))) => {
            warn!(%error, "the journal cannot be read");
            Err(ApiError::unreadable())
        }
        Ok(Err(_)) => Err(ApiError::ending()),
        Err(_) => Err(ApiError::busy()),
    }
}
