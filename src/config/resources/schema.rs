//! The key tables as a JSON Schema (draft 2020-12), for editors.

use super::keys::{EXPECTATION, Exchange, KINDS, LIMIT, Shape, Table, Word};
use serde_json::{Map, Value, json};

/// Where the schema of a filter stands.
const FILTER: &str = "#/$defs/filter";
/// A duration.
const DURATION: &str = r"[0-9.]+\s*(ms|s|m|min|h|d)";
/// A text that a reference gives.
const REFERENCE: &str = r"\$\{(env|file):";

/// The JSON Schema of one resource document. Keys that this version refuses are not in it.
#[must_use]
pub fn schema() -> String {
    let kinds: Vec<Value> = KINDS
        .iter()
        .map(|table| {
            let mut schema = object(table);
            if let Some(Value::Object(properties)) = schema.get_mut("properties") {
                properties.insert("kind".to_owned(), json!({ "const": table.noun }));
            }
            schema
        })
        .collect();
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tidegate resource",
        "oneOf": kinds,
        "$defs": { "filter": filter() },
    });
    format!("{schema:#}")
}

fn object(table: &Table) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for key in table.keys {
        let Some(mut schema) = shape(key.shape) else { continue };
        if let (Value::Object(schema), false) = (&mut schema, key.about.is_empty()) {
            schema.insert("description".to_owned(), key.about.into());
        }
        properties.insert(key.name.to_owned(), schema);
        if key.required {
            required.push(key.name);
        }
    }
    json!({
        "type": "object",
        "description": table.about,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// One filter of `CloudEvents` Subscriptions (event-patterns.md rule 34): a map of one key, which may hold filters again.
fn filter() -> Value {
    let texts =
        json!({ "type": "object", "minProperties": 1, "additionalProperties": { "type": "string", "minLength": 1 } });
    json!({
        "type": "object",
        "description": "One filter; only attributes are visible, never data.",
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": false,
        "properties": {
            "exact": texts,
            "prefix": texts,
            "suffix": texts,
            "all": filters(1),
            "any": filters(1),
            "not": { "$ref": FILTER },
            "sql": { "type": "string", "minLength": 1, "description": "CESQL 1.0; an error or a non-boolean is false." },
        },
    })
}

fn filters(at_least: u32) -> Value {
    json!({ "type": "array", "minItems": at_least, "items": { "$ref": FILTER } })
}

fn enumeration(words: &[Word]) -> Value {
    let words: Vec<_> = words.iter().map(|word| word.text).collect();
    json!({ "enum": words })
}

/// `None` for what this version refuses.
fn shape(shape_of: Shape) -> Option<Value> {
    let text = || json!({ "type": "string" });
    let pattern = |pattern: &str| json!({ "type": "string", "pattern": format!("^({pattern})$|{REFERENCE}") });
    Some(match shape_of {
        Shape::Later => return None,
        Shape::Kind | Shape::Text | Shape::Hidden | Shape::Secret | Shape::PemFile => text(),
        Shape::Secrets => json!({ "type": "array", "minItems": 1, "items": text() }),
        Shape::TokenEndpoint => pattern("(https?:/)?/.*"),
        Shape::ProxyUrl => pattern("environment|https?://.+"),
        Shape::Method => pattern("[A-Za-z]+"),
        Shape::HeaderName => pattern("[!#$%&'*+.^_`|~0-9A-Za-z-]+"),
        Shape::SignatureFormat => pattern(r".*\{(hex|base64)\}.*"),
        Shape::AnswerPath => pattern(r"\$.*"),
        Shape::Lifetime => pattern(&format!(r"\$.*|{DURATION}")),
        Shape::AnswerPattern => json!({ "type": "object" }),
        Shape::Url => pattern("https?://.+"),
        Shape::Name => json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,63}$" }),
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::Count(from, to) => json!({ "type": "integer", "minimum": from, "maximum": to }),
        Shape::Duration(..) => pattern(DURATION),
        Shape::Words(words) => enumeration(words),
        Shape::WordOr(words, table) => json!({ "anyOf": [enumeration(words), object(table)] }),
        Shape::Topic => pattern("[A-Za-z0-9._-]{1,249}"),
        Shape::Topics => json!({ "type": "array", "minItems": 1, "items": shape(Shape::Topic) }),
        Shape::Delay => json!({ "type": "array", "minItems": 2, "maxItems": 2, "items": shape(Shape::Duration(0, 0)) }),
        Shape::Rate => pattern(r"\s*[0-9]+\s*/.+"),
        Shape::Rates => {
            let one = json!({ "anyOf": [shape(Shape::Rate), object(&LIMIT)] });
            json!({ "anyOf": [one, { "type": "array", "minItems": 1, "items": one }] })
        }
        Shape::Networks => json!({ "type": "array", "items": text() }),
        Shape::FixedHeaders
        | Shape::Exchange(Exchange::Headers | Exchange::Form | Exchange::SendHeaders | Exchange::SendQuery) => {
            json!({ "type": "object", "additionalProperties": { "type": ["string", "number", "boolean"] } })
        }
        Shape::FixedQuery | Shape::Exchange(Exchange::Query) => {
            let one = json!({ "type": ["string", "number", "boolean"] });
            json!({ "type": "object", "additionalProperties": { "anyOf": [one, { "type": "array", "items": one }] } })
        }
        Shape::Filters => filters(0),
        Shape::FixedBody | Shape::Values | Shape::AnyMap => json!({ "type": "object" }),
        Shape::PathValues => json!({ "type": ["object", "array"] }),
        Shape::Any | Shape::Verbatim | Shape::Exchange(Exchange::Json) => json!({}),
        Shape::Expectations => {
            let mut expectation = object(&EXPECTATION);
            if let Value::Object(expectation) = &mut expectation {
                expectation.insert("minProperties".to_owned(), 1.into());
                expectation.insert("maxProperties".to_owned(), 1.into());
            }
            json!({ "type": "object", "additionalProperties": { "anyOf": [{ "const": "no_match" }, expectation] } })
        }
        Shape::Table(table) => object(table),
        Shape::OneOf(table) => {
            let mut one = object(table);
            if let Value::Object(one) = &mut one {
                one.insert("minProperties".to_owned(), 1.into());
                one.insert("maxProperties".to_owned(), 1.into());
            }
            json!({ "anyOf": [{ "const": "none" }, one] })
        }
        Shape::List(table) => json!({ "type": "array", "minItems": 1, "items": object(table) }),
    })
}
