//! What a rendering may read: the event, `$meta`, and secrets through the caller's eyes.

use super::Meta;
use super::error::Error;
use super::value::{Expr, MetaField, Missing, Origin};
use crate::json::document::Member;
use crate::json::item::Item;
use crate::json::path::{Found, Step, TooCostly, follow};
use crate::json::value::{Json, Kind};
use crate::model::event::CloudEvent;
use crate::model::node::write_json_string;
use crate::model::text::ShowText;

/// Keys that an error message names at most, and their length; the rest is counted.
const KEYS_SHOWN: usize = 8;
const KEY_CHARS: usize = 40;

/// All that one rendering reads.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) event: &'a CloudEvent,
    /// The members of the document.
    pub(super) document: &'a [Member<'a>],
    /// What the lookup of the template found in it.
    pub(super) found: &'a [Option<Item<'a>>],
    pub(super) meta: &'a Meta<'a>,
    pub(super) show: &'a dyn ShowText,
}

impl Scope<'_> {
    /// Gives `then` what the expression finds, its default, or `None` for `omit`.
    pub(super) fn find<R>(
        &self,
        expr: &Expr,
        then: impl FnOnce(Option<Found<'_>>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let one = |item| Some(Found::One(item));
        match &expr.origin {
            Origin::Document(path) => {
                let found = match expr.slot.and_then(|slot| self.found.get(slot)) {
                    Some(found) => Ok(found.map(Found::One)),
                    None => path.find(Item::Document(self.document)),
                };
                self.or_missing(expr, found, then)
            }
            Origin::Meta(Some(MetaField::Rule)) => then(one(Item::Text(self.meta.rule))),
            Origin::Meta(Some(MetaField::Target)) => then(one(Item::Text(self.meta.target))),
            Origin::Meta(Some(MetaField::DeliveryId)) => then(one(Item::Text(self.meta.delivery_id))),
            Origin::Meta(Some(MetaField::ReceivedAt)) => then(one(Item::Text(&self.meta.received_at.rfc3339()))),
            Origin::Meta(Some(MetaField::Attempt)) => {
                then(one(Item::Json(Json::trusted(&self.meta.attempt.to_string()))))
            }
            Origin::Meta(None) => then(one(Item::Json(Json::trusted(&self.meta_json())))),
            Origin::MetaPath(path) => {
                let json = self.meta_json();
                self.or_missing(expr, path.find(Item::Json(Json::trusted(&json))), then)
            }
            Origin::Envelope => {
                let payload = |member: &&Member<'_>| member.name == "data" || member.name == "data_base64";
                let envelope: Vec<Member<'_>> = self.document.iter().filter(|m| !payload(m)).cloned().collect();
                then(one(Item::Document(&envelope)))
            }
        }
    }

    fn or_missing<R>(
        &self,
        expr: &Expr,
        found: Result<Option<Found<'_>>, TooCostly>,
        then: impl FnOnce(Option<Found<'_>>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let costly = |why| Error::Limit { path: expr.written.to_string(), why, place: expr.place.clone() };
        match (found.map_err(costly)?, &expr.missing) {
            (Some(found), _) => then(Some(found)),
            (None, Missing::Default(json)) => then(Some(Found::One(Item::Json(Json::trusted(json))))),
            (None, Missing::Omit) => then(None),
            (None, Missing::Fail) => Err(Error::Missing {
                path: expr.written.to_string(),
                has: self.what_there_is(&expr.origin),
                place: expr.place.clone(),
            }),
        }
    }

    fn meta_json(&self) -> String {
        let mut out = String::from("{\"rule\":");
        write_json_string(self.meta.rule, &mut out);
        out.push_str(",\"target\":");
        write_json_string(self.meta.target, &mut out);
        out.push_str(",\"attempt\":");
        out.push_str(&self.meta.attempt.to_string());
        out.push_str(",\"delivery_id\":");
        write_json_string(self.meta.delivery_id, &mut out);
        out.push_str(",\"received_at\":\"");
        out.push_str(&self.meta.received_at.rfc3339());
        out.push_str("\"}");
        out
    }

    /// Says what stands where a definite path leads nowhere: `data has id, pipeline`.
    fn what_there_is(&self, origin: &Origin) -> String {
        let (Origin::Document(path) | Origin::MetaPath(path)) = origin else { return String::new() };
        if matches!(origin, Origin::MetaPath(_)) {
            return "$meta has only texts and a number".to_owned();
        }
        let steps = path.steps().unwrap_or_default();
        let root = Item::Document(self.document);
        // The longest part of the path that exists; the whole path does not.
        let parent = |len: usize| steps.get(..len).and_then(|steps| Some((steps, follow(steps, root)?)));
        let deepest = (0..steps.len()).rev().find_map(parent);
        let Some((steps, item)) = deepest else { return String::new() };
        describe(steps, item)
    }
}

/// What a value is, in words.
pub(super) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Null => "null",
        Kind::Bool => "a boolean",
        Kind::Number => "a number",
        Kind::String => "a string",
        Kind::Array => "a list",
        Kind::Object => "an object",
    }
}

fn describe(steps: &[Step], item: Item<'_>) -> String {
    let path: String = steps.iter().map(Step::to_string).collect();
    let path = path.strip_prefix('.').unwrap_or(&path);
    let mut out = String::from(if path.is_empty() { "the event" } else { path });
    match item.kind() {
        Kind::Object => {
            let members = item.members();
            out.push_str(if members.is_empty() { " is empty" } else { " has " });
            for (i, (name, _)) in members.iter().take(KEYS_SHOWN).enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                out.extend(name.chars().take(KEY_CHARS).flat_map(char::escape_debug));
            }
            if members.len() > KEYS_SHOWN {
                out.push_str(&format!(" and {} more", members.len() - KEYS_SHOWN));
            }
        }
        Kind::Array => out.push_str(&format!(" is a list of {}", item.elements().count())),
        kind @ (Kind::Null | Kind::Bool | Kind::Number | Kind::String) => {
            out.push_str(" is ");
            out.push_str(kind_name(kind));
        }
    }
    out
}
