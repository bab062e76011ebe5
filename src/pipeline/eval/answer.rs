//! Writes the answer to a line: one JSON object, its members in a fixed order.

use crate::json::value::Json;
use crate::model::fault::Fault;
use crate::model::node::write_json_string;
use std::fmt::Write as _;

/// A JSON object that is being written.
#[derive(Debug)]
pub(super) struct Answer<'o> {
    out: &'o mut String,
    empty: bool,
}

impl<'o> Answer<'o> {
    /// Begins with the id as the line spells it, if it has one.
    pub(super) fn begin(id: Option<Json<'_>>, out: &'o mut String) -> Self {
        out.push('{');
        let mut this = Self { out, empty: true };
        if let Some(id) = id {
            this.raw("id", id.text());
        }
        this
    }

    pub(super) fn end(self) {
        self.out.push('}');
    }

    fn name(&mut self, name: &str) -> &mut String {
        if !self.empty {
            self.out.push(',');
        }
        self.empty = false;
        write_json_string(name, self.out);
        self.out.push(':');
        self.out
    }

    /// A member that is JSON already.
    pub(super) fn raw(&mut self, name: &str, json: &str) {
        self.name(name).push_str(json);
    }

    /// A member that is a string.
    pub(super) fn text(&mut self, name: &str, text: &str) {
        write_json_string(text, self.name(name));
    }

    /// A member that is a list of strings.
    pub(super) fn texts<'t>(&mut self, name: &str, texts: impl Iterator<Item = &'t str>) {
        let out = self.name(name);
        let mut separator = '[';
        for text in texts {
            out.push(separator);
            write_json_string(text, out);
            separator = ',';
        }
        out.push_str(if separator == '[' { "[]" } else { "]" });
    }

    /// A member that is an object.
    pub(super) fn object(&mut self, name: &str, write: impl FnOnce(&mut Answer<'_>)) {
        let out = self.name(name);
        out.push('{');
        let mut inner = Answer { out, empty: true };
        write(&mut inner);
        inner.end();
    }

    /// Seconds, with a fraction only if there is one.
    pub(super) fn seconds(&mut self, name: &str, wait: std::time::Duration) {
        let out = self.name(name);
        // Writing to a string cannot fail.
        let written = if wait.subsec_nanos() == 0 {
            write!(out, "{}", wait.as_secs())
        } else {
            write!(out, "{}", wait.as_secs_f64())
        };
        debug_assert!(written.is_ok());
    }

    /// `errors`: pointer, code and message with the cure, for each.
    pub(super) fn errors<'f>(&mut self, faults: impl Iterator<Item = &'f Fault>) {
        let out = self.name("errors");
        let mut separator = '[';
        for fault in faults {
            out.push(separator);
            out.push('{');
            let mut one = Answer { out, empty: true };
            one.text("pointer", &fault.pointer);
            one.text("code", fault.code);
            if fault.cure.is_empty() {
                one.text("message", &fault.message);
            } else {
                one.text("message", &format!("{}; {}", fault.message, fault.cure));
            }
            one.end();
            separator = ',';
        }
        out.push_str(if separator == '[' { "[]" } else { "]" });
    }
}
