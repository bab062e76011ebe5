//! Classify: what the end of an attempt means, for the event (class) and for the destination (health). The status
//! table of delivery.md; a destination's `responses` are asked before it.

use super::error::Error;
use crate::destinations::Health;
use crate::model::clock::WallMs;
use crate::model::outcome::Class;
use hyper::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use std::time::{Duration, UNIX_EPOCH};

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(3_600);

/// What an end means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    /// For the event.
    pub(super) class: Class,
    /// For the destination.
    pub(super) health: Health,
}

impl Verdict {
    /// The wait they asked for.
    pub(super) fn retry_after(self) -> Option<Duration> {
        match self.health {
            Health::Overloaded(wait) => wait,
            Health::Good | Health::Failing { .. } | Health::Incident | Health::Gone => None,
        }
    }
}

/// The status table. `fixed` says that the endpoint has no path parameters.
pub(super) fn status(status: u16, headers: &HeaderMap, fixed: bool, now: WallMs) -> Verdict {
    let (class, health) = match status {
        200..=299 => (Class::Success, Health::Good),
        401 | 407 => (Class::Incident, Health::Incident),
        403..=405 if fixed => (Class::Incident, Health::Incident),
        410 if fixed => (Class::Incident, Health::Gone),
        300..=399 => (Class::Incident, Health::Incident),
        409 => (Class::Ambiguous, Health::Good),
        408 | 425 => (Class::Transient, Health::Failing { congested: false }),
        429 => (Class::Overload, Health::Overloaded(wait(headers, now))),
        503 => match retry_after(headers, now) {
            Some(wait) => (Class::Overload, Health::Overloaded(Some(wait))),
            None => (Class::Transient, Health::Failing { congested: true }),
        },
        400..=499 => (Class::Reject, Health::Good),
        // 5xx, and what is no final status at all.
        _ => (Class::Transient, Health::Failing { congested: false }),
    };
    Verdict { class, health }
}

/// An attempt without an answer that counts.
pub(super) fn failure(error: &Error) -> Verdict {
    let class = error.class();
    let health = match class {
        Class::Incident => Health::Incident,
        // Nothing was asked of the destination.
        Class::Reject | Class::Success => Health::Good,
        Class::Transient | Class::Ambiguous | Class::Overload => Health::Failing { congested: error.is_timeout() },
    };
    Verdict { class, health }
}

/// How long an overloaded destination asks to be left alone: `Retry-After`, else `RateLimit-Reset`, else
/// `X-RateLimit-Reset`. What cannot be read is passed over.
fn wait(headers: &HeaderMap, now: WallMs) -> Option<Duration> {
    const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
    const X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
    retry_after(headers, now)
        .or_else(|| headers.get(RESET).and_then(number).map(clamp))
        .or_else(|| headers.get(X_RESET).and_then(number).map(|value| clamp(seconds_left(value, now))))
}

/// Seconds or a date (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap, now: WallMs) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?;
    if let Some(seconds) = number(value) {
        return Some(clamp(seconds));
    }
    let date = httpdate::parse_http_date(value.to_str().ok()?.trim()).ok()?;
    let at = date.duration_since(UNIX_EPOCH).ok()?;
    let now = Duration::from_millis(u64::try_from(now.0).unwrap_or(0));
    Some(at.saturating_sub(now).clamp(SHORTEST, LONGEST))
}

/// Digits, perhaps with a fraction; nothing else.
fn number(value: &HeaderValue) -> Option<f64> {
    let text = value.to_str().ok()?.trim();
    let plain = text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if plain { text.parse().ok() } else { None }
}

/// `X-RateLimit-Reset` is seconds to wait, or a moment in seconds or milliseconds since 1970.
fn seconds_left(value: f64, now: WallMs) -> f64 {
    let now_s = Duration::from_millis(u64::try_from(now.0).unwrap_or(0)).as_secs_f64();
    if value >= 1e12 {
        value / 1e3 - now_s
    } else if value >= 1e9 {
        value - now_s
    } else {
        value
    }
}

fn clamp(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.clamp(1.0, 3_600.0)).unwrap_or(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallMs = WallMs(1_700_000_000_000);

    fn class(code: u16, fixed: bool) -> Class {
        status(code, &HeaderMap::new(), fixed, NOW).class
    }

    #[test]
    fn the_status_table() {
        let table: &[(u16, Class, Class)] = &[
            // status, on a fixed endpoint, with path parameters
            (200, Class::Success, Class::Success),
            (204, Class::Success, Class::Success),
            (299, Class::Success, Class::Success),
            (301, Class::Incident, Class::Incident),
            (304, Class::Incident, Class::Incident),
            (400, Class::Reject, Class::Reject),
            (401, Class::Incident, Class::Incident),
            (402, Class::Reject, Class::Reject),
            (403, Class::Incident, Class::Reject),
            (404, Class::Incident, Class::Reject),
            (405, Class::Incident, Class::Reject),
            (407, Class::Incident, Class::Incident),
            (408, Class::Transient, Class::Transient),
            (409, Class::Ambiguous, Class::Ambiguous),
            (410, Class::Incident, Class::Reject),
            (413, Class::Reject, Class::Reject),
            (415, Class::Reject, Class::Reject),
            (418, Class::Reject, Class::Reject),
            (422, Class::Reject, Class::Reject),
            (425, Class::Transient, Class::Transient),
            (429, Class::Overload, Class::Overload),
            (431, Class::Reject, Class::Reject),
            (500, Class::Transient, Class::Transient),
            (501, Class::Transient, Class::Transient),
            (503, Class::Transient, Class::Transient),
            (599, Class::Transient, Class::Transient),
            (101, Class::Transient, Class::Transient),
            (777, Class::Transient, Class::Transient),
        ];
        for (code, fixed, with_parameters) in table {
            assert_eq!(class(*code, true), *fixed, "{code}");
            assert_eq!(class(*code, false), *with_parameters, "{code}");
        }
        let health = |code, fixed| status(code, &HeaderMap::new(), fixed, NOW).health;
        assert_eq!(health(410, true), Health::Gone);
        assert_eq!(health(410, false), Health::Good);
        assert_eq!(health(409, true), Health::Good);
        assert_eq!(health(503, true), Health::Failing { congested: true });
        assert_eq!(health(500, true), Health::Failing { congested: false });
    }

    fn asked(headers: &[(&'static str, &str)]) -> Option<u64> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let verdict = status(429, &map, true, NOW);
        assert_eq!(verdict.class, Class::Overload);
        verdict.retry_after().map(|wait| wait.as_secs())
    }

    #[test]
    fn how_long_they_ask_to_wait() {
        assert_eq!(asked(&[]), None);
        assert_eq!(asked(&[("retry-after", "37")]), Some(37));
        assert_eq!(asked(&[("retry-after", " 5 ")]), Some(5));
        assert_eq!(asked(&[("retry-after", "0")]), Some(1));
        assert_eq!(asked(&[("retry-after", "2.5")]), Some(2));
        assert_eq!(asked(&[("retry-after", "86400")]), Some(3_600));
        assert_eq!(asked(&[("retry-after", "99999999999999999999999999")]), Some(3_600));
        // NOW is Tue, 14 Nov 2023 22:13:20 GMT.
        assert_eq!(asked(&[("retry-after", "Tue, 14 Nov 2023 22:14:20 GMT")]), Some(60));
        assert_eq!(asked(&[("retry-after", "Tue, 14 Nov 2023 22:00:00 GMT")]), Some(1));
        assert_eq!(asked(&[("retry-after", "Wed, 14 Nov 2040 22:14:20 GMT")]), Some(3_600));
        for garbage in ["-5", "soon", "", "1e3", "0x10", "+3", "1.2.3", "inf", "NaN"] {
            assert_eq!(asked(&[("retry-after", garbage)]), None, "{garbage}");
        }
        assert_eq!(asked(&[("ratelimit-reset", "42")]), Some(42));
        assert_eq!(asked(&[("retry-after", "soon"), ("ratelimit-reset", "42")]), Some(42));
        assert_eq!(asked(&[("retry-after", "7"), ("ratelimit-reset", "42")]), Some(7));
        assert_eq!(asked(&[("x-ratelimit-reset", "30")]), Some(30));
        assert_eq!(asked(&[("x-ratelimit-reset", "1700000090")]), Some(90));
        assert_eq!(asked(&[("x-ratelimit-reset", "1700000090000")]), Some(90));
        assert_eq!(asked(&[("x-ratelimit-reset", "1600000000")]), Some(1));
    }

    #[test]
    fn a_503_is_overload_only_with_a_readable_retry_after() {
        let with = |value: &'static str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]);
            status(503, &headers, true, NOW)
        };
        assert_eq!(with("10").retry_after(), Some(Duration::from_secs(10)));
        assert_eq!(with("10").class, Class::Overload);
        assert_eq!(with("later").class, Class::Transient);
    }
}
