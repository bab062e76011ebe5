//! Imports from AWS, in the shapes that it prints.

use super::super::tests::{Imported, documents, made};
use super::*;

/// `describe-rule`, `list-targets-by-rule`, `describe-api-destination` and `describe-connection`, one after the other.
const PRINTED: &str = r#"
{
    "Name": "orders.paid",
    "Arn": "arn:aws:events:eu-west-1:111122223333:rule/shop/orders.paid",
    "EventPattern": "{\"source\":[\"shop\"],\"detail-type\":[\"order.paid\"],\"detail\":{\"total\":[{\"numeric\":[\">=\",100.50]}]}}",
    "State": "ENABLED",
    "Description": "Paid: ${all}",
    "EventBusName": "shop",
    "CreatedBy": "111122223333"
}
{
    "Targets": [
        {
            "Id": "json",
            "Arn": "arn:aws:events:eu-west-1:111122223333:api-destination/crm/0a1b2c3d-1111-2222-3333-444455556666",
            "RoleArn": "arn:aws:iam::111122223333:role/r",
            "InputTransformer": {
                "InputPathsMap": {"id": "$.detail.id", "who": "$.detail.customer.name", "none": "$.detail.none", "unused": "$.time"},
                "InputTemplate": "{\n  \"order\": <id>,\n  \"note\": \"paid by <who>\",\n  \"rule\": \"<aws.events.rule-name> <aws.events.rule-arn>\",\n  \"none\": <none>,\n  \"event\": <aws.events.event.json>\n}"
            },
            "HttpParameters": {
                "PathParameterValues": ["$.detail.id"],
                "HeaderParameters": {"X-Source": "$.source", "X-Price": "$5"},
                "QueryStringParameters": {"t": "$.detail-type"}
            },
            "DeadLetterConfig": {"Arn": "arn:aws:sqs:eu-west-1:111122223333:lost"},
            "RetryPolicy": {"MaximumRetryAttempts": 4, "MaximumEventAgeInSeconds": 3600}
        },
        {
            "Id": "text",
            "Arn": "arn:aws:events:eu-west-1:111122223333:api-destination/hook/0a1b2c3d-0000-2222-3333-444455556666",
            "InputTransformer": {"InputPathsMap": {"id": "$.detail.id", "all": "$.detail"}, "InputTemplate": "\"Order <id> is paid\"\n\"all: <all>\""},
            "RetryPolicy": {"MaximumRetryAttempts": 185, "MaximumEventAgeInSeconds": 86400}
        },
        {"Id": "constant", "Arn": "arn:aws:events:eu-west-1:111122223333:api-destination/hook/x", "Input": "{\"a\": \"${env:HOME} $.x\"}"},
        {"Id": "part", "Arn": "arn:aws:events:eu-west-1:111122223333:api-destination/hook/x", "InputPath": "$.detail.customer.name"},
        {"Id": "whole", "Arn": "arn:aws:events:eu-west-1:111122223333:api-destination/hook/x"},
        {"Id": "typed", "Arn": "arn:aws:events:eu-west-1:111122223333:api-destination/hook/x", "InputPath": "$.detail.tags", "HttpParameters": {"HeaderParameters": {"Content-Type": "text/plain"}}},
        {"Id": "fn", "Arn": "arn:aws:lambda:eu-west-1:111122223333:function:f"}
    ]
}
{
    "ApiDestinationArn": "arn:aws:events:eu-west-1:111122223333:api-destination/crm/0a1b2c3d-1111-2222-3333-444455556666",
    "Name": "crm",
    "ApiDestinationState": "ACTIVE",
    "ConnectionArn": "arn:aws:events:eu-west-1:111122223333:connection/crm.prod/77",
    "InvocationEndpoint": "https://crm.example.com/v2/orders/*?src=eb&token=hunter2",
    "HttpMethod": "PUT",
    "InvocationRateLimitPerSecond": 20,
    "CreationTime": "2023-03-29T10:26:12+00:00"
}
{
    "ConnectionArn": "arn:aws:events:eu-west-1:111122223333:connection/crm.prod/77",
    "Name": "crm.prod",
    "ConnectionState": "AUTHORIZED",
    "AuthorizationType": "OAUTH_CLIENT_CREDENTIALS",
    "SecretArn": "arn:aws:secretsmanager:eu-west-1:111122223333:secret:events!connection/crm/x",
    "AuthParameters": {
        "OAuthParameters": {
            "ClientParameters": {"ClientID": "abc"},
            "AuthorizationEndpoint": "https://login.example.com/oauth/token",
            "HttpMethod": "POST",
            "OAuthHttpParameters": {"BodyParameters": [
                {"Key": "grant_type", "Value": "client_credentials", "IsValueSecret": false},
                {"Key": "audience", "Value": "https://crm", "IsValueSecret": false},
                {"Key": "scope", "Value": "a b", "IsValueSecret": false}]}
        },
        "InvocationHttpParameters": {
            "HeaderParameters": [{"Key": "X-Tenant", "Value": "on", "IsValueSecret": false}, {"Key": "X-Signed", "IsValueSecret": true}],
            "BodyParameters": [{"Key": "via", "Value": "$$", "IsValueSecret": false}]}
    }
}
{"ApiDestinations": [{"Name": "hook", "ApiDestinationArn": "arn:aws:events:eu-west-1:111122223333:api-destination/hook/0a1b2c3d-0000-2222-3333-444455556666",
  "ConnectionArn": "arn:aws:events:eu-west-1:111122223333:connection/hook/78", "InvocationEndpoint": "https://hook.example.com", "HttpMethod": "POST", "InvocationRateLimitPerSecond": 300}]}
{"Connections": [{"Name": "hook", "ConnectionArn": "arn:aws:events:eu-west-1:111122223333:connection/hook/78", "ConnectionState": "AUTHORIZED", "AuthorizationType": "API_KEY"}]}
"#;

const EVENT: &str = r#"{"specversion":"1.0","id":"e-1","source":"shop","type":"order.paid","time":"2026-01-02T03:04:05Z","region":"eu-west-1",
  "data":{"id":"A 1","total":100.5,"customer":{"name":"Ann"},"tags":["x",1.10]}}"#;

fn import_with(inputs: &[(&str, &str)], choices: &Choices) -> Imported {
    made(import(&documents(inputs), choices).expect("understood"), choices)
}

fn imported(text: &str) -> Imported {
    import_with(&[("in.json", text)], &Choices::default())
}

#[test]
fn everything_that_calls_print_becomes_resources() {
    imported(PRINTED)
        .accepted()
        .writes(&[
            "#   CRM_PROD_CLIENT_SECRET: connection crm.prod: client secret\n",
            "# AWS connection crm.prod (in.json:52:1)\n",
            "kind: connection\nname: crm-prod\nurl: https://crm.example.com\nauth:\n  oauth2:\n    \
             token_endpoint: https://login.example.com/oauth/token\n    client_id: abc\n    \
             client_secret: \"${env:CRM_PROD_CLIENT_SECRET}\"\n    client_auth: body\n    scope: a b\n    body:\n      \
             audience: https://crm\nheaders:\n  X-Tenant: \"on\"\n  X-Signed: \"${env:CRM_PROD_X_SIGNED}\"\nquery:\n  \
             token: \"${env:CRM_PROD_TOKEN}\"\nbody:\n  via: $$$$\n",
            "kind: connection\nname: hook\nurl: https://hook.example.com\nauth:\n  api_key:\n    \
             name: \"${env:HOOK_API_KEY_NAME}\"\n    value: \"${env:HOOK_API_KEY}\"\n",
            "kind: destination\nname: crm\nconnection: crm-prod\nendpoint: /v2/orders/*?src=eb\nmethod: PUT\nrate_limit: 20/s\n",
            "kind: destination\nname: hook\nconnection: hook\nrate_limit: 300/s\n",
            "kind: source\nname: shop\nkafka:\n  topics: [shop]\n",
            "# not imported: rule orders.paid, target fn, `Arn`: targets of `lambda` have no equivalent",
            "kind: rule\nname: orders-paid\ndescription: \"Paid: $ {all}\"\nfrom: shop\ndialect: aws\nalias: aws\npattern:\n  \
             source: [shop]\n  detail-type: [order.paid]\n  detail:\n    total: [{numeric: [\">=\", 100.50]}]\ntargets:\n",
            "    retry:\n      max_age: 1h\n      max_attempts: 5\n  - name: text\n",
        ])
        .reports(&[
            "imported: 2 connections, 2 destinations, 1 source, 1 rule\n",
            "rule orders.paid → orders-paid\n",
            "CRM_PROD_X_SIGNED",
            "not imported:\n  rule orders.paid, target fn, `Arn`",
            "its queue lost is not used",
        ])
        .never_says(&["hunter2"]);
}

#[test]
fn requests_are_those_that_aws_would_send() {
    let made = imported(PRINTED).accepted();
    let json = made.request("json", EVENT);
    assert_eq!(json.method, "PUT");
    assert!(json.url.starts_with("https://crm.example.com/v2/orders/A%201?src=eb&t=order.paid&token="), "{}", json.url);
    assert_eq!((json.headers["x-source"].as_str(), json.headers["x-price"].as_str()), ("shop", "$5"));
    let whole = r#"{"version":"0","id":"e-1","detail-type":"order.paid","source":"shop","time":"2026-01-02T03:04:05Z","region":"eu-west-1","resources":[],"detail":{"id":"A 1","total":100.5,"customer":{"name":"Ann"},"tags":["x",1.10]}}"#;
    let wanted = format!(
        r#"{{"order":"A 1","note":"paid by Ann","rule":"orders-paid arn:aws:events:eu-west-1:111122223333:rule/shop/orders.paid","none":"","event":{whole},"via":"$$"}}"#
    );
    assert_eq!(json.body, wanted);
    let text = made.request("text", EVENT);
    assert_eq!(text.body, "\"Order A 1 is paid\"\n\"all: {id:A 1,total:100.5,customer:{name:Ann},tags:[x,1.10]}\"");
    assert_eq!(made.request("constant", EVENT).body, "{\"a\": \"${env:HOME} $.x\"}");
    assert_eq!(made.request("part", EVENT).body, "\"Ann\"");
    assert_eq!(made.request("whole", EVENT).body, whole);
    assert_eq!(made.request("whole", EVENT).headers["content-type"], "application/json");
    let typed = made.request("typed", EVENT);
    assert_eq!((typed.body.as_str(), typed.headers["content-type"].as_str()), ("[\"x\",1.10]", "text/plain"));
    assert!(!made.wants(&EVENT.replace("100.5", "100.49")));
}

/// A template as people write them, secrets in it and all.
const TEMPLATE: &str = r#"
AWSTemplateFormatVersion: "2010-09-09"
Parameters:
  Stage: {Type: String, Default: prod}
  ApiKey: {Type: String, NoEcho: true, Default: hunter2}
  Tenant: {Type: String}
Resources:
  Bus:
    Type: AWS::Events::EventBus
    Properties: {Name: shop}
  CrmConnection:
    Type: AWS::Events::Connection
    Properties:
      AuthorizationType: API_KEY
      AuthParameters:
        ApiKeyAuthParameters: {ApiKeyName: x-api-key, ApiKeyValue: !Ref ApiKey}
        InvocationHttpParameters:
          HeaderParameters:
            - {Key: Authorization, Value: Bearer hunter2, IsValueSecret: false}
            - {Key: X-Stage, Value: !Sub "stage-${Stage}"}
            - {Key: X-Tenant, Value: !Ref Tenant}
            - {Key: X-Vault, Value: "{{resolve:secretsmanager:hunter2:SecretString}}"}
  BasicConnection:
    Type: AWS::Events::Connection
    Properties:
      Name: basic
      AuthorizationType: BASIC
      AuthParameters:
        BasicAuthParameters: {Username: "${env:HOME}", Password: hunter2}
  Crm:
    Type: AWS::Events::ApiDestination
    Properties:
      ConnectionArn: !GetAtt CrmConnection.Arn
      InvocationEndpoint: !Sub "https://crm-${Stage}.example.com/in"
      HttpMethod: POST
  Other:
    Type: AWS::Events::ApiDestination
    Properties:
      ConnectionArn: !Sub "${CrmConnection.Arn}"
      InvocationEndpoint: https://other.example.com/in
      HttpMethod: POST
  Open:
    Type: AWS::Events::ApiDestination
    Properties:
      ConnectionArn: !GetAtt BasicConnection.Arn
      InvocationEndpoint: !Sub "https://${Tenant}.example.com/"
      HttpMethod: POST
  Paid:
    Type: AWS::Events::Rule
    Properties:
      EventBusName: !Ref Bus
      State: DISABLED
      EventPattern: {source: [shop], detail: {stage: [!Ref Stage]}}
      Targets:
        - {Id: crm, Arn: !GetAtt Crm.Arn, DeadLetterConfig: {Arn: !GetAtt Queue.Arn}}
        - {Id: fn, Arn: !GetAtt Function.Arn}
  PerTenant:
    Type: AWS::Events::Rule
    Condition: Many
    Properties:
      EventPattern: {detail: {tenant: [!Ref Tenant]}}
      Targets: [{Id: a, Arn: !GetAtt Open.Arn}]
  Nightly:
    Type: AWS::Events::Rule
    Properties: {ScheduleExpression: rate(1 day), Targets: [{Id: a, Arn: !GetAtt Open.Arn}]}
  Function: {Type: AWS::Lambda::Function}
  Queue: {Type: AWS::SQS::Queue}
"#;

#[test]
fn templates_become_resources_and_their_secrets_references() {
    let made = import_with(&[("t.yaml", TEMPLATE)], &Choices::default()).accepted();
    made.writes(&[
        "name: CrmConnection\nauth:\n  api_key:\n    name: x-api-key\n    value: \"${env:CRMCONNECTION_API_KEY}\"\nheaders:\n  \
         Authorization: \"${env:CRMCONNECTION_AUTHORIZATION}\"\n  X-Stage: stage-prod\n  X-Tenant: \"${env:CRMCONNECTION_X_TENANT}\"\n  \
         X-Vault: \"${env:CRMCONNECTION_X_VAULT}\"\n",
        "name: basic\nauth:\n  basic:\n    username: \"${env:BASIC_USERNAME}\"\n    password: \"${env:BASIC_PASSWORD}\"\n",
        "name: Crm\nconnection: CrmConnection\nendpoint: https://crm-prod.example.com/in\nrate_limit: 300/s\n",
        "name: Open\nconnection: basic\nendpoint: \"${env:OPEN_URL}\"\n",
        "kind: rule\nname: Paid\nfrom: Bus\ndialect: aws\nalias: aws\nenabled: false\n",
        "    stage: [prod]\n",
        "# It cannot be used as it is: mend it, then take it out of the comment.\n# kind: rule\n# name: PerTenant\n",
        "#     tenant: [{Ref: Tenant}]\n",
    ])
    .reports(&[
        "imported: 2 connections, 3 destinations, 2 sources, 1 rule\nwritten as comments, for they need a hand: 1\n",
        "rule Paid, target fn, `Arn`: targets of `AWS::Lambda::Function`",
        "{\"Ref\":\"Tenant\"} is known only where the template is deployed",
        "rule Nightly, `ScheduleExpression`: schedules (`rate(1 day)`) have no equivalent",
        "resource Bus, `Type`: `AWS::Events::EventBus`",
        "go to several hosts (https://crm-prod.example.com, https://other.example.com)",
        "it exists only if `Many`",
    ])
    .never_says(&["hunter2", "resolve:"]);
}

#[test]
fn parameters_of_templates_may_be_given() {
    let parameters = [("Tenant", "acme"), ("Stage", "dev")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let choices = Choices { parameters: parameters.into(), from: Some("mine".to_owned()) };
    let made = import_with(&[("t.yaml", TEMPLATE)], &choices).accepted();
    made.writes(&["url: https://acme.example.com\n", "name: PerTenant\nfrom: mine\n", "    tenant: [acme]\n"])
        .reports(&["imported: 2 connections, 3 destinations, 0 sources, 2 rules\n"])
        .never_says(&["hunter2", "kind: source"]);
}

#[test]
fn names_that_become_the_same_are_told_apart() {
    let rule = |name: &str| {
        format!(
            r#"{{"Name":"{name}","EventPattern":"{{\"source\":[\"a\"]}}","State":"ENABLED","EventBusName":"stored"}}"#
        )
    };
    let targets = r#"{"Rule":"a.b","Targets":[{"Id":"1.2","Arn":"arn:aws:events:r:1:api-destination/d/x"},{"Id":"1-2","Arn":"arn:aws:events:r:1:api-destination/d/x"}]}"#;
    let other = r#"{"a-b":{"Targets":[{"Id":"1","Arn":"arn:aws:events:r:1:api-destination/d/x"}]}}"#;
    let text = format!("{{\"Rules\":[{},{}]}}{targets}{other}", rule("a.b"), rule("a-b"));
    imported(&text)
        .accepted()
        .writes(&[
            "name: d\n",
            "endpoint: \"${env:D_URL}\"",
            "name: stored-events\n",
            "name: a-b\n",
            "- name: \"1-2\"\n",
            "- name: \"1-2-2\"\n",
            "name: a-b-2\n",
        ])
        .reports(&["rule a.b → a-b\n", "rule a-b → a-b-2\n", "API destination d: it is not in the input"]);
}

#[test]
fn secrets_in_urls_and_targets_are_not_copied() {
    let text = r#"{"Name":"slack","InvocationEndpoint":"https://hooks.example.com/services/T1/B2/abcDEF0123456789abcdef01?x=1","HttpMethod":"POST","ConnectionArn":"arn:aws:events:r:1:connection/slack/x"}
        {"Name":"slack","AuthorizationType":"API_KEY","AuthParameters":{"ApiKeyAuthParameters":{"ApiKeyName":"x"}}}
        {"Name":"r","EventPattern":"{\"source\":[\"a\"]}","State":"ENABLED","Targets":[{"Id":"a","Arn":"arn:aws:events:r:1:api-destination/slack/x",
          "HttpParameters":{"HeaderParameters":{"Authorization":"hunter2","X-Token":"$.detail.token"},"QueryStringParameters":{"api_key":"hunter2"}}}]}"#;
    imported(text)
        .accepted()
        .writes(&["endpoint: \"/services/T1/B2/${env:SLACK_PATH}?x=1\"\n", "headers:\n      X-Token: $.data.token\n"])
        .reports(&[
            "SLACK_PATH",
            "target a, `QueryStringParameters`: `api_key` looks like a secret",
            "target a, `HeaderParameters`: `Authorization` looks like a secret",
        ])
        .never_says(&["hunter2", "abcDEF"]);
}

#[test]
fn targets_go_to_no_rule_but_their_own() {
    let rule = |name: &str| format!(r#"{{"Name":"{name}","EventPattern":"{{\"source\":[\"a\"]}}","State":"ENABLED"}}"#);
    let targets = r#""Targets":[{"Id":"1","Arn":"arn:aws:events:r:1:api-destination/d/x"}]}"#;
    for (text, orphan) in [
        (format!("{{\"Rules\":[{},{}]}}{{{targets}", rule("a"), rule("b")), true),
        (format!("{}{{\"Rule\":\"b\",{targets}", rule("a")), true),
        (format!("{}{}{{{targets}", rule("a"), rule("b")), false),
        (format!("{{{targets}{}", rule("a")), false),
    ] {
        let made = imported(&text).accepted();
        assert_eq!(made.report.contains("1 targets, `Targets`: no rule of theirs"), orphan, "{text}\n{}", made.report);
        assert_eq!(made.report.contains(" 0 rules"), orphan, "{text}\n{}", made.report);
    }
}

#[test]
fn what_describes_and_what_lists_complete_each_other() {
    let listed = r#"{"Connections":[{"Name":"c","AuthorizationType":"BASIC","ConnectionState":"AUTHORIZED"}]}"#;
    let described =
        r#"{"Name":"c","AuthorizationType":"BASIC","AuthParameters":{"BasicAuthParameters":{"Username":"ann"}}}"#;
    let made = imported(&format!("[{listed},{described}]")).accepted();
    made.writes(&["name: c\nauth:\n  basic:\n    username: ann\n    password: \"${env:C_PASSWORD}\"\n"])
        .reports(&["imported: 1 connection, 0 destinations"]);
}

#[test]
fn patterns_that_we_refuse_are_told_and_do_no_harm() {
    let text = r#"{"Name":"r","EventPattern":"{\"a\":[{\"Prefix\":\"x\"}],\"b\":[]}","State":"ENABLED",
        "Targets":[{"Id":"1","Arn":"arn:aws:events:r:1:api-destination/d/x","InputPath":"$.detail["}]}
        {"Name":"broken","EventPattern":"{\"a\":","State":"ENABLED","Targets":[{"Id":"1","Arn":"arn:aws:events:r:1:api-destination/d/x"}]}"#;
    imported(text).accepted().writes(&["# kind: rule\n# name: r\n", "# kind: rule\n# name: broken\n"]).reports(&[
        "0 rules",
        "rule r, `EventPattern`: /a/0/Prefix: ",
        "rule r, `EventPattern`: /b: ",
        "`InputPath`: `$.detail[` is no path",
        "rule broken, `EventPattern`: not JSON: unexpected end of JSON (line 1, column 6 of the text)",
    ]);
}

#[test]
fn other_shapes_are_not_understood() {
    for text in ["{}", "[{\"x\": 1}]", "{\"FunctionName\": \"f\"}", "\"text\"", "{\"a\":{\"b\":1}}"] {
        let error = import(&documents(&[("in.json", text)]), &Choices::default()).expect_err(text);
        assert!(error.understood.contains("describe-rule"));
        assert!(error.places.iter().all(|place| &*place.file == "in.json"), "{:?}", error.places);
    }
    let empty = import(&documents(&[("in.json", "{\"Rules\": []}")]), &Choices::default());
    assert!(empty.is_err());
}
