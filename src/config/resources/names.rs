//! What to write instead of a key that does not exist: names that AWS, Alibaba and others use, and near misses.

use super::keys::{KINDS, Shape, Table};
use crate::model::nearest::nearest;

/// Whose name a foreign key is.
#[derive(Debug, Clone, Copy)]
enum Whose {
    Aws,
    Alibaba,
    Common,
}

use Whose::{Alibaba, Aws, Common};

/// Foreign names: the noun of the table, whose it is, the names without case, `-` and `_`, and what to write.
static FOREIGN: &[(&str, Whose, &[&str], &str)] = &[
    ("connection", Aws, &["authorizationtype", "authparameters"], "auth: {bearer: \"${env:TOKEN}\"}"),
    ("connection", Aws, &["apikeyauthparameters"], "auth: {api_key: {name, value}}"),
    ("connection", Aws, &["basicauthparameters"], "auth: {basic: {username, password}}"),
    ("connection", Aws, &["invocationhttpparameters"], "headers, query, body"),
    ("connection", Common, &["baseurl", "endpoint", "host", "uri", "address", "server", "baseuri"], "url: https://…"),
    ("connection", Common, &["username", "password", "user", "basicauth"], "auth: {basic: {username, password}}"),
    ("connection", Common, &["token", "bearer", "bearertoken", "accesstoken"], "auth: {bearer: \"${env:TOKEN}\"}"),
    ("connection", Common, &["apikey"], "auth: {api_key: {name, value}}"),
    ("connection", Common, &["authentication", "authorization", "credentials"], "auth"),
    ("connection", Common, &["ca", "cafile", "cacert", "cert", "certificate"], "tls: {ca_file: …}"),
    ("connection", Aws, &["oauthparameters"], "auth: {oauth2: {…}}"),
    ("connection", Common, &["oauth", "oauth2", "clientcredentials"], "auth: {oauth2: {…}}"),
    ("connection", Common, &["ratelimitpersecond", "rps", "throttle", "limit", "qps"], "rate_limit: 50/min"),
    ("connection", Common, &["signature", "signing", "hmac"], "sign: {hmac: {secret, header}}"),
    ("connection", Common, &["httpproxy", "httpsproxy", "proxyurl"], "proxy: {url: http://proxy:3128}"),
    ("connection", Common, &["response", "onresponse", "statuscodes", "errors"], "responses: [{when, outcome}]"),
    ("connection", Common, &["headerparameters", "header"], "headers"),
    ("connection", Common, &["querystringparameters", "params", "querystring"], "query"),
    ("connection", Common, &["networks", "allowednetworks", "allowprivate"], "allow_networks: [10.0.0.0/8]"),
    ("auth", Aws, &["apikeyauthparameters"], "api_key: {name, value}"),
    ("auth", Aws, &["basicauthparameters"], "basic: {username, password}"),
    ("auth", Aws, &["oauthparameters", "clientparameters"], "oauth2"),
    ("auth", Common, &["username", "password", "user"], "basic: {username, password}"),
    ("auth", Common, &["oauth", "clientcredentials"], "oauth2"),
    ("auth", Common, &["accesstoken", "bearertoken", "jwt"], "bearer: \"${env:TOKEN}\""),
    ("auth", Common, &["type", "kind", "method"], "the kind as the key, e.g. `bearer: …`"),
    ("auth.basic", Common, &["user", "login"], "username"),
    ("auth.basic", Common, &["pass", "secret", "pw"], "password"),
    ("auth.api_key", Aws, &["apikeyname"], "name"),
    ("auth.api_key", Aws, &["apikeyvalue"], "value"),
    ("auth.api_key", Common, &["header"], "name"),
    ("auth.api_key", Common, &["key", "secret", "token"], "value"),
    ("auth.api_key", Common, &["location", "place", "where"], "in: header"),
    ("auth", Aws, &["oauthhttpparameters"], "headers, query, body in `oauth2`"),
    ("auth", Common, &["tokenexchange", "customtoken"], "token: {request, read, send}"),
    ("auth", Common, &["hmac", "signature", "dingtalk", "standardwebhooks"], "`sign: {…}` in the connection"),
    ("auth.oauth2", Aws, &["authorizationendpoint"], "token_endpoint"),
    ("auth.oauth2", Aws, &["httpmethod"], "method"),
    ("auth.oauth2", Aws, &["clientparameters"], "client_id, client_secret"),
    ("auth.oauth2", Aws, &["oauthhttpparameters", "bodyparameters"], "headers, query, body"),
    ("auth.oauth2", Aws, &["headerparameters"], "headers"),
    ("auth.oauth2", Aws, &["querystringparameters"], "query"),
    (
        "auth.oauth2",
        Common,
        &["tokenurl", "tokenuri", "accesstokenurl", "url", "endpoint", "authurl"],
        "token_endpoint",
    ),
    ("auth.oauth2", Common, &["username", "user", "key", "id", "appid", "appkey"], "client_id"),
    ("auth.oauth2", Common, &["password", "secret", "appsecret"], "client_secret"),
    ("auth.oauth2", Common, &["scopes"], "scope: a b"),
    ("auth.oauth2", Common, &["audience", "resource", "tenant"], "body: {audience: …}"),
    ("auth.oauth2", Common, &["endpointparams", "endpointparameters", "params", "form", "extraparams"], "body"),
    ("auth.oauth2", Common, &["authmethod", "tokenendpointauthmethod", "authstyle"], "client_auth: basic"),
    ("auth.oauth2", Common, &["granttype", "flow"], "nothing in its place: it is client credentials"),
    ("auth.token", Common, &["url", "endpoint", "tokenendpoint"], "request: {endpoint: …}"),
    ("auth.token", Common, &["response", "answer", "extract"], "read: {token: $.data.token}"),
    ("auth.token", Common, &["apply", "use", "inject", "headers", "query"], "send: {query: {token: $token}}"),
    ("auth.token", Common, &["lifetime", "ttl", "expiresin"], "read: {lifetime: 1h}"),
    ("auth.token.request", Common, &["url", "uri", "path", "tokenendpoint"], "endpoint"),
    ("auth.token.request", Common, &["body", "data", "payload", "form"], "json: {…}"),
    ("auth.token.request", Common, &["params", "querystring"], "query"),
    ("auth.token.read", Common, &["path", "accesstoken", "tokenpath", "field"], "token: $.data.token"),
    ("auth.token.read", Common, &["expiresin", "ttl", "expires", "expiry", "maxage"], "lifetime: $.expires_in"),
    ("auth.token.send", Common, &["header"], "headers: {Authorization: \"Bearer ${$token}\"}"),
    ("auth.token.send", Common, &["params", "querystring"], "query: {token: $token}"),
    ("sign", Common, &["github", "hmacsha256", "sha256", "secret", "buildkite"], "hmac: {secret, header}"),
    ("sign", Common, &["webhooks", "svix", "standardwebhook"], "standard_webhooks: {secrets: […]}"),
    ("sign", Common, &["dingding", "ding"], "dingtalk: {secret}"),
    ("sign.hmac", Common, &["key", "token", "secretkey"], "secret"),
    ("sign.hmac", Common, &["headername", "name", "signatureheader"], "header"),
    ("sign.hmac", Common, &["template", "value", "prefix", "encoding"], "format: sha256={hex}"),
    ("sign.hmac", Common, &["algorithm", "hash", "digest"], "nothing in its place: it is SHA-256"),
    ("sign.standard_webhooks", Common, &["secret", "key", "keys", "signingkey"], "secrets: [\"${env:NAME}\"]"),
    ("sign.dingtalk", Common, &["key", "token", "appsecret"], "secret"),
    ("proxy", Common, &["host", "address", "server", "httpproxy", "httpsproxy", "uri"], "url: http://proxy:3128"),
    ("proxy", Common, &["user", "login"], "username"),
    ("proxy", Common, &["pass", "pw", "secret"], "password"),
    ("proxy", Common, &["auth", "credentials"], "username, password"),
    ("proxy", Common, &["dns", "remotedns", "lookup"], "resolve: local"),
    ("proxy", Common, &["noproxy", "bypass", "except"], "`url: environment` with NO_PROXY, or another connection"),
    ("response", Common, &["if", "match", "pattern", "condition", "on", "where"], "when: {…}"),
    ("response", Common, &["then", "result", "action", "class", "treatas", "is"], "outcome: …"),
    ("response", Common, &["delay", "retryafter", "backoff", "after"], "wait: 1m"),
    ("response", Common, &["status", "code", "statuscode"], "when: {status: […]}"),
    ("response", Common, &["body", "headers", "error", "item"], "it inside `when: {…}`"),
    ("tls", Common, &["ca", "cacert", "cacertificate"], "ca_file"),
    ("tls", Common, &["cert", "certificate", "certfile", "clientcert"], "client_certificate_file"),
    ("tls", Common, &["key", "keyfile", "clientkey"], "client_key_file"),
    ("destination", Aws, &["invocationratelimit", "invocationratelimitpersecond"], "rate_limit: 3/s"),
    ("destination", Aws, &["invocationendpoint"], "endpoint"),
    ("destination", Aws, &["httpmethod"], "method"),
    ("destination", Aws, &["connectionarn", "connectionname"], "connection"),
    (
        "destination",
        Aws,
        &["retrypolicy", "maximumretryattempts", "maximumeventageinseconds"],
        "retry: {max_age: 24h, max_attempts: 185}",
    ),
    ("destination", Aws, &["deadletterconfig"], "dead_letter: {topic: …}"),
    ("destination", Alibaba, &["httpapiparameters"], "endpoint and method"),
    ("destination", Alibaba, &["pushretrystrategy"], "retry: {policy: BACKOFF_RETRY}"),
    ("destination", Alibaba, &["deadletterqueue"], "dead_letter: {topic: …}"),
    ("destination", Common, &["url", "uri", "path"], "endpoint"),
    ("destination", Common, &["auth", "username", "password", "token"], "auth in its connection"),
    ("destination", Common, &["ratelimitpersecond", "rps", "throttle", "limit", "qps"], "rate_limit: 3/s"),
    ("destination", Common, &["retries", "maxretries", "maxattempts", "backoff"], "retry: {max_attempts: 185}"),
    ("destination", Common, &["response", "onresponse", "statuscodes", "errors"], "responses: [{when, outcome}]"),
    ("destination", Common, &["sign", "signature", "proxy"], "it in its `connection`"),
    ("destination", Common, &["dlq", "deadlettertopic", "deadletters"], "dead_letter: {topic: …}"),
    ("destination", Common, &["maxconcurrency", "parallelism", "maxinflight", "concurrent"], "concurrency: {max: 64}"),
    ("destination", Common, &["timeoutms", "timeoutseconds", "requesttimeout", "deadline"], "timeout: 10s"),
    ("destination", Common, &["verb", "httpverb"], "method"),
    ("destination", Common, &["params", "querystring"], "query"),
    ("rate_limit", Common, &["rate"], "limit: 3/s"),
    ("retry", Aws, &["maximumretryattempts"], "max_attempts"),
    ("retry", Aws, &["maximumeventageinseconds", "maximumeventage"], "max_age: 24h"),
    ("retry", Alibaba, &["pushretrystrategy"], "policy: BACKOFF_RETRY"),
    ("retry", Alibaba, &["maximumeventageinseconds"], "max_age: 24h"),
    ("retry", Common, &["maxretries", "retries", "attempts", "times", "count"], "max_attempts"),
    ("retry", Common, &["backoff", "interval", "initialdelay", "maxdelay", "wait"], "delay: [1s, 10m]"),
    ("retry", Common, &["strategy", "type"], "policy"),
    ("retry", Common, &["timeout", "ttl", "maxduration", "deadline"], "max_age: 24h"),
    ("dead_letter_budget", Common, &["count", "limit", "events", "min"], "max: 20"),
    ("dead_letter_budget", Common, &["ratio", "share", "rate", "percentage"], "percent: 5"),
    ("dead_letter_budget", Common, &["per", "interval", "period", "time"], "window: 5m"),
    ("dead_letter", Aws, &["arn"], "topic"),
    ("dead_letter", Common, &["queue", "name"], "topic"),
    (
        "source",
        Common,
        &["topic", "topics", "strict", "group", "start", "onmissing"],
        "it inside `kafka: {topics: […]}`",
    ),
    ("source", Common, &["brokers", "bootstrapservers"], "kafka.brokers in tidegate.toml"),
    ("source", Common, &["type"], "the kind as the key: `kafka: {topics: […]}`"),
    ("source", Aws, &["eventbus", "eventbusname", "eventsource"], "kafka: {topics: […]}"),
    ("source", Alibaba, &["sourcekafkaparameters"], "kafka: {topics: […]}"),
    ("kafka", Common, &["topic"], "topics: […]"),
    ("kafka", Common, &["groupid", "consumergroup"], "group"),
    ("kafka", Alibaba, &["offsetreset"], "start: earliest"),
    ("kafka", Common, &["autooffsetreset", "offset", "initialoffset", "from"], "start: earliest"),
    ("kafka", Common, &["brokers", "bootstrapservers", "servers"], "kafka.brokers in tidegate.toml"),
    ("kafka", Common, &["properties"], "kafka.properties in tidegate.toml"),
    ("rule", Aws, &["eventpattern"], "pattern"),
    ("rule", Aws, &["eventbusname"], "from"),
    ("rule", Aws, &["state"], "enabled: false"),
    ("rule", Aws, &["detailtype"], "pattern: {type: …}"),
    ("rule", Aws, &["scheduleexpression"], "a source with `schedule`"),
    ("rule", Alibaba, &["filterpattern"], "pattern"),
    ("rule", Alibaba, &["rulename"], "name"),
    ("rule", Alibaba, &["status"], "enabled: false"),
    ("rule", Common, &["source", "sources", "on", "topic", "topics", "input"], "from"),
    ("rule", Common, &["filter"], "`pattern`, or `filters: [{exact: {type: …}}]`"),
    ("rule", Common, &["match", "when", "where", "event", "condition"], "pattern"),
    (
        "rule",
        Common,
        &["target", "destination", "destinations", "to", "actions", "sinks"],
        "targets: [{name, destination}]",
    ),
    ("rule", Common, &["disabled"], "enabled: false"),
    ("rule", Common, &["transform", "template", "body"], "body in a target"),
    ("rule", Common, &["test", "examples"], "tests"),
    ("target", Aws, &["id"], "name"),
    ("target", Aws, &["arn", "destinationarn"], "destination"),
    ("target", Aws, &["input"], "body: {constant: …}"),
    ("target", Aws, &["inputpath"], "body: $.data"),
    ("target", Aws, &["inputtransformer", "inputtemplate", "inputpathsmap"], "body: {template: …, values: {…}}"),
    ("target", Aws, &["httpparameters"], "path, headers, query"),
    ("target", Aws, &["pathparametervalues"], "path"),
    ("target", Aws, &["headerparameters"], "headers"),
    ("target", Aws, &["querystringparameters"], "query"),
    ("target", Aws, &["retrypolicy"], "retry: {max_age: 24h, max_attempts: 185}"),
    ("target", Aws, &["deadletterconfig"], "dead_letter: {topic: …}"),
    ("target", Alibaba, &["pushretrystrategy"], "retry: {policy: BACKOFF_RETRY}"),
    ("target", Alibaba, &["errorstolerance"], "on_exhausted: dead_letter"),
    ("target", Alibaba, &["deadletterqueue"], "dead_letter: {topic: …}"),
    ("target", Alibaba, &["endpoint"], "destination"),
    ("target", Alibaba, &["paramlist", "transform"], "body"),
    ("target", Common, &["connection", "url", "uri", "to"], "destination"),
    ("target", Common, &["payload", "data", "template", "json", "message"], "body"),
    ("target", Common, &["params", "pathparameters", "pathparams"], "path"),
    ("target", Common, &["mediatype", "mime"], "content_type"),
    ("target", Common, &["dlq", "deadlettertopic"], "dead_letter: {topic: …}"),
    ("test", Common, &["input", "given", "cloudevent"], "event"),
    ("test", Common, &["output", "expected", "then", "want"], "expect"),
    ("expectation", Common, &["json", "output", "request"], "body"),
    ("expectation", Common, &["code", "fails"], "error: CODE"),
    ("expectation", Common, &["match", "matches", "nomatch"], "no_match in place of the map"),
];

/// Names that other systems have for our kinds.
static FOREIGN_KINDS: &[(&str, &str)] = &[
    ("apidestination", "destination"),
    ("sink", "destination"),
    ("endpoint", "destination"),
    ("webhook", "destination"),
    ("eventsource", "source"),
    ("input", "source"),
    ("topic", "source"),
    ("eventrule", "rule"),
    ("route", "rule"),
    ("trigger", "rule"),
    ("target", "rule"),
    ("credentials", "connection"),
];

/// Words that others have for ours: the key, theirs without case, `-` and `_`, and ours.
static FOREIGN_WORDS: &[(&str, &[&str], &str)] = &[
    ("outcome", &["ok", "delivered", "done", "accept", "accepted", "ack"], "success"),
    ("outcome", &["exists", "conflict", "ignore", "skip"], "duplicate"),
    ("outcome", &["ratelimited", "ratelimit", "overload", "slowdown", "backoff"], "throttled"),
    ("outcome", &["unauthorized", "tokenexpired", "expired", "refresh"], "auth_expired"),
    ("outcome", &["fail", "failure", "failed", "error", "permanent", "deadletter", "drop", "nack"], "reject"),
    ("outcome", &["transient", "again", "unavailable", "ambiguous"], "retry"),
    ("outcome", &["hold", "disable", "disabled", "stop", "incident"], "gone"),
    ("client_auth", &["header", "clientsecretbasic"], "basic"),
    ("client_auth", &["post", "form", "clientsecretpost"], "body"),
    ("resolve", &["remote", "server"], "proxy"),
    ("resolve", &["client", "self"], "local"),
];

/// Our word for what was written under `key`.
pub(super) fn word_instead(key: &str, written: &str) -> Option<&'static str> {
    let plain = normal(written);
    let ours = FOREIGN_WORDS.iter().find(|(of, theirs, _)| *of == key && theirs.contains(&plain.as_str()));
    ours.map(|(_, _, ours)| *ours)
}

/// What to write instead of `key`, which `table` does not have.
pub(super) fn instead(table: &Table, key: &str) -> String {
    let plain = normal(key);
    let same = table.keys.iter().find(|known| normal(known.name) == plain);
    if let Some(same) = same {
        return format!("write `{}`", same.name);
    }
    let foreign = FOREIGN.iter().find(|(noun, _, names, _)| *noun == table.noun && names.contains(&plain.as_str()));
    if let Some((_, whose, _, write)) = foreign {
        let spoken = write.contains('`') || write.starts_with("nothing ");
        let write = if spoken { (*write).to_owned() } else { format!("`{write}`") };
        return match whose {
            Aws => format!("AWS's name; write {write}"),
            Alibaba => format!("Alibaba's name; write {write}"),
            Common => format!("write {write}"),
        };
    }
    let built = table.keys.iter().filter(|known| !matches!(known.shape, Shape::Later)).map(|known| known.name);
    if let Some(near) = nearest(key, built.clone()) {
        return format!("write `{near}`");
    }
    if let Some(owner) = KINDS.iter().find(|other| has(other, key)) {
        return format!("`{key}` belongs to a {}", owner.noun);
    }
    format!("allowed: {}", built.collect::<Vec<_>>().join(", "))
}

/// Our kind for what was written as `kind`.
pub(super) fn kind_instead(written: &str) -> String {
    let plain = normal(written);
    let kinds = KINDS.iter().map(|table| table.noun);
    let ours = FOREIGN_KINDS.iter().find(|(foreign, _)| *foreign == plain).map(|(_, ours)| *ours);
    match ours.or_else(|| kinds.clone().find(|kind| *kind == plain)).or_else(|| nearest(written, kinds.clone())) {
        Some(kind) => format!("write `kind: {kind}`"),
        None => format!("allowed: {}", kinds.collect::<Vec<_>>().join(", ")),
    }
}

fn has(table: &Table, key: &str) -> bool {
    let shared = ["kind", "name", "description"].contains(&key);
    !shared && table.keys.iter().any(|known| known.name == key && !matches!(known.shape, Shape::Later))
}

fn normal(key: &str) -> String {
    key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::super::keys::{CONNECTION, DESTINATION, RULE, TARGET};
    use super::*;

    #[test]
    fn foreign_names_and_near_misses_have_a_cure() {
        for (table, key, cure) in [
            (&DESTINATION, "invocation_rate_limit", "AWS's name; write `rate_limit: 3/s`"),
            (&DESTINATION, "InvocationRateLimitPerSecond", "AWS's name; write `rate_limit: 3/s`"),
            (&DESTINATION, "InvocationEndpoint", "AWS's name; write `endpoint`"),
            (&DESTINATION, "HttpMethod", "AWS's name; write `method`"),
            (&DESTINATION, "uri", "write `endpoint`"),
            (&DESTINATION, "rateLimit", "write `rate_limit`"),
            (&DESTINATION, "timout", "write `timeout`"),
            (&DESTINATION, "emthod", "write `method`"),
            (&DESTINATION, "pattern", "`pattern` belongs to a rule"),
            (&CONNECTION, "username", "write `auth: {basic: {username, password}}`"),
            (&CONNECTION, "timeout", "`timeout` belongs to a destination"),
            (&RULE, "EventPattern", "AWS's name; write `pattern`"),
            (&RULE, "DetailType", "AWS's name; write `pattern: {type: …}`"),
            (&RULE, "FilterPattern", "Alibaba's name; write `pattern`"),
            (&RULE, "filter", "write `pattern`, or `filters: [{exact: {type: …}}]`"),
            (&TARGET, "InputTransformer", "AWS's name; write `body: {template: …, values: {…}}`"),
            (&TARGET, "ErrorsTolerance", "Alibaba's name; write `on_exhausted: dead_letter`"),
        ] {
            assert_eq!(instead(table, key), cure, "{key}");
        }
        assert!(instead(&CONNECTION, "zzz").starts_with("allowed: kind, name, "));
        assert_eq!(kind_instead("ApiDestination"), "write `kind: destination`");
        assert_eq!(kind_instead("conection"), "write `kind: connection`");
        assert_eq!(kind_instead("x"), "allowed: connection, destination, source, rule");
    }

    #[test]
    fn every_foreign_name_stands_for_a_table_that_lacks_it() {
        let mut nouns =
            vec!["auth", "auth.basic", "auth.api_key", "tls", "rate_limit", "retry", "dead_letter", "kafka"];
        nouns.extend(["auth.oauth2", "auth.token", "auth.token.request", "auth.token.read", "auth.token.send", "sign"]);
        nouns.extend([
            "sign.hmac",
            "sign.standard_webhooks",
            "sign.dingtalk",
            "proxy",
            "response",
            "dead_letter_budget",
        ]);
        nouns.extend(["target", "test", "expectation", "connection", "destination", "source", "rule"]);
        for (noun, _, names, write) in FOREIGN {
            assert!(nouns.contains(noun), "{noun}");
            assert!(!write.is_empty() && names.iter().all(|name| *name == normal(name)), "{names:?}");
        }
    }
}
