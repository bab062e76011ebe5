//! Whether a pattern is valid, as the words of event-patterns.md rules 5, 7–12 and 14–22 and the table of rule 31 say it.

use super::scalar::{has_room, is_float, network, wildcard};
use super::{Tree, is_special};
use crate::model::resources::Dialect;

/// The pointers of all faults. In `aws` they need not be exact: only whether there is one counts.
pub(super) fn faults(pattern: &Tree, dialect: Dialect, all_or_qualify: bool) -> Vec<String> {
    let mut faults = Faults { dialect, all_or_qualify, pointers: Vec::new() };
    if *pattern == Tree::Object(Vec::new()) {
        faults.aws_refuses(true, "");
    } else {
        faults.object(pattern, "", 1);
    }
    faults.pointers
}

struct Faults {
    dialect: Dialect,
    all_or_qualify: bool,
    pointers: Vec<String>,
}

fn under(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

impl Faults {
    fn is_aws(&self) -> bool {
        self.dialect == Dialect::Aws
    }

    fn at(&mut self, wrong: bool, pointer: &str) {
        if wrong {
            self.pointers.push(pointer.to_owned());
        }
    }

    fn aws_refuses(&mut self, wrong: bool, pointer: &str) {
        let wrong = wrong && self.is_aws();
        self.at(wrong, pointer);
    }

    /// The members that are looked at: all in `aws`, where each is read; else the last of each key.
    fn members<'t>(&mut self, members: &'t [(String, Tree)], pointer: &str) -> Vec<&'t (String, Tree)> {
        if self.is_aws() {
            return members.iter().collect();
        }
        let count = |key: &str| members.iter().filter(|(other, _)| other == key).count();
        let last = |i: usize, key: &str| !members[i + 1..].iter().any(|(other, _)| other == key);
        let kept: Vec<_> = members.iter().enumerate().filter(|(i, (key, _))| last(*i, key)).map(|(_, m)| m).collect();
        for (key, _) in &kept {
            self.at(count(key) > 1, &under(pointer, key));
        }
        kept
    }

    fn object(&mut self, object: &Tree, pointer: &str, depth: usize) {
        let Tree::Object(members) = object else { panic!("{object:?}") };
        if members.is_empty() || depth > 32 {
            return self.at(true, pointer);
        }
        for (key, value) in self.members(members, pointer) {
            let here = under(pointer, key);
            match value {
                Tree::Object(_) => self.object(value, &here, depth + 1),
                Tree::Array(branches) if is_special(key, value, self.dialect) && self.all_or_qualify => {
                    for (i, branch) in branches.iter().enumerate() {
                        self.object(branch, &format!("{here}/{i}"), depth + 1);
                    }
                }
                Tree::Array(matchers) if matchers.is_empty() || matchers.len() > 1_000 => self.at(true, &here),
                Tree::Array(matchers) => {
                    for (i, matcher) in matchers.iter().enumerate() {
                        self.matcher(matcher, &format!("{here}/{i}"));
                    }
                }
                Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) => self.aws_refuses(true, &here),
            }
        }
    }

    fn matcher(&mut self, matcher: &Tree, pointer: &str) {
        let operators = match matcher {
            Tree::Object(operators) => operators,
            Tree::Array(_) => return self.at(true, pointer),
            Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) => return,
        };
        self.at(operators.is_empty(), pointer);
        self.aws_refuses(operators.len() > 1, pointer);
        let operators = self.members(operators, pointer);
        for (name, operand) in &operators {
            let here = under(pointer, name);
            match name.as_str() {
                "exists" => {
                    let combined = *operand == Tree::Bool(false) && operators.len() > 1;
                    self.at(combined || !matches!(operand, Tree::Bool(_)), &here);
                }
                "prefix" | "suffix" => self.text_or_ignoring_case(operand, &here),
                "equals-ignore-case" | "exactly" => self.at(!matches!(operand, Tree::Text(_)), &here),
                "contains" if !self.is_aws() => self.at(!matches!(operand, Tree::Text(_)), &here),
                "wildcard" | "cidr" => self.text(name, operand, &here),
                "numeric" => self.numeric(operand, &here),
                "anything-but" => self.anything_but(operand, &here),
                _ => self.at(true, &here),
            }
        }
    }

    fn text(&mut self, name: &str, operand: &Tree, pointer: &str) {
        let valid = match (name, operand) {
            ("wildcard", Tree::Text(text)) => wildcard(text).is_some(),
            ("cidr", Tree::Text(text)) => network(text, self.dialect).is_some(),
            (_, Tree::Text(_)) => true,
            _ => false,
        };
        self.at(!valid, pointer);
    }

    fn text_or_ignoring_case(&mut self, operand: &Tree, pointer: &str) {
        let members = match operand {
            Tree::Object(members) if !members.is_empty() => members,
            Tree::Text(_) => return,
            Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Array(_) | Tree::Object(_) => {
                return self.at(true, pointer);
            }
        };
        self.aws_refuses(members.len() > 1, pointer);
        for (name, operand) in self.members(members, pointer) {
            let wrong = name != "equals-ignore-case" || !matches!(operand, Tree::Text(_));
            self.at(wrong, &under(pointer, name));
        }
    }

    fn numeric(&mut self, operand: &Tree, pointer: &str) {
        let Tree::Array(items) = operand else { return self.at(true, pointer) };
        if items.len() != 2 && items.len() != 4 {
            return self.at(true, pointer);
        }
        let before = self.pointers.len();
        for (i, item) in items.iter().enumerate() {
            let valid = match (i % 2, item) {
                (0, Tree::Text(text)) => {
                    matches!(text.as_str(), "=" | "<" | "<=" | ">" | ">=") || (text == "!=" && !self.is_aws())
                }
                (1, Tree::Number(text)) => !self.is_aws() || is_float(text),
                _ => false,
            };
            self.at(!valid, &format!("{pointer}/{i}"));
        }
        if self.pointers.len() > before {
            return;
        }
        if let [Tree::Text(first), Tree::Number(a), Tree::Text(second), Tree::Number(b)] = items.as_slice() {
            let lower = |name: &str| name == ">" || name == ">=";
            let upper = |name: &str| name == "<" || name == "<=";
            let valid = if lower(first) && upper(second) {
                has_room((first, a), (second, b), self.dialect)
            } else {
                upper(first) && lower(second) && !self.is_aws() && has_room((second, b), (first, a), self.dialect)
            };
            self.at(!valid, pointer);
        }
    }

    fn anything_but(&mut self, operand: &Tree, pointer: &str) {
        match operand {
            Tree::Array(list) if list.is_empty() || list.len() > 1_000 => self.at(true, pointer),
            Tree::Array(list) => {
                let texts = list.iter().filter(|item| matches!(item, Tree::Text(_))).count();
                self.aws_refuses(texts > 0 && texts < list.len(), pointer);
                for (i, item) in list.iter().enumerate() {
                    self.excluded(item, &format!("{pointer}/{i}"));
                }
            }
            Tree::Object(members) => {
                self.aws_refuses(members.len() > 1, pointer);
                let members = self.members(members, pointer);
                let [(name, operand)] = members.as_slice() else { return self.at(true, pointer) };
                self.excluding(name, operand, &under(pointer, name));
            }
            Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) => self.excluded(operand, pointer),
        }
    }

    fn excluded(&mut self, value: &Tree, pointer: &str) {
        let valid = match value {
            Tree::Text(_) => true,
            Tree::Number(text) => !self.is_aws() || is_float(text),
            Tree::Null | Tree::Bool(_) => !self.is_aws(),
            Tree::Array(_) | Tree::Object(_) => false,
        };
        self.at(!valid, pointer);
    }

    fn excluding(&mut self, name: &str, operand: &Tree, pointer: &str) {
        match name {
            "prefix" | "suffix" | "equals-ignore-case" | "wildcard" => {}
            "contains" | "cidr" | "numeric" if !self.is_aws() => {}
            _ => return self.at(true, pointer),
        }
        // AWS's older compiler, which takes over where a `$or` does not qualify, knows only one text here.
        let older = name == "wildcard" || (name != "equals-ignore-case" && matches!(operand, Tree::Array(_)));
        self.aws_refuses(older && !self.all_or_qualify, pointer);
        match (name, operand) {
            ("numeric", _) => self.numeric(operand, pointer),
            (_, Tree::Array(list)) if list.is_empty() || list.len() > 1_000 => self.at(true, pointer),
            (_, Tree::Array(list)) => {
                for (i, item) in list.iter().enumerate() {
                    self.excluding_text(name, item, &format!("{pointer}/{i}"));
                }
            }
            _ => self.excluding_text(name, operand, pointer),
        }
    }

    fn excluding_text(&mut self, name: &str, operand: &Tree, pointer: &str) {
        if *operand == Tree::Text(String::new()) && matches!(name, "prefix" | "suffix" | "contains") {
            return self.at(true, pointer);
        }
        self.text(name, operand, pointer);
    }
}
