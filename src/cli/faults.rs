//! Prints faults: for people with the line they stand in, for programs as JSON.

use crate::config;
use crate::model::fault::{Fault, Place};
use anstyle::{AnsiColor, Style};
use serde::Serialize;
use std::io::{self, Write};

/// Longer source lines are shown in part.
const MAX_LINE: usize = 120;

/// Codes whose source line is not shown: the message says it, or the line may hold a secret.
const WITHOUT_LINE: [&str; 2] = ["CONFIG_UNKNOWN_KEY", "CONFIG_SECRET_LITERAL"];

/// What the names of keys end with whose values are secrets.
const SECRET_KEYS: [&str; 11] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "secrets",
    "bearer",
    "token",
    "authorization",
    "cookie",
    "key",
    "value",
];

/// Prints faults for people, with escape sequences for colour if `color`.
///
/// # Errors
/// Those of `out`.
pub fn print(out: &mut dyn Write, faults: &[Fault], color: bool) -> io::Result<()> {
    let paint = Paint::new(color);
    faults.iter().try_for_each(|fault| one(out, fault, &paint, &config::line_of))
}

/// Prints faults of a text that stands in no file.
///
/// # Errors
/// Those of `out`.
pub fn print_of(out: &mut dyn Write, faults: &[Fault], text: &str) -> io::Result<()> {
    let line_of = |place: &Place| {
        let index = usize::try_from(place.line).ok()?.checked_sub(1)?;
        text.lines().nth(index).map(str::to_owned)
    };
    faults.iter().try_for_each(|fault| one(out, fault, &Paint::new(true), &line_of))
}

/// Prints faults as `[{"code","file","line","column","pointer","message"}]`; what is unknown is null.
///
/// # Errors
/// Those of `out`.
pub fn print_json(out: &mut dyn Write, faults: &[Fault]) -> io::Result<()> {
    let rows: Vec<Row<'_>> = faults.iter().map(Row::of).collect();
    serde_json::to_writer(&mut *out, &rows)?;
    writeln!(out)
}

#[derive(Serialize)]
struct Row<'a> {
    code: &'a str,
    file: Option<&'a str>,
    line: Option<u32>,
    column: Option<u32>,
    pointer: &'a str,
    message: String,
}

impl<'a> Row<'a> {
    fn of(fault: &'a Fault) -> Self {
        let place = fault.place.as_ref();
        let number = |n: u32| Some(n).filter(|n| *n > 0);
        let cure = if fault.cure.is_empty() { String::new() } else { format!("; {}", fault.cure) };
        Self {
            code: fault.code,
            file: place.map(|place| &*place.file).filter(|file| !file.is_empty()),
            line: place.and_then(|place| number(place.line)),
            column: place.and_then(|place| number(place.column)),
            pointer: &fault.pointer,
            message: format!("{}{cure}", fault.message),
        }
    }
}

struct Paint {
    error: Style,
    warning: Style,
    frame: Style,
    cure: Style,
}

impl Paint {
    fn new(color: bool) -> Self {
        let style = |style: Style| if color { style } else { Style::new() };
        Self {
            error: style(AnsiColor::Red.on_default().bold()),
            warning: style(AnsiColor::Yellow.on_default().bold()),
            frame: style(AnsiColor::Blue.on_default()),
            cure: style(AnsiColor::Green.on_default()),
        }
    }
}

fn one(
    out: &mut dyn Write,
    fault: &Fault,
    paint: &Paint,
    line_of: &dyn Fn(&Place) -> Option<String>,
) -> io::Result<()> {
    let (word, style) = if fault.warning { ("warn", paint.warning) } else { ("error", paint.error) };
    let (frame, cure) = (paint.frame, paint.cure);
    let (first, rest) = fault.message.split_once('\n').unwrap_or((&fault.message, ""));
    writeln!(out, "{style}{word}[{}]{style:#}: {first}", fault.code)?;
    for line in rest.lines() {
        let style = match line.get(..4) {
            Some("  - ") => style,
            Some("  + ") => cure,
            Some(_) | None => Style::new(),
        };
        writeln!(out, "{style}{line}{style:#}")?;
    }
    let Some(place) = fault.place.as_ref().filter(|place| !place.file.is_empty()) else {
        return if fault.cure.is_empty() { Ok(()) } else { writeln!(out, " {cure}{}{cure:#}", fault.cure) };
    };
    write!(out, " {frame}-->{frame:#} {place}")?;
    let source = if WITHOUT_LINE.contains(&fault.code) { None } else { line_of(place) };
    let source = source.filter(|line| !may_hold_secret(line));
    let Some(source) = source else {
        return if fault.cure.is_empty() { writeln!(out) } else { writeln!(out, "   {cure}{}{cure:#}", fault.cure) };
    };
    let (source, before) = excerpt(&source, place.column);
    let number = place.line.to_string();
    let margin = " ".repeat(number.len());
    writeln!(out, "\n{frame}{number} |{frame:#} {source}")?;
    let line =
        format!("{margin} {frame}|{frame:#} {}{style}^{style:#} {cure}{}{cure:#}", " ".repeat(before), fault.cure);
    writeln!(out, "{}", line.trim_end())
}

/// Whether someone may have written a secret itself into a line, where a reference to it belongs: after a key that is
/// named so, or in a url.
fn may_hold_secret(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    let in_url = lower.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', '?', '#', '"', '\'', ' ']).next().unwrap_or_default();
        authority.contains('@')
    });
    let after_key = SECRET_KEYS.iter().any(|key| {
        lower.match_indices(key).any(|(at, _)| {
            let rest = lower.get(at + key.len()..).unwrap_or_default();
            let rest = rest.trim_start_matches(['"', '\'']).trim_start();
            let value = rest.strip_prefix([':', '=']).map(str::trim_start).unwrap_or_default();
            let map = matches!(*key, "token" | "key") && value.starts_with('{');
            let items = value.strip_prefix('[').and_then(|list| list.split(']').next());
            let mut items = items.map_or_else(|| vec![value], |list| list.split(',').collect()).into_iter();
            let is_reference = |item: &str| item.trim_start().trim_start_matches(['"', '\'']).starts_with("${");
            !map && !value.is_empty() && !items.all(is_reference)
        })
    });
    in_url || after_key
}

/// The part of a line around a column that fits, and how many characters of it stand before the column.
fn excerpt(line: &str, column: u32) -> (String, usize) {
    let clean: Vec<char> = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let at = usize::try_from(column.saturating_sub(1)).unwrap_or(0).min(clean.len());
    if clean.len() <= MAX_LINE {
        return (clean.into_iter().collect(), at);
    }
    let from = at.saturating_sub(MAX_LINE / 2).min(clean.len() - MAX_LINE);
    let part: String = clean.iter().skip(from).take(MAX_LINE).collect();
    let (left, right) = (if from > 0 { "…" } else { "" }, if from + MAX_LINE < clean.len() { "…" } else { "" });
    (format!("{left}{part}{right}"), at - from + left.chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(fault: &Fault, line: Option<&str>) -> String {
        let mut out = Vec::new();
        let paint = Paint { error: Style::new(), warning: Style::new(), frame: Style::new(), cure: Style::new() };
        one(&mut out, fault, &paint, &|_| line.map(str::to_owned)).expect("written");
        String::from_utf8(out).expect("text")
    }

    fn at(line: u32, column: u32) -> Place {
        Place { file: "builds.yaml".into(), line, column }
    }

    #[test]
    fn messages_read_as_specified() {
        let unit =
            Fault::error("CONFIG_VALUE", "/timeout", "`timeout` needs a unit").cure("write 5s or 1m").at(at(5, 10));
        assert_eq!(
            shown(&unit, Some("timeout: 5")),
            "error[CONFIG_VALUE]: `timeout` needs a unit\n --> builds.yaml:5:10\n5 | timeout: 5\n  |          ^ write 5s or 1m\n"
        );
        let key = Fault::error("CONFIG_UNKNOWN_KEY", "/x", "destination has no key `invocation_rate_limit`");
        let key = key.cure("AWS's name; write `rate_limit: 3/s`").at(at(6, 1));
        assert_eq!(
            shown(&key, Some("invocation_rate_limit: 5")),
            "error[CONFIG_UNKNOWN_KEY]: destination has no key `invocation_rate_limit`\n --> builds.yaml:6:1   AWS's name; write `rate_limit: 3/s`\n"
        );
        let nowhere = Fault::error("CONFIG_UNKNOWN_SETTING", "", "X is no setting").cure("write Y");
        assert_eq!(shown(&nowhere, None), "error[CONFIG_UNKNOWN_SETTING]: X is no setting\n write Y\n");
        let file = Fault::warning("CONFIG_FILE", "", "unreadable").at(at(0, 0));
        assert_eq!(shown(&file, None), "warn[CONFIG_FILE]: unreadable\n --> builds.yaml\n");
    }

    #[test]
    fn lines_with_secrets_are_not_shown() {
        let secret = Fault::warning("CONFIG_SECRET_LITERAL", "/auth/bearer", "`bearer` holds a secret").at(at(4, 9));
        assert!(!shown(&secret, Some("auth: {bearer: hunter2}")).contains("hunter2"));
        let other =
            Fault::error("CONFIG_MISSING_KEY", "/auth/basic", "auth.basic needs the key `username`").at(at(4, 7));
        for line in [
            "auth: {basic: {password: hunter2}}",
            "client_secret: \"hunter2\"",
            "\"sasl.password\" = 'hunter2'",
            "secrets: [\"${env:B}\", hunter2]",
            "headers: {Authorization : Bearer hunter2}",
            "url: https://me:hunter2@api.example",
            "password: {a: hunter2}",
        ] {
            assert!(!shown(&other, Some(line)).contains("hunter2"), "{line}");
        }
        for line in [
            "auth: {basic: {password: \"${env:P}\"}}",
            "{secrets: ['${env:P}', \"${env:Q}\"], x: y}",
            "auth: {api_key: {name: x}}",
            "token_endpoint: /t",
        ] {
            assert!(shown(&other, Some(line)).contains(line), "{line}");
        }
    }

    #[test]
    fn long_lines_keep_the_culprit_under_the_caret() {
        for culprit in [0usize, 70, 200, 299] {
            let mut line: Vec<char> = "é".repeat(300).chars().collect();
            line[culprit] = '#';
            let line: String = line.into_iter().collect();
            let fault = Fault::error("CONFIG_VALUE", "", "m").at(at(12, u32::try_from(culprit + 1).expect("small")));
            let text = shown(&fault, Some(&line));
            let rows: Vec<&str> = text.lines().collect();
            let place = |row: &str, c: char| row.chars().position(|x| x == c);
            assert_eq!(place(rows[2], '#'), place(rows[3], '^'), "{text}");
            assert!(rows[2].chars().count() < 130);
        }
    }

    #[test]
    fn json_has_the_promised_keys() {
        let fault =
            Fault::error("CONFIG_VALUE", "/timeout", "`timeout` needs a unit").cure("write 5s or 1m").at(at(5, 10));
        let mut out = Vec::new();
        print_json(&mut out, &[fault, Fault::error("X", "", "m")]).expect("written");
        assert_eq!(
            String::from_utf8(out).expect("text"),
            "[{\"code\":\"CONFIG_VALUE\",\"file\":\"builds.yaml\",\"line\":5,\"column\":10,\"pointer\":\"/timeout\",\"message\":\"`timeout` needs a unit; write 5s or 1m\"},\
             {\"code\":\"X\",\"file\":null,\"line\":null,\"column\":null,\"pointer\":\"\",\"message\":\"m\"}]\n"
        );
    }

    #[test]
    fn colour_only_where_wanted() {
        let fault = Fault::error("X", "", "m");
        for (color, escapes) in [(true, true), (false, false)] {
            let mut out = Vec::new();
            print(&mut out, std::slice::from_ref(&fault), color).expect("written");
            assert_eq!(out.contains(&0x1b), escapes);
        }
    }
}
