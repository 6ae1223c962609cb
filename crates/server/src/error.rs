//! Errors as clients expect them: a status, and `{"error": {"message", "type", "param", "code"}}` for OpenAI's, or
//! `{"type": "error", "error": {"type", "message"}}` for Anthropic's.

use axum::Json;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Seconds after which who found no place should come back.
const RETRY_AFTER_S: &str = "1";

/// Why a request is not answered.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    message: String,
    kind: &'static str,
    param: Option<String>,
    code: Option<&'static str>,
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, message: String) -> Self {
        Self { status, message, kind, param: None, code: None }
    }

    /// The field `param` says something that cannot be done.
    pub(crate) fn invalid(param: &str, message: String) -> Self {
        let error = Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message);
        Self { param: Some(param.to_owned()), ..error }
    }

    /// The body as a whole cannot be understood.
    pub(crate) fn body(status: StatusCode, message: String) -> Self {
        Self::new(status, "invalid_request_error", message)
    }

    /// No such model.
    pub(crate) fn no_model(asked: &str, served: &str) -> Self {
        let message = format!("there is no model `{asked}` here; this server has `{served}`");
        let error = Self::new(StatusCode::NOT_FOUND, "invalid_request_error", message);
        Self { param: Some("model".to_owned()), code: Some("model_not_found"), ..error }
    }

    /// The prompt leaves no room for an answer.
    pub(crate) fn too_long(param: &str, found: usize, limit: usize) -> Self {
        let message = format!(
            "the prompt has {found} tokens, but the context holds {limit} and one must be left for the answer"
        );
        Self { code: Some("context_length_exceeded"), ..Self::invalid(param, message) }
    }

    /// Every place is taken.
    pub(crate) fn busy() -> Self {
        let message = "as many requests run or wait as this server takes; try again shortly".to_owned();
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", message);
        Self { code: Some("rate_limit_exceeded"), ..error }
    }

    /// The key is missing or wrong.
    pub(crate) fn no_key() -> Self {
        let message = "the API key is missing or wrong; send it as `Authorization: Bearer KEY`".to_owned();
        let error = Self::new(StatusCode::UNAUTHORIZED, "authentication_error", message);
        Self { code: Some("invalid_api_key"), ..error }
    }

    /// The request comes from where it must not.
    pub(crate) fn forbidden(message: String) -> Self {
        Self::new(StatusCode::FORBIDDEN, "permission_error", message)
    }

    /// Something went wrong on this side.
    pub(crate) fn internal(message: String) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", message)
    }

    /// What the API calls the past cannot be found.
    pub(crate) fn not_found(param: &str, message: String) -> Self {
        let error = Self::new(StatusCode::NOT_FOUND, "invalid_request_error", message);
        Self { param: Some(param.to_owned()), ..error }
    }

    /// What is wrong, in one sentence.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The error as Anthropic's API says it, in an answer or in a stream.
    pub(crate) fn to_anthropic(&self) -> Value {
        let kind = match self.status {
            StatusCode::NOT_FOUND => "not_found_error",
            StatusCode::PAYLOAD_TOO_LARGE => "request_too_large",
            status if status.is_server_error() => "api_error",
            _ => self.kind,
        };
        json!({ "type": "error", "error": { "type": kind, "message": self.message } })
    }

    /// The response that says it to a client that asked for `path`, in the words of its API.
    pub(crate) fn respond_to(self, path: &str, headers: &HeaderMap) -> Response {
        let is_anthropic = headers.contains_key("anthropic-version");
        if is_anthropic || path.starts_with("/v1/messages") || path.starts_with("/anthropic/") {
            let body = Json(self.to_anthropic());
            return self.respond(body);
        }
        self.into_response()
    }

    fn respond(&self, body: Json<Value>) -> Response {
        let mut response = (self.status, body).into_response();
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, header::HeaderValue::from_static(RETRY_AFTER_S));
        }
        response
    }

    /// The error as OpenAI's API says it, in an answer or in a stream.
    pub(crate) fn to_json(&self) -> Value {
        json!({ "error": {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }})
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.respond(Json(self.to_json()))
    }
}

pub(crate) async fn no_such_path(uri: Uri, headers: HeaderMap) -> Response {
    let error = ApiError::body(StatusCode::NOT_FOUND, format!("there is nothing at `{}`", uri.path()));
    error.respond_to(uri.path(), &headers)
}

pub(crate) async fn wrong_method(uri: Uri, headers: HeaderMap) -> Response {
    let message = format!("`{}` is not asked in this way; see its method in the documentation", uri.path());
    ApiError::body(StatusCode::METHOD_NOT_ALLOWED, message).respond_to(uri.path(), &headers)
}
