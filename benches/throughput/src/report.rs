//! The table, and the same as JSON.

use crate::contestants::{Contestant, Kind};
use crate::measure::Figures;
use crate::process;
use serde_json::{Value, json};
use std::process::Command;

/// A line of the table.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) scenario: String,
    pub(crate) who: String,
    pub(crate) kind: Kind,
    /// Or why there are none.
    pub(crate) figures: Result<Figures, String>,
}

/// The middle of each figure on its own.
pub(crate) fn median(runs: &[Figures]) -> Figures {
    let of = |figure: fn(&Figures) -> Option<f64>| {
        let mut values: Vec<f64> = runs.iter().filter_map(figure).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        match values.len() {
            0 => None,
            n if n % 2 == 0 => Some(f64::midpoint(values[middle - 1], values[middle])),
            _ => Some(values[middle]),
        }
    };
    Figures {
        cpu_us: of(|run| run.cpu_us),
        per_s: of(|run| run.per_s),
        p50_ms: of(|run| run.p50_ms),
        p99_ms: of(|run| run.p99_ms),
        peak_mib: of(|run| run.peak_mib),
        idle_percent: of(|run| run.idle_percent),
        note: runs.first().map(|run| run.note.clone()).unwrap_or_default(),
    }
}

/// What stands above each column.
pub(crate) fn heading() -> String {
    format!(
        "{:<24} {:<18} {:>8} {:>9} {:>9} {:>8} {:>6} {:>7} {:>7} {:>7}  ",
        "scenario", "program", "CPU µs", "events/s", "p50 ms", "p99 ms", "MiB", "×floor", "×ours", "idle %"
    )
}

/// One line; the ratios are CPU per event to that of the floor and of Tidegate in the same scenario.
pub(crate) fn row(line: &Line, all: &[Line]) -> String {
    let start = format!("{:<24} {:<18}", line.scenario, line.who);
    let figures = match &line.figures {
        Ok(figures) => figures,
        Err(why) => return format!("{start} failed: {}", why.replace('\n', " / ")),
    };
    let by = |kind| ratio(line, all, &kind);
    let number =
        |value: Option<f64>, digits: usize| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"));
    format!(
        "{start} {:>8} {:>9} {:>9} {:>8} {:>6} {:>7} {:>7} {:>7}  {}",
        number(figures.cpu_us, 1),
        number(figures.per_s, 0),
        number(figures.p50_ms, 2),
        number(figures.p99_ms, 2),
        number(figures.peak_mib, 0),
        number(by(Kind::Floor), 2),
        number(by(Kind::Tidegate), 2),
        number(figures.idle_percent, 1),
        figures.note
    )
}

/// CPU per event of this line by that of a program of another kind in the same scenario.
fn ratio(line: &Line, all: &[Line], other: &Kind) -> Option<f64> {
    let theirs = all.iter().find(|one| one.scenario == line.scenario && one.kind == *other && one.who != line.who)?;
    let cpu = |line: &Line| line.figures.as_ref().ok().and_then(|figures| figures.cpu_us);
    Some(cpu(line)? / cpu(theirs)?)
}

/// The whole as JSON.
pub(crate) fn json(
    lines: &[Line],
    contestants: &[Contestant],
    kafka: &str,
    load: (f64, f64),
    notes: &[String],
) -> Value {
    let versions: serde_json::Map<String, Value> =
        contestants.iter().map(|one| (one.name.clone(), json!(one.version))).collect();
    let results: Vec<Value> = lines
        .iter()
        .map(|line| {
            let mut result = json!({"scenario": line.scenario, "program": line.who});
            match &line.figures {
                Ok(f) => {
                    result["cpu_us_per_event"] = json!(f.cpu_us);
                    result["events_per_s"] = json!(f.per_s);
                    result["p50_ms"] = json!(f.p50_ms);
                    result["p99_ms"] = json!(f.p99_ms);
                    result["peak_mib"] = json!(f.peak_mib);
                    result["idle_percent"] = json!(f.idle_percent);
                    result["cpu_by_floor"] = json!(ratio(line, lines, &Kind::Floor));
                    result["cpu_by_tidegate"] = json!(ratio(line, lines, &Kind::Tidegate));
                    result["note"] = json!(f.note);
                }
                Err(why) => result["failed"] = json!(why),
            }
            result
        })
        .collect();
    json!({
        "date": date(),
        "machine": process::machine(),
        "load_before": load.0,
        "load_after": load.1,
        "kafka": kafka,
        "versions": versions,
        "notes": notes,
        "results": results,
    })
}

/// Today, as the system says it.
pub(crate) fn date() -> String {
    crate::contestants::said(Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_two_is_between_them_and_what_nobody_measured_is_none() {
        let run = |cpu: f64| Figures { cpu_us: Some(cpu), ..Figures::default() };
        assert_eq!(median(&[run(9.0), run(1.0), run(2.0)]).cpu_us, Some(2.0));
        assert_eq!(median(&[run(1.0), run(2.0)]).cpu_us, Some(1.5));
        assert_eq!(median(&[run(1.0)]).p99_ms, None);
    }

    #[test]
    fn ratios_are_to_the_floor_of_the_same_scenario() {
        let line = |scenario: &str, who: &str, kind, cpu| Line {
            scenario: scenario.to_owned(),
            who: who.to_owned(),
            kind,
            figures: Ok(Figures { cpu_us: Some(cpu), ..Figures::default() }),
        };
        let all = [
            line("a", "tidegate", Kind::Tidegate, 15.0),
            line("b", "floor", Kind::Floor, 1.0),
            line("a", "floor", Kind::Floor, 10.0),
        ];
        assert_eq!(ratio(&all[0], &all, &Kind::Floor), Some(1.5));
        assert_eq!(ratio(&all[1], &all, &Kind::Tidegate), None);
    }
}
