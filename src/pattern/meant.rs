//! What was probably meant: the cures of faults in patterns, made of what was written.

use super::compile::describe;
use crate::json::value::{Json, Kind};
use crate::model::nearest::nearest;
use std::borrow::Cow;
use std::net::IpAddr;

/// Values of people are repeated up to this many characters.
const REPEATED_CHARS: usize = 80;

/// What people write for an operator of ours, in lower case and without punctuation.
const OTHER_NAMES: [(&str, &str); 26] = [
    ("startswith", "prefix"),
    ("beginswith", "prefix"),
    ("begins", "prefix"),
    ("starts", "prefix"),
    ("endswith", "suffix"),
    ("ends", "suffix"),
    ("not", "anything-but"),
    ("notequals", "anything-but"),
    ("notequal", "anything-but"),
    ("notin", "anything-but"),
    ("nin", "anything-but"),
    ("ne", "anything-but"),
    ("except", "anything-but"),
    ("excludes", "anything-but"),
    ("ignorecase", "equals-ignore-case"),
    ("iequals", "equals-ignore-case"),
    ("caseinsensitive", "equals-ignore-case"),
    ("like", "wildcard"),
    ("glob", "wildcard"),
    ("includes", "contains"),
    ("has", "contains"),
    ("substring", "contains"),
    ("ip", "cidr"),
    ("ipaddress", "cidr"),
    ("subnet", "cidr"),
    ("exist", "exists"),
];

/// What people write for a literal.
const EQUALS: [&str; 12] =
    ["equals", "equal", "exact", "exactly", "eq", "is", "in", "oneof", "anyof", "any", "value", "values"];

/// What people write for a regular expression.
const REGEX: [&str; 7] = ["regex", "regexp", "rlike", "match", "matches", "pattern", "re"];

/// What people write for a comparison of numbers, in lower case.
const COMPARISONS: [(&str, &[&str]); 6] = [
    (">", &[">", "gt", "$gt", "greater", "greaterthan", "greater-than", "above", "over"]),
    (">=", &[">=", "=>", "≥", "gte", "ge", "$gte", "min", "minimum", "atleast", "at-least", "from"]),
    ("<", &["<", "lt", "$lt", "less", "lessthan", "less-than", "below", "under"]),
    ("<=", &["<=", "=<", "≤", "lte", "le", "$lte", "max", "maximum", "atmost", "at-most", "to"]),
    ("=", &["=", "==", "===", "eq", "$eq", "equals"]),
    ("!=", &["!=", "<>", "≠", "!==", "ne", "$ne"]),
];

/// What to write instead of an operator that is not allowed here, with the operand that it was given.
pub(super) fn operator(name: &str, operand: Json<'_>, allowed: &[&'static str], outer: Option<&str>) -> String {
    let wanted = plain(name);
    let value = repeated(operand);
    let scalar = !matches!(operand.kind(), Kind::Array | Kind::Object);
    let excluding = outer == Some("anything-but");
    let numeric = allowed.contains(&"numeric");
    match (wanted.as_str(), outer) {
        ("or" | "anyof" | "some", None) if operand.kind() == Kind::Array => {
            return "the matchers of a list are alternatives already; for alternative fields, write `$or` as a key"
                .into();
        }
        ("and" | "all" | "allof", None) => {
            return "operators in one object must all accept; write them side by side".into();
        }
        ("null" | "isnull", None) => return "write null itself: [null]".into(),
        ("missing" | "absent" | "notexists" | "undefined", None) => return "write {\"exists\": false}".into(),
        ("present" | "notnull" | "required", None) => return "write {\"exists\": true}".into(),
        ("exists", Some("anything-but")) => return "for an absent field, write [{\"exists\": false}]".into(),
        _ => {}
    }
    if let Some(sign) = comparison(name).filter(|sign| numeric && !matches!(*sign, "=" | "!=")) {
        let number = number_in(operand).unwrap_or_else(|| "0".to_owned());
        return format!("write {{\"numeric\": [\"{sign}\", {number}]}}");
    }
    if numeric && matches!(wanted.as_str(), "between" | "range") {
        return numeric_operand(operand);
    }
    if comparison(name) == Some("!=") && !excluding && allowed.contains(&"anything-but") {
        return format!("write {{\"anything-but\": {value}}}");
    }
    if comparison(name) == Some("=") || EQUALS.contains(&wanted.as_str()) {
        return match (excluding, operand.kind()) {
            (true, _) => format!("write {{\"anything-but\": {value}}}"),
            (false, Kind::Array) => format!("write the values themselves: {value}"),
            (false, _) if scalar => format!("write the value itself: [{value}]"),
            (false, _) => "write the value itself: [\"a\"]".to_owned(),
        };
    }
    if REGEX.contains(&wanted.as_str()) {
        return "there are no regular expressions; `*` is any text in {\"wildcard\": \"order.*\"}".into();
    }
    if wanted.contains("date") || wanted.contains("time") || matches!(wanted.as_str(), "after" | "before" | "since") {
        return "times are text here; compare a part of them, e.g. {\"prefix\": \"2026-01-\"}".into();
    }
    if name == "contains" {
        return match operand.as_str().filter(|text| !text.contains(['*', '\\']) && text.len() <= REPEATED_CHARS) {
            Some(text) => format!("write {{\"wildcard\": {}}}", quoted(&format!("*{text}*"))),
            None => "write {\"wildcard\": \"*a*\"}".to_owned(),
        };
    }
    let same = allowed.iter().copied().find(|operator| plain(operator) == wanted);
    let known = OTHER_NAMES.iter().find(|(other, _)| *other == wanted).map(|(_, operator)| *operator);
    match same
        .or_else(|| known.filter(|operator| allowed.contains(operator)))
        .or_else(|| nearest(name, allowed.iter().copied()))
    {
        Some(operator) => format!("write `{operator}`"),
        None if outer.is_some() => "keep one that is allowed".to_owned(),
        None => "an object in a list holds operators; for fields, write the object without the list".to_owned(),
    }
}

/// What to write as the operand of `numeric`.
pub(super) fn numeric_operand(operand: Json<'_>) -> String {
    const EXAMPLE: &str = "write {\"numeric\": [\">\", 0]} or {\"numeric\": [\">\", 0, \"<=\", 5]}";
    let mut words = Vec::new();
    words_of(operand, &mut words);
    if let [Word::Number(number)] = words.as_slice() {
        return format!("write [{number}] for exactly that number, or {{\"numeric\": [\">=\", {number}]}}");
    }
    bounds(&words).map_or_else(|| EXAMPLE.to_owned(), |items| format!("write {{\"numeric\": {items}}}"))
}

/// The operand of `numeric` that a text such as `> 100` means.
pub(super) fn numeric_text(text: &str) -> Option<String> {
    let mut words = Vec::new();
    words_of_text(text, &mut words);
    bounds(&words).filter(|_| words.len() == 2)
}

/// The operand of `numeric` that comparisons and numbers make.
fn bounds(words: &[Word]) -> Option<String> {
    let pair = |pair: &[Word]| match pair {
        [Word::Sign(sign), Word::Number(number)] | [Word::Number(number), Word::Sign(sign)] => {
            Some((*sign, number.clone()))
        }
        _ => None,
    };
    let pairs: Vec<(&str, String)> = match words {
        [Word::Number(low), Word::Number(high)] => vec![(">=", low.clone()), ("<=", high.clone())],
        words if matches!(words.len(), 2 | 4) => words.chunks_exact(2).map(pair).collect::<Option<_>>()?,
        _ => return None,
    };
    let lower = |sign: &str| sign.starts_with('>');
    let upper = |sign: &str| sign.starts_with('<');
    match pairs.as_slice() {
        [(sign, number)] => Some(format!("[\"{sign}\", {number}]")),
        [(a, low), (b, high)] if lower(a) && upper(b) => Some(format!("[\"{a}\", {low}, \"{b}\", {high}]")),
        [(a, high), (b, low)] if upper(a) && lower(b) => Some(format!("[\"{b}\", {low}, \"{a}\", {high}]")),
        _ => None,
    }
}

/// The comparison that a text means.
pub(super) fn comparison(text: &str) -> Option<&'static str> {
    let text = text.trim().to_lowercase();
    COMPARISONS.iter().find(|(_, names)| names.contains(&text.as_str())).map(|(sign, _)| *sign)
}

enum Word {
    Sign(&'static str),
    /// As spelled.
    Number(String),
}

/// Comparisons and numbers in the order written, wherever they stand in an operand.
fn words_of(operand: Json<'_>, into: &mut Vec<Word>) {
    match operand.kind() {
        Kind::Number => into.push(Word::Number(operand.text().to_owned())),
        Kind::String => words_of_text(&operand.as_str().unwrap_or_default(), into),
        Kind::Array => operand.elements().into_iter().flatten().take(8).for_each(|item| words_of(item, into)),
        Kind::Object => {
            for (key, value) in operand.members().into_iter().flatten().take(4) {
                into.extend(comparison(&key.decode()).map(Word::Sign));
                words_of(value, into);
            }
        }
        Kind::Null | Kind::Bool => {}
    }
}

fn words_of_text(text: &str, into: &mut Vec<Word>) {
    let number_at = text.find(|c: char| c.is_ascii_digit() || c == '-').unwrap_or(text.len());
    let (sign, number) = text.split_at(number_at);
    into.extend(comparison(sign).map(Word::Sign));
    into.extend(as_number(number).map(Word::Number));
}

fn number_in(operand: Json<'_>) -> Option<String> {
    match operand.kind() {
        Kind::Number => Some(operand.text().to_owned()),
        Kind::String => as_number(&operand.as_str()?),
        Kind::Null | Kind::Bool | Kind::Array | Kind::Object => None,
    }
}

/// A text that is a JSON number, but for white space.
fn as_number(text: &str) -> Option<String> {
    let text = text.trim();
    let number = Json::check(text.as_bytes()).is_ok_and(|json| json.kind() == Kind::Number);
    (number && text.len() <= REPEATED_CHARS).then(|| text.to_owned())
}

/// What to write where an operator takes one string.
pub(super) fn string_operand(name: &str, operand: Json<'_>) -> String {
    let example = if name == "cidr" { "\"10.0.0.0/8\"" } else { "\"a\"" };
    let wrapped = |text: &str| format!("{{\"{name}\": {text}}}");
    match operand.kind() {
        Kind::Array => {
            let texts: Vec<String> = operand.elements().into_iter().flatten().take(3).filter_map(text_of).collect();
            let items =
                if texts.is_empty() { vec![wrapped(example)] } else { texts.iter().map(|t| wrapped(t)).collect() };
            let more = if operand.elements().into_iter().flatten().nth(3).is_some() { ", …" } else { "" };
            format!("give each its own object: [{}{more}]", items.join(", "))
        }
        Kind::Null | Kind::Bool | Kind::Number if name == "exactly" => {
            format!("write the value itself: [{}]", repeated(operand))
        }
        Kind::Number => format!("write {}", wrapped(&format!("\"{}\"", operand.text()))),
        Kind::Null | Kind::Bool | Kind::String | Kind::Object => format!("write {}", wrapped(example)),
    }
}

/// The JSON string for a string or number of an operand.
fn text_of(item: Json<'_>) -> Option<String> {
    let text = match item.kind() {
        Kind::String => item.text().to_owned(),
        Kind::Number => format!("\"{}\"", item.text()),
        Kind::Null | Kind::Bool | Kind::Array | Kind::Object => return None,
    };
    (text.chars().count() <= REPEATED_CHARS).then_some(text)
}

/// What to write instead of `anything-but` with several operators: as wildcards they fit into one list.
pub(super) fn several_excluded(members: &[(Cow<'_, str>, Json<'_>)]) -> String {
    if members.is_empty() {
        return "name one: {\"anything-but\": {\"prefix\": \"a\"}}".to_owned();
    }
    let as_wildcard = |(name, operand): &(Cow<'_, str>, Json<'_>)| {
        let text = operand.as_str().filter(|text| name == "wildcard" || !text.contains(['*', '\\']))?;
        match &**name {
            "prefix" => Some(quoted(&format!("{text}*"))),
            "suffix" => Some(quoted(&format!("*{text}"))),
            "contains" => Some(quoted(&format!("*{text}*"))),
            "wildcard" => Some(operand.text().to_owned()),
            _ => None,
        }
    };
    let wildcards: Option<Vec<String>> = members.iter().map(as_wildcard).collect();
    match wildcards.map(|wildcards| wildcards.join(", ")).filter(|list| list.len() <= REPEATED_CHARS) {
        Some(list) => format!("write {{\"anything-but\": {{\"wildcard\": [{list}]}}}}"),
        None => "keep one; several texts fit into one `wildcard`: {\"wildcard\": [\"a*\", \"*b\"]}".to_owned(),
    }
}

/// What to write instead of a list or object among excluded values.
pub(super) fn excluded_value(value: Json<'_>) -> String {
    let mut members = value.members().into_iter().flatten();
    match (members.next(), members.next()) {
        (Some((key, operand)), None) => {
            format!("for an operator, write {{\"anything-but\": {{\"{}\": {}}}}}", key.decode(), repeated(operand))
        }
        _ if value.kind() == Kind::Array => "write its items directly".to_owned(),
        _ => "for an operator, write {\"anything-but\": {\"prefix\": [\"a\", \"b\"]}}".to_owned(),
    }
}

/// What to write instead of an operand of `exists`.
pub(super) fn exists_operand(operand: Json<'_>) -> &'static str {
    let text = operand.as_str().unwrap_or_else(|| operand.text().into()).to_lowercase();
    if matches!(&*text, "yes" | "on" | "1" | "y") || nearest(&text, ["true"].into_iter()).is_some() {
        "write true"
    } else if matches!(&*text, "no" | "off" | "0" | "n" | "null") || nearest(&text, ["false"].into_iter()).is_some() {
        "write false"
    } else {
        "write {\"exists\": true} or {\"exists\": false}"
    }
}

/// What is wrong with a wildcard, and what to write.
pub(super) fn wildcard(text: &str) -> String {
    if text.contains("**") {
        let mut once = text.to_owned();
        while once.contains("**") {
            once = once.replace("**", "*");
        }
        return format!("write {}", shortened(&quoted(&once)));
    }
    "`*` is any text, `\\*` a star, `\\\\` a backslash; in double quotes each backslash stands twice".to_owned()
}

/// Why a text is no network, and what to write.
pub(super) fn network(text: &str, aws: bool) -> (String, String) {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let usual = if aws {
        "write address/bits: 10.0.0.0/8 or 2001:db8::/32"
    } else {
        "write 10.0.0.0/8, 2001:db8::/32 or an address"
    };
    let Ok(parsed) = address.parse::<IpAddr>() else {
        let (why, mended) = no_address(address);
        let cure = match mended {
            Some(mended) => format!("write {mended}{}", bits.map(|bits| format!("/{bits}")).unwrap_or_default()),
            None => usual.to_owned(),
        };
        return (why, cure);
    };
    let most: u8 = if parsed.is_ipv4() { 32 } else { 128 };
    match bits {
        None => ("`dialect: aws` wants bits".to_owned(), format!("write the address itself: [\"{address}\"]")),
        Some(mask) if mask.parse::<std::net::Ipv4Addr>().is_ok() => {
            let ones = mask.parse().map(|mask: std::net::Ipv4Addr| mask.to_bits().leading_ones()).unwrap_or_default();
            ("the bits are counted, not written as a mask".to_owned(), format!("write {address}/{ones}"))
        }
        Some(bits) => match bits.parse::<u32>() {
            Ok(count) if count > u32::from(most) => {
                let family = if parsed.is_ipv4() { "an IPv4" } else { "an IPv6" };
                (format!("{family} address has {most} bits, not {count}"), usual.to_owned())
            }
            Ok(count) if count == u32::from(most) && bits == count.to_string() => {
                let why = format!("`dialect: aws` allows at most {} bits", most - 1);
                (why, format!("write the address itself: [\"{address}\"]"))
            }
            Ok(count) if bits != count.to_string() => {
                (format!("`{bits}` bits: leading zeros and signs are refused"), format!("write {address}/{count}"))
            }
            Ok(_) => ("`dialect: aws` takes no IPv6 address with a dotted tail".to_owned(), usual.to_owned()),
            Err(_) => (format!("`{bits}` is no number of bits"), usual.to_owned()),
        },
    }
}

/// Why a text is no address, and the address that was probably meant.
fn no_address(text: &str) -> (String, Option<String>) {
    let octets: Vec<&str> = text.split('.').collect();
    let number = |octet: &&str| !octet.is_empty() && octet.len() <= 9 && octet.bytes().all(|b| b.is_ascii_digit());
    if octets.len() > 1 && octets.iter().all(number) {
        let numbers: Vec<u32> = octets.iter().filter_map(|octet| octet.parse().ok()).collect();
        if let Some(large) = numbers.iter().find(|number| **number > 255) {
            return (format!("{large} is more than 255"), None);
        }
        if octets.len() != 4 {
            let missing = (octets.len() < 4).then(|| format!("{text}{}", ".0".repeat(4 - octets.len())));
            return (format!("an IPv4 address has four numbers, not {}", octets.len()), missing);
        }
        let mended: Vec<String> = numbers.iter().map(u32::to_string).collect();
        return ("an address has no leading zeros".to_owned(), Some(mended.join(".")));
    }
    let bare = text.trim().trim_start_matches('[').split([']', '%']).next().unwrap_or_default();
    if bare.parse::<IpAddr>().is_ok() {
        return ("an address stands without brackets, port, zone and spaces".to_owned(), Some(bare.to_owned()));
    }
    (format!("{} is no address", shortened(&quoted(text))), None)
}

/// Why the value of a key `$or` is no alternatives; `branch` tells what a branch holds that it must not.
pub(super) fn no_alternatives(value: Json<'_>, reserved: impl Fn(&str) -> bool) -> String {
    let branches = || value.elements().into_iter().flatten();
    if value.kind() != Kind::Array {
        return format!("its value is {}, not a list of patterns", describe(value));
    }
    if branches().count() < 2 {
        return "it has fewer than two patterns".to_owned();
    }
    for (number, branch) in (1..).zip(branches()) {
        if branch.kind() != Kind::Object {
            return format!("item {number} is {}, not a pattern", describe(branch));
        }
        let mut keys = branch.members().into_iter().flatten().map(|(key, _)| key.decode().into_owned()).peekable();
        if keys.peek().is_none() {
            return format!("pattern {number} is empty");
        }
        if let Some(key) = keys.find(|key| reserved(key)) {
            return format!("pattern {number} has the key `{key}`, the name of an operator");
        }
    }
    "the name of an operator stands in it as a key, or another `$or` is no list of alternatives".to_owned()
}

/// What is said of fields that stand where operators belong, under this key.
pub(super) fn alternatives_key(key: &str) -> Option<&'static str> {
    match plain(key).as_str() {
        "or" | "anyof" | "any" | "oneof" => Some("for alternatives, the key is `$or`"),
        "and" | "all" | "allof" => Some("all keys of a pattern must hold: write them side by side, without this key"),
        "not" | "none" => Some("there is no such key; exclude values with {\"anything-but\": …} in each field"),
        _ => None,
    }
}

fn plain(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// A value as it was written, if it is short.
fn repeated(value: Json<'_>) -> String {
    if value.text().chars().count() <= REPEATED_CHARS { value.text().to_owned() } else { "…".to_owned() }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(REPEATED_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    crate::model::node::write_json_string(text, &mut out);
    out
}
