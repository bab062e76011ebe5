//! Every message about a resource.

use super::{load, said};

/// Each: a document, and what must be said about it, parts of exactly one line each.
#[test]
fn every_fault_has_code_place_and_cure() {
    let connection = |rest: &str| format!("kind: connection\nname: c\nurl: https://h.example\n{rest}");
    let destination = |rest: &str| {
        format!(
            "kind: destination\nname: d\nconnection: api\n{rest}\n---\n{{kind: connection, name: api, url: https://h.example}}"
        )
    };
    let rule = |rest: &str| {
        format!(
            "kind: rule\nname: r\npattern: {{}}\ntargets: [{{name: t, destination: d}}]\n{rest}\n---\n\
             {{kind: destination, name: d, connection: api}}\n---\n{{kind: connection, name: api, url: https://h.example}}"
        )
    };
    let target = |rest: &str| {
        format!(
            "kind: rule\nname: r\npattern: {{}}\ntargets:\n- name: t\n  destination: d\n  {rest}\n---\n\
             {{kind: destination, name: d, connection: api}}\n---\n{{kind: connection, name: api, url: https://h.example}}"
        )
    };
    let source = |rest: &str| format!("kind: source\nname: s\n{rest}");
    let cases: Vec<(String, &str)> = vec![
        ("a: 1".into(), "1:1 CONFIG_KIND /kind: a resource needs the key `kind`; write `kind: connection`"),
        (
            "kind: ApiDestination".into(),
            "1:7 CONFIG_KIND /kind: there is no kind `ApiDestination`; write `kind: destination`",
        ),
        ("[1]".into(), "1:1 CONFIG_KIND /kind: a resource must be a map, found a list"),
        ("kind: 5".into(), "1:7 CONFIG_KIND /kind: `kind` must be a word, found the number 5"),
        // Names.
        (
            "{kind: connection, name: a.b, url: https://h.example}".into(),
            "1:26 CONFIG_VALUE /name: `name` must be 1 to 63 of letters, digits, `-` and `_`, found the text `a.b`",
        ),
        (
            "{kind: connection, url: https://h.example}".into(),
            "1:1 CONFIG_MISSING_KEY : connection needs the key `name`",
        ),
        (
            "{kind: connection, name: a}\n---\n{kind: connection, name: a}".into(),
            "3:26 CONFIG_DUPLICATE /name: the connection `a` stands twice; first at f.yaml:1:26",
        ),
        (
            source("kafka: {topics: [t]}").replace("name: s", "name: slots"),
            "2:7 CONFIG_VALUE /name: the source name `slots` is reserved",
        ),
        // Units: the message of the specification.
        (destination("timeout: 5"), "4:10 CONFIG_VALUE /timeout: `timeout` needs a unit; write 5s or 1m"),
        (destination("timeout: '5'"), "4:10 CONFIG_VALUE /timeout: `timeout` needs a unit; write 5s or 1m"),
        (
            destination("timeout: 5 parsecs"),
            "/timeout: `timeout`: `parsecs` is no unit of time; write ms, s, m, h or d",
        ),
        (
            destination("timeout: 10m"),
            "/timeout: `timeout` must be between 1s and 300s, found the text `10m`; write `timeout: 15s`",
        ),
        (destination("timeout: [1s]"), "/timeout: `timeout` must be a text, found a list; write `timeout: 15s`"),
        (destination("timeout:"), "/timeout: `timeout` is empty; write `timeout: 15s`, or leave the key out"),
        (
            destination("rate_limit: 50"),
            "4:13 CONFIG_VALUE /rate_limit: `rate_limit` needs a unit; write 50/s or 50/min",
        ),
        (destination("rate_limit: 0/s"), "/rate_limit: `rate_limit`: a rate of zero sends nothing"),
        (destination("rate_limit: {limit: 5, burst: 2}"), "/rate_limit/limit: `limit` needs a unit"),
        (
            destination("rate_limit: {rate: 5/s}"),
            "CONFIG_UNKNOWN_KEY /rate_limit/rate: rate_limit has no key `rate`; write `limit: 3/s`",
        ),
        (destination("rate_limit: [3/s, 5]"), "4:19 CONFIG_VALUE /rate_limit/1: `rate_limit` needs a unit"),
        (destination("rate_limit: []"), "/rate_limit: `rate_limit` is an empty list"),
        (
            destination("concurrency: {max: 0}"),
            "/concurrency/max: `max` must be a whole number from 1 to 10000, found the number 0",
        ),
        (destination("concurrency: 5"), "/concurrency: concurrency must be a map, found the number 5; keys: max"),
        // Unknown keys.
        (
            destination("invocation_rate_limit: 3"),
            "4:1 CONFIG_UNKNOWN_KEY /invocation_rate_limit: destination has no key `invocation_rate_limit`; AWS's name; write `rate_limit: 3/s`",
        ),
        (
            destination("InvocationEndpoint: x"),
            "destination has no key `InvocationEndpoint`; AWS's name; write `endpoint`",
        ),
        (destination("timout: 5s"), "destination has no key `timout`; write `timeout`"),
        (
            target("InputTransformer: x"),
            "/targets/0/InputTransformer: target has no key `InputTransformer`; AWS's name; write `body: {template: …, values: {…}}`",
        ),
        (source("kafka: {topic: t, topics: [t]}"), "/kafka/topic: kafka has no key `topic`; write `topics: […]`"),
        // Not built yet.
        (destination("batch: {}"), "CONFIG_NOT_SUPPORTED /batch"),
        (destination("breaker: {}"), "CONFIG_NOT_SUPPORTED /breaker"),
        (
            destination("dead_letter_budget: 20"),
            "CONFIG_VALUE /dead_letter_budget: `dead_letter_budget` must be `off` or a map, found the number 20",
        ),
        (
            destination("dead_letter_budget: none"),
            "CONFIG_VALUE /dead_letter_budget: `dead_letter_budget` must be `off` or a map, found the text `none`",
        ),
        (destination("dead_letter_budget: {percent: 101}"), "/dead_letter_budget/percent: `percent` must be a whole number from 0 to 100"),
        ("{kind: destination, name: d, file: {path: x}}".into(), "CONFIG_NOT_SUPPORTED /file"),
        (source("http: {path: /x}"), "CONFIG_NOT_SUPPORTED /http: source: `http` is not supported by this version"),
        (source("kafka: {topics: [t]}\nevent: {}"), "CONFIG_NOT_SUPPORTED /event"),
        (rule("window: {cron: x}"), "CONFIG_NOT_SUPPORTED /window"),
        (rule("filters: {exact: {type: x}}"), "CONFIG_VALUE /filters: `filters` must be a list"),
        (rule("from: emitted"), "CONFIG_NOT_SUPPORTED /from: `from: emitted` is not supported by this version"),
        (target("emit: {}"), "CONFIG_NOT_SUPPORTED /targets/0/emit"),
        (
            target("ordering: keys"),
            "CONFIG_VALUE /targets/0/ordering: `ordering` must be none or key or partition or a map, found the text `keys`",
        ),
        (
            target("ordering: {key: data.customer}"),
            "CONFIG_VALUE /targets/0/ordering/key: `key`: `data.customer` is no path: ",
        ),
        (target("ordering: {key: \"$.data[*]\"}"), "/targets/0/ordering/key: `key`: `$.data[*]` may find several values"),
        (target("ordering: {}"), "CONFIG_MISSING_KEY /targets/0/ordering: ordering needs the key `key`; write `key: $.data.customer`"),
        (
            target("on_exhausted: hold"),
            "CONFIG_VALUE /targets/0/on_exhausted: `on_exhausted: hold` means nothing without an order",
        ),
        (
            "{kind: connection, name: c, url: \"sftp://h.example\"}".into(),
            "CONFIG_NOT_SUPPORTED /url: `url`: urls of `sftp` are not supported by this version",
        ),
        // References.
        (
            destination("endpoint: /x").replace("connection: api", "connection: apii"),
            "3:13 CONFIG_REFERENCE /connection: there is no connection `apii`; write `api`",
        ),
        (rule("from: shop"), "CONFIG_REFERENCE /from: there is no source `shop`; none is defined"),
        (
            target("x: 1").replace("  x: 1", "").replace("destination: d\n", "destination: nowhere\n"),
            "CONFIG_REFERENCE /targets/0/destination: there is no destination `nowhere`; defined: d",
        ),
        (
            rule("tests: [{event: {}, expect: {u: no_match}}]"),
            "CONFIG_REFERENCE /tests/0/expect/u: the rule has no target `u`; write `t`",
        ),
        (
            rule("").replace("[{name: t, destination: d}]", "[{name: t, destination: d}, {name: t, destination: d}]"),
            "CONFIG_DUPLICATE /targets/1/name: the target `t` stands twice",
        ),
        // Endpoints and urls.
        (destination("endpoint: x"), "CONFIG_ENDPOINT /endpoint: `x` does not begin with `/`; write /x"),
        (
            destination("endpoint: https://evil.example/x"),
            "4:11 CONFIG_ENDPOINT /endpoint: the endpoint goes to https://evil.example, its connection to https://h.example; credentials never go to another host",
        ),
        (
            "{kind: connection, name: api}\n---\n{kind: destination, name: d, connection: api, endpoint: /x}".into(),
            "CONFIG_ENDPOINT /endpoint: the connection has no url, so the endpoint must be absolute",
        ),
        (destination("method: GE T"), "CONFIG_VALUE /method"),
        (
            "{kind: connection, name: c, url: \"https://u:p@h.example\"}".into(),
            "CONFIG_VALUE /url: `url`: a url must not carry a password; write it under `auth`",
        ),
        (
            "{kind: connection, name: c, url: \"http://h.example/x\"}".into(),
            "warn CONFIG_INSECURE /url: `http://h.example/x` sends everything, credentials too, unencrypted; write https://h.example/x",
        ),
        (
            "{kind: connection, name: c, url: \"https://10.0.0.1\"}".into(),
            "warn CONFIG_PRIVATE_HOST /url: `10.0.0.1` is no public address and will be refused; write `allow_networks: [10.0.0.1/32]`",
        ),
        (
            connection("allow_networks: [x]"),
            "CONFIG_VALUE /allow_networks/0: `allow_networks` must be an address range, found the text `x`",
        ),
        (connection("allow_networks: 10.0.0.0/8"), "CONFIG_VALUE /allow_networks: `allow_networks` must be a list"),
        // Auth, headers.
        (
            connection("auth: {basic: {username: u, password: \"${env:KEY}\"}, bearer: \"${env:KEY}\"}"),
            "CONFIG_VALUE /auth: `auth` needs exactly one key, found 2; one of: basic, bearer",
        ),
        (connection("auth: {}"), "CONFIG_VALUE /auth: `auth` needs exactly one key, found 0"),
        (
            connection("auth: {username: u}"),
            "CONFIG_UNKNOWN_KEY /auth/username: auth has no key `username`; write `basic: {username, password}`",
        ),
        (
            connection("auth: {bearer: 5}"),
            "CONFIG_VALUE /auth/bearer: `bearer` must be a text; write bearer: \"${env:NAME}\"",
        ),
        (
            connection("auth: {api_key: {name: k}}"),
            "CONFIG_MISSING_KEY /auth/api_key: auth.api_key needs the key `value`; write `value: \"${env:NAME}\"`",
        ),
        (
            connection("auth: {api_key: {name: k, value: \"${env:KEY}\", in: body}}"),
            "CONFIG_VALUE /auth/api_key/in: `in` must be header or query, found the text `body`",
        ),
        (connection("headers: {Host: x}"), "CONFIG_VALUE /headers/Host: the header `host` is set by the transport"),
        (connection("headers: {A: x, a: y}"), "CONFIG_VALUE /headers/a: the header `a` stands twice"),
        (connection("headers: {'a b': x}"), "CONFIG_VALUE /headers/a b: `a b` is no name of a header"),
        (connection("headers: {a: [x]}"), "CONFIG_VALUE /headers/a: `a` must be a text, found a list"),
        (connection("headers: {Authorization: Basic abc}"), "warn CONFIG_SECRET_LITERAL /headers/Authorization"),
        // Secrets.
        (
            connection("auth: {bearer: \"${env:NONE}\"}"),
            "4:16 CONFIG_SECRET /auth/bearer: the environment variable `NONE` is not set; set it, or write ${env:NONE:-default}",
        ),
        (
            connection("auth: {bearer: \"${file:/none}\"}"),
            "CONFIG_SECRET /auth/bearer: the secret file `/none` cannot be read",
        ),
        (connection("auth: {bearer: \"${file:none}\"}"), "CONFIG_SECRET /auth/bearer: `${file:none}` is no reference"),
        (
            destination("headers: {a: \"${env:KEY} ${$.id}\"}"),
            "CONFIG_SECRET /headers/a: a reference and a path or `${…}` cannot stand in one text",
        ),
        (
            target("headers: {a: \"${env:KEY}\"}"),
            "7:16 CONFIG_SECRET /targets/0/headers/a: a rule may not refer to secrets; put the reference into the connection's",
        ),
        (
            target("body: {json: [\"${file:/x}\"]}"),
            "CONFIG_SECRET /targets/0/body/json/0: a rule may not refer to secrets",
        ),
        (connection("headers: {a: \"${env:LINES}\"}"), "CONFIG_VALUE /headers/a: the text of `a` has a line feed or another control character; check the file"),
        (connection("headers: {a: é}"), "CONFIG_VALUE /headers/a: the text of `a` has a character that no header may have"),
        (connection("auth: {bearer: \"${env:LINES}\"}"), "CONFIG_VALUE /auth/bearer: the text of `bearer` has a line feed"),
        (connection("auth: {api_key: {name: Host, value: \"${env:KEY}\"}}"), "CONFIG_VALUE /auth/api_key/name: the header `host` is set by the transport"),
        ("{kind: source, name: a, kafka: {topics: [t], group: g}}\n---\n{kind: source, name: b, kafka: {topics: [t], group: g}}".into(), "3:53 CONFIG_VALUE /kafka/group: the source `a` has the same group"),
        // TLS.
        (connection("tls: {ca_file: /none.pem}"), "4:16 CONFIG_FILE /tls/ca_file: /none.pem cannot be read"),
        // Policies.
        (
            destination("retry: {policy: X}"),
            "CONFIG_VALUE /retry/policy: `policy` must be BACKOFF_RETRY or EXPONENTIAL_DECAY_RETRY",
        ),
        (
            destination("retry: {policy: BACKOFF_RETRY, max_age: 1h}"),
            "CONFIG_VALUE /retry: `BACKOFF_RETRY` is a whole policy and stands alone",
        ),
        (
            destination("retry: {delay: [1m, 1s]}"),
            "CONFIG_VALUE /retry/delay: `delay` needs the first and the longest wait, in this order; write [1s, 10m]",
        ),
        (destination("retry: {delay: [1, 1s]}"), "CONFIG_VALUE /retry/delay/0: `delay` needs a unit"),
        (
            destination("retry: {delay: 5s}"),
            "CONFIG_VALUE /retry/delay: `delay` must be a list, found the text `5s`; write `delay: [1s, 10m]`",
        ),
        (
            destination("retry: {max_retries: 5}"),
            "CONFIG_UNKNOWN_KEY /retry/max_retries: retry has no key `max_retries`; write `max_attempts`",
        ),
        (
            destination("retry: {MaximumRetryAttempts: 5}"),
            "retry has no key `MaximumRetryAttempts`; AWS's name; write `max_attempts`",
        ),
        (
            destination("dead_letter: dlq"),
            "CONFIG_VALUE /dead_letter: dead_letter must be a map, found the text `dlq`; keys: topic",
        ),
        (
            destination("dead_letter: {topic: a b}"),
            "CONFIG_VALUE /dead_letter/topic: `topic` must be the name of a topic",
        ),
        // Sources.
        (
            source("kafka: {topics: t}"),
            "CONFIG_VALUE /kafka/topics: `topics` must be a list, found the text `t`; write `topics: [shop.orders]`",
        ),
        (source("kafka: {topics: []}"), "CONFIG_VALUE /kafka/topics: `topics` is an empty list"),
        (
            source("kafka: {topics: [t], strict: yes}"),
            "CONFIG_VALUE /kafka/strict: `strict` must be true or false, found the text `yes`; write `strict: true`",
        ),
        (source("kafka: {topics: [t], start: begin}"), "CONFIG_VALUE /kafka/start: `start` must be earliest or latest"),
        (
            source("x: 1\nkafka: {topics: [t]}"),
            "CONFIG_UNKNOWN_KEY /x: source has no key `x`; allowed: kind, name, description, kafka, decode",
        ),
        // Rules.
        (rule("alias: azure"), "CONFIG_VALUE /alias: `alias` must be `aws`"),
        (
            rule("dialect: awz"),
            "CONFIG_VALUE /dialect: `dialect` must be tidegate or aws, found the text `awz`; write `dialect: aws`",
        ),
        (rule("").replace("pattern: {}", "pattern: order.paid"), "CONFIG_VALUE /pattern: `pattern` must be a map"),
        (rule("").replace("pattern: {}\n", ""), "CONFIG_MISSING_KEY : rule needs the key `pattern`"),
        (
            rule("").replace("[{name: t, destination: d}]", "{name: t}"),
            "CONFIG_VALUE /targets: `targets` must be a list, found a map; begin each target with `- `",
        ),
        (target("headers: [x]"), "CONFIG_VALUE /targets/0/headers: `headers` must be a map, found a list"),
        (target("path: x"), "CONFIG_VALUE /targets/0/path: `path` must be a map"),
        (
            rule("tests: [{event: {}, expect: {t: {body: 1, error: X}}}]"),
            "CONFIG_VALUE /tests/0/expect/t: the test of `t` must expect exactly one thing",
        ),
        (
            rule("tests: [{event: {}, expect: {t: yes}}]"),
            "CONFIG_VALUE /tests/0/expect/t: expectation must be a map, found the text `yes`",
        ),
        (
            rule("tests: [{input: {}, expect: {t: no_match}, event: {}}]"),
            "CONFIG_UNKNOWN_KEY /tests/0/input: test has no key `input`; write `event`",
        ),
    ];
    let mut failed = Vec::new();
    for (text, expected) in cases {
        let read = load(&text);
        let said = said(&read);
        if said.len() != 1 || !said[0].contains(expected) || read.faults[0].cure.is_empty() {
            failed.push(format!("{text}\n--- wanted: {expected}\n--- said: {said:#?}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}
