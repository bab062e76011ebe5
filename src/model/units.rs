//! Durations, sizes and rates as people write them: `15s`, `5MiB`, `50/min`. Bare numbers are refused.

use std::time::Duration;

/// `15s`, `250ms`, `5m` or `5min`, `24h`, `7d`. The error says what to write.
///
/// # Errors
/// A number without unit, an unknown unit, or no number.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let number: f64 = number.parse().map_err(|_| format!("`{text}` is no duration; write 15s, 250ms, 5m or 24h"))?;
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        "" => return Err(format!("`{text}` needs a unit; write {text}s or {text}m")),
        _ => return Err(format!("`{unit}` is no unit of time; write ms, s, m, h or d")),
    };
    Duration::try_from_secs_f64(number * seconds).map_err(|_| format!("`{text}` is out of range"))
}

/// `512B`, `64KiB`, `5MiB`, `1GiB`, also `kB`, `MB`, `GB` (powers of ten), in bytes.
///
/// # Errors
/// A number without unit, an unknown unit, or no number.
pub fn size_bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let number: u64 = number.parse().map_err(|_| format!("`{text}` is no size; write 64KiB or 5MiB"))?;
    let factor = match unit {
        "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "" => return Err(format!("`{text}` needs a unit; write {text}B, {text}KiB or {text}MiB")),
        _ => return Err(format!("`{unit}` is no unit of size; write B, KiB, MiB or GiB")),
    };
    number.checked_mul(factor).ok_or_else(|| format!("`{text}` is out of range"))
}

/// A limit of so many requests in so long: `50/min` is 50 per 60 s.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Requests, above zero.
    pub requests: u32,
    /// In this time.
    pub per: Duration,
}

impl Rate {
    /// Requests per second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        f64::from(self.requests) / self.per.as_secs_f64()
    }
}

/// As it is written: `50/min`.
impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let units = [(1, "s"), (60, "min"), (3_600, "h"), (86_400, "d")];
        match units.iter().find(|(seconds, _)| self.per == Duration::from_secs(*seconds)) {
            Some((_, unit)) => write!(f, "{}/{unit}", self.requests),
            None => write!(f, "{}/{:?}", self.requests, self.per),
        }
    }
}

/// `3/s`, `50/min`, `1000/h`, `5000/d`, also `100/10s`.
///
/// # Errors
/// A number without unit, an unknown unit, or zero.
pub fn rate(text: &str) -> Result<Rate, String> {
    let wrong = || format!("`{text}` is no rate; write 3/s, 50/min or 1000/h");
    let Some((number, unit)) = text.split_once('/') else {
        return Err(if text.trim().parse::<f64>().is_ok() {
            format!("`{text}` needs a unit; write {text}/s or {text}/min")
        } else {
            wrong()
        });
    };
    let requests: u32 = number.trim().parse().map_err(|_| wrong())?;
    if requests == 0 {
        return Err("a rate of zero sends nothing; set `enabled: false` on the rule instead".to_owned());
    }
    let unit = unit.trim();
    let per =
        if unit.starts_with(|c: char| c.is_ascii_digit()) { duration(unit)? } else { duration(&format!("1{unit}"))? };
    if per.is_zero() {
        return Err(wrong());
    }
    Ok(Rate { requests, per })
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        assert_eq!(duration("15s"), Ok(Duration::from_secs(15)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert!(duration("5").is_err_and(|e| e.contains("5s or 5m")));
        assert!(duration("s").is_err());
        assert_eq!(size_bytes("5MiB"), Ok(5 << 20));
        assert!(size_bytes("5").is_err());
        assert_eq!(rate("50/min"), Ok(Rate { requests: 50, per: Duration::from_secs(60) }));
        assert_eq!(rate("100/10s"), Ok(Rate { requests: 100, per: Duration::from_secs(10) }));
        for written in ["3/s", "50/min", "1000/h", "5000/d", "100/10s"] {
            assert_eq!(rate(written).unwrap().to_string(), written);
        }
        assert!(rate("5").is_err_and(|e| e.contains("5/s")));
        assert!(rate("0/s").is_err());
    }
}
