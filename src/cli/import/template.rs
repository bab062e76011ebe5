//! Templates of AWS `CloudFormation` and Alibaba ROS: their resources, with every function resolved that needs no
//! deployment: references to parameters with a value, `Fn::Sub`, `Fn::Join`.
//!
//! A parameter with `NoEcho` is never resolved: it is a secret.

use super::draft::{entry, list, map, one, text};
use super::given::{self, find, plain};
use crate::model::node::{Kind, Node};
use std::collections::HashMap;

/// A resource of a template.
#[derive(Debug)]
pub(super) struct Resource {
    /// Its logical id.
    pub(super) id: String,
    /// Its type, such as `AWS::Events::Rule`.
    pub(super) of: String,
    /// Its properties.
    pub(super) properties: Node,
    /// The condition under which it exists.
    pub(super) condition: Option<String>,
}

/// Whether this is a template.
pub(super) fn is_template(node: &Node) -> bool {
    node.get("Resources").is_some_and(|resources| resources.entries().iter().any(|(_, r)| plain(r, "Type").is_some()))
}

/// The resources of a template; `values` are those of parameters, and win over defaults.
pub(super) fn resources(template: &Node, values: &HashMap<String, String>) -> Vec<Resource> {
    let mut known = values.clone();
    for (key, parameter) in template.get("Parameters").map(Node::entries).unwrap_or_default() {
        if given::flag(parameter, "NoEcho") {
            known.remove(&key.name);
        } else if let Some(default) = plain(parameter, "Default") {
            known.entry(key.name.clone()).or_insert(default);
        }
    }
    let written = template.get("Resources").map(Node::entries).unwrap_or_default();
    let resource = |(key, node): &(crate::model::node::Key, Node)| {
        Some(Resource {
            id: key.name.clone(),
            of: plain(node, "Type")?,
            properties: find(node, "Properties").map_or_else(|| map(Vec::new()), |node| resolve(node, &known)),
            condition: plain(node, "Condition"),
        })
    };
    written.iter().filter_map(resource).collect()
}

fn resolve(node: &Node, known: &HashMap<String, String>) -> Node {
    if let Some((name, argument)) = given::function(node) {
        return Node { place: node.place.clone(), ..call(name, argument, known) };
    }
    let kind = match &node.kind {
        Kind::List(items) => {
            Kind::List(items.iter().filter(|item| !is_no_value(item)).map(|item| resolve(item, known)).collect())
        }
        Kind::Map(entries) => {
            let kept = entries.iter().filter(|(_, value)| !is_no_value(value));
            Kind::Map(kept.map(|(key, value)| (key.clone(), resolve(value, known))).collect())
        }
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => node.kind.clone(),
    };
    Node { kind, place: node.place.clone() }
}

fn is_no_value(node: &Node) -> bool {
    given::referred(node) == Some("AWS::NoValue")
}

/// The value of a function, or the function with what could be resolved in it.
fn call(name: &str, argument: &Node, known: &HashMap<String, String>) -> Node {
    let argument = resolve(argument, known);
    let resolved = match name {
        "Ref" => argument.as_plain().and_then(|parameter| known.get(parameter)).map(text),
        "Fn::GetAtt" => {
            argument.as_plain().and_then(|path| path.split_once('.')).map(|(id, attribute)| attribute_of(id, attribute))
        }
        "Fn::Sub" => sub(&argument, known),
        "Fn::Join" => join(&argument),
        _ => None,
    };
    resolved.unwrap_or_else(|| one(name, argument))
}

fn attribute_of(id: &str, attribute: &str) -> Node {
    one("Fn::GetAtt", list(vec![text(id), text(attribute)]))
}

fn join(argument: &Node) -> Option<Node> {
    let [delimiter, parts] = given::elements(argument) else { return None };
    let parts: Option<Vec<String>> =
        given::elements(parts).iter().map(|part| given::of(part)?.known().map(str::to_owned)).collect();
    Some(text(parts?.join(delimiter.as_plain()?)))
}

/// `Fn::Sub` with its variables, then parameters, put in; `${!x}` is a literal `${x}`.
fn sub(argument: &Node, known: &HashMap<String, String>) -> Option<Node> {
    let (template, variables) = match given::elements(argument) {
        [template, variables] => (template.as_plain()?, Some(variables)),
        _ => (argument.as_plain()?, None),
    };
    let value = |name: &str| {
        let own = variables.and_then(|variables| variables.get(name));
        own.and_then(|own| given::of(own)?.known().map(str::to_owned)).or_else(|| known.get(name).cloned())
    };
    let (mut out, mut rest, mut open) = (String::new(), template, false);
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let Some((name, behind)) = after.split_once('}') else {
            out.push_str("${");
            rest = after;
            continue;
        };
        rest = behind;
        match (name.strip_prefix('!'), value(name)) {
            (Some(literal), _) => out.push_str(&format!("${{{literal}}}")),
            (None, Some(value)) => out.push_str(&value),
            (None, None) => {
                // The whole text is one reference to a resource.
                if template.len() == name.len() + 3 {
                    return Some(match name.split_once('.') {
                        Some((id, attribute)) => attribute_of(id, attribute),
                        None => map(vec![entry("Ref", text(name))]),
                    });
                }
                open = true;
                out.push_str(&format!("${{{name}}}"));
            }
        }
    }
    out.push_str(rest);
    Some(if open { one("Fn::Sub", text(out)) } else { text(out) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml::{self, Tags};

    #[test]
    fn functions_are_resolved_as_far_as_the_template_tells() {
        let written = "\
Parameters:
  Stage: {Type: String, Default: prod}
  Key: {Type: String, NoEcho: true, Default: hunter2}
Resources:
  A:
    Type: AWS::Events::Rule
    Condition: IsProd
    Properties:
      ref: !Ref Stage
      secret: !Ref Key
      arn: !GetAtt Dest.Arn
      sub: !Sub 'x-${Stage}-${!lit}'
      open: !Sub '${Stage}.${AWS::Region}'
      alone: !Sub '${Dest.Arn}'
      own: !Sub ['${a}/${Stage}', {a: !Ref Stage}]
      join: !Join ['-', [a, !Ref Stage]]
      none: !Ref AWS::NoValue
      pattern: {Ref: [x], detail: [!Ref Stage]}
";
        let mut faults = Vec::new();
        let nodes = yaml::read_with(&"t.yaml".into(), written, Tags::Functions, &mut faults);
        assert!(faults.is_empty(), "{faults:?}");
        assert!(is_template(&nodes[0]));
        let found = resources(&nodes[0], &HashMap::new());
        assert_eq!((found[0].id.as_str(), found[0].condition.as_deref()), ("A", Some("IsProd")));
        assert_eq!(
            found[0].properties.to_json(),
            r#"{"ref":"prod","secret":{"Ref":"Key"},"arn":{"Fn::GetAtt":["Dest","Arn"]},"sub":"x-prod-${lit}","open":{"Fn::Sub":"prod.${AWS::Region}"},"alone":{"Fn::GetAtt":["Dest","Arn"]},"own":"prod/prod","join":"a-prod","pattern":{"Ref":["x"],"detail":["prod"]}}"#
        );
        let values =
            HashMap::from([("Stage".to_owned(), "dev".to_owned()), ("AWS::Region".to_owned(), "eu".to_owned())]);
        let found = resources(&nodes[0], &values);
        assert_eq!(plain(&found[0].properties, "open").as_deref(), Some("dev.eu"));
    }
}
