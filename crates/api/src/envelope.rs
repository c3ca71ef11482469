//! The envelope that every answer comes in: `{"success", "errors", "messages", "result", "result_info"?}`.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};

use crate::error::ApiError;

/// What a handler gives.
pub type Answer<T> = Result<Envelope<T>, ApiError>;

/// What was asked for.
#[derive(Debug, Serialize, ToSchema)]
pub struct Envelope<T> {
    /// Always true.
    pub success: bool,
    /// Always empty.
    pub errors: Vec<Problem>,
    pub messages: Vec<Problem>,
    pub result: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub result_info: Option<ResultInfo>,
}

/// Why what was asked for is not to be had.
#[derive(Debug, Serialize, ToSchema)]
pub struct Failure {
    /// Always false.
    pub success: bool,
    /// At least one.
    #[schema(min_items = 1)]
    pub errors: Vec<Problem>,
    pub messages: Vec<Problem>,
    /// Always null.
    pub result: Option<Value>,
}

/// One thing that is wrong, or worth knowing.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// What clients branch on.
    pub code: u32,
    /// What people read.
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<Value>,
}

/// Which part of a list this is.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct ResultInfo {
    /// The page, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub page: Option<usize>,
    /// The most that a page holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub per_page: Option<usize>,
    /// How many this page has.
    pub count: usize,
    /// How many there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub total_count: Option<usize>,
    /// How many pages there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub total_pages: Option<usize>,
    /// Where the next page begins; empty where this is the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub cursor: Option<String>,
}

/// A result where there is nothing to say: null.
#[derive(Debug, Clone, Copy)]
pub struct Nothing;

/// A result whose shape is the client's own.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Anything(pub Value);

impl Serialize for Nothing {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

macro_rules! schema {
    ($type:ty, $name:literal, $schema:expr) => {
        impl utoipa::__dev::ComposeSchema for $type {
            fn compose(_: Vec<RefOr<Schema>>) -> RefOr<Schema> {
                $schema
            }
        }

        impl ToSchema for $type {
            fn name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }
        }
    };
}

schema!(Nothing, "Nothing", ObjectBuilder::new().schema_type(SchemaType::Type(Type::Null)).into());
schema!(Anything, "Anything", ObjectBuilder::new().into());

impl<T> Envelope<T> {
    /// A result, whole.
    pub fn of(result: T) -> Self {
        Self { success: true, errors: Vec::new(), messages: Vec::new(), result, result_info: None }
    }

    /// A part of a list.
    pub fn paged(result: T, info: ResultInfo) -> Self {
        Self { result_info: Some(info), ..Self::of(result) }
    }
}

/// A result, whole, as a handler gives it.
pub fn answer<T>(result: T) -> Answer<T> {
    Ok(Envelope::of(result))
}

impl<T: Serialize> IntoResponse for Envelope<T> {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}

impl Failure {
    pub(crate) fn new(errors: Vec<Problem>) -> Self {
        Self { success: false, errors, messages: Vec::new(), result: None }
    }
}
