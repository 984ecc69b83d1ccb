//! What a request brings: JSON of bounded length, refused in the API's own words.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;

use super::App;
use super::answer::ApiError;
use protocols::administration::MAX_ADMINISTRATION_BYTES;

/// The body of a request, as JSON. It has to say that it is: no form of another site can.
#[derive(Debug)]
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<App> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_json = kind.is_some_and(|kind| {
            kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
        });
        if !is_json {
            let message = "the body has to be JSON: Content-Type: application/json";
            return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", message));
        }
        let too_long = || {
            let message =
                format!("the body is longer than {MAX_ADMINISTRATION_BYTES} bytes, or did not come whole");
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_long", message)
        };
        let bytes = Bytes::from_request(request, app).await.map_err(|_| too_long())?;
        if bytes.len() > MAX_ADMINISTRATION_BYTES {
            return Err(too_long());
        }
        serde_json::from_slice(&bytes).map(Self).map_err(|error| ApiError::bad_request(error.to_string()))
    }
}
