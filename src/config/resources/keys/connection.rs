//! The keys of connections: who we are, how we sign, the way out.

use super::{DESCRIPTION, Exchange, KIND, Key, NAME, RESPONSE, Shape, Table, key, later, required, word};

pub(in super::super) static CONNECTION: Table = Table {
    noun: "connection",
    about: "A system we talk to, and who we are there.",
    keys: &[
        KIND,
        NAME,
        DESCRIPTION,
        key("url", Shape::Url, "Base url; https, or http with a warning unless it is loopback."),
        key("auth", Shape::OneOf(&AUTH), "Who we are there."),
        key("headers", Shape::FixedHeaders, "Fixed headers; they win over a target's."),
        key("query", Shape::FixedQuery, "Fixed query parameters; they win over a target's."),
        key("body", Shape::FixedBody, "Fixed top-level keys of a JSON object body; they win."),
        key("tls", Shape::Table(&TLS), "Private certificate authority and client certificate."),
        key("allow_networks", Shape::Networks, "Private or loopback networks that may be dialled, e.g. 10.0.0.0/8."),
        key("rate_limit", Shape::Rates, "Requests of all its destinations and replicas together, e.g. 50/min."),
        key("responses", Shape::List(&RESPONSE), "What answers mean; asked after the destination's."),
        key("sign", Shape::OneOf(&SIGN), "How each attempt is signed, beside `auth`."),
        key(
            "proxy",
            Shape::WordOr(&[word("none"), word("environment")], &PROXY),
            "The way out; `none`, which is the default, or `environment`: HTTPS_PROXY, HTTP_PROXY and NO_PROXY.",
        ),
    ],
};

static AUTH: Table = Table {
    noun: "auth",
    about: "Exactly one way to prove who we are.",
    keys: &[
        key("basic", Shape::Table(&BASIC), "User name and password, RFC 7617."),
        key("bearer", Shape::Secret, "The token of `Authorization: Bearer`."),
        key("api_key", Shape::Table(&API_KEY), "A header or query parameter."),
        key("oauth2", Shape::Table(&OAUTH2), "OAuth 2.0 client credentials, RFC 6749 section 4.4."),
        key("token", Shape::Table(&TOKEN), "A token exchange that is not OAuth."),
        later("ssh"),
        later("s3"),
    ],
};

const METHOD: Key = key("method", Shape::Method, "HTTP method; POST by default.");

static BASIC: Table = Table {
    noun: "auth.basic",
    about: "User name and password.",
    keys: &[
        required("username", Shape::Hidden, "User."),
        required("password", Shape::Secret, "Password; may be empty."),
        DESCRIPTION,
    ],
};

static API_KEY: Table = Table {
    noun: "auth.api_key",
    about: "A key in a header or query parameter.",
    keys: &[
        required("name", Shape::Text, "Name of the header or parameter."),
        required("value", Shape::Secret, "The key."),
        key("in", Shape::Words(&[word("header"), word("query")]), "Where it goes; header by default."),
        DESCRIPTION,
    ],
};

static TLS: Table = Table {
    noun: "tls",
    about: "Files are PEM; a relative path starts at the folder of the resource file.",
    keys: &[
        key("ca_file", Shape::PemFile, "Certificate authority to trust in addition."),
        key("client_certificate_file", Shape::PemFile, "Our certificate."),
        key("client_key_file", Shape::PemFile, "Its private key."),
        DESCRIPTION,
    ],
};

static OAUTH2: Table = Table {
    noun: "auth.oauth2",
    about: "OAuth 2.0 client credentials. Tokens are fetched once, refreshed early, and once more after a 401.",
    keys: &[
        required("token_endpoint", Shape::TokenEndpoint, "Where tokens are fetched; a path is joined to `url`."),
        METHOD,
        required("client_id", Shape::Hidden, "Who we are."),
        required("client_secret", Shape::Secret, "The proof."),
        key(
            "client_auth",
            Shape::Words(&[word("basic"), word("body")]),
            "Where both stand: in the header Authorization, or among the form parameters; basic by default.",
        ),
        key("scope", Shape::Text, "Scopes, separated by spaces."),
        key("headers", Shape::Exchange(Exchange::Headers), "Further headers of the token request."),
        key("query", Shape::Exchange(Exchange::Query), "Further query parameters of the token request."),
        key("body", Shape::Exchange(Exchange::Form), "Further form parameters, such as audience."),
        DESCRIPTION,
    ],
};

static TOKEN: Table = Table {
    noun: "auth.token",
    about: "A token exchange that is not OAuth: a request, a token in its answer, a place to send it.",
    keys: &[
        required("request", Shape::Table(&TOKEN_REQUEST), "How a token is fetched."),
        required("read", Shape::Table(&TOKEN_READ), "Where it stands in the answer."),
        required("send", Shape::Table(&TOKEN_SEND), "Where it goes in requests; `$token` is the token."),
        DESCRIPTION,
    ],
};

static TOKEN_REQUEST: Table = Table {
    noun: "auth.token.request",
    about: "The request for a token.",
    keys: &[
        required("endpoint", Shape::TokenEndpoint, "Where tokens are fetched; a path is joined to `url`."),
        METHOD,
        key("headers", Shape::Exchange(Exchange::Headers), "Headers."),
        key("query", Shape::Exchange(Exchange::Query), "Query parameters."),
        key("json", Shape::Exchange(Exchange::Json), "JSON body."),
        DESCRIPTION,
    ],
};

static TOKEN_READ: Table = Table {
    noun: "auth.token.read",
    about: "What the answer holds; it is JSON.",
    keys: &[
        required("token", Shape::AnswerPath, "Path of the token, e.g. $.data.accessToken."),
        key(
            "lifetime",
            Shape::Lifetime,
            "How long a token is good: a duration, or the path of a number of seconds; 1h by default.",
        ),
        DESCRIPTION,
    ],
};

pub(in super::super) static TOKEN_SEND: Table = Table {
    noun: "auth.token.send",
    about: "What carries the token: `$token` alone, or `${$token}` inside a text.",
    keys: &[
        key("headers", Shape::Exchange(Exchange::SendHeaders), "Headers."),
        key("query", Shape::Exchange(Exchange::SendQuery), "Query parameters."),
        DESCRIPTION,
    ],
};

static SIGN: Table = Table {
    noun: "sign",
    about: "Exactly one way to sign each attempt.",
    keys: &[
        key("hmac", Shape::Table(&HMAC), "HMAC-SHA256 of the body in a header."),
        key("standard_webhooks", Shape::Table(&STANDARD_WEBHOOKS), "Standard Webhooks 1.0."),
        key("dingtalk", Shape::Table(&DINGTALK), "The query parameters `timestamp` and `sign` of DingTalk's robots."),
    ],
};

static HMAC: Table = Table {
    noun: "sign.hmac",
    about: "HMAC-SHA256 over the body, or over `<timestamp>.<body>` if the format has {timestamp} in it.",
    keys: &[
        required("secret", Shape::Secret, "The key."),
        required("header", Shape::HeaderName, "The header that carries the signature."),
        key(
            "format",
            Shape::SignatureFormat,
            "Its value: text with {hex} or {base64}, perhaps {timestamp} (seconds since 1970); sha256={hex} by default.",
        ),
        DESCRIPTION,
    ],
};

static STANDARD_WEBHOOKS: Table = Table {
    noun: "sign.standard_webhooks",
    about: "The headers webhook-id, webhook-timestamp and webhook-signature.",
    keys: &[
        required("secrets", Shape::Secrets, "whsec_… (HMAC-SHA256) or whsk_… (Ed25519); each signs, for rotation."),
        DESCRIPTION,
    ],
};

static DINGTALK: Table = Table {
    noun: "sign.dingtalk",
    about: "DingTalk's signature, anew for each attempt.",
    keys: &[required("secret", Shape::Secret, "The key, SEC…."), DESCRIPTION],
};

static PROXY: Table = Table {
    noun: "proxy",
    about: "A proxy of HTTP; used only where a connection says so.",
    keys: &[
        required("url", Shape::ProxyUrl, "http://host:port or https://host:port, or the word environment."),
        key("username", Shape::Hidden, "User, if the proxy asks for one."),
        key("password", Shape::Secret, "Password."),
        key(
            "resolve",
            Shape::Words(&[word("local"), word("proxy")]),
            "Who looks up names. local, the default: we do, and private addresses are refused as ever. proxy: the \
             proxy does, and its own policy must then keep requests from private addresses, for `allow_networks` \
             cannot.",
        ),
        DESCRIPTION,
    ],
};
