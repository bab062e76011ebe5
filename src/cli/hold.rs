//! `tidegate hold` and `tidegate resume`: stop a destination for all replicas, and let it go on. Both write to the
//! topic `<prefix>.state`; whoever runs reads it, and who starts later does too.

use super::tools::{Tool, Use};
use super::{Exit, Failure, Global, output, replicas};
use crate::config::{self, Env};
use crate::kafka::{self, ClientSettings, Producer};
use crate::model::clock::{Monotonic, WallMs};
use crate::model::hold::{Hold, HoldRecord};
use crate::model::nearest::nearest;
use crate::model::stored::Topics;
use clap::Args;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long a replica may take to say that it has heard: it looks every two seconds what it has to tell.
const PATIENCE: Duration = Duration::from_secs(8);

const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Options of `hold`.
#[derive(Debug, Args)]
pub struct HoldOptions {
    /// Destinations to stop.
    #[arg(value_name = "DESTINATION", required = true)]
    destinations: Vec<String>,
    /// Why, for whoever looks at `status` meanwhile.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

/// Options of `resume`.
#[derive(Debug, Args)]
pub struct ResumeOptions {
    /// Destinations that may be asked again, whatever held them.
    #[arg(value_name = "DESTINATION", required = true)]
    destinations: Vec<String>,
}

/// Stops destinations. Their events wait in Kafka, and the clock of `max_age` stands still.
///
/// # Errors
/// There is no such destination; Kafka is out of reach.
pub async fn hold(global: &Global, options: &HoldOptions) -> Result<(), Failure> {
    let write = |before: Option<&HoldRecord>, by: String, now: WallMs| match before {
        // Held for another reason: by hand from now on, so that only a hand ends it and the clock stands still.
        Some(before) if before.hold == Some(Hold::Manual) => None,
        before => Some(HoldRecord::begin(before, Hold::Manual, by, options.reason.clone(), now)),
    };
    change(global, &options.destinations, write, Word { done: "held", already: "held by hand already" }).await
}

/// Lets destinations go on.
///
/// # Errors
/// There is no such destination; Kafka is out of reach.
pub async fn resume(global: &Global, options: &ResumeOptions) -> Result<(), Failure> {
    // Also where nothing is written of a hold: an open breaker probes at once.
    let write = |before: Option<&HoldRecord>, by: String, now: WallMs| Some(HoldRecord::resume(before, by, now));
    change(global, &options.destinations, write, Word { done: "resumed", already: "" }).await
}

struct Word {
    done: &'static str,
    already: &'static str,
}

async fn change(
    global: &Global,
    destinations: &[String],
    write: impl Fn(Option<&HoldRecord>, String, WallMs) -> Option<HoldRecord>,
    word: Word,
) -> Result<(), Failure> {
    let tool = Tool::new(global)?;
    let kafka = tool.kafka()?;
    let (client, topics) = (&kafka.client, tool.topics());
    let state = replicas::read_state(client, &topics, WallMs::now())?;
    let mut known: BTreeSet<String> = state.holds.keys().map(ToString::to_string).collect();
    known.extend(state.reports.iter().flat_map(|r| &r.state.destinations).map(|d| d.name.clone()));
    if destinations.iter().any(|wanted| !known.contains(wanted)) {
        // No replica told of it: the files may.
        let resources = tool.resources(global, Some(&kafka), Use::Look);
        known.extend(resources.iter().flat_map(|r| &r.destinations).map(|d| d.name.to_string()));
    }
    if let Some(unknown) = destinations.iter().find(|wanted| !known.contains(*wanted)) {
        let like = nearest(unknown, known.iter().map(String::as_str));
        let hint = match like {
            Some(like) => format!("did you mean `{like}`?"),
            None => format!("there are: {}", known.iter().map(String::as_str).collect::<Vec<_>>().join(", ")),
        };
        let message = format!("there is no destination `{unknown}`; {hint}");
        return Err(Failure::new(Exit::Usage, "HOLD_NAME", message));
    }
    let producer = Producer::connect(client)?;
    for name in destinations {
        let before = state.holds.iter().find(|(known, _)| known.as_str() == name).map(|(_, hold)| hold);
        let Some(record) = write(before, by(), WallMs::now()) else {
            output::print_line(&format!("{name} is {}", word.already))?;
            continue;
        };
        let written = producer.send(record.record(&topics, name)).await;
        written.map_err(|error| Failure::new(Exit::Unreachable, error.code(), error))?;
        output::print_line(&format!("{name} is {}{}", word.done, heard(client, &topics, name, &record).await?))?;
    }
    Ok(())
}

/// Who does it, as people will see it.
fn by() -> String {
    let env = Env::process();
    let user = env.get("USER").or_else(|| env.get("LOGNAME")).unwrap_or("somebody");
    format!("{user}@{}", config::host::name())
}

/// Waits until the replicas say that they have heard.
async fn heard(
    client: &ClientSettings,
    topics: &Topics,
    name: &str,
    wanted: &HoldRecord,
) -> Result<String, kafka::Error> {
    let until = Monotonic::now().plus(PATIENCE);
    loop {
        let now = WallMs::now();
        let reports = replicas::read(client, topics, now)?;
        let fresh = reports.iter().filter(|report| !report.is_stale(now));
        let concerned = fresh.filter_map(|report| report.state.destinations.iter().find(|d| d.name == name));
        let agrees = |held: Option<&str>| match wanted.hold {
            Some(hold) => held == Some(hold.as_str()),
            None => [Hold::Manual, Hold::Gone, Hold::DeadLetterBudget].iter().all(|hold| held != Some(hold.as_str())),
        };
        let told: Vec<bool> = concerned.map(|d| agrees(d.held.as_ref().map(|held| held.reason.as_str()))).collect();
        let (agreed, all) = (told.iter().filter(|agrees| **agrees).count(), told.len());
        if agreed == all || Monotonic::now() >= until {
            return Ok(match (agreed, all) {
                (_, 0) => "; no replica runs, the next one will know".to_owned(),
                (1, 1) => "; the replica has heard".to_owned(),
                (agreed, all) if agreed == all => format!("; all {all} replicas have heard"),
                (agreed, all) => format!(
                    "; {agreed} of {all} replicas have said that they heard, the others will as soon as they reach Kafka"
                ),
            });
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
