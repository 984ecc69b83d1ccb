//! Errors as the API says them: `{"error": {"code": …, "message": …, …}}` with a fitting status.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::shell) struct ApiError {
    status: StatusCode,
    body: Fault,
}

/// The body of an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Fault {
    /// What is wrong.
    error: FaultBody,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct FaultBody {
    /// For programs: one word that does not change.
    code: &'static str,
    /// For people: what happened and what to do.
    message: String,
    /// What else there is to say; which fields, depends on the code.
    #[serde(flatten)]
    #[schema(additional_properties)]
    more: Map<String, Value>,
}

impl ApiError {
    /// Any error.
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let error = FaultBody { code, message: message.into(), more: Map::new() };
        Self { status, body: Fault { error } }
    }

    /// The request makes no sense.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// One has to log in.
    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "log in first: this needs an account")
    }

    /// One's role does not suffice.
    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// There is no such thing.
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// There is such a thing, but not by this method.
    pub(super) fn wrong_method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", "this path does not take this method")
    }

    /// Too much is asked at once.
    pub(super) fn busy() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "too much is asked at once: try again in a second")
    }

    /// This server is going down.
    pub(super) fn ending() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ending", "this server is going down")
    }

    /// The disk does not give what it should.
    pub(super) fn unreadable() -> Self {
        let message = "the database cannot be read: the log says why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "unreadable", message)
    }

    /// The same with one more field.
    #[must_use]
    pub(super) fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.body.error.more.insert(field.to_owned(), value.into());
        self
    }

    /// What is said to people.
    pub(in crate::shell) fn message(&self) -> &str {
        &self.body.error.message
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let retry = self.status == StatusCode::SERVICE_UNAVAILABLE;
        let mut response = (self.status, Json(self.body)).into_response();
        if retry {
            let seconds = header::HeaderValue::from_static("1");
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}
