//! Vectors over every rule of transforms.md, and laws that hold for any event. This file renders one case.

mod bodies;
mod laws;
mod placing;
mod templates;
mod values;

use super::{Compiled, Fixed, Meta, Spec, compile};
use crate::json::document::Document;
use crate::json::node::node_from_json;
use crate::json::value::Json;
use crate::model::clock::WallMs;
use crate::model::event::{Builder, CloudEvent, Content, Form};
use crate::model::fault::Fault;
use crate::model::node::{Kind, Node};
use crate::model::record::Record;
use crate::model::request::Request;
use crate::model::resources::Dialect;
use crate::model::text::{Masked, ShowText, Text};

/// What most cases read.
const EVENT: &str = r#"{"specversion":"1.0","id":"7","source":"/shop","type":"paid","data":{"user":{"n":"Ann \"A\""},
 "tags":["x","y"],"n":1.10,"big":12345678901234567890123,"exp":1e400,"t":true,"nil":null,"empty":"","lf":"a\nb",
 "inj":"\",\"admin\":true,\"x\":\"","tpl":"${id} ${$.id} $$ <id>","items":[{"s":"A","q":6},{"s":"B","q":1}],
 "c-count":3,"1st":"one","o":{},"arr":[],"url":"a b&c=d/e?%+~*","dot":"..","é":"é"}}"#;

pub(super) fn record(value: &str) -> Record {
    Record::new("t:0:0".parse().unwrap(), None, None, Some(value.as_bytes()), [].into_iter())
}

/// A structured event.
pub(super) fn structured(text: &str) -> CloudEvent {
    let record = record(text);
    let json = Json::check(record.value().unwrap()).unwrap();
    let name = |name| json.get(name).and_then(Json::as_str).unwrap_or_default();
    let mut builder = Builder::new(&record, Form::Structured, &name("id"), &name("source"), &name("type"));
    for (key, value) in json.members().unwrap() {
        builder.member(&key.decode(), Content::Json(value.text()));
    }
    let parts = builder.finish();
    CloudEvent::new(record, parts)
}

/// One case: a target with, beside its own keys, `event`, `endpoint`, `base`, `destination`, `connection` and `dialect`.
struct Case {
    event: String,
    node: Node,
}

/// Why a case gives no request.
#[derive(Debug, PartialEq)]
enum Refused {
    /// The pointers of all faults.
    Load(Vec<String>),
    Event(super::Error),
}

impl Case {
    fn of(text: &str) -> Self {
        let json = Json::check(text.as_bytes()).unwrap_or_else(|e| panic!("{e}: {text}"));
        let event = json.get("event").map_or(EVENT, Json::text).to_owned();
        Self { event, node: node_from_json(json) }
    }

    fn compile(&self) -> Result<Compiled, Vec<Fault>> {
        let plain = |key: &str| self.node.get(key).and_then(Node::as_plain).unwrap_or_default();
        let part = |whole: &str, key: &str| self.node.get(whole).and_then(|node| node.get(key)).cloned();
        let text = |node: &Node| match &node.kind {
            Kind::String(text) => text.clone(),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) | Kind::Map(_) => Text::Plain(node.to_json()),
        };
        let fixed = |key: &str| part("connection", key).map(|node| node.entries().to_vec()).unwrap_or_default();
        let headers: Vec<_> = fixed("headers").iter().map(|(key, node)| (key.name.clone(), text(node))).collect();
        let query: Vec<_> = fixed("query").iter().map(|(key, node)| (key.name.clone(), vec![text(node)])).collect();
        let body: Vec<_> = fixed("body").into_iter().map(|(key, node)| (key.name, node)).collect();
        compile(&Spec {
            path: self.node.get("path"),
            query: self.node.get("query"),
            headers: self.node.get("headers"),
            content_type: self.node.get("content_type"),
            body: self.node.get("body"),
            base_path: plain("base"),
            endpoint: plain("endpoint"),
            hidden: &[],
            destination_headers: part("destination", "headers").as_ref(),
            destination_query: part("destination", "query").as_ref(),
            fixed: Fixed { headers: &headers, query: &query, body: &body, place: Default::default() },
            dialect: if plain("dialect") == "aws" { Dialect::Aws } else { Dialect::Tidegate },
            place: Default::default(),
        })
    }

    fn render(&self, event: &CloudEvent, show: &dyn ShowText) -> Result<Request, Refused> {
        let compiled = self.compile().map_err(|faults| {
            assert!(faults.iter().all(|fault| !fault.message.is_empty() && fault.place.is_some() && !fault.warning));
            Refused::Load(faults.into_iter().map(|fault| fault.pointer).collect())
        })?;
        let received_at = WallMs(1_777_636_800_123);
        let meta = Meta { rule: "r", target: "t", attempt: 2, delivery_id: "d-1", received_at };
        let mut request = Request::default();
        let rendered = compiled.template.render(event, &Document::of(event), &meta, show, &mut request);
        rendered.map(|()| request).map_err(Refused::Event)
    }
}

fn request(case: &str) -> Result<Request, Refused> {
    let case = Case::of(case);
    case.render(&structured(&case.event), &Masked)
}

/// The request as text: content type, other headers, path and query, body.
fn show(case: &str) -> String {
    match request(case) {
        Ok(request) => {
            let mut out = request.headers.get("content-type").unwrap_or("-").to_owned();
            for (name, value) in request.headers.iter().filter(|(name, _)| *name != "content-type") {
                out.push_str(&format!(" {name}={value}"));
            }
            format!("{out} {} {}", request.target(), String::from_utf8_lossy(&request.body))
        }
        Err(Refused::Load(pointers)) => format!("LOAD {}", pointers.join(" ")),
        Err(Refused::Event(error)) => error.code().to_owned(),
    }
}

/// The body alone, or why there is none.
fn body(case: &str) -> String {
    match request(case) {
        Ok(request) => String::from_utf8_lossy(&request.body).into_owned(),
        Err(_) => show(case),
    }
}

/// What a written value gives inside `json`.
fn value(written: &str) -> String {
    let got = body(&format!(r#"{{"body":{{"json":{{"v":{written}}}}}}}"#));
    got.strip_prefix("{\"v\":").and_then(|rest| rest.strip_suffix('}')).map_or(got.clone(), str::to_owned)
}

#[test]
fn a_template_is_shared_by_workers() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&Case::of("{}").compile().unwrap().template);
}
