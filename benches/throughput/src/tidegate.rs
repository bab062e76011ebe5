//! Tidegate as it is measured: its defaults, with rate limit, breaker, adaptive concurrency, metrics and commit map on.

use crate::contestants::{Job, Order};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Writes settings and resources for the job; the command that runs it.
pub(crate) fn command(program: &Path, job: &Job, folder: &Path) -> Command {
    let resources = folder.join("resources");
    fs::create_dir_all(&resources).expect("a folder");
    fs::write(resources.join("job.yaml"), resources_of(job)).expect("resources");
    // The mock cluster lets every rebalance wait for nearly a session.
    let quick = if job.mock {
        "session_timeout = \"6s\"\nheartbeat_interval = \"1s\"\n\n[delivery]\ndrain_timeout = \"2s\""
    } else {
        ""
    };
    let settings = format!(
        "[kafka]
brokers = {:?}
group = {:?}
prefix = {:?}
{quick}

[resources]
paths = [{resources:?}]

[admin]
listen = \"127.0.0.1:0\"
",
        job.brokers, job.group, job.prefix
    );
    fs::write(folder.join("settings.toml"), settings).expect("settings");
    let mut command = Command::new(program);
    command.args(["run", "-c"]).arg(folder.join("settings.toml"));
    command
}

fn resources_of(job: &Job) -> String {
    let tls = if job.tls { format!("tls: {{ca_file: {:?}}}\n", crate::tls::CA) } else { String::new() };
    let scheme = if job.tls { "https://localhost" } else { "http://127.0.0.1" };
    let mut text = format!(
        "kind: source
name: orders
kafka: {{topics: [{}], start: earliest}}
---
kind: connection
name: api
url: {scheme}:{}
allow_networks: [127.0.0.0/8]
{tls}",
        job.topic, job.port
    );
    for d in 0..job.destinations {
        let path = if job.destinations == 1 { "/in".to_owned() } else { format!("/d/{d}") };
        write!(
            text,
            "---
kind: destination
name: d{d}
connection: api
endpoint: {path}
rate_limit: {{limit: 1000000/s, burst: 1000}}
"
        )
        .expect("text");
    }
    let ordering = match job.order {
        Order::None => "",
        Order::Key => "\n  ordering: key",
    };
    for r in 0..job.rules {
        let mine = if job.rules > 1 { format!("rule: [{r}], ") } else { String::new() };
        write!(
            text,
            "---
kind: rule
name: r{r}
from: orders
pattern: {{type: [order.paid], data: {{{mine}total: [{{numeric: ['>', 100]}}]}}}}
targets:
"
        )
        .expect("text");
        for t in 0..job.fan_out {
            let destination = (r * job.fan_out + t) % job.destinations;
            write!(
                text,
                "- name: t{t}
  destination: d{destination}{ordering}
  body: {{json: {{event: $.id, sent: $.sent, order: $.data.id, customer: '${{$.data.customer.name ?? omit}}', items: '${{$.data.items ?? omit}}', total: $.data.total, note: $.data.note}}}}
"
            )
            .expect("text");
        }
    }
    text
}
