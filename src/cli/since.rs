//! Times as people write and read them: `--since 2h`, `3m` ago.

use super::{Exit, Failure};
use crate::model::clock::WallMs;
use crate::model::units;
use std::time::Duration;

/// The time that a flag such as `--since` means: so long ago, or then.
pub(super) fn time(flag: &str, text: &str, now: WallMs) -> Result<WallMs, Failure> {
    if let Some(time) = WallMs::parse_rfc3339(text) {
        return Ok(time);
    }
    match units::duration(text) {
        Ok(ago) => Ok(WallMs(now.0.saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX)))),
        Err(_) => {
            let message =
                format!("{flag} {text}: write a time ago such as 30m or 2h, or a time such as {}", now.rfc3339());
            Err(Failure::new(Exit::Usage, "USAGE", message))
        }
    }
}

/// A time that has passed, in its largest unit.
pub(super) fn age(passed: Duration) -> String {
    let seconds = passed.as_secs();
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// The time of day, with the day if that is another.
pub(super) fn clock(ms: i64, now: WallMs) -> String {
    let (at, today) = (WallMs(ms).rfc3339(), now.rfc3339());
    let time = at.get(11..19).unwrap_or(&at);
    if at.get(..10) == today.get(..10) {
        time.to_owned()
    } else {
        format!("{} {time}", at.get(..10).unwrap_or_default())
    }
}

/// How long ago.
pub(super) fn ago(ms: i64, now: WallMs) -> String {
    age(now.since(WallMs(ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        let shown = |seconds| age(Duration::from_secs(seconds));
        assert_eq!([shown(0), shown(119), shown(120)], ["0s", "119s", "2m"]);
        assert_eq!([shown(7_199), shown(7_200), shown(172_800)], ["119m", "2h", "2d"]);
    }
}
