//! Texts of resources: references are resolved in place, secrets are hidden, and what cannot stand in a header is
//! found now and not when the first request is built.

use super::check::{At, Checker, join};
use super::keys::Shape;
use super::scalar::describe;
use crate::config::secrets::{self, Grammar};
use crate::model::fault::Place;
use crate::model::node::{Kind, Node};
use crate::model::text::Text;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;

/// Headers that belong to the transport (transforms.md rule 50); `proxy-*` too.
const RESERVED: [&str; 10] =
    ["host", "content-length", "transfer-encoding", "connection", "expect", "te", "trailer", "upgrade", "via", "date"];
/// Headers whose value is a secret wherever it stands.
const SECRET_HEADERS: [&str; 5] = ["authorization", "cookie", "x-api-key", "api-key", "x-auth-token"];

/// Which characters a text may have where it goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Allowed {
    Anything,
    /// No control characters.
    Line,
    /// No control characters, and ASCII only.
    Header,
    /// A key of Standard Webhooks.
    WebhookKey,
}

impl Checker<'_> {
    pub(super) fn secret(&mut self, shape: Shape, node: &mut Node, at: At<'_>) {
        let place = node.place.clone();
        let Kind::String(Text::Plain(_)) = &node.kind else {
            let message = format!("`{}` must be a text", at.key);
            return self.value(at, &place, message, format!("write {}: \"${{env:NAME}}\"", at.key));
        };
        // What is encoded or only signed with may have any character.
        let allowed = match at.key {
            "username" | "password" | "client_id" | "client_secret" | "secret" => Allowed::Line,
            "secrets" => Allowed::WebhookKey,
            _ => Allowed::Header,
        };
        self.resolve_hidden(node, at, Grammar::Literal, allowed);
        let Kind::String(Text::Plain(literal)) = &mut node.kind else { return };
        if matches!(shape, Shape::Hidden) {
            return;
        }
        let literal = std::mem::take(literal);
        if !self.literal_ok {
            self.warn_literal(at, &place);
        }
        node.kind = Kind::String(Text::Secret(SecretString::from(literal)));
    }

    /// A list of secrets.
    pub(super) fn secrets(&mut self, node: &mut Node, at: At<'_>) {
        let (place, found) = (node.place.clone(), describe(node));
        match &mut node.kind {
            Kind::List(items) if !items.is_empty() => {
                for (i, item) in items.iter_mut().enumerate() {
                    let pointer = format!("{}/{i}", at.pointer);
                    self.secret(Shape::Secret, item, At { key: at.key, pointer: &pointer });
                }
            }
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::List(_) | Kind::Map(_) => {
                let message = match found.as_str() {
                    "a list" => format!("`{}` is an empty list", at.key),
                    // A text may be the secret itself.
                    _ => format!("`{}` must be a list", at.key),
                };
                self.value(at, &place, message, format!("write {}: [\"${{env:NAME}}\"]", at.key));
            }
        }
    }

    pub(super) fn warn_literal(&mut self, at: At<'_>, place: &Place) {
        let message = format!("`{}` holds a secret in the file", at.key);
        let cure = format!("write {}: \"${{env:NAME}}\" or \"${{file:/run/secrets/x}}\"", at.key);
        self.warn("CONFIG_SECRET_LITERAL", at.pointer, place, message, cure);
    }

    /// Fixed headers or query parameters of a connection.
    pub(super) fn fixed(&mut self, shape: Shape, node: &mut Node, at: At<'_>) {
        let place = node.place.clone();
        let found = describe(node);
        let Kind::Map(entries) = &mut node.kind else {
            return self.value(at, &place, format!("`{}` must be a map, found {found}", at.key), "write {name: value}");
        };
        let headers = matches!(shape, Shape::FixedHeaders);
        let mut seen: Vec<String> = Vec::new();
        for (key, value) in entries.iter_mut() {
            let pointer = join(at.pointer, &key.name);
            let inner = At { key: &key.name, pointer: &pointer };
            if headers {
                let lower = key.name.to_ascii_lowercase();
                if let Some((message, cure)) = header_name(&lower, &seen) {
                    self.value(inner, &key.place, message, cure);
                }
                seen.push(lower.clone());
                // What is not ASCII is encoded in a header of CloudEvents (transforms.md rule 48).
                let allowed = if lower.starts_with("ce-") { Allowed::Line } else { Allowed::Header };
                self.fixed_text(value, inner, allowed);
                if let (Kind::String(Text::Plain(text)), true) = (&value.kind, SECRET_HEADERS.contains(&&*lower)) {
                    let secret = SecretString::from(text.clone());
                    let place = value.place.clone();
                    self.warn_literal(inner, &place);
                    value.kind = Kind::String(Text::Secret(secret));
                }
                continue;
            }
            match &mut value.kind {
                Kind::List(items) => {
                    for (i, item) in items.iter_mut().enumerate() {
                        let pointer = format!("{pointer}/{i}");
                        self.fixed_text(item, At { key: inner.key, pointer: &pointer }, Allowed::Anything);
                    }
                }
                Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::Map(_) => {
                    self.fixed_text(value, inner, Allowed::Anything);
                }
            }
        }
    }

    /// A text, number or boolean, which becomes a text.
    fn fixed_text(&mut self, node: &mut Node, at: At<'_>, allowed: Allowed) {
        let text = match &node.kind {
            Kind::String(_) => return self.resolve_hidden(node, at, Grammar::Value, allowed),
            Kind::Number(spelled) => spelled.clone(),
            Kind::Bool(value) => value.to_string(),
            Kind::Null | Kind::List(_) | Kind::Map(_) => {
                let place = node.place.clone();
                let message = format!("`{}` must be a text, found {}", at.key, describe(node));
                return self.value(at, &place, message, "write a text, number or boolean");
            }
        };
        node.kind = Kind::String(Text::Plain(text));
    }

    /// Resolves references where the result is no secret; false if that failed.
    pub(super) fn resolve_plain(&mut self, node: &mut Node, at: At<'_>) -> bool {
        let Kind::String(Text::Plain(text)) = &node.kind else { return true };
        if !secrets::mentions(text, Grammar::Literal) {
            return true;
        }
        if !self.references {
            let place = node.place.clone();
            self.refuse_reference(at.pointer, &place);
            return false;
        }
        match secrets::resolve(text, Grammar::Literal, self.env) {
            Ok(resolved) => {
                self.files.extend_from_slice(&resolved.files);
                self.referring.push(at.pointer.to_owned());
                if matches!(at.key, "url" | "endpoint" | "token_endpoint") {
                    self.hidden.extend(resolved.hidden_in_url());
                }
                node.kind = Kind::String(Text::Plain(resolved.text));
                true
            }
            Err(error) => {
                let place = node.place.clone();
                self.unresolved(&error, at.pointer, &place);
                false
            }
        }
    }

    /// Resolves references in a text; what had one becomes secret.
    pub(super) fn resolve_hidden(&mut self, node: &mut Node, at: At<'_>, grammar: Grammar, allowed: Allowed) {
        let Kind::String(Text::Plain(text)) = &node.kind else { return };
        let place = node.place.clone();
        if !secrets::mentions(text, grammar) {
            return self.must_fit(text, at, &place, allowed);
        }
        if !self.references {
            return self.refuse_reference(at.pointer, &place);
        }
        let secret = match secrets::resolve(text, grammar, self.env) {
            Ok(resolved) => {
                self.files.extend(resolved.files);
                self.must_fit(&resolved.text, at, &place, allowed);
                resolved.text
            }
            Err(error) => {
                self.unresolved_secret(error, at.pointer, &place);
                String::new()
            }
        };
        node.kind = Kind::String(Text::Secret(SecretString::from(secret)));
    }

    /// A secret that has no text.
    pub(super) fn unresolved_secret(&mut self, error: secrets::Error, pointer: &str, place: &Place) {
        match error {
            secrets::Error::Unset(_) if self.lenient => {
                self.warn("CONFIG_SECRET", pointer, place, error.to_string(), error.cure());
            }
            secrets::Error::Unset(_)
            | secrets::Error::File { .. }
            | secrets::Error::Malformed(_)
            | secrets::Error::Mixed => self.unresolved(&error, pointer, place),
        }
    }

    fn unresolved(&mut self, error: &secrets::Error, pointer: &str, place: &Place) {
        if let secrets::Error::File { path, .. } = error {
            // It is watched all the same, for the cure may be to write it.
            self.files.push(path.into());
        }
        self.fault("CONFIG_SECRET", pointer, place, error.to_string(), error.cure());
    }

    /// Found now, not when the first request is built; the text itself is not told, for it may be secret.
    pub(super) fn must_fit(&mut self, text: &str, at: At<'_>, place: &Place, allowed: Allowed) {
        let control = text.chars().any(|c| c.is_ascii_control() && c != '\t');
        let source = "check the file or variable it comes from";
        let (message, cure) = match allowed {
            Allowed::Header | Allowed::Line if control => ("has a line feed or another control character", source),
            Allowed::Header if !text.is_ascii() => ("has a character that no header may have", source),
            Allowed::WebhookKey if text.starts_with("whpk_") => {
                ("is a public key, which only verifies", "write the private one, whsk_…")
            }
            Allowed::WebhookKey if !is_webhook_key(text) => {
                ("is no key of Standard Webhooks", "it is whsec_ or whsk_, and base64 after that")
            }
            Allowed::Header | Allowed::Line | Allowed::Anything | Allowed::WebhookKey => return,
        };
        self.value(at, place, format!("the text of `{}` {message}", at.key), cure);
    }

    fn refuse_reference(&mut self, pointer: &str, place: &Place) {
        let message = "a rule may not refer to secrets".to_owned();
        let cure = "put the reference into the connection's auth, headers, query or body".to_owned();
        self.fault("CONFIG_SECRET", pointer, place, message, cure);
    }
}

/// `whsec_` and the base64 of a key for HMAC, or `whsk_` and that of an Ed25519 key: a seed, perhaps with its public half.
fn is_webhook_key(text: &str) -> bool {
    let bytes = |base64: &str| STANDARD.decode(base64).map(|key| key.len()).unwrap_or(0);
    match (text.strip_prefix("whsec_"), text.strip_prefix("whsk_")) {
        (Some(key), _) => bytes(key) > 0,
        (None, Some(key)) => matches!(bytes(key), 32 | 64),
        (None, None) => false,
    }
}

/// Why `lower` cannot be the name of a header in a map that has the names `seen`, and what to do.
pub(crate) fn header_name(lower: &str, seen: &[String]) -> Option<(String, String)> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if lower.is_empty() || !lower.bytes().all(token) {
        return Some((format!("`{lower}` is no name of a header"), "letters, digits and `-`".to_owned()));
    }
    if RESERVED.contains(&lower) || lower.starts_with("proxy-") {
        return Some((format!("the header `{lower}` is set by the transport"), "leave it out".to_owned()));
    }
    let twice = seen.iter().any(|other| other == lower);
    twice.then(|| (format!("the header `{lower}` stands twice"), "case does not matter; keep one".to_owned()))
}
