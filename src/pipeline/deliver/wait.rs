//! Wait: how long an answer's headers ask to be left alone. Pure; the present is an argument.

use crate::model::clock::WallMs;
use http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use std::time::{Duration, UNIX_EPOCH};

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(3_600);

/// How long an overloaded destination asks to be left alone: `Retry-After`, else `RateLimit-Reset`, else
/// `X-RateLimit-Reset`. What cannot be read is passed over; 1 s to 1 h.
pub(super) fn asked(headers: &HeaderMap, now: WallMs) -> Option<Duration> {
    const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
    const X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
    retry_after(headers, now)
        .or_else(|| headers.get(RESET).and_then(number).map(clamp))
        .or_else(|| headers.get(X_RESET).and_then(number).map(|value| clamp(seconds_left(value, now))))
}

/// Seconds or a date (RFC 9110, 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap, now: WallMs) -> Option<Duration> {
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

    fn asked(headers: &[(&'static str, &str)]) -> Option<u64> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        super::asked(&map, NOW).map(|wait| wait.as_secs())
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
}
