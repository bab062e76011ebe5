//! Operator objects and their operands (event-patterns.md rules 12–22, 31).

use super::amount::Amount;
use super::compile::{Compiler, child, describe};
use super::fold::Folded;
use super::leaves;
use super::matcher::{Comparison, Scalar, Test};
use super::meant;
use super::needle::Needle;
use super::network::Range;
use super::wildcard::Wildcard;
use crate::json::number::{Number, is_float};
use crate::json::value::{Json, Kind};
use crate::model::resources::Dialect;
use smallvec::SmallVec;
use std::cmp::Ordering;

/// All operators of the `tidegate` dialect.
const OPERATORS: [&str; 10] = [
    "exactly",
    "prefix",
    "suffix",
    "equals-ignore-case",
    "wildcard",
    "anything-but",
    "numeric",
    "cidr",
    "exists",
    "contains",
];

/// Those inside `anything-but`.
const EXCLUDING: [&str; 7] = ["prefix", "suffix", "equals-ignore-case", "wildcard", "contains", "cidr", "numeric"];

/// What an operator object asks for.
pub(super) enum Found {
    /// `exists: false`
    Absent,
    Test(Test),
}

impl Compiler<'_> {
    /// The operators of a dialect.
    pub(super) fn operators(dialect: Dialect) -> &'static [&'static str] {
        match dialect {
            Dialect::Tidegate => &OPERATORS,
            Dialect::Aws => OPERATORS.strip_suffix(&["contains"]).unwrap_or(&OPERATORS),
        }
    }

    /// Reads `{"prefix": "a", …}`; `None` if something in it is wrong.
    pub(super) fn operator_object(&mut self, object: Json<'_>, pointer: &str) -> Option<Found> {
        let faults = self.faults.len();
        let members = self.members(object, pointer);
        let allowed = Self::operators(self.options.dialect);
        if members.is_empty() {
            let message = format!("an empty object is no matcher; allowed are {}", list(allowed));
            self.fault("PATTERN_MATCHER", pointer, message, "name an operator: {\"prefix\": \"a\"}");
        }
        if members.len() > 1 && self.is_aws() {
            let message = format!("{} operators in one object; `dialect: aws` allows one", members.len());
            self.fault("PATTERN_DIALECT", pointer, message, "leave out `dialect: aws`, or keep one operator");
        }
        let mut absent = false;
        let mut tests = Vec::new();
        for (name, operand) in &members {
            let at = child(pointer, name);
            if name == "exists" {
                match leaves::scalar(*operand) {
                    Scalar::Bool(true) => tests.push(Test::Any),
                    Scalar::Bool(false) if members.len() == 1 => absent = true,
                    Scalar::Bool(_) => {
                        let message = "`exists: false` cannot be combined: an absent field has no value";
                        self.fault(
                            "PATTERN_OPERAND",
                            &at,
                            message,
                            "give it an object of its own in the list: {\"exists\": false}",
                        );
                    }
                    Scalar::Null | Scalar::Number(_) | Scalar::Text(_) => {
                        let message = format!("`exists` takes true or false, not {}", describe(*operand));
                        self.fault("PATTERN_OPERAND", &at, message, meant::exists_operand(*operand));
                    }
                }
            } else if allowed.contains(&&**name) {
                tests.extend(self.operator(name, *operand, &at));
            } else {
                self.unknown((name, *operand), &at, allowed, None);
            }
        }
        if self.faults.len() > faults {
            return None;
        }
        if absent {
            return Some(Found::Absent);
        }
        Some(Found::Test(match tests.len() {
            1 => tests.pop()?,
            _ => Test::All(tests.into()),
        }))
    }

    fn operator(&mut self, name: &str, operand: Json<'_>, pointer: &str) -> Option<Test> {
        match name {
            "anything-but" => self.anything_but(operand, pointer),
            "numeric" => self.numeric(operand, pointer),
            "prefix" | "suffix" if operand.kind() == Kind::Object => {
                let folded = self.ignoring_case(name, operand, pointer)?;
                Some(if name == "prefix" { Test::PrefixFolded(folded) } else { Test::SuffixFolded(folded) })
            }
            _ => self.string_test(name, operand, pointer),
        }
    }

    /// The object of `{"prefix": {"equals-ignore-case": "a"}}`.
    fn ignoring_case(&mut self, outer: &str, object: Json<'_>, pointer: &str) -> Option<Box<Folded>> {
        let allowed = ["equals-ignore-case"];
        let members = self.members(object, pointer);
        let mut folded = None;
        for (name, operand) in &members {
            let at = child(pointer, name);
            if name == "equals-ignore-case" {
                folded = self.string(name, *operand, &at).map(|text| self.folded(&text));
            } else {
                self.unknown((name, *operand), &at, &allowed, Some(outer));
                folded = None;
            }
        }
        if members.is_empty() || (members.len() > 1 && self.is_aws()) {
            let message = format!("`{outer}` takes a string or exactly one `equals-ignore-case`");
            self.fault("PATTERN_OPERAND", pointer, message, format!("write {{\"{outer}\": \"a\"}}"));
            return None;
        }
        folded
    }

    /// Every operator whose operand is one string.
    fn string_test(&mut self, name: &str, operand: Json<'_>, pointer: &str) -> Option<Test> {
        let text = self.string(name, operand, pointer)?;
        match name {
            "prefix" => Some(Test::Prefix(text.into())),
            "suffix" => Some(Test::Suffix(text.into())),
            "contains" => Some(Test::Contains(Box::new(Needle::new(&text)))),
            "equals-ignore-case" => Some(Test::EqualsFolded(self.folded(&text))),
            "wildcard" => match Wildcard::parse(&text) {
                Ok(wildcard) => Some(Test::Wildcard(Box::new(wildcard))),
                Err(why) => {
                    let message = format!("the wildcard {} {why}", operand.text());
                    self.fault("PATTERN_OPERAND", pointer, message, meant::wildcard(&text));
                    None
                }
            },
            "cidr" => {
                let range = Range::parse(&text, self.options.dialect);
                if range.is_none() {
                    let (why, cure) = meant::network(&text, self.is_aws());
                    let message = format!("{} is no network: {why}", describe(operand));
                    self.fault("PATTERN_OPERAND", pointer, message, cure);
                }
                range.map(Test::Cidr)
            }
            _ => Some(Test::Text(text.into())),
        }
    }

    fn string(&mut self, name: &str, operand: Json<'_>, pointer: &str) -> Option<String> {
        let text = operand.as_str();
        if text.is_none() {
            let message = format!("`{name}` takes a string, not {}", describe(operand));
            self.fault("PATTERN_OPERAND", pointer, message, meant::string_operand(name, operand));
        }
        text.map(std::borrow::Cow::into_owned)
    }

    fn folded(&self, operand: &str) -> Box<Folded> {
        Box::new(match self.options.dialect {
            Dialect::Tidegate => Folded::tidegate(operand),
            Dialect::Aws => Folded::aws(operand),
        })
    }

    fn anything_but(&mut self, operand: Json<'_>, pointer: &str) -> Option<Test> {
        let faults = self.faults.len();
        let excluded = match operand.kind() {
            Kind::Object => self.excluding_operator(operand, pointer),
            Kind::Array => {
                let items = self.items("anything-but", operand, pointer)?;
                if self.is_aws() && !one_type(&items) {
                    let message = "`dialect: aws` wants all strings or all numbers in an `anything-but` list";
                    self.fault("PATTERN_DIALECT", pointer, message, "leave out `dialect: aws`");
                }
                let items = items.into_iter().enumerate();
                items.filter_map(|(i, item)| self.excluded_value(item, &format!("{pointer}/{i}"))).collect()
            }
            Kind::Null | Kind::Bool | Kind::Number | Kind::String => {
                self.excluded_value(operand, pointer).into_iter().collect()
            }
        };
        (self.faults.len() == faults).then(|| Test::Not(excluded.into()))
    }

    fn excluded_value(&mut self, value: Json<'_>, pointer: &str) -> Option<Test> {
        let aws = self.is_aws();
        match value.kind() {
            Kind::String => value.as_str().map(|text| Test::Text(text.into_owned().into())),
            Kind::Number if !aws || is_float(value.text()) => Some(Test::number(value.text(), self.options.dialect)),
            Kind::Null if !aws => Some(Test::Null),
            Kind::Bool if !aws => Some(Test::Bool(value.text() == "true")),
            Kind::Null | Kind::Bool | Kind::Number => {
                let message = format!("`dialect: aws` does not take {} in `anything-but`", value.text());
                self.fault("PATTERN_DIALECT", pointer, message, "leave out `dialect: aws`");
                None
            }
            Kind::Array | Kind::Object => {
                let message = format!(
                    "`anything-but` takes strings, numbers, true, false and null here, not {}",
                    describe(value)
                );
                self.fault("PATTERN_OPERAND", pointer, message, meant::excluded_value(value));
                None
            }
        }
    }

    fn excluding_operator(&mut self, object: Json<'_>, pointer: &str) -> Vec<Test> {
        let allowed = match self.options.dialect {
            Dialect::Tidegate => &EXCLUDING[..],
            Dialect::Aws => EXCLUDING.get(..4).unwrap_or_default(),
        };
        let members = self.members(object, pointer);
        let [(name, operand)] = members.as_slice() else {
            let message = format!(
                "`anything-but` takes exactly one operator, not {}; allowed are {}",
                members.len(),
                list(allowed)
            );
            self.fault("PATTERN_OPERAND", pointer, message, meant::several_excluded(&members));
            return Vec::new();
        };
        let at = child(pointer, name);
        if !allowed.contains(&&**name) {
            self.unknown((name, *operand), &at, allowed, Some("anything-but"));
            return Vec::new();
        }
        if name == "numeric" {
            return self.numeric(*operand, &at).into_iter().collect();
        }
        if !self.or_is_special && (name == "wildcard" || (name.ends_with("fix") && operand.kind() == Kind::Array)) {
            // AWS's engine reads a pattern whose `$or` is an ordinary field with its older compiler.
            let message = "where a `$or` is an ordinary field, `dialect: aws` takes neither `wildcard` nor a list of \
                           `prefix` or `suffix` in `anything-but`";
            self.fault("PATTERN_DIALECT", &at, message, "leave out `dialect: aws`, or the field `$or`");
            return Vec::new();
        }
        if operand.kind() != Kind::Array {
            return self.excluded_string(name, *operand, &at).into_iter().collect();
        }
        let items = self.items(name, *operand, &at).unwrap_or_default().into_iter().enumerate();
        items.filter_map(|(i, item)| self.excluded_string(name, item, &format!("{at}/{i}"))).collect()
    }

    fn excluded_string(&mut self, name: &str, operand: Json<'_>, pointer: &str) -> Option<Test> {
        if matches!(name, "prefix" | "suffix" | "contains") && operand.as_str().is_some_and(|text| text.is_empty()) {
            let message = format!("`{name}` may not be empty in `anything-but`: it would exclude every string");
            self.fault("PATTERN_OPERAND", pointer, message, "name what is excluded");
            return None;
        }
        self.string_test(name, operand, pointer)
    }

    /// The items of a list in `anything-but`.
    fn items<'a>(&mut self, name: &str, operand: Json<'a>, pointer: &str) -> Option<Vec<Json<'a>>> {
        let limit = self.options.limits.values;
        let items: Vec<Json<'a>> = operand.elements().into_iter().flatten().collect();
        if items.is_empty() {
            let message = format!("`{name}` has an empty list");
            self.fault("PATTERN_OPERAND", pointer, message, "name what is excluded");
            return None;
        }
        if items.len() > limit {
            let message = format!("`{name}` has {} values; {limit} are allowed", items.len());
            self.fault("PATTERN_MATCHERS", pointer, message, "exclude by `prefix`, `suffix` or `wildcard` instead");
            return None;
        }
        Some(items)
    }

    fn numeric(&mut self, operand: Json<'_>, pointer: &str) -> Option<Test> {
        let aws = self.is_aws();
        let items: Vec<Json<'_>> = operand.elements().into_iter().flatten().collect();
        if !matches!(items.len(), 2 | 4) {
            let found = match operand.kind() {
                Kind::Array => format!("a list of {}", items.len()),
                Kind::Null | Kind::Bool | Kind::Number | Kind::String | Kind::Object => describe(operand),
            };
            let message =
                format!("`numeric` takes a list of a comparison and a number, or of two of each, not {found}");
            self.fault("PATTERN_OPERAND", pointer, message, meant::numeric_operand(operand));
            return None;
        }
        let mut bounds: SmallVec<[(Comparison, &str); 2]> = SmallVec::new();
        for (i, pair) in items.chunks_exact(2).enumerate() {
            let [written, number] = pair else { continue };
            let text = written.as_str().unwrap_or_default();
            let known = Comparison::ALL.into_iter().filter(|comparison| !aws || *comparison != Comparison::NotEqual);
            let comparison = known.clone().find(|comparison| comparison.sign() == text);
            if comparison.is_none() {
                let names: Vec<&str> = known.map(Comparison::sign).collect();
                let message = format!("{} is no comparison; allowed are {}", describe(*written), list(&names));
                let cure = match meant::comparison(&text).filter(|sign| names.contains(sign)) {
                    Some(sign) => format!("write `{sign}`"),
                    None if text == "!=" => format!("write {{\"anything-but\": {}}}", number.text()),
                    None => meant::numeric_operand(operand),
                };
                self.fault("PATTERN_OPERAND", &format!("{pointer}/{}", 2 * i), message, cure);
            }
            let at = format!("{pointer}/{}", 2 * i + 1);
            if number.kind() != Kind::Number {
                let message = format!("`numeric` compares with a number, not {}", describe(*number));
                self.fault("PATTERN_OPERAND", &at, message, meant::numeric_operand(operand));
            } else if aws && !is_float(number.text()) {
                let message = format!("`dialect: aws` cannot compare {}: no 64-bit float holds it", number.text());
                self.fault("PATTERN_DIALECT", &at, message, "leave out `dialect: aws`");
            } else if let Some(comparison) = comparison {
                bounds.push((comparison, number.text()));
            }
        }
        if 2 * bounds.len() != items.len() {
            return None;
        }
        if let [first, second] = bounds.as_slice() {
            self.range(first, second, pointer)?;
        }
        let tests = bounds.into_iter().map(|(comparison, bound)| Test::Numeric {
            comparison,
            floats_only: aws,
            bound: Amount::of(bound),
        });
        let mut tests: Vec<Test> = tests.collect();
        match tests.len() {
            1 => tests.pop(),
            _ => Some(Test::All(tests.into())),
        }
    }

    /// Whether two comparisons are a lower and an upper bound with something between them.
    fn range(&mut self, first: &(Comparison, &str), second: &(Comparison, &str), pointer: &str) -> Option<()> {
        let aws = self.is_aws();
        let (lower, upper) = if second.0.is_lower() && !aws { (second, first) } else { (first, second) };
        let ((low_sign, low), (high_sign, high)) = ((lower.0.sign(), lower.1), (upper.0.sign(), upper.1));
        let one = |(comparison, number): &(Comparison, &str)| {
            format!("{{\"numeric\": [\"{}\", {number}]}}", comparison.sign())
        };
        let apart = format!("[{}, {}]", one(first), one(second));
        if !(lower.0.is_lower() && upper.0.is_upper()) {
            let message = if aws {
                "`dialect: aws` wants a lower bound (`>`, `>=`), then an upper one (`<`, `<=`)"
            } else {
                "two comparisons are one lower bound (`>`, `>=`) and one upper bound (`<`, `<=`)"
            };
            let cure = if upper.0.is_lower() && lower.0.is_upper() {
                format!("write {{\"numeric\": [\"{high_sign}\", {high}, \"{low_sign}\", {low}]}}")
            } else {
                format!("keep one; for either of them write two matchers: {apart}")
            };
            self.fault("PATTERN_OPERAND", pointer, message, cure);
            return None;
        }
        let some = match Number::of(lower.1).compare(&Number::of(upper.1)) {
            Ordering::Less => true,
            Ordering::Equal => !aws && lower.0.is_inclusive() && upper.0.is_inclusive(),
            Ordering::Greater => false,
        };
        if !some {
            let message = format!("no number is {low_sign} {low} and {high_sign} {high}");
            let cure = format!("for either of them, write two matchers: {apart}");
            self.fault("PATTERN_OPERAND", pointer, message, cure);
            return None;
        }
        Some(())
    }

    /// Reports an operator that does not belong here, or not into `outer`.
    fn unknown(
        &mut self,
        (name, operand): (&str, Json<'_>),
        pointer: &str,
        allowed: &[&'static str],
        outer: Option<&str>,
    ) {
        let why = outer.map_or_else(|| "no operator".to_owned(), |outer| format!("not allowed in `{outer}`"));
        let verb = if allowed.len() == 1 { "is" } else { "are" };
        let message = format!("`{name}` is {why}; allowed {verb} {}", list(allowed));
        self.fault("PATTERN_OPERATOR", pointer, message, meant::operator(name, operand, allowed, outer));
    }
}

/// Whether a list is all strings or all numbers, as far as it is scalars.
fn one_type(items: &[Json<'_>]) -> bool {
    let has = |kind| items.iter().any(|item| item.kind() == kind);
    !(has(Kind::String) && has(Kind::Number))
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
