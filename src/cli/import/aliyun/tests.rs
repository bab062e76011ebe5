//! Imports from Alibaba Cloud, in the shapes that its API prints.

use super::super::tests::{Imported, documents, made};
use super::*;

const RULE: &str = r#"{
  "Message": "", "RequestId": "5f80e9b3-98d5-4f51-8412-c758818a03e4", "Code": "Success", "Success": true,
  "Data": {
    "Status": "DISABLE", "RuleName": "paid", "EventBusName": "shop-bus", "CreatedTimestamp": 1607071602000,
    "RuleARN": "acs:eventbridge:cn-hangzhou:1234567890:eventbus/shop-bus/rule/paid",
    "FilterPattern": "{\"source\":[{\"prefix\":\"shop\"}],\"data\":{\"total\":[{\"numeric\":[\">\",1.50]}],\"ip\":[{\"cidr\":\"10.0.0.0/8\"}],\"state\":[{\"anything-but\":\"done\"}]}}",
    "Targets": [{"Id": "t1", "Type": "acs.api.destination", "Endpoint": "", "PushSelector": ""}]
  }
}"#;

const TARGETS: &str = r#"{
  "RequestId": "D7DE9C65-0BE7-5D93-B5B1-2D76C7B6F3A1", "Code": "Success", "Success": true,
  "Data": {"Targets": [
    {"Id": "t1", "RuleName": "paid", "EventBusName": "shop-bus", "Type": "acs.api.destination", "PushRetryStrategy": "BACKOFF_RETRY", "ErrorsTolerance": "NONE",
     "DeadLetterQueue": {"Arn": "acs:mns:cn-hangzhou:1234567890:/queues/lost"},
     "ParamList": [
       {"ResourceKey": "Name", "Form": "CONSTANT", "Value": "crm"},
       {"ResourceKey": "HeaderParameters", "Form": "TEMPLATE", "Value": "{\"id\":\"$.id\",\"c\":\"$5\"}", "Template": "{\"X-Id\":\"${id}\",\"X-Both\":\"a $ ${id}-${c}-${no}\"}"},
       {"ResourceKey": "QueryParameters", "Form": "CONSTANT", "Value": "{\"q\":\"$.x\"}"},
       {"ResourceKey": "Body", "Form": "TEMPLATE", "Value": "{\"name\":\"$.data.name\",\"text\":\"it's $.x\",\"unused\":\"$.id\"}", "Template": "{\"n\":\"${name}\",\"t\":\"${text}\",\"o\":\"${other}\"}"}]},
    {"Id": "t2", "RuleName": "paid", "Type": "http", "Endpoint": "https://hook.example.com/in?access_token=hunter2", "PushRetryStrategy": "EXPONENTIAL_DECAY_RETRY",
     "ParamList": [
       {"ResourceKey": "url", "Form": "CONSTANT", "Value": "https://hook.example.com/in?access_token=hunter2"},
       {"ResourceKey": "Body", "Form": "ORIGINAL"},
       {"ResourceKey": "Network", "Form": "CONSTANT", "Value": "PublicNetwork"}]},
    {"Id": "t3", "RuleName": "paid", "Type": "http", "Endpoint": "https://hook.example.com/plain", "ParamList": [{"ResourceKey": "Body", "Form": "JSONPATH", "Value": "$.data.list"}]},
    {"Id": "t4", "RuleName": "paid", "Type": "https", "Endpoint": "https://hook.example.com/plain", "ParamList": [{"ResourceKey": "body", "Form": "TEMPLATE", "Value": "{\"name\":\"$.data.name\"}", "Template": "hi ${name}"}]},
    {"Id": "t5", "RuleName": "paid", "Type": "acs.dingtalk", "ParamList": [
       {"ResourceKey": "URL", "Form": "CONSTANT", "Value": "https://oapi.dingtalk.com/robot/send?access_token=hunter2"},
       {"ResourceKey": "SecretKey", "Form": "CONSTANT", "Value": "SEChunter2"},
       {"ResourceKey": "Body", "Form": "CONSTANT", "Value": "{\"msgtype\":\"text\"}"}]},
    {"Id": "t6", "RuleName": "paid", "Type": "acs.fc.function", "Endpoint": "acs:fc:cn-hangzhou:1234567890:services/s"}
  ]}
}"#;

const CONNECTIONS: &str = r#"{"Code": "Success", "Data": {"Total": 1, "Connections": [
  {"ConnectionName": "crm", "Id": 5668, "GmtCreate": 1669648905, "Description": "demo",
   "NetworkParameters": {"NetworkType": "PrivateNetwork", "VpcId": "vpc-1"},
   "AuthParameters": {"AuthorizationType": "BASIC_AUTH", "BasicAuthParameters": {"Username": "ann", "Password": "hunter2"},
     "ApiKeyAuthParameters": {}, "OAuthParameters": {}}}]}}"#;

const DESTINATION: &str = r#"{"Code": "Success", "Data": {"ApiDestinationName": "crm", "ConnectionName": "crm", "Description": "",
  "GmtCreate": 1665223213000, "HttpApiParameters": {"Endpoint": "https://crm.example.com/api/*", "Method": "PUT"}}}"#;

const EVENT: &str = r#"{"specversion":"1.0","id":"e-1","source":"shop.eu","type":"order","data":{"total":2,"ip":"10.1.2.3","state":"new","name":"A\"nn","list":[1.10]}}"#;

fn import_all(inputs: &[(&str, &str)]) -> Imported {
    let choices = Choices::default();
    made(import(&documents(inputs), &choices).expect("understood"), &choices)
}

fn all() -> Imported {
    import_all(&[("rule.json", RULE), ("targets.json", TARGETS), ("c.json", CONNECTIONS), ("d.json", DESTINATION)])
}

#[test]
fn everything_that_the_api_prints_becomes_resources() {
    all()
        .accepted()
        .writes(&[
            "kind: connection\nname: crm\ndescription: demo\nurl: https://crm.example.com\nauth:\n  basic:\n    username: ann\n    \
             password: \"${env:CRM_PASSWORD}\"\n",
            "name: hook-example-com\nurl: https://hook.example.com\nquery:\n  access_token: \"${env:HOOK_EXAMPLE_COM_ACCESS_TOKEN}\"\n",
            "name: hook-example-com-2\nurl: https://hook.example.com\n",
            "name: oapi-dingtalk-com\n",
            "sign:\n  dingtalk:\n    secret: \"${env:OAPI_DINGTALK_COM_SECRET}\"\n",
            "kind: destination\nname: crm\nconnection: crm\nendpoint: /api/%2A\nmethod: PUT\n",
            "name: hook-example-com-plain\nconnection: hook-example-com-2\nendpoint: /plain\n",
            "kind: source\nname: shop-bus\n",
            "kind: rule\nname: paid\nfrom: shop-bus\nenabled: false\npattern:\n  source: [{prefix: shop}]\n",
            "total: [{numeric: [\">\", 1.50]}]",
            "  - name: t1\n    destination: crm\n    query:\n      q: $$.x\n    headers:\n      X-Id: $.id\n      \
             X-Both: \"a $$ ${$.id}-$$5-$${no}\"\n    body:\n      template: '{\"n\":\"${name}\",\"t\":\"${text}\",\"o\":\"${other}\"}'\n      \
             values:\n        name: $.data.name\n        text: \"it's $$.x\"\n      raw: true\n    retry:\n      policy: BACKOFF_RETRY\n",
        ])
        .reports(&[
            "imported: 4 connections, 4 destinations, 1 source, 1 rule\n",
            "rule paid, target t6, `Type`: targets of `acs.fc.function` have no equivalent",
            "target t1, `ErrorsTolerance`",
            "target t1, `DeadLetterQueue`",
            "connection crm, `NetworkParameters`: it is reached over a private network",
        ])
        .never_says(&["hunter2"]);
}

#[test]
fn requests_are_those_that_alibaba_would_send() {
    let made = import_all(&[
        ("rule.json", &RULE.replace("DISABLE", "ENABLE")),
        (
            "targets.json",
            &TARGETS
                .replace("\\\"n\\\":\\\"${name}\\\"", "\\\"n\\\":${name}")
                .replace("$.data.name\\\",\\\"text", "$.data.list\\\",\\\"text"),
        ),
        ("c.json", CONNECTIONS),
        ("d.json", DESTINATION),
    ])
    .accepted();
    let first = made.request("t1", EVENT);
    assert_eq!((first.method.as_str(), first.url.as_str()), ("PUT", "https://crm.example.com/api/%2A?q=%24.x"));
    assert_eq!(first.headers["x-both"], "a $ e-1-$5-${no}");
    assert_eq!(first.body, r#"{"n":[1.10],"t":"it's $.x","o":"${other}"}"#);
    let original = made.request("t2", EVENT);
    assert_eq!((original.body.as_str(), original.headers["content-type"].as_str()), (EVENT, "application/json"));
    assert_eq!(made.request("t3", EVENT).body, "[1.10]");
    let text = made.request("t4", EVENT);
    assert_eq!((text.body.as_str(), text.headers["content-type"].as_str()), ("hi A\"nn", "text/plain; charset=utf-8"));
    assert_eq!(made.request("t5", EVENT).body, "{\"msgtype\":\"text\"}");
    assert!(!made.wants(&EVENT.replace("new", "done")));
}

#[test]
fn ros_templates_become_resources() {
    let template = r#"{"ROSTemplateFormatVersion": "2015-09-01", "Parameters": {"Secret": {"Type": "String", "NoEcho": true, "Default": "hunter2"}},
      "Resources": {
        "Conn": {"Type": "ALIYUN::EventBridge::Connection", "Properties": {"ConnectionName": "c", "AuthParameters": {"AuthorizationType": "OAUTH_AUTH",
          "OauthParameters": {"AuthorizationEndpoint": "https://login.example.com/t", "HttpMethod": "GET", "ClientParameters": {"ClientID": "id", "ClientSecret": {"Ref": "Secret"}}}}}},
        "Api": {"Type": "ALIYUN::EventBridge::ApiDestination", "Properties": {"ApiDestinationName": "a", "ConnectionName": "c", "HttpApiParameters": {"Endpoint": "https://a.example.com", "Method": "POST"}}},
        "Bus": {"Type": "ALIYUN::EventBridge::EventBus", "Properties": {"EventBusName": "b"}},
        "Rule": {"Type": "ALIYUN::EventBridge::Rule", "Properties": {"RuleName": "r", "EventBusName": {"Ref": "Bus"}, "FilterPattern": {"type": ["x"]},
          "Targets": [{"Id": "1", "Type": "acs.api.destination", "ParamList": [{"ResourceKey": "Name", "Form": "CONSTANT", "Value": "a"}]}]}}}}"#;
    import_all(&[("ros.json", template)])
        .accepted()
        .writes(&[
            "token_endpoint: https://login.example.com/t\n    method: GET\n    client_id: id\n    client_secret: \"${env:C_CLIENT_SECRET}\"\n",
            "name: a\nconnection: c\n",
            "name: r\nfrom: Bus\npattern:\n  type: [x]\n",
        ])
        .reports(&["`ALIYUN::EventBridge::EventBus` has no equivalent"])
        .never_says(&["hunter2"]);
}

#[test]
fn other_shapes_are_not_understood() {
    for text in ["{\"Code\":\"EventRuleNotExisted\",\"Success\":false}", "[1]"] {
        let error = import(&documents(&[("in.json", text)]), &Choices::default()).expect_err(text);
        assert!(error.understood.contains("ListTargets"), "{text}");
        assert!(!error.places.is_empty());
    }
}
