//! Signatures: how a receiver knows that a request is ours and came unchanged. Made for each attempt, after
//! authentication, over the final body. One of the few places that may reveal secrets.
//!
//! HMAC and Ed25519 come from aws-lc-rs, the library that TLS uses already. Keys are decoded once, when the connection
//! is built.

mod signatures;

use super::auth::{form, reveal};
use crate::model::clock::WallMs;
use crate::model::redact::blank;
use crate::model::request::Request;
use crate::model::resources::{self, Connection};
use crate::model::text::Text;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::engine::{DecodePaddingMode, Engine};
use http::header::{HeaderName, HeaderValue};
use std::collections::BTreeMap;
use std::fmt;

const WEBHOOK_ID: &str = "webhook-id";
const WEBHOOK_TIMESTAMP: &str = "webhook-timestamp";
const WEBHOOK_SIGNATURE: &str = "webhook-signature";

/// Keys are handed around with and without padding.
const KEY_TEXT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How a connection signs, its keys ready.
pub(super) struct Signer(Scheme);

enum Scheme {
    Hmac { key: Box<hmac::Key>, header: HeaderName, format: Vec<Piece> },
    StandardWebhooks(Vec<WebhookKey>),
    DingTalk { key: Box<hmac::Key>, secret: Vec<u8> },
}

/// A piece of the header that `format` describes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Hex,
    Base64,
    Timestamp,
}

enum WebhookKey {
    /// v1: HMAC-SHA256.
    Symmetric(Box<hmac::Key>),
    /// v1a: Ed25519.
    Asymmetric(Box<Ed25519KeyPair>),
}

/// Why a connection cannot sign; says nothing of the keys.
#[derive(Debug, thiserror::Error)]
#[error("`sign` of connection `{connection}`: {detail}")]
pub struct Error {
    /// Connection.
    pub connection: String,
    /// What is wrong, and what to write instead.
    pub detail: String,
}

impl Signer {
    /// `None` if the connection does not sign.
    pub(super) fn new(connection: &Connection) -> Result<Option<Self>, Error> {
        let wrong = |detail: String| Error { connection: connection.name.to_string(), detail };
        let Some(sign) = &connection.sign else { return Ok(None) };
        scheme(sign).map(|scheme| Some(Self(scheme))).map_err(wrong)
    }

    /// Adds the signature: to the headers, or to the query.
    ///
    /// # Errors
    /// Ed25519 could not sign, which is a fault of the library.
    pub(super) fn sign(&self, request: &mut Request, id: &str, now: WallMs) -> Result<(), &'static str> {
        let seconds = now.0.div_euclid(1_000).to_string();
        let Request { headers, body, .. } = &mut *request;
        match &self.0 {
            Scheme::Hmac { key, header, format } => {
                let dated = format.contains(&Piece::Timestamp);
                let tag = if dated { tag(key, &[seconds.as_bytes(), b".", body]) } else { tag(key, &[body]) };
                headers.set(header.as_str(), &fill(format, tag.as_ref(), &seconds));
            }
            Scheme::StandardWebhooks(keys) => {
                let parts: [&[u8]; 5] = [id.as_bytes(), b".", seconds.as_bytes(), b".", body];
                let mut all = String::new();
                for key in keys {
                    if !all.is_empty() {
                        all.push(' ');
                    }
                    key.sign(&parts, &mut all)?;
                }
                headers.set(WEBHOOK_ID, id);
                headers.set(WEBHOOK_TIMESTAMP, &seconds);
                headers.set(WEBHOOK_SIGNATURE, &all);
            }
            Scheme::DingTalk { key, secret } => {
                let millis = now.0.to_string();
                let tag = tag(key, &[millis.as_bytes(), b"\n", secret]);
                request.push_query(&format!("timestamp={millis}&sign={}", form(&STANDARD.encode(tag))));
            }
        }
        Ok(())
    }

    /// What [`Self::sign`] makes of a request, for people: the signature masked.
    pub(super) fn show(&self, headers: &mut BTreeMap<String, String>, target: &mut String, id: &str) {
        let mut header = |name: &str, value: &str| headers.insert(name.to_owned(), value.to_owned());
        match &self.0 {
            Scheme::Hmac { header: name, .. } => drop(header(name.as_str(), "***")),
            Scheme::StandardWebhooks(keys) => {
                let versions: Vec<String> = keys.iter().map(|key| format!("{},***", key.version())).collect();
                header(WEBHOOK_ID, id);
                header(WEBHOOK_TIMESTAMP, "<now>");
                header(WEBHOOK_SIGNATURE, &versions.join(" "));
            }
            Scheme::DingTalk { .. } => push_query(target, "timestamp=<now>&sign=***"),
        }
    }

    /// Text for people: what looks like one of its signatures becomes `***`, for who holds one may send that request
    /// in our name until it is too old. Each attempt has another, so they are known by their looks.
    pub(super) fn redact(&self, text: &str) -> String {
        let looks = match &self.0 {
            Scheme::Hmac { format, .. } if format.contains(&Piece::Hex) => signatures::hexadecimal(text),
            Scheme::Hmac { .. } | Scheme::StandardWebhooks(_) | Scheme::DingTalk { .. } => signatures::base64(text),
        };
        blank(text, looks)
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Scheme::Hmac { .. } => "Signer(hmac)",
            Scheme::StandardWebhooks(_) => "Signer(standard_webhooks)",
            Scheme::DingTalk { .. } => "Signer(dingtalk)",
        })
    }
}

impl WebhookKey {
    fn sign(&self, parts: &[&[u8]], out: &mut String) -> Result<(), &'static str> {
        out.push_str(self.version());
        out.push(',');
        match self {
            Self::Symmetric(key) => STANDARD.encode_string(tag(key, parts), out),
            Self::Asymmetric(pair) => {
                let signature = pair.try_sign(&parts.concat()).map_err(|_| "it could not be signed with Ed25519")?;
                STANDARD.encode_string(signature, out);
            }
        }
        Ok(())
    }

    const fn version(&self) -> &'static str {
        match self {
            Self::Symmetric(_) => "v1",
            Self::Asymmetric(_) => "v1a",
        }
    }
}

fn scheme(sign: &resources::Sign) -> Result<Scheme, String> {
    match sign {
        resources::Sign::Hmac { secret, header, format } => {
            let name = HeaderName::from_bytes(header.as_bytes());
            let header = name.map_err(|_| format!("`{header}` is no header name"))?;
            let format = pieces(format)?;
            HeaderValue::from_str(&fill(&format, &[0; 32], "0"))
                .map_err(|_| "`format` holds a control character".to_owned())?;
            Ok(Scheme::Hmac { key: hmac_key(reveal(secret).as_bytes())?, header, format })
        }
        resources::Sign::StandardWebhooks { secrets } if secrets.is_empty() => {
            Err("`secrets` is empty; write at least one `whsec_…` or `whsk_…`".to_owned())
        }
        resources::Sign::StandardWebhooks { secrets } => {
            let keys = secrets.iter().enumerate().map(|(i, secret)| webhook_key(secret, i + 1));
            keys.collect::<Result<_, _>>().map(Scheme::StandardWebhooks)
        }
        resources::Sign::DingTalk { secret } => {
            let secret = reveal(secret).as_bytes();
            Ok(Scheme::DingTalk { key: hmac_key(secret)?, secret: secret.to_vec() })
        }
    }
}

/// Standard Webhooks 1.0, "Signature scheme": `whsec_` before the base64 of a symmetric key, `whsk_` before that of an
/// Ed25519 key, which is its seed (32 bytes) or seed and public key (64 bytes).
fn webhook_key(secret: &Text, number: usize) -> Result<WebhookKey, String> {
    let text = reveal(secret).trim();
    let bytes =
        |base64: &str| KEY_TEXT.decode(base64).map_err(|_| format!("secret {number} is not base64 after its prefix"));
    if let Some(base64) = text.strip_prefix("whsec_") {
        return hmac_key(&bytes(base64)?).map(WebhookKey::Symmetric);
    }
    let Some(base64) = text.strip_prefix("whsk_") else {
        return Err(format!(
            "secret {number} begins with neither `whsec_` (v1, HMAC-SHA256) nor `whsk_` (v1a, Ed25519); copy it with its \
             prefix"
        ));
    };
    let bytes = bytes(base64)?;
    let pair = match bytes.split_at_checked(32) {
        Some((seed, [])) => Ed25519KeyPair::from_seed_unchecked(seed),
        Some((seed, public)) if public.len() == 32 => Ed25519KeyPair::from_seed_and_public_key(seed, public),
        Some(_) | None => {
            let length = bytes.len();
            return Err(format!("secret {number} holds {length} bytes; an Ed25519 key is 32 (seed) or 64 of them"));
        }
    };
    pair.map(|pair| WebhookKey::Asymmetric(Box::new(pair)))
        .map_err(|_| format!("secret {number} is no Ed25519 key: its two halves do not belong together"))
}

fn hmac_key(bytes: &[u8]) -> Result<Box<hmac::Key>, String> {
    if bytes.is_empty() {
        return Err("the secret is empty; check the variable or file it comes from".to_owned());
    }
    Ok(Box::new(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
}

fn tag(key: &hmac::Key, parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    parts.iter().for_each(|part| context.update(part));
    context.sign()
}

/// Splits a `format`; it must have `{hex}` or `{base64}` in it.
fn pieces(format: &str) -> Result<Vec<Piece>, String> {
    const ALLOWED: &str = "`format` takes `{hex}` or `{base64}`, and `{timestamp}`";
    let mut pieces = Vec::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or_else(|| format!("a `}}` is missing; {ALLOWED}"))?;
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        pieces.push(match name {
            "hex" => Piece::Hex,
            "base64" => Piece::Base64,
            "timestamp" => Piece::Timestamp,
            other => return Err(format!("`{{{other}}}` is unknown; {ALLOWED}")),
        });
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    if !pieces.iter().any(|piece| matches!(piece, Piece::Hex | Piece::Base64)) {
        return Err(format!("the signature has no place; {ALLOWED}"));
    }
    Ok(pieces)
}

fn fill(format: &[Piece], tag: &[u8], seconds: &str) -> String {
    format.iter().fold(String::new(), |mut out, piece| {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Timestamp => out.push_str(seconds),
            Piece::Base64 => STANDARD.encode_string(tag, &mut out),
            Piece::Hex => {
                for byte in tag {
                    out.extend([byte >> 4, byte & 15].map(|d| char::from_digit(u32::from(d), 16).unwrap_or('0')));
                }
            }
        }
        out
    })
}

/// Appends encoded items to a request target.
pub(super) fn push_query(target: &mut String, items: &str) {
    target.push(if target.contains('?') { '&' } else { '?' });
    target.push_str(items);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fault::Place;
    use crate::model::name::Name;
    use aws_lc_rs::signature::{ED25519, KeyPair as _, UnparsedPublicKey};
    use bytes::Bytes;
    use secrecy::SecretString;

    const NOW: WallMs = WallMs(1_767_225_600_123);

    fn secret(text: &str) -> Text {
        Text::Secret(SecretString::from(text))
    }

    fn signer(sign: resources::Sign) -> Result<Signer, Error> {
        let bare = Connection::bare(Name::new("api").unwrap(), Place::default());
        Signer::new(&Connection { sign: Some(sign), ..bare }).map(Option::unwrap)
    }

    fn signed(sign: resources::Sign, body: &str, id: &str, now: WallMs) -> Request {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let mut request = Request { path: "/in".to_owned(), body, ..Request::default() };
        signer(sign).unwrap().sign(&mut request, id, now).unwrap();
        request
    }

    fn header<'r>(request: &'r Request, name: &str) -> &'r str {
        request.headers.get(name).unwrap()
    }

    fn hmac(format: &str) -> resources::Sign {
        resources::Sign::Hmac {
            secret: secret("It's a Secret to Everybody"),
            header: "x-hub-signature-256".to_owned(),
            format: format.to_owned(),
        }
    }

    #[test]
    fn hmac_of_the_body_as_github_documents_it() {
        let request = signed(hmac("sha256={hex}"), "Hello, World!", "d", NOW);
        let expected = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!((header(&request, "x-hub-signature-256"), request.target().as_str()), (expected, "/in"));
        assert!(!format!("{request:?}").contains("757107"), "a signature is not to be logged");
        let request = signed(hmac("{base64}"), "Hello, World!", "d", NOW);
        assert_eq!(header(&request, "x-hub-signature-256"), "dXEH6g6yUJ/CESIczphLijdXC211hsIsRvQ3nIsEPhc=");
    }

    #[test]
    fn hmac_of_timestamp_and_body_as_buildkite_documents_it() {
        let sign = resources::Sign::Hmac {
            secret: secret("tokentokentoken"),
            header: "x-buildkite-signature".to_owned(),
            format: "timestamp={timestamp},signature={hex}".to_owned(),
        };
        let request = signed(sign, "{\"event\":\"build.finished\"}", "d", NOW);
        let expected =
            "timestamp=1767225600,signature=9a04fb0026c1fb170a9542602d6443c43c1bf851562424635be5a1713ba7585b";
        assert_eq!(header(&request, "x-buildkite-signature"), expected);
    }

    #[test]
    fn standard_webhooks_with_several_keys() {
        let v1 = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
        let seed = [7u8; 32];
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        let v1a = format!("whsk_{}", STANDARD.encode(seed));
        let both = format!("whsk_{}", STANDARD.encode([&seed[..], pair.public_key().as_ref()].concat()));
        let secrets = vec![secret(v1), secret(v1.trim_end_matches('=')), secret(&v1a), secret(&both)];
        let body = r#"{"type":"order.paid","data":{"id":"1"}}"#;
        let request = signed(resources::Sign::StandardWebhooks { secrets }, body, "msg_01TESTVECTOR", NOW);
        let dated = (header(&request, "webhook-id"), header(&request, "webhook-timestamp"));
        assert_eq!(dated, ("msg_01TESTVECTOR", "1767225600"));
        let all: Vec<&str> = header(&request, "webhook-signature").split(' ').collect();
        assert_eq!(all[..2], ["v1,wbPUNDsk4lf7plWSy7SHfGQkL8vOi5ZSXoGPonSrcus="; 2]);
        assert_eq!(all.len(), 4);
        for signature in &all[2..] {
            let signature = STANDARD.decode(signature.strip_prefix("v1a,").unwrap()).unwrap();
            let message = format!("msg_01TESTVECTOR.1767225600.{body}");
            let public = UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref());
            public.verify(message.as_bytes(), &signature).unwrap();
            assert!(public.verify(b"another", &signature).is_err());
        }
    }

    #[test]
    fn dingtalk_comes_last_and_anew() {
        let sign = || resources::Sign::DingTalk { secret: secret("SECexamplesecretexamplesecret") };
        let target = signed(sign(), "", "d", WallMs(1_767_225_600_000)).target();
        let expected = "/in?timestamp=1767225600000&sign=cUY0NARVUNx2xtyxBuGjfp7MB70Kd4PYVEYOtEjruWg%3D";
        assert_eq!(target, expected);
        assert_ne!(signed(sign(), "", "d", NOW).target(), expected);
        let signer = signer(sign()).unwrap();
        let shown = signer.redact(&format!("POST {expected} and sign=off, design={expected}"));
        assert!(!shown.contains("cUY0") && shown.contains("sign=***") && shown.contains("sign=off"), "{shown}");
        assert_eq!(signer.redact("nothing"), "nothing");
    }

    #[test]
    fn people_see_masks() {
        let (mut headers, mut target) = (BTreeMap::new(), "/in?a=b".to_owned());
        signer(hmac("sha256={hex}")).unwrap().show(&mut headers, &mut target, "id");
        let secrets = vec![secret("whsec_MDEyMzQ1"), secret(&format!("whsk_{}", STANDARD.encode([1; 32])))];
        let webhooks = signer(resources::Sign::StandardWebhooks { secrets }).unwrap();
        webhooks.show(&mut headers, &mut target, "id");
        let ding = signer(resources::Sign::DingTalk { secret: secret("SECx") }).unwrap();
        ding.show(&mut headers, &mut target, "id");
        assert_eq!(headers["x-hub-signature-256"], "***");
        assert_eq!((headers["webhook-id"].as_str(), headers["webhook-signature"].as_str()), ("id", "v1,*** v1a,***"));
        assert_eq!(target, "/in?a=b&timestamp=<now>&sign=***");
    }

    #[test]
    fn unusable_keys_are_told_without_showing_them() {
        let webhook = |text: &str| resources::Sign::StandardWebhooks { secrets: vec![secret(text)] };
        let mut wrong_pair = [7u8; 64];
        wrong_pair[40] = 8;
        let cases = [
            (webhook("hidden"), "begins with neither `whsec_`"),
            (webhook("whsec_hid*den"), "not base64"),
            (webhook("whsec_"), "is empty"),
            (webhook("whsk_aGlkZGVu"), "holds 6 bytes"),
            (webhook(&format!("whsk_{}", STANDARD.encode(wrong_pair))), "do not belong together"),
            (resources::Sign::StandardWebhooks { secrets: Vec::new() }, "`secrets` is empty"),
            (resources::Sign::DingTalk { secret: secret("") }, "the secret is empty"),
            (hmac("plain"), "has no place"),
            (hmac("{hex"), "`}` is missing"),
            (hmac("{md5}{hex}"), "`{md5}` is unknown"),
            (hmac("{hex}\n"), "control character"),
        ];
        for (sign, expected) in cases {
            let error = signer(sign).unwrap_err().to_string();
            assert!(error.contains("`api`") && error.contains(expected) && !error.contains("hid"), "{error}");
        }
    }
}
