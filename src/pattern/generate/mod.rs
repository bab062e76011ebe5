//! Random patterns and events for tests: every operator, odd spellings, arrays of objects, `$or` at every depth, dotted
//! and duplicate keys. Everything follows from a seed. Events are made for a pattern, so that many of them match it.

mod words;

use crate::json::value::Json;
use crate::model::resources::Dialect;
use fastrand::Rng;
use std::fmt::Write;
use words::*;

/// A pattern, before it is written.
#[derive(Debug, Clone)]
pub(crate) enum Drawn {
    /// Keys with patterns or leaves; a key may stand twice.
    Object(Vec<(String, Drawn)>),
    /// The branches of a `$or`.
    Or(Vec<Drawn>),
    /// JSON text.
    Leaf(String),
}

/// What the scalars of one pattern and its events are taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Theme {
    Few,
    Numbers,
    Strings,
    Cases,
    Addresses,
}

/// Draws patterns and events.
#[derive(Debug)]
pub(crate) struct Generator {
    rng: Rng,
    dialect: Dialect,
    theme: Theme,
    keys: usize,
    odd_keys: f64,
    dotted: f64,
    or: f64,
    absent: f64,
    several: f64,
    duplicates: f64,
    faults: f64,
}

impl Drawn {
    /// The text of the pattern.
    pub(crate) fn text(&self) -> String {
        let joined = |items: Vec<String>| items.join(",");
        match self {
            Self::Leaf(text) => text.clone(),
            Self::Or(branches) => format!("[{}]", joined(branches.iter().map(Self::text).collect())),
            Self::Object(members) => {
                let members = members.iter().map(|(key, value)| format!("{}:{}", quoted(key), value.text()));
                format!("{{{}}}", joined(members.collect()))
            }
        }
    }
}

impl Generator {
    /// A generator of valid patterns, nearly always, and of their events.
    pub(crate) fn new(seed: u64, dialect: Dialect) -> Self {
        let mut rng = Rng::with_seed(seed);
        let themes = [Theme::Few, Theme::Few, Theme::Numbers, Theme::Strings, Theme::Cases, Theme::Addresses];
        let theme = pick(&mut rng, &themes);
        let keys = rng.usize(1..=KEYS.len());
        let odd_keys = pick(&mut rng, &[0.0, 0.0, 0.05, 0.25]);
        let dotted = pick(&mut rng, &[0.0, 0.1, 0.3]);
        let or = pick(&mut rng, &[0.0, 0.1, 0.3, 0.5]);
        let absent = pick(&mut rng, &[0.02, 0.1, 0.4]);
        let several = match dialect {
            Dialect::Tidegate => pick(&mut rng, &[0.0, 0.1, 0.4]),
            Dialect::Aws => pick(&mut rng, &[0.0, 0.0, 0.0, 0.2]),
        };
        let duplicates = pick(&mut rng, &[0.0, 0.0, 0.1]);
        Self { rng, dialect, theme, keys, odd_keys, dotted, or, absent, several, duplicates, faults: 0.0 }
    }

    /// The same, but at this many of the places where something can be wrong, something is.
    pub(crate) fn with_faults(self, faults: f64) -> Self {
        Self { faults, ..self }
    }

    /// A pattern.
    pub(crate) fn pattern(&mut self) -> Drawn {
        let depth = self.rng.usize(0..5);
        self.object(depth)
    }

    /// An event for a pattern.
    pub(crate) fn event(&mut self, pattern: &Drawn) -> String {
        let mut fields = Vec::new();
        if let Drawn::Object(members) = pattern {
            fields_of(members, &mut fields);
        }
        self.event_of(&fields)
    }

    /// A string in its quotes, now and then with escapes that need not be.
    fn spelled(&mut self, text: &str) -> String {
        if !self.chance(0.03) {
            return quoted(text);
        }
        let units = text.encode_utf16().fold(String::new(), |all, unit| format!("{all}\\u{unit:04x}"));
        format!("\"{units}\"")
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.rng.f64() < probability
    }

    fn object(&mut self, depth: usize) -> Drawn {
        let count = if self.chance(self.faults * 0.2) { 0 } else { self.rng.usize(1..=3) };
        let mut members: Vec<(String, Drawn)> = Vec::new();
        for _ in 0..count {
            let key = self.key();
            if members.iter().any(|(other, _)| *other == key) && !self.chance(self.duplicates * 0.5 + self.faults) {
                continue;
            }
            let nested = depth > 0 && self.chance(0.5);
            let value = if nested { self.object(depth - 1) } else { Drawn::Leaf(self.leaf()) };
            members.push((key, value));
        }
        if depth > 0 && self.chance(self.or) {
            let or = if self.chance(0.06) {
                Drawn::Leaf(pick(&mut self.rng, &ODD_ORS).to_owned())
            } else {
                let branches = self.rng.usize(2..=3);
                Drawn::Or((0..branches).map(|_| self.object(depth - 1)).collect())
            };
            let at = self.rng.usize(0..=members.len());
            members.insert(at, ("$or".to_owned(), or));
        }
        Drawn::Object(members)
    }

    fn key(&mut self) -> String {
        if self.chance(self.odd_keys) {
            return pick(&mut self.rng, &ODD_KEYS).to_owned();
        }
        let mut key = self.plain_key();
        while self.chance(self.dotted) {
            key = format!("{key}.{}", self.plain_key());
        }
        key
    }

    fn plain_key(&mut self) -> String {
        pick(&mut self.rng, &KEYS[..self.keys]).to_owned()
    }

    fn leaf(&mut self) -> String {
        if self.chance(if self.dialect == Dialect::Aws { 0.01 } else { 0.08 }) {
            return self.scalar();
        }
        let count = if self.chance(self.faults * 0.2) { 0 } else { pick(&mut self.rng, &[1, 1, 1, 2, 3]) };
        let matchers: Vec<String> = (0..count).map(|_| self.matcher()).collect();
        format!("[{}]", matchers.join(","))
    }

    fn matcher(&mut self) -> String {
        if self.chance(self.faults * 0.3) {
            return pick(&mut self.rng, &["{}", "[]", "[\"a\"]", "[{}]"]).to_owned();
        }
        if self.chance(self.absent) {
            return "{\"exists\":false}".to_owned();
        }
        if self.chance(0.4) {
            return self.scalar();
        }
        let several = self.chance(self.several);
        let count = if several { self.rng.usize(2..=3) } else { 1 };
        let mut operators: Vec<(String, String)> = Vec::new();
        for _ in 0..count {
            let (name, mut operand) = self.operator();
            if several && name == "exists" && !self.chance(self.faults) {
                operand = "true".to_owned();
            }
            if !operators.iter().any(|(other, _)| *other == name) || self.chance(self.faults) {
                operators.push((name, operand));
            }
        }
        let operators: Vec<String> = operators.iter().map(|(name, v)| format!("{}:{v}", quoted(name))).collect();
        format!("{{{}}}", operators.join(","))
    }

    fn operator(&mut self) -> (String, String) {
        if self.chance(self.faults * 0.3) {
            let name = pick(&mut self.rng, &NO_OPERATORS).to_owned();
            return (name, pick(&mut self.rng, &JUNK).to_owned());
        }
        let of_theme: &[&str] = match self.theme {
            Theme::Few => &["exists", "anything-but", "numeric"],
            Theme::Numbers => &["numeric", "anything-but"],
            Theme::Strings => &OPERATORS,
            Theme::Cases => &["equals-ignore-case", "prefix", "suffix", "anything-but"],
            Theme::Addresses => &["cidr", "cidr", "anything-but", "exactly"],
        };
        let mut name = if self.chance(0.9) { pick(&mut self.rng, of_theme) } else { pick(&mut self.rng, &OPERATORS) };
        if self.dialect == Dialect::Aws && name == "contains" && self.chance(0.9) {
            name = "wildcard";
        }
        if self.chance(self.faults * 0.5) {
            return (name.to_owned(), pick(&mut self.rng, &JUNK).to_owned());
        }
        let operand = match name {
            "prefix" | "suffix" => {
                let folded = if self.theme == Theme::Cases { 0.5 } else { 0.15 };
                let text = self.part();
                if self.chance(folded) {
                    format!("{{\"equals-ignore-case\":{}}}", quoted(&text))
                } else {
                    quoted(&text)
                }
            }
            "wildcard" => self.wildcard(),
            "cidr" => self.network(),
            "numeric" => self.numeric(),
            "exists" => pick(&mut self.rng, &["true", "false"]).to_owned(),
            "anything-but" => self.anything_but(),
            _ => quoted(&self.string()),
        };
        (name.to_owned(), operand)
    }

    fn anything_but(&mut self) -> String {
        let wide = self.dialect == Dialect::Tidegate || self.chance(0.05);
        match self.rng.u8(0..4) {
            0 => self.scalar(),
            1 if wide => self.list(Self::scalar),
            1 if self.rng.bool() => self.list(Self::number),
            1 => self.list(|me| quoted(&me.string())),
            _ => {
                let names: &[&str] = match (self.theme, wide) {
                    (Theme::Cases, _) => &["equals-ignore-case", "prefix", "suffix"],
                    (Theme::Addresses, true) => &["cidr"],
                    (Theme::Few | Theme::Numbers, true) => &["numeric"],
                    (_, false) => &["prefix", "suffix", "equals-ignore-case", "wildcard"],
                    (_, true) => &["prefix", "suffix", "equals-ignore-case", "wildcard", "contains", "cidr", "numeric"],
                };
                let name = pick(&mut self.rng, names);
                let one = |me: &mut Self| match name {
                    "wildcard" => me.wildcard(),
                    "cidr" => me.network(),
                    "equals-ignore-case" => quoted(&me.string()),
                    _ => {
                        Some(me.part()).filter(|part| !part.is_empty()).map_or("\"a\"".to_owned(), |part| quoted(&part))
                    }
                };
                let operand = match name {
                    "numeric" => self.numeric(),
                    _ if self.rng.bool() => self.list(one),
                    _ => one(self),
                };
                format!("{{{}:{operand}}}", quoted(name))
            }
        }
    }

    fn list(&mut self, one: impl Fn(&mut Self) -> String) -> String {
        let count = if self.chance(self.faults) { 0 } else { self.rng.usize(1..=3) };
        let mut items = Vec::new();
        for _ in 0..count {
            let junk = self.chance(self.faults);
            items.push(if junk { pick(&mut self.rng, &JUNK).to_owned() } else { one(self) });
        }
        format!("[{}]", items.join(","))
    }

    fn wildcard(&mut self) -> String {
        let bad = self.chance(0.01 + self.faults);
        quoted(if bad { pick(&mut self.rng, &BAD_WILDCARDS) } else { pick(&mut self.rng, &WILDCARDS) })
    }

    fn network(&mut self) -> String {
        let address = pick(&mut self.rng, &ADDRESSES);
        if self.chance(0.02 + self.faults) {
            let bad =
                ["10.0.0.0/08", "10.0.0.0/", "/8", "10.0.0.0/8/8", "10.0.0.0/+8", "::/129", "10.0.0.0/33", "::/1e1"];
            return quoted(if self.rng.bool() {
                pick(&mut self.rng, &bad)
            } else {
                pick(&mut self.rng, &NO_ADDRESSES)
            });
        }
        if self.chance(if self.dialect == Dialect::Aws { 0.02 } else { 0.2 }) {
            return quoted(address);
        }
        let width: usize = if address.contains(':') { 128 } else { 32 };
        let bits = if self.rng.bool() { self.rng.usize(0..width) } else { width - self.rng.usize(0..width.min(10)) };
        quoted(&format!("{address}/{bits}"))
    }

    fn numeric(&mut self) -> String {
        let any = ["=", "<", "<=", ">", ">=", "!="];
        let known = if self.dialect == Dialect::Aws && !self.chance(0.02) { &any[..5] } else { &any[..] };
        if self.chance(self.faults) {
            let items: Vec<String> = (0..self.rng.usize(0..6))
                .map(|i| match (i % 2, self.chance(0.2)) {
                    (0, false) => quoted(pick(&mut self.rng, &any)),
                    (_, false) => self.number(),
                    (_, true) => self.scalar(),
                })
                .collect();
            return format!("[{}]", items.join(","));
        }
        if self.chance(0.6) {
            return format!("[{},{}]", quoted(pick(&mut self.rng, known)), self.number());
        }
        let (mut low, mut high) = (self.number(), self.number());
        if low.parse::<f64>().unwrap() > high.parse::<f64>().unwrap() {
            (low, high) = (high, low);
        }
        let (lower, upper) = (pick(&mut self.rng, &[">", ">="]), pick(&mut self.rng, &["<", "<="]));
        if self.dialect == Dialect::Tidegate && self.rng.bool() {
            format!("[{},{high},{},{low}]", quoted(upper), quoted(lower))
        } else {
            format!("[{},{low},{},{high}]", quoted(lower), quoted(upper))
        }
    }

    fn number(&mut self) -> String {
        if self.theme != Theme::Numbers {
            return pick(&mut self.rng, &FEW).to_owned();
        }
        if self.chance(0.85) {
            return pick(&mut self.rng, &NUMBERS).to_owned();
        }
        let digits = self.rng.u32(1..20);
        let mut text = format!("{}{}", if self.rng.bool() { "-" } else { "" }, self.rng.u64(..10_u64.pow(digits)));
        if self.rng.bool() {
            write!(text, ".{}", self.rng.u32(..)).unwrap();
        }
        if self.chance(0.4) {
            write!(text, "e{}", self.rng.i32(-330..330)).unwrap();
        }
        text
    }

    fn string(&mut self) -> String {
        let theme = self.theme;
        match theme {
            Theme::Few => pick(&mut self.rng, &["a", "b"]).to_owned(),
            Theme::Numbers | Theme::Strings => pick(&mut self.rng, &STRINGS).to_owned(),
            Theme::Cases => (0..pick(&mut self.rng, &[1, 1, 2, 3])).map(|_| pick(&mut self.rng, &CASES)).collect(),
            Theme::Addresses if self.chance(0.15) => pick(&mut self.rng, &NO_ADDRESSES).to_owned(),
            Theme::Addresses => pick(&mut self.rng, &ADDRESSES).to_owned(),
        }
    }

    /// The begin or the end of a string, or all of it.
    fn part(&mut self) -> String {
        let text = self.string();
        let count = text.chars().count();
        match self.rng.u8(0..3) {
            0 => text,
            1 => text.chars().take(count.min(2)).collect(),
            _ => text.chars().skip(count.saturating_sub(2)).collect(),
        }
    }

    fn scalar(&mut self) -> String {
        let numbers = match self.theme {
            Theme::Few => 0.6,
            Theme::Numbers => 0.8,
            Theme::Strings | Theme::Cases | Theme::Addresses => 0.06,
        };
        if self.chance(numbers) {
            return self.number();
        }
        if self.chance(0.1) {
            return pick(&mut self.rng, &["true", "false", "null"]).to_owned();
        }
        quoted(&self.string())
    }

    fn event_of(&mut self, fields: &[(&str, &Drawn)]) -> String {
        let mut members = Vec::new();
        for (i, (key, value)) in fields.iter().enumerate() {
            if fields.iter().take(i).any(|(other, _)| other == key) && !self.chance(self.duplicates)
                || self.chance(0.12)
            {
                continue;
            }
            let same = fields.iter().filter(|(other, _)| other == key).map(|(_, value)| *value);
            let nested: Vec<(&str, &Drawn)> = match value {
                Drawn::Object(_) => {
                    let mut nested = Vec::new();
                    same.for_each(|value| {
                        if let Drawn::Object(members) = value {
                            fields_of(members, &mut nested)
                        }
                    });
                    nested
                }
                Drawn::Or(_) | Drawn::Leaf(_) => Vec::new(),
            };
            let mut one = |me: &mut Self| match value {
                _ if me.chance(0.08) => me.scalar(),
                Drawn::Object(_) | Drawn::Or(_) => me.event_of(&nested),
                Drawn::Leaf(text) => me.value_for(text),
            };
            match key.split_once('.') {
                Some((first, rest)) if self.chance(0.6) => {
                    if self.chance(0.3) {
                        members.push(((*key).to_owned(), self.wrapped(&mut one, 0)));
                    }
                    let value = format!("{{{}:{}}}", quoted(rest), self.wrapped(&mut one, 0));
                    members.push((first.to_owned(), self.wrapped(&mut |_| value.clone(), 0)));
                }
                Some(_) | None => {
                    if let Some((inner, Drawn::Leaf(text))) = nested.first()
                        && self.chance(0.05 + self.dotted / 2.0)
                    {
                        members.push((format!("{key}.{inner}"), self.value_for(text)));
                    }
                    members.push(((*key).to_owned(), self.wrapped(&mut one, 0)));
                }
            }
        }
        if self.chance(0.15) {
            members.push((pick(&mut self.rng, &ODD_KEYS).to_owned(), self.scalar()));
        }
        if !self.chance(self.duplicates) {
            let mut seen = Vec::new();
            members.retain(|(key, _)| {
                !seen.contains(key) && {
                    seen.push(key.clone());
                    true
                }
            });
        }
        self.rng.shuffle(&mut members);
        let members: Vec<String> =
            members.iter().map(|(key, value)| format!("{}:{value}", self.spelled(key))).collect();
        format!("{{{}}}", members.join(","))
    }

    /// A value, or an array with it and others.
    fn wrapped(&mut self, one: &mut impl FnMut(&mut Self) -> String, depth: usize) -> String {
        if self.chance(0.62) || depth > 2 {
            return one(self);
        }
        let mut items = Vec::new();
        for _ in 0..self.rng.usize(0..4) {
            items.push(match self.rng.u8(0..20) {
                0..15 => one(self),
                15..17 => self.scalar(),
                17..19 => self.wrapped(one, depth + 1),
                _ => pick(&mut self.rng, &["{}", "[]", "{\"a\":1}"]).to_owned(),
            });
        }
        format!("[{}]", items.join(","))
    }

    /// Something near to what a leaf asks for.
    fn value_for(&mut self, leaf: &str) -> String {
        let mut scalars = Vec::new();
        scalars_of(Json::check(leaf.as_bytes()).unwrap(), &mut scalars);
        let Some(scalar) = self.rng.choice(&scalars).copied().filter(|_| self.rng.u8(0..9) < 5) else {
            return self.scalar();
        };
        let Some(text) = scalar.as_str() else { return scalar.text().to_owned() };
        let near = match self.rng.u8(0..12) {
            0 => text.to_uppercase(),
            1 => text.to_lowercase(),
            2 => format!("{text}{}", self.string()),
            3 => format!("{}{text}", self.string()),
            4..7 => text.replace('*', pick(&mut self.rng, &["", "a", "b*", "xy"])),
            7 => text.split('/').next().unwrap_or_default().to_owned(),
            8 if self.theme == Theme::Addresses => self.string(),
            _ => text.into_owned(),
        };
        self.spelled(&near)
    }
}

/// The fields of an object and of all its branches.
fn fields_of<'d>(members: &'d [(String, Drawn)], fields: &mut Vec<(&'d str, &'d Drawn)>) {
    for (key, value) in members {
        match value {
            Drawn::Or(branches) => {
                for branch in branches {
                    if let Drawn::Object(members) = branch {
                        fields_of(members, fields);
                    }
                }
            }
            Drawn::Object(_) | Drawn::Leaf(_) => fields.push((key, value)),
        }
    }
}
