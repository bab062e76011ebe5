//! Token requests and what carries the token. No event is at hand there, so that their texts are literal but for
//! references and, where it is sent, `$token`. Texts become what is sent, byte for byte.

use super::check::{At, Checker, join};
use super::keys::Exchange;
use super::scalar::describe;
use super::texts::{Allowed, header_name};
use crate::config::secrets::{self, Part};
use crate::model::node::{Kind, Node};
use crate::model::text::Text;

/// Keys that end so hold a secret wherever they stand.
const SECRET_NAMES: [&str; 4] = ["secret", "password", "passwd", "passphrase"];
/// Form parameters that have keys of their own.
const OWN_PARAMETERS: [&str; 3] = ["client_id", "client_secret", "scope"];
/// The token in a text, once it is parsed.
const TOKEN: &str = "$token";

impl Checker<'_> {
    /// A part of a token request, or what carries the token. A text that may hold the token becomes the list of its
    /// pieces, in which null is the token.
    pub(super) fn exchange(&mut self, part: Exchange, node: &mut Node, at: At<'_>) {
        if part == Exchange::Json {
            return self.json(node, at);
        }
        let (place, found) = (node.place.clone(), describe(node));
        let Kind::Map(entries) = &mut node.kind else {
            return self.value(at, &place, format!("`{}` must be a map, found {found}", at.key), "write {name: value}");
        };
        let headers = matches!(part, Exchange::Headers | Exchange::SendHeaders);
        let allowed = if headers { Allowed::Header } else { Allowed::Anything };
        let token = matches!(part, Exchange::SendHeaders | Exchange::SendQuery);
        let mut seen = Vec::new();
        for (key, value) in entries.iter_mut() {
            let pointer = join(at.pointer, &key.name);
            let inner = At { key: &key.name, pointer: &pointer };
            let lower = key.name.to_ascii_lowercase();
            let wrong = match part {
                Exchange::Headers | Exchange::SendHeaders => header_name(&lower, &seen),
                Exchange::Form if OWN_PARAMETERS.contains(&key.name.as_str()) => Some((
                    format!("the form parameter `{}` has a key of its own", key.name),
                    format!("write `{}` under `oauth2`", key.name),
                )),
                Exchange::Form | Exchange::Query | Exchange::SendQuery | Exchange::Json => None,
            };
            if let Some((message, cure)) = wrong {
                self.value(inner, &key.place, message, cure);
                continue;
            }
            seen.push(lower);
            match &mut value.kind {
                Kind::List(items) if part == Exchange::Query => {
                    for (i, item) in items.iter_mut().enumerate() {
                        let pointer = format!("{pointer}/{i}");
                        self.literal(item, At { key: &key.name, pointer: &pointer }, allowed, token);
                    }
                }
                Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::List(_) | Kind::Map(_) => {
                    self.literal(value, inner, allowed, token);
                }
            }
        }
    }

    /// A JSON value whose strings are literal but for references.
    fn json(&mut self, node: &mut Node, at: At<'_>) {
        match &mut node.kind {
            Kind::Null | Kind::Bool(_) | Kind::Number(_) => {}
            Kind::String(_) => self.literal(node, at, Allowed::Anything, false),
            Kind::List(items) => {
                for (i, item) in items.iter_mut().enumerate() {
                    let pointer = format!("{}/{i}", at.pointer);
                    self.json(item, At { key: at.key, pointer: &pointer });
                }
            }
            Kind::Map(entries) => {
                for (key, value) in entries.iter_mut() {
                    let pointer = join(at.pointer, &key.name);
                    self.json(value, At { key: &key.name, pointer: &pointer });
                }
            }
        }
    }

    fn literal(&mut self, node: &mut Node, at: At<'_>, allowed: Allowed, token: bool) {
        let place = node.place.clone();
        let parts = match &node.kind {
            Kind::String(Text::Plain(text)) => secrets::parts(text, self.env),
            Kind::Number(spelled) => vec![Part::Text(spelled.clone())],
            Kind::Bool(value) => vec![Part::Text(value.to_string())],
            Kind::Null | Kind::List(_) | Kind::Map(_) | Kind::String(Text::Secret(_)) => {
                let message = format!("`{}` must be a text, found {}", at.key, describe(node));
                return self.value(at, &place, message, "write a text, number or boolean");
            }
        };
        // Text, and whether it is secret; nothing for the token.
        let mut pieces: Vec<Option<(String, bool)>> = Vec::new();
        for part in parts {
            let (text, secret) = match part {
                Part::Text(text) => (text, false),
                Part::Reference(Ok(resolved)) => {
                    self.files.extend(resolved.files);
                    (resolved.text, true)
                }
                Part::Reference(Err(error)) => {
                    self.unresolved_secret(error, at.pointer, &place);
                    (String::new(), true)
                }
                Part::Expression(inner) if token && inner == TOKEN => {
                    pieces.push(None);
                    continue;
                }
                Part::Expression(inner) => {
                    let (message, cure) = refused(&inner, token);
                    self.value(at, &place, message, cure);
                    continue;
                }
            };
            self.must_fit(&text, at, &place, allowed);
            pieces.push(Some((text, secret)));
        }
        if token {
            let kind = |piece: Option<(String, bool)>| {
                piece.map_or(Kind::Null, |(text, secret)| Kind::String(text_of(text, secret)))
            };
            let placed = |piece| Node { kind: kind(piece), place: place.clone() };
            node.kind = Kind::List(pieces.into_iter().map(placed).collect());
            return;
        }
        let outside = pieces.iter().flatten().any(|(_, secret)| *secret);
        let text: String = pieces.into_iter().flatten().map(|(text, _)| text).collect();
        let lower = at.key.to_ascii_lowercase();
        let named_so = SECRET_NAMES.iter().any(|name| lower.ends_with(name)) && !text.is_empty();
        if named_so && !outside {
            self.warn_literal(at, &place);
        }
        node.kind = Kind::String(text_of(text, outside || named_so));
    }
}

fn text_of(text: String, secret: bool) -> Text {
    if secret { Text::Secret(text.into()) } else { Text::Plain(text) }
}

fn refused(inner: &str, token: bool) -> (String, String) {
    if token {
        let message = format!("`{inner}` means nothing where a token is sent");
        return (message, "`$token` is the token, `${$token}` inside a text; `$$` is a dollar".to_owned());
    }
    let message = match inner {
        TOKEN => "there is no token yet where it is fetched".to_owned(),
        _ => format!("`{inner}` leads nowhere: a token is fetched without an event"),
    };
    (message, "write a text, ${env:NAME} or ${file:/run/secrets/x}; `$$` is a dollar".to_owned())
}
