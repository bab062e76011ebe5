//! Reads Rust as far as the house rules need it: text in; tokens, test items and the paths that code names out.

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// Names and punctuation; comments, strings and characters are left out.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut out = Vec::new();
    let (mut i, mut line) = (0, 1);
    while i < chars.len() {
        let start = i;
        match at(i) {
            '/' if at(i + 1) == '/' => {
                while i < chars.len() && at(i) != '\n' {
                    i += 1;
                }
            }
            '/' if at(i + 1) == '*' => {
                let mut depth = 0;
                while i < chars.len() {
                    match (at(i), at(i + 1)) {
                        ('/', '*') => (depth, i) = (depth + 1, i + 2),
                        ('*', '/') => (depth, i) = (depth - 1, i + 2),
                        _ => i += 1,
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
            '"' => i = after_string(&chars, i),
            '\'' => i = after_quote(&chars, i),
            c if c.is_alphabetic() || c == '_' => {
                while at(i).is_alphanumeric() || at(i) == '_' {
                    i += 1;
                }
                let word: String = chars.get(start..i).unwrap_or_default().iter().collect();
                let raw = word.ends_with('r') && word.len() <= 2;
                let plain = ["b", "c"].contains(&word.as_str());
                if raw && (at(i) == '"' || (at(i) == '#' && ['"', '#'].contains(&at(i + 1)))) {
                    i = after_raw_string(&chars, i);
                } else if plain && at(i) == '"' {
                    i = after_string(&chars, i);
                } else if plain && at(i) == '\'' {
                    i = after_quote(&chars, i);
                } else {
                    out.push(Token { text: word, line });
                }
            }
            c if c.is_ascii_digit() => {
                while at(i).is_alphanumeric() || at(i) == '_' {
                    i += 1;
                }
                out.push(Token { text: "0".to_owned(), line });
            }
            ':' if at(i + 1) == ':' => {
                i += 2;
                out.push(Token { text: "::".to_owned(), line });
            }
            c => {
                i += 1;
                if !c.is_whitespace() {
                    out.push(Token { text: c.to_string(), line });
                }
            }
        }
        line += chars.get(start..i).unwrap_or_default().iter().filter(|c| **c == '\n').count();
    }
    out
}

/// The index after the string whose quote stands at `start`.
fn after_string(chars: &[char], start: usize) -> usize {
    let mut i = start + 1;
    while let Some(c) = chars.get(i) {
        match c {
            '\\' => i += 2,
            '"' => return i + 1,
            _ => i += 1,
        }
    }
    i
}

/// The index after the raw string whose first `#` or quote stands at `start`.
fn after_raw_string(chars: &[char], start: usize) -> usize {
    let hashes = chars.get(start..).unwrap_or_default().iter().take_while(|c| **c == '#').count();
    let mut i = start + hashes + 1;
    while let Some(c) = chars.get(i) {
        i += 1;
        let closed = chars.get(i..i + hashes).is_some_and(|after| after.iter().all(|c| *c == '#'));
        if *c == '"' && closed {
            return i + hashes;
        }
    }
    i
}

/// The index after a character literal; a lifetime loses only its quote.
fn after_quote(chars: &[char], start: usize) -> usize {
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    if at(start + 1) == '\\' {
        let mut i = start + 3;
        while i < chars.len() && at(i) != '\'' {
            i += 1;
        }
        return i + 1;
    }
    if at(start + 2) == '\'' { start + 3 } else { start + 1 }
}

/// Index ranges of items under `#[cfg(test)]`.
fn test_items(tokens: &[Token]) -> Vec<std::ops::Range<usize>> {
    let text = |i: usize| tokens.get(i).map_or("", |t| t.text.as_str());
    let mut out = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let marked = ["#", "[", "cfg", "(", "test", ")", "]"].iter().enumerate().all(|(k, want)| text(i + k) == *want);
        if !marked {
            i += 1;
            continue;
        }
        let start = i;
        let mut depth = 0;
        i += 7;
        while i < tokens.len() {
            match text(i) {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            i += 1;
            if depth == 0 && ["}", ";"].contains(&text(i - 1)) {
                break;
            }
        }
        out.push(start..i);
    }
    out
}

pub(crate) fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let tests = test_items(tokens);
    let kept = tokens.iter().enumerate().filter(|(i, _)| !tests.iter().any(|range| range.contains(i)));
    kept.map(|(_, token)| token.clone()).collect()
}

/// How many lines of a file belong to items under `#[cfg(test)]`.
pub(crate) fn test_lines(text: &str) -> usize {
    let tokens = tokens(text);
    let line = |i: usize| tokens.get(i).map_or(0, |t| t.line);
    test_items(&tokens).iter().map(|range| line(range.end - 1) + 1 - line(range.start)).sum()
}

#[derive(Debug, PartialEq)]
pub(crate) struct Named {
    pub(crate) names: Vec<String>,
    pub(crate) line: usize,
}

/// Every path in the code, imports with braces taken apart. Paths that begin with `super` or `self` come out as
/// beginning with `crate`.
pub(crate) fn paths(tokens: &[Token], me: &[String]) -> Vec<Named> {
    let text = |i: usize| tokens.get(i).map_or("", |t| t.text.as_str());
    let mut out = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let begins = is_name(text(i)) && (i == 0 || text(i - 1) != "::");
        let in_use = i > 0 && text(i - 1) == "use";
        if begins && (text(i + 1) == "::" || in_use) {
            i = tree(tokens, i, &mut Vec::new(), &mut out);
        } else {
            i += 1;
        }
    }
    for path in &mut out {
        resolve(&mut path.names, me);
    }
    out
}

/// Reads one import tree at `i`, writes its leaves to `out`, returns the index after it.
fn tree(tokens: &[Token], mut i: usize, prefix: &mut Vec<String>, out: &mut Vec<Named>) -> usize {
    let text = |i: usize| tokens.get(i).map_or("", |t| t.text.as_str());
    let line = tokens.get(i).map_or(0, |t| t.line);
    let depth = prefix.len();
    loop {
        if text(i) == "{" {
            i += 1;
            while i < tokens.len() && text(i) != "}" {
                let before = i;
                i = tree(tokens, i, prefix, out);
                if text(i) == "as" {
                    i += 2;
                }
                if text(i) == "," {
                    i += 1;
                }
                if i == before {
                    i += 1;
                }
            }
            prefix.truncate(depth);
            return i + 1;
        }
        if !is_name(text(i)) && text(i) != "*" {
            break;
        }
        prefix.push(text(i).to_owned());
        i += 1;
        let goes_on = text(i) == "::" && (is_name(text(i + 1)) || ["{", "*"].contains(&text(i + 1)));
        if !goes_on {
            break;
        }
        i += 1;
    }
    out.push(Named { names: prefix.clone(), line });
    prefix.truncate(depth);
    i
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_') && !["use", "as", "pub", "in"].contains(&text)
}

/// `super::x`, `self::x` and `tidegate::x` as seen from the crate's root.
fn resolve(names: &mut Vec<String>, me: &[String]) {
    let supers = names.iter().take_while(|name| *name == "super").count();
    let first = names.first().map(String::as_str);
    let root = || std::iter::once("crate".to_owned());
    if supers > 0 {
        let keep = me.len().saturating_sub(supers);
        *names = root().chain(me.iter().take(keep).cloned()).chain(names.drain(supers..)).collect();
    } else if first == Some("self") {
        *names = root().chain(me.iter().cloned()).chain(names.drain(1..)).collect();
    } else if first == Some("tidegate") {
        *names = root().chain(names.drain(1..)).collect();
    }
}
