//! What `promtool check metrics` looks for in a text of Prometheus, and more: every line read, every series judged.

use std::collections::{BTreeMap, BTreeSet};

/// A family of series.
#[derive(Debug, Default)]
pub(crate) struct Family {
    /// After `# TYPE`.
    pub(crate) kind: String,
    /// After `# HELP`.
    pub(crate) help: String,
    /// Label values by name, and the value.
    pub(crate) series: Vec<(String, BTreeMap<String, String>, f64)>,
}

impl Family {
    /// The sum of the series whose labels include these.
    pub(crate) fn sum(&self, labels: &[(&str, &str)]) -> f64 {
        let fits = |of: &BTreeMap<String, String>| labels.iter().all(|(k, v)| of.get(*k).is_some_and(|x| x == v));
        self.series.iter().filter(|(_, of, _)| fits(of)).map(|(_, _, value)| value).sum()
    }
}

/// Reads a text into families and says everything that is wrong with it.
pub(crate) fn read(text: &str) -> (BTreeMap<String, Family>, Vec<String>) {
    let (mut families, mut faults) = (BTreeMap::<String, Family>::new(), Vec::new());
    let mut seen = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.splitn(3, ' ');
            let (what, name, text) = (words.next(), words.next(), words.next());
            let family = families.entry(name.unwrap_or_default().to_owned()).or_default();
            match what {
                Some("HELP") if family.help.is_empty() => family.help = text.unwrap_or_default().to_owned(),
                Some("TYPE") if family.kind.is_empty() => family.kind = text.unwrap_or_default().to_owned(),
                _ => faults.push(format!("not expected: {line}")),
            }
            continue;
        }
        let Some((name, labels, value)) = series(line) else {
            faults.push(format!("cannot be read: {line}"));
            continue;
        };
        if !seen.insert((name.clone(), labels.clone())) {
            faults.push(format!("twice: {line}"));
        }
        match family_of(&families, &name) {
            Some(family) => families.get_mut(&family).expect("it is there").series.push((name, labels, value)),
            None => faults.push(format!("without HELP and TYPE: {line}")),
        }
    }
    for (name, family) in &families {
        judge(name, family, &mut faults);
    }
    (families, faults)
}

/// The family of a series: a histogram's series have suffixes.
fn family_of(families: &BTreeMap<String, Family>, series: &str) -> Option<String> {
    let mut names = ["", "_bucket", "_sum", "_count"].iter().filter_map(|suffix| {
        let name = series.strip_suffix(suffix)?;
        let family = families.get(name)?;
        (suffix.is_empty() != (family.kind == "histogram")).then(|| name.to_owned())
    });
    names.next()
}

fn series(line: &str) -> Option<(String, BTreeMap<String, String>, f64)> {
    let (head, value) = line.rsplit_once(' ')?;
    let value: f64 = value.parse().ok()?;
    let Some((name, labels)) = head.split_once('{') else {
        return Some((head.to_owned(), BTreeMap::new(), value));
    };
    let mut rest = labels.strip_suffix('}')?;
    let mut all = BTreeMap::new();
    while !rest.is_empty() {
        let (key, after) = rest.split_once("=\"")?;
        let end = after.char_indices().scan(false, |escaped, (at, c)| {
            let ends = c == '"' && !*escaped;
            *escaped = c == '\\' && !*escaped;
            Some((at, ends))
        });
        let end = end.filter(|(_, ends)| *ends).map(|(at, _)| at).next()?;
        if all.insert(key.to_owned(), after[..end].to_owned()).is_some() {
            return None;
        }
        rest = after[end + 1..].trim_start_matches(',');
    }
    Some((name.to_owned(), all, value))
}

fn judge(name: &str, family: &Family, faults: &mut Vec<String>) {
    let mut fault = |what: String| faults.push(format!("{name}: {what}"));
    if family.help.is_empty() {
        fault("no help".to_owned());
    }
    let word =
        |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !word(name) || name.contains("__") {
        fault("its name is not in snake case".to_owned());
    }
    let counter = family.kind == "counter";
    if counter != name.ends_with("_total") {
        fault("`_total` is for counters, and for each of them".to_owned());
    }
    let units =
        ["milliseconds", "minutes", "hours", "days", "kilobytes", "megabytes", "kibibytes", "mebibytes", "percent"];
    let kinds = ["counter", "gauge", "histogram"];
    if name.split('_').any(|part| units.contains(&part) || kinds.contains(&part)) {
        fault("its name has a unit that is no base unit, or a kind".to_owned());
    }
    if ["_count", "_sum", "_bucket", "_info_total"].iter().any(|suffix| name.ends_with(suffix)) {
        fault("its suffix belongs to histograms".to_owned());
    }
    if family.series.is_empty() {
        fault("no series".to_owned());
    }
    let mut names = BTreeSet::new();
    for (series, labels, value) in &family.series {
        let own: Vec<&str> = labels.keys().map(String::as_str).filter(|label| *label != "le").collect();
        names.extend(own.iter().map(|label| (*label).to_owned()));
        if own.iter().any(|label| !word(label) || label.starts_with("__") || label.starts_with("otel_")) {
            fault(format!("its labels {own:?}"));
        }
        if labels.contains_key("le") != series.ends_with("_bucket") {
            fault("`le` belongs to buckets".to_owned());
        }
        if !value.is_finite() || (counter && *value < 0.0) {
            fault(format!("the value {value}"));
        }
        if labels.values().any(|value| value.is_empty() || value.contains("://") || value.len() > 200) {
            fault(format!("the label values {labels:?}"));
        }
    }
    if family.kind == "histogram" {
        histogram(family, &mut fault);
    }
}

fn histogram(family: &Family, fault: &mut impl FnMut(String)) {
    let mut buckets: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
    let mut counts = BTreeMap::new();
    for (series, labels, value) in &family.series {
        let mut rest = labels.clone();
        let le = rest.remove("le");
        if let Some(le) = le {
            buckets.entry(rest).or_default().push((le.parse().unwrap_or(f64::NAN), *value));
        } else if series.ends_with("_count") {
            counts.insert(rest, *value);
        }
    }
    for (labels, buckets) in &buckets {
        let grows = buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        let last = buckets.last().copied().unwrap_or_default();
        if !grows || last.0 != f64::INFINITY || counts.get(labels) != Some(&last.1) {
            fault(format!("the buckets of {labels:?}: {buckets:?}, {:?}", counts.get(labels)));
        }
    }
    if buckets.len() != counts.len() {
        fault("buckets and counts are not of the same series".to_owned());
    }
}

#[test]
fn the_lint_finds_what_is_wrong() {
    let good = "# HELP a_total x\n# TYPE a_total counter\na_total{b=\"c\\\"d\"} 1\n# HELP h_seconds x\n# TYPE h_seconds histogram\n\
                h_seconds_bucket{le=\"1\"} 1\nh_seconds_bucket{le=\"+Inf\"} 2\nh_seconds_sum 3\nh_seconds_count 2\n";
    assert_eq!(read(good).1, Vec::<String>::new());
    for (from, to) in [
        ("# HELP a_total x\n", ""),
        ("# TYPE a_total counter\n", ""),
        ("counter", "gauge"),
        ("a_total", "a"),
        ("a_total", "aB_total"),
        ("a_total", "a_milliseconds_total"),
        ("{b=", "{B="),
        ("} 1\n# HELP h", "} -1\n# HELP h"),
        ("a_total{b=\"c\\\"d\"} 1", "a_total{b=\"c\"} 1\na_total{b=\"c\"} 2"),
        ("c\\\"d", "https://x"),
        ("le=\"1\"} 1", "le=\"1\"} 3"),
        ("le=\"+Inf\"} 2", "le=\"+Inf\"} 1"),
        ("le=\"+Inf\"", "le=\"9\""),
        ("h_seconds_count 2", "h_seconds_count 4"),
        ("h_seconds_count 2\n", ""),
        ("h_seconds_sum 3", "other 3"),
        ("h_seconds_sum 3", "h_seconds_sum three"),
    ] {
        assert!(
            !read(&good.replacen(from, to, if from == "a_total" { 9 } else { 1 })).1.is_empty(),
            "{from:?} → {to:?}"
        );
    }
}
