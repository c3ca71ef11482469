//! The OpenAPI document: what the handlers say of themselves, and what is the same for all of them.

use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Ref, SchemaFormat, SchemaType, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{ContentBuilder, InfoBuilder, OpenApi, RefOr, Required, ResponseBuilder};
use utoipa::{PartialSchema, ToSchema};

use crate::envelope::{Failure, Problem};

/// What stands for parts of paths: name, meaning, pattern.
const PARAMETERS: [(&str, &str, &str); 20] = [
    ("account_id", "The account.", "^[0-9a-f]{32}$"),
    ("script_name", "The worker.", "^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$"),
    ("environment", "The worker's environment, which is `production`.", "^production$"),
    ("version_id", "The version, or `latest`.", UUID),
    ("deployment_id", "The deployment.", UUID),
    ("secret_name", "The secret.", WORD),
    ("tail_id", "The tail.", WORD),
    ("token_id", "The token, which is not the token itself.", HEX),
    ("zone_id", "The zone.", HEX),
    ("route_id", "The route.", HEX),
    ("domain_id", "The custom domain.", HEX),
    ("hash", "The file.", HEX),
    ("namespace_id", "The KV namespace.", HEX),
    ("key", "The key.", WORD),
    ("bucket_name", "The R2 bucket.", "^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$"),
    ("database_id", "The D1 database.", WORD),
    ("queue_id", "The queue.", HEX),
    ("consumer_id", "The consumer.", HEX),
    ("workflow_name", "The workflow.", WORD),
    ("instance_id", "The instance.", WORD),
];

const HEX: &str = "^[0-9a-f]{32}$";
const WORD: &str = "^[A-Za-z0-9_-]{1,64}$";
const UUID: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$";

/// Adds what is the same for all operations.
pub fn complete(mut document: OpenApi) -> OpenApi {
    document.info = InfoBuilder::new()
        .title("Selvedge")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "The API of Cloudflare Workers, as far as wrangler uses it, and what a platform of one's own needs beside it.",
        ))
        .build();
    let paths = std::mem::take(&mut document.paths.paths);
    for (path, mut item) in paths {
        let plain = path.replace("{*", "{");
        let parameters: Vec<Parameter> = PARAMETERS
            .iter()
            .filter(|(name, ..)| plain.contains(&format!("{{{name}}}")))
            .map(|(name, meaning, pattern)| parameter(name, meaning, pattern))
            .collect();
        for operation in operations(&mut item) {
            operation.parameters.get_or_insert_default().extend(parameters.iter().cloned().map(RefOr::T));
            complete_operation(operation);
        }
        document.paths.paths.insert(plain, item);
    }
    let components = document.components.get_or_insert_default();
    components.schemas.insert(Failure::name().into(), Failure::schema());
    components.schemas.insert(Problem::name().into(), Problem::schema());
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("An API token")).build();
    components.add_security_scheme("token", SecurityScheme::Http(bearer));
    let key = |name: &str, meaning: &str| {
        SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(name, meaning)))
    };
    components.add_security_scheme("key", key("X-Auth-Key", "An API token"));
    components.add_security_scheme("email", key("X-Auth-Email", "Anything"));
    document
}

fn complete_operation(operation: &mut Operation) {
    let open = operation.security.is_some();
    if !open {
        let none: [&str; 0] = [];
        operation.security = Some(vec![
            SecurityRequirement::new("token", none),
            SecurityRequirement::new("key", none).add("email", none),
        ]);
    }
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response
            && response.description.is_empty()
        {
            response.description = "What was asked for".into();
        }
    }
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(Failure::name()))).build();
    let refused = ResponseBuilder::new()
        .description("It was refused: the envelope says why")
        .content("application/json", content)
        .build();
    operation.responses.responses.insert("4XX".into(), RefOr::T(refused.clone()));
    if !open {
        let mut failed = refused;
        failed.description = "It failed by the platform's own fault".into();
        operation.responses.responses.insert("5XX".into(), RefOr::T(failed));
    }
}

fn parameter(name: &str, meaning: &str, pattern: &str) -> Parameter {
    let mut schema = ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)).pattern(Some(pattern));
    if pattern == UUID {
        schema = schema.format(Some(SchemaFormat::Custom("uuid".into())));
    }
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(meaning))
        .schema(Some(schema.build()))
        .build()
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, options, head, patch, trace, .. } = item;
    [get, put, post, delete, options, head, patch, trace].into_iter().flatten()
}

/// The document as it is checked in: its members in order, so that a change is seen where it is.
pub fn written(document: &OpenApi) -> String {
    let mut value = serde_json::to_value(document).unwrap_or_default();
    value.sort_all_objects();
    let mut text = serde_json::to_string_pretty(&value).unwrap_or_default();
    text.push('\n');
    text
}
