//! `tidegate import` as people run it: what goes where, what is never overwritten, how it ends.

use crate::support::command::{Said, program};
use std::io::Write as _;
use std::process::Stdio;

const PRINTED: &str = r#"{"Name":"crm","InvocationEndpoint":"https://crm.example.com/in","HttpMethod":"POST",
  "ConnectionArn":"arn:aws:events:eu-west-1:111122223333:connection/crm/7","InvocationRateLimitPerSecond":5}
{"Name":"crm","ConnectionArn":"arn:aws:events:eu-west-1:111122223333:connection/crm/7","AuthorizationType":"BASIC",
  "AuthParameters":{"BasicAuthParameters":{"Username":"ann"}}}
{"Name":"paid","EventPattern":"{\"source\":[\"shop\"]}","State":"ENABLED","EventBusName":"shop"}
{"Targets":[{"Id":"crm","Arn":"arn:aws:events:eu-west-1:111122223333:api-destination/crm/8"}]}
"#;

fn said(arguments: &[&str]) -> Said {
    Said::of(program().args(arguments).output().unwrap())
}

#[test]
fn what_is_imported_can_be_checked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("printed.json");
    std::fs::write(&file, PRINTED).unwrap();
    let (file, out) = (file.to_str().unwrap(), folder.path().join("out"));
    let out = out.to_str().unwrap();
    let import = said(&["import", "aws", file, "--out", out]).exits(0);
    assert_eq!(import.out, "");
    assert!(import.err.contains("imported: 1 connection, 1 destination, 1 source, 1 rule"), "{}", import.err);
    assert!(import.err.contains("CRM_PASSWORD"), "{}", import.err);
    let check = said(&["check", out]).exits(0);
    assert!(check.out.starts_with("ok: 1 connection, 1 destination, 1 source, 1 rule"), "{check:?}");

    let rules = std::path::Path::new(out).join("rules.yaml");
    std::fs::write(&rules, "# mine").unwrap();
    let again = said(&["import", "aws", file, "--out", out]).exits(2);
    assert!(again.err.contains("--force"), "{}", again.err);
    assert_eq!(std::fs::read_to_string(&rules).unwrap(), "# mine");
    said(&["import", "aws", file, "--out", out, "--force", "-q"]).exits(0);
    assert!(std::fs::read_to_string(&rules).unwrap().contains("name: paid"));
}

#[test]
fn standard_input_becomes_standard_output_and_bad_input_is_told() {
    let run = |text: &str, arguments: &[&str]| {
        let mut child = program().args(arguments).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        Said::of(child.wait_with_output().unwrap())
    };
    let fine = run(PRINTED, &["import", "aws", "-", "--from", "mine"]).exits(0);
    fine.tells(&["# Imported from - by", "kind: connection", "kind: destination", "kind: rule", "from: mine"]);
    let lost =
        PRINTED.replace("api-destination/crm/8", "api-destination/crm/8\"},{\"Id\":\"q\",\"Arn\":\"arn:aws:sqs:r:1:q");
    let lost = run(&lost, &["import", "aws", "-"]).exits(1);
    assert!(lost.err.contains("rule paid, target q, `Arn`: targets of `sqs`"), "{}", lost.err);
    let broken = run("{\"Name\":\n x}", &["import", "aws", "-"]).exits(2);
    assert!(broken.err.contains("(standard input):2:2") && broken.out.is_empty(), "{broken:?}");
    let shape = run("{\"FunctionName\": \"f\"}", &["import", "aliyun", "-"]).exits(2);
    assert!(shape.err.contains("IMPORT_SHAPE") && shape.err.contains("ListTargets"), "{}", shape.err);
    said(&["import", "gcp", "-"]).exits(2);
}
