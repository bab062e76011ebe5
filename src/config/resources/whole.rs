//! What a map must satisfy as a whole, beyond each of its keys by itself.

use super::check::Checker;
use super::keys::Table;
use crate::model::node::{Kind, Node};

/// Outcomes that may have a wait.
const WAITING: [&str; 2] = ["retry", "throttled"];

impl Checker<'_> {
    /// Checks a map whose keys are fine.
    pub(super) fn whole(&mut self, table: &Table, node: &Node, pointer: &str) {
        match table.noun {
            "response" => self.wait_fits(node, pointer),
            "auth.token.send" => self.token_is_sent(node, pointer),
            "proxy" => self.user_has_password(node, pointer),
            _ => {}
        }
    }

    /// Rule 51: `wait` is for outcomes that come again.
    fn wait_fits(&mut self, node: &Node, pointer: &str) {
        let Some(wait) = node.get("wait") else { return };
        let outcome = node.get("outcome").and_then(Node::as_plain).unwrap_or_default();
        if !WAITING.contains(&outcome) {
            let message = format!("`wait` means nothing beside `outcome: {outcome}`");
            let cure = "leave it out, or write `outcome: retry` or `outcome: throttled`".to_owned();
            self.fault("CONFIG_VALUE", &format!("{pointer}/wait"), &wait.place, message, cure);
        }
    }

    /// A token that goes nowhere would be fetched for nothing.
    fn token_is_sent(&mut self, node: &Node, pointer: &str) {
        let carries = |(_, text): &(_, Node)| match &text.kind {
            Kind::List(pieces) => pieces.iter().any(|piece| matches!(piece.kind, Kind::Null)),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::Map(_) => false,
        };
        let part = |key: &str| node.get(key).map(Node::entries).unwrap_or_default();
        if !part("headers").iter().chain(part("query")).any(carries) {
            let message = "`send` never sends the token".to_owned();
            let cure = "write `headers: {Authorization: \"Bearer ${$token}\"}` or `query: {token: $token}`".to_owned();
            self.fault("CONFIG_VALUE", pointer, &node.place, message, cure);
        }
    }

    fn user_has_password(&mut self, node: &Node, pointer: &str) {
        let (there, missing) = match (node.get("username"), node.get("password")) {
            (Some(_), None) => ("username", "password"),
            (None, Some(_)) => ("password", "username"),
            (Some(_), Some(_)) | (None, None) => return,
        };
        let message = format!("`{there}` stands without `{missing}`");
        self.fault("CONFIG_VALUE", pointer, &node.place, message, format!("write `{missing}: \"${{env:NAME}}\"`"));
    }
}
