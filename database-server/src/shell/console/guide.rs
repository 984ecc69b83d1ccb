//! `/guide`: what channels show, a part at a time.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use protocols::ids::ChannelId;
use protocols::p2_directory::GuidePlace;
use protocols::time::ClusterTime;
use serde::Deserialize;
use utoipa::IntoParams;

use super::App;
use super::answer::{ApiError, Fault};
use super::desk::Ask;
use super::query::Query;
use super::visitor::Visitor;
use crate::guide_view::{GuideAsk, GuideView};

/// The route below.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/guide", get(guide))
}

/// Which part.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Part {
    /// Of this channel only.
    #[param(value_type = Option<u64>, maximum = 4_294_967_295_u32)]
    channel: Option<u32>,
    /// What is not over by then, ms since 1970; now.
    from_ms: Option<u64>,
    /// What begins before then; a day after `from_ms`.
    until_ms: Option<u64>,
    /// So many of each channel, the first: 2 are what is on and next.
    #[param(maximum = 65_535)]
    per_channel: Option<u16>,
    /// `more.channel` of the answer before.
    #[param(value_type = Option<u64>, maximum = 4_294_967_295_u32)]
    after_channel: Option<u32>,
    /// `more.from_ms` of the answer before; without it all of `after_channel` is behind. Nothing without that.
    after_from_ms: Option<i64>,
}

/// What channels show: at most 512 events, and where to go on.
#[utoipa::path(get, path = "/guide", tag = "site", params(Part), responses(
    (status = 200, body = GuideView),
    (status = 400, description = "Parameters that make no sense", body = Fault),
    (status = 401, description = "This site asks for an account", body = Fault),
    (status = 503, description = "Too busy, or going down", body = Fault),
))]
pub(super) async fn guide(
    State(app): State<App>,
    visitor: Visitor,
    Query(part): Query<Part>,
) -> Result<Json<GuideView>, ApiError> {
    visitor.may_read(&app)?;
    let after = part.after_channel.map(|channel| GuidePlace {
        channel: ChannelId(channel),
        start_unix_s: part.after_from_ms.map_or(i64::MAX, |ms| ms.div_euclid(1_000)),
    });
    for (name, ms) in [("from_ms", part.from_ms), ("until_ms", part.until_ms)] {
        if ms.is_some_and(|ms| ms > i64::MAX.cast_unsigned()) {
            return Err(ApiError::bad_request(format!("`{name}` is at most {}", i64::MAX)));
        }
    }
    let ask = GuideAsk {
        channel: part.channel.map(ChannelId),
        from: part.from_ms.map(ClusterTime),
        until: part.until_ms.map(ClusterTime),
        per_channel: part.per_channel.unwrap_or(u16::MAX),
        after,
    };
    Ok(Json(app.desk().ask(|answer| Ask::Guide(ask, answer)).await?))
}
