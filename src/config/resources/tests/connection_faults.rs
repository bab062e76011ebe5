//! Every message about tokens, signatures, answers and proxies.

use super::connections::load;
use super::said;

/// Each: a connection, and part of what must be said about it; exactly one line.
#[test]
fn every_fault_of_a_connection_has_code_place_and_cure() {
    let connection = |rest: &str| format!("kind: connection\nname: c\nurl: https://h.example/v1\n{rest}");
    let oauth2 = |rest: &str| {
        connection(&format!(
            "auth:\n  oauth2:\n    client_id: a\n    client_secret: \"${{env:CRM_SECRET}}\"\n    {rest}"
        ))
    };
    let token = |request: &str, read: &str, send: &str| {
        connection(&format!(
            "auth:\n  token:\n    request: {{endpoint: /t, {request}}}\n    read: {{{read}}}\n    send: {send}"
        ))
    };
    let fine = ("token: $.t", "{query: {t: $token}}");
    let entry = |rest: &str| connection(&format!("responses:\n- {{{rest}}}"));
    let cases: Vec<(String, &str)> = vec![
        // Limits.
        (
            connection("rate_limit: 50"),
            "4:13 CONFIG_VALUE /rate_limit: `rate_limit` needs a unit; write 50/s or 50/min",
        ),
        (connection("qps: 5"), "4:1 CONFIG_UNKNOWN_KEY /qps: connection has no key `qps`; write `rate_limit: 50/min`"),
        // OAuth 2.0.
        (
            oauth2("token_endpoint: token"),
            "8:21 CONFIG_VALUE /auth/oauth2/token_endpoint: `token_endpoint`: `token` is neither a url nor a path that begins with `/`; write https://login.example.com/token, or /token",
        ),
        (oauth2("token_endpoint: \"https://u:p@h.example/t\""), "a url must not carry a password"),
        (oauth2("token_endpoint: \"/t/{tenant}\""), "has a brace, but a token is fetched without an event"),
        (oauth2("token_endpoint: \"https://h.example/t#x\""), "has a fragment"),
        (
            oauth2("token_endpoint: http://login.example/t"),
            "8:21 warn CONFIG_INSECURE /auth/oauth2/token_endpoint: `http://login.example` sends everything, credentials too, unencrypted; write https://login.example",
        ),
        (
            oauth2("token_endpoint: https://10.0.0.1/t"),
            "warn CONFIG_PRIVATE_HOST /auth/oauth2/token_endpoint: `10.0.0.1` is no public address and will be refused; write `allow_networks: [10.0.0.1/32]`",
        ),
        (
            oauth2("token_endpoint: /t").replace("url: https://h.example/v1\n", ""),
            "7:21 CONFIG_ENDPOINT /auth/oauth2/token_endpoint: the connection has no url that `/t` could be joined to; write `token_endpoint: https://…`, or give the connection a `url`",
        ),
        (
            oauth2("scope: a"),
            "6:5 CONFIG_MISSING_KEY /auth/oauth2: auth.oauth2 needs the key `token_endpoint`; write `token_endpoint: https://login.example.com/token`",
        ),
        (
            oauth2("AuthorizationEndpoint: x"),
            "auth.oauth2 has no key `AuthorizationEndpoint`; AWS's name; write `token_endpoint`",
        ),
        (
            oauth2("{token_endpoint: /t, scopes: a}")
                .replace("    {token_endpoint: /t, ", "    token_endpoint: /t\n    ")
                .replace("scopes: a}", "scopes: a"),
            "has no key `scopes`; write `scope: a b`",
        ),
        (
            oauth2("token_endpoint: /t\n    grant_type: x"),
            "CONFIG_UNKNOWN_KEY /auth/oauth2/grant_type: auth.oauth2 has no key `grant_type`; write nothing in its place: it is client credentials",
        ),
        (
            oauth2("token_endpoint: /t\n    client_auth: post"),
            "CONFIG_VALUE /auth/oauth2/client_auth: `client_auth` must be basic or body, found the text `post`; write `client_auth: body`",
        ),
        (
            oauth2("token_endpoint: /t\n    method: CONNECT"),
            "CONFIG_VALUE /auth/oauth2/method: `method` must be a method of HTTP, found the text `CONNECT`; write POST",
        ),
        (
            oauth2("token_endpoint: /t\n    body: {client_secret: x}"),
            "CONFIG_VALUE /auth/oauth2/body/client_secret: the form parameter `client_secret` has a key of its own",
        ),
        (
            oauth2("token_endpoint: /t\n    body: {a: $.data.x}"),
            "CONFIG_VALUE /auth/oauth2/body/a: `$.data.x` leads nowhere: a token is fetched without an event; write a text",
        ),
        (oauth2("token_endpoint: /t\n    body: {a: [x]}"), "/auth/oauth2/body/a: `a` must be a text, found a list"),
        (
            oauth2("token_endpoint: /t\n    headers: {Host: x}"),
            "/auth/oauth2/headers/Host: the header `host` is set by the transport",
        ),
        (
            oauth2("token_endpoint: /t\n    headers: {A: \"${env:LINES}\"}"),
            "/auth/oauth2/headers/A: the text of `A` has a line feed or another control character",
        ),
        (
            oauth2("token_endpoint: /t\n    headers: x"),
            "CONFIG_VALUE /auth/oauth2/headers: `headers` must be a map, found the text `x`",
        ),
        (
            oauth2("token_endpoint: /t\n    query: {a: \"${env:NONE}\"}"),
            "CONFIG_SECRET /auth/oauth2/query/a: the environment variable `NONE` is not set",
        ),
        (
            oauth2("token_endpoint: /t").replace("\"${env:CRM_SECRET}\"", "l1t3ral"),
            "7:20 warn CONFIG_SECRET_LITERAL /auth/oauth2/client_secret: `client_secret` holds a secret in the file; write client_secret: \"${env:NAME}\"",
        ),
        (
            oauth2("token_endpoint: /t\n    body: {assertion_password: l1t3ral}"),
            "warn CONFIG_SECRET_LITERAL /auth/oauth2/body/assertion_password",
        ),
        // Token exchange.
        (
            token("json: {k: $token}", fine.0, fine.1),
            "6:39 CONFIG_VALUE /auth/token/request/json/k: there is no token yet where it is fetched; write a text",
        ),
        (
            token("json: {k: [{a: \"x ${$.id}\"}]}", fine.0, fine.1),
            "CONFIG_VALUE /auth/token/request/json/k/0/a: `$.id` leads nowhere",
        ),
        (
            token("json: {appSecret: l1t3ral}", fine.0, fine.1),
            "warn CONFIG_SECRET_LITERAL /auth/token/request/json/appSecret",
        ),
        (token("body: {}", fine.0, fine.1), "auth.token.request has no key `body`; write `json: {…}`"),
        (
            token("", "token: data.t", fine.1),
            "7:19 CONFIG_VALUE /auth/token/read/token: `token`: `data.t` is no path: a path begins with `$` (at character 1); write `token: $.data.token`",
        ),
        (
            token("", "token: \"$.a[*]\"", fine.1),
            "CONFIG_VALUE /auth/token/read/token: `token`: `$.a[*]` may find several values; a path of names and indexes finds one",
        ),
        (
            token("", "token: $.t, lifetime: 3600", fine.1),
            "7:34 CONFIG_VALUE /auth/token/read/lifetime: `lifetime` needs a unit; write 3600s or 1m",
        ),
        (
            token("", "token: $.t, lifetime: soon", fine.1),
            "CONFIG_VALUE /auth/token/read/lifetime: `lifetime`: `soon` is no duration; write `lifetime: 1h`, or the path of a number of seconds",
        ),
        (
            token("", "token: $.t, lifetime: \"$..x\"", fine.1),
            "/auth/token/read/lifetime: `lifetime`: `$..x` may find several values",
        ),
        (
            token("", "lifetime: 1h", fine.1),
            "CONFIG_MISSING_KEY /auth/token/read: auth.token.read needs the key `token`",
        ),
        (
            token("", fine.0, "{query: {k: fixed}}"),
            "8:11 CONFIG_VALUE /auth/token/send: `send` never sends the token; write `headers: {Authorization: \"Bearer ${$token}\"}`",
        ),
        (token("", fine.0, "{}"), "CONFIG_VALUE /auth/token/send: `send` never sends the token"),
        (
            token("", fine.0, "{query: {k: \"$token.x\", t: $token}}"),
            "CONFIG_VALUE /auth/token/send/query/k: `$token.x` means nothing where a token is sent; `$token` is the token, `${$token}` inside a text",
        ),
        (
            token("", fine.0, "{query: {t: \"${$tokn}\"}}"),
            "CONFIG_VALUE /auth/token/send/query/t: `$tokn` means nothing where a token is sent",
        ),
        (
            token("", fine.0, "{headers: {A: \"é ${$token}\"}}"),
            "/auth/token/send/headers/A: the text of `A` has a character that no header may have",
        ),
        (
            token("", fine.0, "{headers: {Via: $token}}"),
            "CONFIG_VALUE /auth/token/send/headers/Via: the header `via` is set by the transport",
        ),
        (
            token("", fine.0, "{header: {A: $token}, query: {t: $token}}"),
            "auth.token.send has no key `header`; write `headers: {Authorization:",
        ),
        (
            connection("auth: {token: {request: {endpoint: /t}, read: {token: $.t}}}"),
            "CONFIG_MISSING_KEY /auth/token: auth.token needs the key `send`",
        ),
        (connection("auth: {ssh: {}}"), "CONFIG_NOT_SUPPORTED /auth/ssh"),
        // Signatures.
        (
            connection("sign: {}"),
            "CONFIG_VALUE /sign: `sign` needs exactly one key, found 0; one of: hmac, standard_webhooks, dingtalk; or `sign: none`",
        ),
        (
            connection("sign: {github: x}"),
            "CONFIG_UNKNOWN_KEY /sign/github: sign has no key `github`; write `hmac: {secret, header}`",
        ),
        (
            connection("sign: {hmac: {secret: \"${env:CI_SECRET}\"}}"),
            "CONFIG_MISSING_KEY /sign/hmac: sign.hmac needs the key `header`; write `header: X-Signature`",
        ),
        (
            connection("sign: {hmac: {secret: \"${env:CI_SECRET}\", header: Date}}"),
            "CONFIG_VALUE /sign/hmac/header: the header `date` is set by the transport",
        ),
        (
            connection("sign: {hmac: {secret: \"${env:CI_SECRET}\", header: X, format: \"{sha}\"}}"),
            "CONFIG_VALUE /sign/hmac/format: `format` has `{sha}`; it may hold {hex}, {base64} and {timestamp}; write `format: sha256={hex}`",
        ),
        (
            connection("sign: {hmac: {secret: \"${env:CI_SECRET}\", header: X, format: \"{hex}{base64}\"}}"),
            "`format` must hold {hex} or {base64} exactly once, found 2",
        ),
        (
            connection("sign: {hmac: {secret: \"${env:CI_SECRET}\", header: X, format: v1}}"),
            "`format` must hold {hex} or {base64} exactly once, found 0",
        ),
        (
            connection(
                "sign: {hmac: {secret: \"${env:CI_SECRET}\", header: X, format: \"{hex}{timestamp}{timestamp}\"}}",
            ),
            "`format` holds {timestamp} twice",
        ),
        (
            connection("sign: {hmac: {secret: \"${env:CI_SECRET}\", header: X, format: \"{hex\"}}"),
            "`format` has a brace that is none of",
        ),
        (
            connection("sign: {standard_webhooks: {secrets: \"${env:HOOK_KEY}\"}}"),
            "CONFIG_VALUE /sign/standard_webhooks/secrets: `secrets` must be a list; write secrets: [\"${env:NAME}\"]",
        ),
        (connection("sign: {standard_webhooks: {secrets: []}}"), "`secrets` is an empty list"),
        (
            connection("sign: {standard_webhooks: {secret: x}}"),
            "sign.standard_webhooks has no key `secret`; write `secrets: [\"${env:NAME}\"]`",
        ),
        (
            connection("sign: {standard_webhooks: {secrets: [\"${env:HOOK_KEY}\", \"${env:CI_SECRET}\"]}}"),
            "4:57 CONFIG_VALUE /sign/standard_webhooks/secrets/1: the text of `secrets` is no key of Standard Webhooks; it is whsec_ or whsk_, and base64 after that",
        ),
        (connection("sign: {dingtalk: {secret: SECl1t3ral}}"), "warn CONFIG_SECRET_LITERAL /sign/dingtalk/secret"),
        // Proxies.
        (
            connection("proxy: http://proxy.example:3128"),
            "4:8 CONFIG_VALUE /proxy: `proxy` must be none or environment or a map, found the text `http://proxy.example:3128`; write `proxy: {url: …}`",
        ),
        (
            connection("proxy: {url: \"socks5://h.example\"}"),
            "CONFIG_VALUE /proxy/url: `url`: `socks5` is no scheme of a url; write http://proxy.example.com:3128",
        ),
        (
            connection("proxy: {url: \"http://u:l1t3ral@h.example\"}"),
            "CONFIG_VALUE /proxy/url: `url`: a url must not carry a password; write `username` and `password`",
        ),
        (
            connection("proxy: {url: \"http://h.example/x\"}"),
            "CONFIG_VALUE /proxy/url: `url`: `http://h.example/x` has a path or query",
        ),
        (
            connection("proxy: {url: \"http://h.example\", username: u}"),
            "CONFIG_VALUE /proxy: `username` stands without `password`",
        ),
        (
            connection("proxy: {url: \"http://h.example\", resolve: remote}"),
            "`resolve` must be local or proxy, found the text `remote`; write `resolve: proxy`",
        ),
        (connection("proxy: {resolve: proxy}"), "CONFIG_MISSING_KEY /proxy: proxy needs the key `url`"),
        // What comes from outside is not shown, for it may be in the wrong place.
        (
            connection("").replace("https://h.example/v1", "\"https://${env:CI_SECRET}@h\""),
            "3:6 CONFIG_VALUE /url: what the references in `url` give cannot stand there; it is not shown, for it may be secret; check the variables",
        ),
        (
            connection("tls: {ca_file: \"${env:CI_SECRET}\"}"),
            "CONFIG_FILE /tls/ca_file: what the references in `ca_file` give cannot stand there",
        ),
        (
            connection("") + "\n---\n{kind: destination, name: d, connection: c, endpoint: \"${env:CI_SECRET}\"}",
            "6:55 CONFIG_ENDPOINT /endpoint: what the references in `endpoint` give cannot stand there",
        ),
        // Answers.
        (connection("responses: []"), "4:12 CONFIG_VALUE /responses: `responses` is an empty list; write at least one"),
        (
            connection("responses: {when: {}, outcome: retry}"),
            "`responses` must be a list, found a map; begin each response with `- `",
        ),
        (
            entry("when: {status: [500]}, outcome: dead_letter"),
            "5:36 CONFIG_VALUE /responses/0/outcome: `outcome` must be success or duplicate or retry or throttled or auth_expired or reject or gone, found the text `dead_letter`; write `outcome: reject`",
        ),
        (entry("when: {status: [500]}, outcome: throttle"), "write `outcome: throttled`"),
        (
            entry("when: {status: [500]}, outcome: reject, wait: 5s"),
            "5:50 CONFIG_VALUE /responses/0/wait: `wait` means nothing beside `outcome: reject`; leave it out, or write `outcome: retry`",
        ),
        (
            entry("when: {status: [500]}, outcome: retry, wait: 25h"),
            "CONFIG_VALUE /responses/0/wait: `wait` must be between 1s and 86400s",
        ),
        (entry("when: {status: [500]}, outcome: retry, wait: 5"), "`wait` needs a unit; write 5s or 1m"),
        (entry("when: {status: [500]}, outcome: retry, delay: 5s"), "response has no key `delay`; write `wait: 1m`"),
        (
            entry("status: [500], outcome: retry"),
            "CONFIG_UNKNOWN_KEY /responses/0/status: response has no key `status`; write `when: {status: […]}`",
        ),
        (
            entry("when: {code: [0]}, outcome: retry"),
            "5:11 CONFIG_VALUE /responses/0/when/code: an answer has no `code`; it has status, headers, body, error, item",
        ),
        (entry("when: {stats: [0]}, outcome: retry"), "an answer has no `stats`; write `status`"),
        (entry("when: {\"data.errcode\": [0]}, outcome: retry"), "an answer has no `data`; "),
        (
            entry("when: {$or: [{status: [500]}, {code: [1]}]}, outcome: retry"),
            "CONFIG_VALUE /responses/0/when/$or/1/code: an answer has no `code`",
        ),
        (
            entry("when: {headers: {Retry-After: [{exists: true}]}}, outcome: retry"),
            "5:21 CONFIG_VALUE /responses/0/when/headers: names of headers are in lower case here, so that `Retry-After` never matches; write `retry-after`",
        ),
        (entry("when: {\"headers.Retry-After\": [\"1\"]}, outcome: retry"), "so that `Retry-After` never matches"),
        (
            entry("when: {status: [\"429\"]}, outcome: retry"),
            "5:20 CONFIG_VALUE /responses/0/when/status: `status` is a number and never the text `429`; write 429",
        ),
        (
            entry("when: {error: [timeout]}, outcome: retry"),
            "CONFIG_VALUE /responses/0/when/error: `error` is never `timeout`; write not_sent",
        ),
        (
            entry("when: {body: {code: [{prefx: x}]}}, outcome: retry"),
            "5:26 PATTERN_OPERATOR /responses/0/when/body/code/0/prefx",
        ),
        (entry("when: x, outcome: retry"), "CONFIG_VALUE /responses/0/when: `when` must be a map, found the text `x`"),
        (
            entry("outcome: retry"),
            "CONFIG_MISSING_KEY /responses/0: response needs the key `when`; write `when: {status: [503]}`",
        ),
    ];
    let mut failed = Vec::new();
    for (text, expected) in cases {
        let read = load(&text);
        let said = said(&read);
        let shown = said.iter().any(|line| line.contains("s3cr3t") || line.contains("l1t3ral"));
        if said.len() != 1 || !said[0].contains(expected) || read.faults[0].cure.is_empty() || shown {
            failed.push(format!("{text}\n--- wanted: {expected}\n--- said: {said:#?}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}
