//! Where time comes from: the one module that may ask the operating system for it.
//!
//! Everything that decides something by time takes a `now` as an argument, so that tests and the simulation
//! own it. `Monotonic` is for durations and deadlines, `WallMs` for what is written down. A thread may be given
//! another [`Source`]: then the time of all that runs on it is the source's.

use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Nanoseconds since the process first asked; never goes back and is not affected by clock steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Monotonic(pub u64);

impl Monotonic {
    /// The present moment.
    #[must_use]
    pub fn now() -> Self {
        let elapsed = match SOURCE.get() {
            Some(source) => (source.now)().saturating_duration_since(source.origin),
            None => origin().elapsed(),
        };
        Self(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
    }

    /// This moment plus `after`, saturating.
    #[must_use]
    pub fn plus(self, after: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Time from `earlier` to this moment; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The same moment as an [`Instant`], for timers.
    #[must_use]
    pub fn instant(self) -> Instant {
        let origin = SOURCE.get().map_or_else(origin, |source| source.origin);
        origin.checked_add(Duration::from_nanos(self.0)).unwrap_or(origin)
    }
}

/// Milliseconds since 1970-01-01 UTC, as Kafka counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WallMs(pub i64);

impl WallMs {
    /// The present time of day.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "this module is the clock")]
    pub fn now() -> Self {
        if let Some(source) = SOURCE.get() {
            return (source.time_of_day)();
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// This time plus `after`, saturating.
    #[must_use]
    pub fn plus(self, after: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(after.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Time from `earlier` to this one; zero if the clock stepped back.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Reads RFC 3339, e.g. `2026-01-02T03:04:05.678+08:00`; digits beyond milliseconds are cut.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let number = |from: usize, to: usize| {
            let digits = text.get(from..to)?;
            digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<i64>().ok())?
        };
        let sign = |at: usize, wanted: &[u8]| text.as_bytes().get(at).is_some_and(|b| wanted.contains(b));
        let shape = sign(4, b"-") && sign(7, b"-") && sign(10, b"Tt ") && sign(13, b":") && sign(16, b":");
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        let mut rest = text.get(19..)?;
        let mut ms = 0;
        if let Some(fraction) = rest.strip_prefix('.') {
            let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
            let three: String = fraction.get(..digits)?.chars().chain("000".chars()).take(3).collect();
            ms = three.parse().ok().filter(|_| digits > 0)?;
            rest = fraction.get(digits..)?;
        }
        let offset_minutes = match rest.as_bytes() {
            b"Z" | b"z" => 0,
            [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
                let at = text.len() - rest.len();
                let minutes = number(at + 1, at + 3)? * 60 + number(at + 4, at + 6)?;
                if *sign == b'-' { -minutes } else { minutes }
            }
            _ => return None,
        };
        let in_range = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
        if !shape || !in_range {
            return None;
        }
        // Civil date to days: Howard Hinnant, as below, days_from_civil.
        let y = if month <= 2 { year - 1 } else { year };
        let era = y.div_euclid(400);
        let yoe = y.rem_euclid(400);
        let doy = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
        let days = era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468;
        Some(Self((((days * 24 + hour) * 60 + minute - offset_minutes) * 60 + second) * 1_000 + ms))
    }

    /// RFC 3339 in UTC with milliseconds and `Z`, e.g. `2026-01-02T03:04:05.678Z`.
    #[must_use]
    pub fn rfc3339(self) -> String {
        let days = self.0.div_euclid(86_400_000);
        let ms = self.0.rem_euclid(86_400_000);
        // Days to civil date: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let doe = z.rem_euclid(146_097);
        let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let day = doy - (153 * mp + 2) / 5 + 1;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        let year = yoe + era * 400 + i64::from(month <= 2);
        format!(
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
            ms / 3_600_000,
            ms / 60_000 % 60,
            ms / 1_000 % 60,
            ms % 1_000
        )
    }
}

/// The present time of day as exact as the system gives it; for spans.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this module is the clock")]
pub fn system_time() -> SystemTime {
    match SOURCE.get() {
        Some(source) => {
            let since = Duration::from_millis(u64::try_from((source.time_of_day)().0).unwrap_or(0));
            UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
        }
        None => SystemTime::now(),
    }
}

/// Where the time of a thread comes from, if not from the operating system.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// The moment that is zero.
    pub origin: Instant,
    /// The present moment; never goes back, and is what the timers of the thread go by.
    pub now: fn() -> Instant,
    /// The present time of day.
    pub time_of_day: fn() -> WallMs,
}

thread_local! {
    /// Read for every question; without a destructor that costs a load and a branch beside the system call.
    static SOURCE: Cell<Option<Source>> = const { Cell::new(None) };
}

/// Gives this thread another source of time, or with `None` the operating system again.
pub fn set_source(source: Option<Source>) {
    SOURCE.set(source);
}

#[allow(clippy::disallowed_methods, reason = "this module is the clock")]
fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}

#[cfg(test)]
mod tests {
    use super::{Monotonic, Source, WallMs, set_source, system_time};
    use std::cell::Cell;
    use std::time::{Duration, Instant, UNIX_EPOCH};

    #[test]
    #[allow(clippy::disallowed_methods, reason = "this module is the clock")]
    fn a_thread_may_have_another_time() {
        thread_local! {
            static NOW: Cell<Option<Instant>> = const { Cell::new(None) };
        }
        let origin = Instant::now();
        NOW.set(Some(origin));
        set_source(Some(Source { origin, now: || NOW.get().unwrap(), time_of_day: || WallMs(7_000) }));
        assert_eq!((Monotonic::now(), WallMs::now()), (Monotonic(0), WallMs(7_000)));
        NOW.set(Some(origin + Duration::from_secs(3)));
        assert_eq!((Monotonic::now(), Monotonic::now().instant()), (Monotonic(3_000_000_000), NOW.get().unwrap()));
        assert_eq!(system_time(), UNIX_EPOCH + Duration::from_secs(7));
        let elsewhere = std::thread::spawn(WallMs::now).join().unwrap();
        assert!(elsewhere > WallMs(1_700_000_000_000));
        set_source(None);
        assert!(WallMs::now() > WallMs(1_700_000_000_000));
    }

    #[test]
    fn rfc3339_is_utc_with_milliseconds() {
        assert_eq!(WallMs(0).rfc3339(), "1970-01-01T00:00:00.000Z");
        assert_eq!(WallMs(1_709_164_800_001).rfc3339(), "2024-02-29T00:00:00.001Z");
        assert_eq!(WallMs(-1).rfc3339(), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn rfc3339_is_read_with_offset_and_fraction() {
        for ms in [0, 1_709_164_800_001, -1, 253_402_300_799_999] {
            assert_eq!(WallMs::parse_rfc3339(&WallMs(ms).rfc3339()), Some(WallMs(ms)));
        }
        assert_eq!(WallMs::parse_rfc3339("1970-01-01T08:00:00.5+08:00"), Some(WallMs(500)));
        assert_eq!(WallMs::parse_rfc3339("1969-12-31T23:30:00-00:30"), Some(WallMs(0)));
        for wrong in ["", "1970-01-01", "1970-01-01T00:00:00", "1970-13-01T00:00:00Z", "1970-01-01T00:00:00.Z"] {
            assert_eq!(WallMs::parse_rfc3339(wrong), None, "{wrong}");
        }
    }
}
