//! One scalar and one operator, as the words of event-patterns.md rules 13–21 say it, without any preparation.

use super::Tree;
use crate::model::resources::Dialect;
use std::cmp::Ordering;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A number: sign, digits without zeros at either end, and the power of ten of its first digit.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    sign: i8,
    digits: Vec<u8>,
    power: i128,
}

impl Decimal {
    fn of(text: &str) -> Self {
        let negative = text.starts_with('-');
        let (mantissa, exponent) = text.trim_start_matches('-').split_once(['e', 'E']).unwrap_or((text, "0"));
        let mantissa = mantissa.trim_start_matches('-');
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        let without = all.trim_start_matches('0');
        let Ok(exponent) = exponent.parse::<i128>() else { panic!("{text}: longer than a test needs") };
        let before_point = i128::try_from(whole.len()).unwrap() - i128::try_from(all.len() - without.len()).unwrap();
        let digits = without.trim_end_matches('0').as_bytes().to_vec();
        match (digits.is_empty(), negative) {
            (true, _) => Self { sign: 0, digits, power: 0 },
            (false, true) => Self { sign: -1, digits, power: exponent + before_point },
            (false, false) => Self { sign: 1, digits, power: exponent + before_point },
        }
    }
}

fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (Decimal::of(a), Decimal::of(b));
    let size = || a.power.cmp(&b.power).then_with(|| a.digits.cmp(&b.digits));
    a.sign.cmp(&b.sign).then_with(|| match a.sign {
        0 => Ordering::Equal,
        1 => size(),
        _ => size().reverse(),
    })
}

/// Rule 13: the value is that of the shortest decimal text of a finite 64-bit float.
pub(super) fn is_float(text: &str) -> bool {
    let float: f64 = text.parse().unwrap();
    float.is_finite() && compare(&format!("{float:e}"), text).is_eq()
}

fn same_number(a: &str, b: &str, dialect: Dialect) -> bool {
    match dialect {
        Dialect::Aws if !is_float(a) || !is_float(b) => a == b,
        Dialect::Aws | Dialect::Tidegate => compare(a, b).is_eq(),
    }
}

/// Rule 13.
fn equal(a: &Tree, b: &Tree, dialect: Dialect) -> bool {
    match (a, b) {
        (Tree::Null, Tree::Null) => true,
        (Tree::Bool(a), Tree::Bool(b)) => a == b,
        (Tree::Text(a), Tree::Text(b)) => a == b,
        (Tree::Number(a), Tree::Number(b)) => same_number(a, b, dialect),
        _ => false,
    }
}

/// Rule 20: an address, in the family that it counts as.
fn address(text: &str, dialect: Dialect) -> Option<IpAddr> {
    if let Ok(four) = text.parse::<Ipv4Addr>() {
        return Some(IpAddr::V4(four));
    }
    let six: Ipv6Addr = text.parse().ok()?;
    match dialect {
        Dialect::Tidegate => Some(IpAddr::V6(six)),
        Dialect::Aws if text.contains('.') => None,
        Dialect::Aws => Some(six.to_ipv4_mapped().map_or(IpAddr::V6(six), IpAddr::V4)),
    }
}

fn bits(address: IpAddr) -> String {
    match address {
        IpAddr::V4(four) => format!("{:032b}", four.to_bits()),
        IpAddr::V6(six) => format!("{:0128b}", six.to_bits()),
    }
}

/// The first bits of the addresses of a network and their number in all.
pub(super) fn network(text: &str, dialect: Dialect) -> Option<(String, usize)> {
    let Some((start, count)) = text.split_once('/') else {
        let all = bits(address(text, dialect)?);
        return (dialect == Dialect::Tidegate).then_some((all.clone(), all.len()));
    };
    let all = bits(address(start, dialect)?);
    let kept = (0..=all.len()).find(|n| n.to_string() == count)?;
    (dialect == Dialect::Tidegate || kept < all.len()).then(|| (all[..kept].to_owned(), all.len()))
}

/// Rule 16: what is left of a wildcard, `None` for a star; `None` in all if it is none.
pub(super) fn wildcard(text: &str) -> Option<Vec<Option<char>>> {
    let mut parts = Vec::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '*' if parts.last() == Some(&None) => return None,
            '*' => parts.push(None),
            '\\' => parts.push(Some(rest.next().filter(|c| matches!(c, '*' | '\\'))?)),
            other => parts.push(Some(other)),
        }
    }
    Some(parts)
}

fn describes(parts: &[Option<char>], text: &[char]) -> bool {
    // `reached[j]`: the parts so far describe the first j characters.
    let mut reached: Vec<bool> = (0..=text.len()).map(|j| j == 0).collect();
    for part in parts {
        reached = match part {
            None => (0..=text.len()).map(|j| reached[..=j].contains(&true)).collect(),
            Some(c) => (0..=text.len()).map(|j| j > 0 && reached[j - 1] && text[j - 1] == *c).collect(),
        };
    }
    reached[text.len()]
}

/// Rule 15.
fn fold(text: &str) -> String {
    text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// Rule 15 of `aws`: what may be left of `text` after each unit of `wanted` has taken one of its two forms from its
/// begin.
fn after_either_case<'t>(wanted: &[u16], text: &'t str) -> Vec<&'t str> {
    wanted.iter().fold(vec![text], |left, unit| {
        let Some(c) = char::from_u32(u32::from(*unit)) else { return Vec::new() };
        let forms: [String; 2] = [c.to_lowercase().collect(), c.to_uppercase().collect()];
        let after = |text: &'t str| forms.each_ref().map(|form| text.strip_prefix(form.as_str()));
        let mut left: Vec<&str> = left.into_iter().flat_map(after).flatten().collect();
        // What is left is an end of the same text: its length says which.
        left.sort_unstable_by_key(|left| left.len());
        left.dedup_by_key(|left| left.len());
        left
    })
}

fn equals_ignoring_case(wanted: &str, text: &str, dialect: Dialect) -> bool {
    match dialect {
        Dialect::Tidegate => fold(wanted) == fold(text),
        Dialect::Aws => after_either_case(&wanted.encode_utf16().collect::<Vec<_>>(), text).contains(&""),
    }
}

fn starts_ignoring_case(wanted: &str, text: &str, dialect: Dialect) -> bool {
    match dialect {
        Dialect::Tidegate => fold(text).starts_with(&fold(wanted)),
        Dialect::Aws => !after_either_case(&wanted.encode_utf16().collect::<Vec<_>>(), text).is_empty(),
    }
}

fn ends_ignoring_case(wanted: &str, text: &str, dialect: Dialect) -> bool {
    match dialect {
        Dialect::Tidegate => fold(text).ends_with(&fold(wanted)),
        Dialect::Aws => text
            .char_indices()
            .map(|(i, _)| i)
            .chain([text.len()])
            .any(|i| equals_ignoring_case(wanted, &text[i..], dialect)),
    }
}

/// Rule 19, the comparisons of a list.
fn satisfies(list: &[Tree], number: &str) -> bool {
    list.chunks(2).all(|pair| {
        let [Tree::Text(comparison), Tree::Number(bound)] = pair else { panic!("{pair:?}") };
        let order = compare(number, bound);
        match comparison.as_str() {
            "=" => order.is_eq(),
            "!=" => order.is_ne(),
            "<" => order.is_lt(),
            "<=" => order.is_le(),
            ">" => order.is_gt(),
            ">=" => order.is_ge(),
            other => panic!("{other}"),
        }
    })
}

fn operator(name: &str, operand: &Tree, value: &Tree, dialect: Dialect) -> bool {
    match (name, operand, value) {
        ("exists", ..) => *operand == Tree::Bool(true),
        ("numeric", Tree::Array(list), Tree::Number(number)) => {
            satisfies(list, number) && (dialect == Dialect::Tidegate || is_float(number))
        }
        ("anything-but", Tree::Object(members), _) => {
            let [(name, operand)] = members.as_slice() else { panic!("{members:?}") };
            match (name.as_str(), operand) {
                ("numeric", _) => !operator(name, operand, value, dialect),
                (_, Tree::Array(list)) => !list.iter().any(|one| operator(name, one, value, dialect)),
                _ => !operator(name, operand, value, dialect),
            }
        }
        ("anything-but", Tree::Array(list), _) => !list.iter().any(|one| equal(one, value, dialect)),
        ("anything-but", ..) => !equal(operand, value, dialect),
        (_, Tree::Object(members), Tree::Text(text)) => match (name, members.as_slice()) {
            ("prefix", [(_, Tree::Text(wanted))]) => starts_ignoring_case(wanted, text, dialect),
            ("suffix", [(_, Tree::Text(wanted))]) => ends_ignoring_case(wanted, text, dialect),
            other => panic!("{other:?}"),
        },
        (_, Tree::Text(wanted), Tree::Text(text)) => match name {
            "exactly" => text == wanted,
            "prefix" => text.starts_with(wanted),
            "suffix" => text.ends_with(wanted),
            "contains" => text.contains(wanted),
            "equals-ignore-case" => equals_ignoring_case(wanted, text, dialect),
            "wildcard" => describes(&wildcard(wanted).unwrap(), &text.chars().collect::<Vec<_>>()),
            "cidr" => {
                let (start, width) = network(wanted, dialect).unwrap();
                let bits = address(text, dialect).map(bits).unwrap_or_default();
                bits.len() == width && bits.starts_with(&start)
            }
            other => panic!("{other}"),
        },
        _ => false,
    }
}

/// Whether a matcher accepts a scalar; `exists: false` accepts none.
pub(super) fn accepts(matcher: &Tree, value: &Tree, dialect: Dialect) -> bool {
    match (matcher, value, dialect) {
        (Tree::Object(operators), ..) => {
            operators.iter().all(|(name, operand)| operator(name, operand, value, dialect))
        }
        (Tree::Text(wanted), Tree::Text(text), Dialect::Aws) => {
            match (address(wanted, dialect), address(text, dialect)) {
                (Some(wanted), Some(address)) => wanted == address,
                _ => wanted == text,
            }
        }
        _ => equal(matcher, value, dialect),
    }
}

/// Whether something lies between two bounds, of which one is the lower and one the upper (rule 19).
pub(super) fn has_room(lower: (&str, &str), upper: (&str, &str), dialect: Dialect) -> bool {
    match compare(lower.1, upper.1) {
        Ordering::Less => true,
        Ordering::Equal => dialect == Dialect::Tidegate && lower.0 == ">=" && upper.0 == "<=",
        Ordering::Greater => false,
    }
}
