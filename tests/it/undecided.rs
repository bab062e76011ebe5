//! An event that needs too long a search (event-patterns.md rule 33): neither a match nor none. It is dead-lettered for
//! each target of that rule, counted, explained, and sent again only when the pattern says yes.

use crate::support::command::{Said, program};
use crate::support::events::structured;
use crate::support::{Answer, Bed};
use serde_json::json;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// Inside one element, inner lists multiply.
fn data() -> String {
    let inner: String = [r#"{"a":1},{"b":1}"#; 12].join(",");
    format!(r#"{{"o":[{{"p":[{inner}],"q":[{inner}],"r":[{inner}]}}]}}"#)
}

fn rules(bed: &Bed, r: &str) -> String {
    format!(
        "{}
---
{{kind: destination, name: sink, connection: api, endpoint: /in}}
---
kind: rule
name: greedy
pattern: {{data: {{o: {{p: {{a: [1]}}, q: {{a: [1]}}, r: {{{r}}}}}}}}}
targets:
- {{name: one, destination: sink, headers: {{x-event: 'greedy ${{$.id}}'}}}}
- {{name: two, destination: sink, headers: {{x-event: 'greedy ${{$.id}}'}}}}
---
{{kind: rule, name: modest, pattern: {{}}, targets: [{{name: sink, destination: sink, headers: {{x-event: $.id}}}}]}}
",
        bed.source_and_connection("")
    )
}

fn ask(settings: &Path, arguments: &[&str], input: &str) -> Said {
    let mut command = program();
    let mut child =
        command.args(arguments).arg("-c").arg(settings).stdin(std::process::Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("it reads");
    Said::of(child.wait_with_output().expect("it ends"))
}

#[test]
fn an_undecided_event_is_a_dead_letter_of_its_rule_and_never_no_match() {
    let bed = Bed::new("undecided", 1, |_| Answer::ok());
    bed.settings("[pattern]\nmax_attempts = 200\n");
    bed.resources("rules.yaml", &rules(&bed, "a: [1], b: [1]"));
    let replica = bed.replica("a");
    let message = structured("huge", "order.paid", &data());
    bed.broker.produce(&bed.topic(), [message.clone().partition(0)]);
    bed.api.wait_until("the rule that could be decided", SOON, |log| log.has("huge"));
    bed.wait_all_committed(SOON);

    let dead = bed.broker.read_all(&bed.own_topic("dlq"));
    let mut targets: Vec<&str> = dead.iter().map(|letter| letter.header("tidegate-target")).collect();
    targets.sort_unstable();
    assert_eq!(targets, ["one", "two"]);
    for letter in &dead {
        assert_eq!((letter.header("tidegate-code"), letter.header("tidegate-rule")), ("EVALUATION_LIMIT", "greedy"));
        let said = letter.header("tidegate-message");
        assert!(
            said.contains("rule greedy") && said.contains("200 attempts") && said.contains("max_attempts"),
            "{said}"
        );
        assert_eq!(letter.value, message.value);
    }
    let (_, _, metrics) = replica.get("/metrics");
    let counted = metrics
        .lines()
        .filter(|line| line.starts_with("tidegate_dead_letters_total") && line.contains("EVALUATION_LIMIT"));
    let counted: Vec<&str> = counted.filter(|line| line.contains(r#"rule="greedy""#) && line.ends_with(" 1")).collect();
    assert_eq!(counted.len(), 2, "{metrics}");

    let settings = bed.settings_file("desk", "");
    let event = String::from_utf8(message.value.clone().expect("a value")).expect("text");
    let explained = ask(&settings, &["explain", "-", "-o", "json", "--rule", "greedy"], &event).exits(1).json();
    assert_eq!((&explained[0]["match"], &explained[0]["code"]), (&json!(false), &json!("EVALUATION_LIMIT")));
    // While nobody can say whether it is wanted, it is not sent again; when the answer is no, neither.
    for (r, renders) in [("a: [1], b: [1]", 0), ("b: [2]", 0), ("b: [1]", 2)] {
        bed.resources("rules.yaml", &rules(&bed, r));
        let dry = ask(&settings, &["dlq", "redrive", "--dry-run", "-o", "json", "--code", "EVALUATION_LIMIT"], "");
        assert_eq!((&dry.json()["matched"], &dry.json()["renders"]), (&json!(2), &json!(renders)), "{r}: {dry:?}");
    }
}
