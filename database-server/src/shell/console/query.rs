//! The part of an address behind `?`, refused in the API's own words.

use axum::extract::{FromRequestParts, Query as Parsed};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::App;
use super::answer::ApiError;

/// The parameters of a request.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        match Parsed::from_request_parts(parts, app).await {
            Ok(Parsed(parameters)) => Ok(Self(parameters)),
            Err(refused) => Err(ApiError::bad_request(refused.body_text())),
        }
    }
}
