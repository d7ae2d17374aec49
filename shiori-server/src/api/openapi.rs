//! The OpenAPI 3.1 document of the API, generated from the wire types and the routes.
//!
//! `docs/openapi.json` is a copy of it, so that reviews show changes of the API.

use std::{borrow::Cow, collections::BTreeMap, marker::PhantomData};

use serde_json::{Value, json};
use shiori_sdk::{ConflictBody, ErrorCode, MissingDates, Quota, QuotaExceeded, limits};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Components, ContentBuilder, HeaderBuilder, Object, ObjectBuilder, OneOfBuilder, OpenApi,
        Ref, RefOr, Response, ResponseBuilder, Schema,
        example::ExampleBuilder,
        path::{Operation, Parameter},
        schema::{ArrayBuilder, Discriminator, SchemaType, Type},
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::router::OpenApiRouter;

use super::{
    account, diary, diary_events, diary_read, diary_versions, emotions,
    error::{ApiError, DocumentLimit, FieldFault, NumberFault, TitleLimit},
    export, health, revisions, session, summary, user,
};

const ABOUT: &str = "\
A diary that several devices can edit, and weekly summaries of it.

**Saves.** A save contains the version that it replaces. Of all concurrent saves of one version exactly \
one succeeds; the others receive 409 with the current diary.

**Responses** have a common envelope: `code` is the HTTP status, `message` a text for users, and `data` \
the payload. Errors have a stable code in `error`, which clients compare. Messages are Korean, or English \
if `Accept-Language` prefers it. Every response has an `x-request-id`, which is also in the server's \
log; a request may set it.

**Signing in.** `POST /api/user/login` returns an access token for `Authorization: Bearer`, and sets the \
refresh token as a cookie for `POST /api/auth/refresh`.

**Compatibility.** Later versions may add properties, values of enumerations and error codes. Clients \
must ignore unknown ones.

**Limits** are the defaults of a server. Unknown paths return 404 `not_found`, other methods of a path 405 \
`method_not_allowed` with `Allow`. The API of workers under `/api/internal` may change \
with each release, and is not described here.";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Shiori", description = ABOUT),
    tags(
        (name = "account", description = "Signup, login and logout; the account and its password"),
        (name = "session", description = "Tokens and signed-in devices"),
        (name = "diary", description = "One diary per user and date"),
        (name = "summary", description = "Weekly summaries and their reflections"),
        (name = "operations", description = "For operators. If the server has a separate internal listener, only that serves `/readyz` and `/metrics`"),
    ),
)]
struct About;

/// The description of all public routes. It does not depend on the configuration.
pub(super) fn description() -> OpenApi {
    let (_, mut description) = OpenApiRouter::with_openapi(<About as utoipa::OpenApi>::openapi())
        .merge(account::routes())
        .merge(user::routes())
        .merge(export::routes())
        .merge(session::routes())
        .merge(diary::routes())
        .merge(diary_versions::routes())
        .merge(diary_events::routes())
        .merge(diary_read::routes())
        .merge(revisions::routes())
        .merge(emotions::routes())
        .merge(summary::routes())
        .merge(summary::long_poll_routes())
        .merge(health::liveness())
        .merge(health::inspection())
        .split_for_parts();
    let components = description.components.get_or_insert_default();
    add_security_schemes(components);
    add_error_data(components);
    components.schemas.values_mut().for_each(shorten_descriptions);
    add_errors(components);
    if let Some(RefOr::T(Schema::OneOf(records))) = components.schemas.get_mut("ExportRecord") {
        // Only readers have records of unknown kinds.
        records.items.retain(|record| match record {
            RefOr::T(Schema::Object(record)) => !record.properties.contains_key("unknown"),
            _ => true,
        });
    }
    for (name, max_items) in LISTS {
        if let Some(RefOr::T(Schema::Object(list))) = components.schemas.get_mut(name)
            && let Some(RefOr::T(Schema::Array(array))) = list.properties.get_mut("data")
        {
            array.max_items = Some(max_items);
        }
    }
    for name in COMPLETE {
        if let Some(RefOr::T(Schema::Object(object))) = components.schemas.get_mut(name) {
            // These properties are optional when read, but the server always writes them.
            let always = object.properties.keys().filter(|property| *property != "etag");
            object.required = always.cloned().collect();
        }
    }
    for item in description.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            operation.parameters.iter_mut().flatten().for_each(forbid_null);
            add_request_id(operation);
        }
    }
    description
}

/// The maximum length of lists.
const LISTS: [(&str, usize); 3] = [
    ("DiaryEntryList", limits::MAX_RANGE_DAYS as usize),
    ("RevisionEntryList", limits::MAX_REVISIONS as usize),
    ("SessionInfoList", 50),
];

/// Schemas of responses whose properties are always present.
const COMPLETE: [&str; 12] = [
    "ConflictBody",
    "DayView",
    "Diary",
    "DiaryEntry",
    "ExportEnd",
    "Progress",
    "ReadDiaries",
    "Reflection",
    "SaveReceipt",
    "SessionInfo",
    "Summary",
    "VersionPage",
];

fn add_security_schemes(components: &mut Components) {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("The access token of a login or refresh."));
    let cookie = ApiKeyValue::with_description(
        "refresh_token",
        "The refresh token: HttpOnly, SameSite=Strict, with the path /api/auth.",
    );
    components.add_security_scheme("access_token", SecurityScheme::Http(bearer.build()));
    components.add_security_scheme("refresh_token", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
}

/// Adds the schemas of errors' data.
fn add_error_data(components: &mut Components) {
    let mut schemas = vec![
        (FieldFault::name().into_owned(), FieldFault::schema()),
        (NumberFault::name().into_owned(), NumberFault::schema()),
        (TitleLimit::name().into_owned(), TitleLimit::schema()),
        (DocumentLimit::name().into_owned(), DocumentLimit::schema()),
        (MissingDates::name().into_owned(), MissingDates::schema()),
        (QuotaExceeded::name().into_owned(), QuotaExceeded::schema()),
        (ConflictBody::name().into_owned(), ConflictBody::schema()),
    ];
    QuotaExceeded::schemas(&mut schemas);
    MissingDates::schemas(&mut schemas);
    ConflictBody::schemas(&mut schemas);
    components.schemas.extend(schemas);
}

/// Adds the schemas of error bodies, and the list of error codes.
fn add_errors(components: &mut Components) {
    // The other codes only occur in the API of workers.
    let is_public =
        |code: &&ErrorCode| !matches!(code, ErrorCode::NotClaimable | ErrorCode::LeaseLost);
    let public: Vec<_> = ErrorCode::KNOWN.iter().filter(is_public).collect();
    for code in &public {
        components.schemas.insert(schema_name(code), error_schema(code).into());
    }
    let lines =
        public.iter().map(|code| format!("- `{code}` ({}): {}", status(code), message(code)));
    let about = "The stable code of an error. Later versions may add codes.\n";
    let description = lines.fold(about.to_owned(), |text, line| text + "\n" + &line);
    let names = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
        .enum_values(Some(public.iter().map(|code| code.as_str())));
    components.schemas.insert("ErrorName".to_owned(), names.into());
}

/// Keeps the first paragraph of each description. The others are for users of the Rust types.
fn shorten_descriptions(schema: &mut RefOr<Schema>) {
    let shorten = |text: &mut String| {
        let first = text.split("\n\n").next().unwrap_or_default();
        *text = first.replace('\n', " ");
    };
    match schema {
        RefOr::Ref(reference) => shorten(&mut reference.description),
        RefOr::T(Schema::Object(object)) => {
            object.description.iter_mut().for_each(shorten);
            object.properties.values_mut().for_each(shorten_descriptions);
        }
        RefOr::T(Schema::Array(array)) => array.description.iter_mut().for_each(shorten),
        RefOr::T(Schema::OneOf(one_of)) => {
            one_of.description.iter_mut().for_each(shorten);
            one_of.items.iter_mut().for_each(shorten_descriptions);
        }
        RefOr::T(_) => {}
    }
}

/// A parameter without a value is omitted: null cannot be written in a query.
fn forbid_null(parameter: &mut RefOr<Parameter>) {
    if let RefOr::T(parameter) = parameter
        && let Some(RefOr::T(Schema::Object(object))) = &mut parameter.schema
        && let SchemaType::Array(types) = &mut object.schema_type
    {
        types.retain(|kind| *kind != Type::Null);
        if let [kind] = &types[..] {
            object.schema_type = SchemaType::Type(kind.clone());
        }
    }
}

/// Adds the header `x-request-id` to all responses.
fn add_request_id(operation: &mut Operation) {
    let header = HeaderBuilder::new()
        .schema(Some(Object::with_type(Type::String)))
        .description(Some("The id of the request, which is also in the server's log."))
        .build();
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            response.headers.insert("x-request-id".to_owned(), header.clone().into());
        }
    }
}

/// Describes a successful response with data of this type.
pub(super) struct Success<T>(PhantomData<T>);

/// Describes a successful response with a list.
pub(super) struct List<T>(PhantomData<T>);

/// Describes a successful response whose data may be null.
pub(super) struct Optional<T>(PhantomData<T>);

/// Describes a successful response without data.
pub(super) struct Done;

// The macro of routes would inline the schemas of generic types, so it is given aliases.
macro_rules! success {
    ($name:ident, $schema_name:literal, $data:expr) => {
        impl<T: ToSchema> PartialSchema for $name<T> {
            fn schema() -> RefOr<Schema> {
                let data: fn(Ref) -> RefOr<Schema> = $data;
                success(data(Ref::from_schema_name(T::name())))
            }
        }

        impl<T: ToSchema> ToSchema for $name<T> {
            fn name() -> Cow<'static, str> {
                format!($schema_name, T::name()).into()
            }

            fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
                schemas.push((T::name().into_owned(), T::schema()));
                T::schemas(schemas);
            }
        }
    };
}

success!(Success, "{}Response", RefOr::Ref);
success!(List, "{}List", |item| ArrayBuilder::new().items(item).into());
success!(Optional, "Optional{}", |item| OneOfBuilder::new().item(item).item(null()).into());

impl PartialSchema for Done {
    fn schema() -> RefOr<Schema> {
        success(null().into())
    }
}

impl ToSchema for Done {}

fn null() -> Object {
    Object::with_type(Type::Null)
}

fn success(data: RefOr<Schema>) -> RefOr<Schema> {
    let code = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .description(Some("The HTTP status."))
        .minimum(Some(200))
        .maximum(Some(299));
    envelope(code.build(), data).description(Some("A successful response.")).into()
}

/// The common envelope of all responses.
fn envelope(code: Object, data: RefOr<Schema>) -> ObjectBuilder {
    let message = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("A message for users, in Korean or English."));
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("code", code)
        .property("message", message)
        .property("data", data)
        .required("code")
        .required("message")
        .required("data")
}

/// The errors of all routes.
pub(super) const ANY: &[ErrorCode] = &[
    ErrorCode::MalformedRequest,
    ErrorCode::RequestTimeout,
    ErrorCode::BodyTooLarge,
    ErrorCode::Internal,
    ErrorCode::Unavailable,
];

/// The errors of routes that need an access token.
pub(super) const AUTHENTICATED: &[ErrorCode] =
    &[ErrorCode::Unauthorized, ErrorCode::SessionExpired];

/// The errors of routes with a body.
pub(super) const BODY: &[ErrorCode] =
    &[ErrorCode::UnsupportedMediaType, ErrorCode::InvalidRequest, ErrorCode::NumberOutOfRange];

/// The errors of routes with a range of dates in the query.
pub(super) const RANGE: &[ErrorCode] =
    &[ErrorCode::InvalidRange, ErrorCode::InvalidRequest, ErrorCode::InvalidDate];

/// Defines a type that describes the errors of an operation: those of the groups, and additional
/// ones.
macro_rules! errors {
    ($name:ident: $($group:ident)|+ $(, $code:ident)*) => {
        enum $name {}

        impl utoipa::IntoResponses for $name {
            fn responses() -> std::collections::BTreeMap<
                String,
                utoipa::openapi::RefOr<utoipa::openapi::Response>,
            > {
                $crate::api::openapi::error_responses(&[
                    $($crate::api::openapi::$group,)+
                    &[$(shiori_sdk::ErrorCode::$code),*],
                ])
            }
        }
    };
}
pub(super) use errors;

/// One response for each status of these errors.
pub(super) fn error_responses(groups: &[&[ErrorCode]]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status = BTreeMap::<u16, Vec<&ErrorCode>>::new();
    for code in groups.iter().copied().flatten() {
        let codes = by_status.entry(status(code)).or_default();
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    let responses = by_status.into_iter();
    responses
        .map(|(status, codes)| (status.to_string(), error_response(status, &codes).into()))
        .collect()
}

fn error_response(status: u16, codes: &[&ErrorCode]) -> Response {
    let described = |code: &ErrorCode| format!("`{code}`: {}", message(code));
    let description = match codes {
        [code] => described(code),
        codes => {
            let lines: Vec<_> = codes.iter().map(|code| format!("- {}", described(code))).collect();
            lines.join("\n")
        }
    };
    let schema: RefOr<Schema> = match codes {
        [code] => Ref::from_schema_name(schema_name(code)).into(),
        codes => {
            let name = |code: &&ErrorCode| schema_name(code);
            let mapping = codes
                .iter()
                .map(|code| (code.to_string(), Ref::from_schema_name(name(code)).ref_location));
            let schemas = codes.iter().map(|code| Ref::from_schema_name(name(code)));
            schemas
                .fold(OneOfBuilder::new(), OneOfBuilder::item)
                .discriminator(Some(Discriminator::with_mapping("error", mapping)))
                .into()
        }
    };
    let examples = codes.iter().map(|code| {
        let example = ExampleBuilder::new().value(Some(error_example(code)));
        (code.to_string(), example.build())
    });
    let content = ContentBuilder::new().schema(Some(schema)).examples_from_iter(examples);
    let response = ResponseBuilder::new()
        .description(description)
        .content("application/json", content.build());
    let header = |response: ResponseBuilder, name: &str, kind: Type, description: &str| {
        let schema = Object::with_type(kind);
        let header = HeaderBuilder::new().schema(Some(schema)).description(Some(description));
        response.header(name, header.build())
    };
    let response = match status {
        401 => header(
            response,
            "WWW-Authenticate",
            Type::String,
            "A challenge for a bearer token (RFC 6750).",
        ),
        415 => {
            let response =
                header(response, "Accept", Type::String, "The media type that is accepted.");
            header(
                response,
                "Accept-Encoding",
                Type::String,
                "The content coding that is accepted.",
            )
        }
        429 | 503 => header(
            response,
            "Retry-After",
            Type::Integer,
            "Seconds to wait before the next attempt.",
        ),
        _ => response,
    };
    response.build()
}

fn status(code: &ErrorCode) -> u16 {
    ApiError::new(code.clone()).status().as_u16()
}

fn message(code: &ErrorCode) -> &'static str {
    ApiError::new(code.clone()).message().en
}

/// `diary_conflict` has the schema `DiaryConflictError`.
fn schema_name(code: &ErrorCode) -> String {
    let words = code.as_str().trim_end_matches("_error").split('_');
    let capitalised = words.flat_map(|word| {
        let letters = word.char_indices();
        letters.map(|(at, letter)| if at == 0 { letter.to_ascii_uppercase() } else { letter })
    });
    capitalised.collect::<String>() + "Error"
}

/// The body of an error response.
fn error_schema(code: &ErrorCode) -> Schema {
    error_with_data(code, error_data(code).0)
}

/// The body of an error response with the given data.
pub(super) fn error_with_data(code: &ErrorCode, data: RefOr<Schema>) -> Schema {
    let number = ObjectBuilder::new().schema_type(Type::Integer).enum_values(Some([status(code)]));
    let name = ObjectBuilder::new().schema_type(Type::String).enum_values(Some([code.as_str()]));
    envelope(number.build(), data)
        .description(Some(message(code)))
        .property("error", name)
        .required("error")
        .into()
}

/// The schema of an error's data, and an example.
fn error_data(code: &ErrorCode) -> (RefOr<Schema>, Value) {
    let typed =
        |name: Cow<'static, str>, example: Value| (Ref::from_schema_name(name).into(), example);
    match code {
        ErrorCode::InvalidRequest => {
            typed(FieldFault::name(), json!({"field": "title", "rule": "required"}))
        }
        ErrorCode::NumberOutOfRange => typed(NumberFault::name(), json!({"field": "content"})),
        ErrorCode::TitleTooLong => typed(TitleLimit::name(), json!({"limit": 50})),
        ErrorCode::DocumentTooDeep => typed(DocumentLimit::name(), json!({"limit": 64})),
        ErrorCode::DocumentTooLarge => typed(DocumentLimit::name(), json!({"limit": 10_000})),
        ErrorCode::WeekIncomplete => {
            typed(MissingDates::name(), json!({"missing_dates": ["20260218", "20260220"]}))
        }
        ErrorCode::QuotaExceeded => {
            let exceeded = QuotaExceeded { quota: Quota::Diaries, limit: limits::MAX_DIARIES };
            typed(QuotaExceeded::name(), json!(exceeded))
        }
        ErrorCode::DiaryConflict => {
            typed(ConflictBody::name(), json!({"current": diary::example()}))
        }
        _ => (null().into(), Value::Null),
    }
}

fn error_example(code: &ErrorCode) -> Value {
    json!({
        "code": status(code),
        "message": message(code),
        "data": error_data(code).1,
        "error": code,
    })
}
