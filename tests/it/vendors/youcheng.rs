//! `YouCheng`: a token from an exchange in JSON, sent in the query; whether it is still good is told in the body of a 200.

use super::{QUICK, Vendor, json, rule};
use crate::support::Answer;
use crate::support::api::Seen;
use std::sync::Mutex;

const EXCHANGE: &str = "/auth/getAccessToken.rjson";

/// The vendor: which token is good now.
#[derive(Default)]
struct YouCheng {
    issued: u32,
    good: Option<u32>,
}

impl YouCheng {
    fn answer(&mut self, seen: &Seen) -> Answer {
        let result = |result: u32| json(200, &format!(r#"{{"result":{result},"message":"m"}}"#));
        if seen.target == EXCHANGE {
            assert_eq!(&seen.body[..], br#"{"appKey":"yc-key","appSecret":"yc-secret"}"#);
            self.issued += 1;
            self.good = Some(self.issued);
            return json(200, &format!(r#"{{"result":100,"data":{{"accessToken":"token-{}"}}}}"#, self.issued));
        }
        let (path, query) = seen.target.split_once('?').unwrap_or_default();
        assert_eq!(path, "/reimburse/order/createOrder.rjson");
        if seen.event == "expired" && seen.attempt == 1 {
            self.good = None;
        }
        let good = self.good.map(|number| format!("appKey=yc-key&accessToken=token-{number}"));
        if good.as_deref() != Some(query) {
            return result(700);
        }
        match (seen.event.as_str(), seen.attempt) {
            ("locked", _) => result(701),
            ("budget", _) => result(110),
            ("highest", _) => result(199),
            ("parameter", _) => result(200),
            ("lastly", _) => result(299),
            ("exists", _) => result(304),
            ("system", 1) => result(500),
            ("odd", _) => result(313),
            ("wordy", _) => json(200, r#"{"result":"100"}"#),
            _ => result(100),
        }
    }
}

fn resources(url: &str) -> String {
    format!(
        "kind: connection
name: youcheng
url: {url}
allow_networks: [127.0.0.0/8]
auth:
  token:
    request: {{endpoint: {EXCHANGE}, json: {{appKey: yc-key, appSecret: yc-secret}}}}
    read: {{token: $.data.accessToken, lifetime: 1h}}
    send: {{query: {{appKey: yc-key, accessToken: $token}}}}
responses:
- {{when: {{body: {{result: [700, 701]}}}}, outcome: auth_expired}}
- {{when: {{body: {{result: [304]}}}}, outcome: duplicate}}
- {{when: {{body: {{result: [{{numeric: [\">=\", 100, \"<\", 200]}}]}}}}, outcome: success}}
- {{when: {{body: {{result: [{{numeric: [\">=\", 200, \"<\", 300]}}]}}}}, outcome: reject}}
---
{{kind: destination, name: order, connection: youcheng, endpoint: /reimburse/order/createOrder.rjson, {QUICK}}}
{}---
{{kind: destination, name: locked, connection: youcheng, endpoint: /reimburse/order/createOrder.rjson, {QUICK}}}
{}",
        rule("order", "  body: $.data"),
        rule("locked", "  body: $.data")
    )
}

#[test]
fn youcheng_tells_in_a_200_that_the_token_is_old() {
    let state = Mutex::new(YouCheng::default());
    let vendor = Vendor::start("youcheng", move |seen| state.lock().expect("the vendor").answer(seen), resources);
    let unknown = "200 RESPONSE_UNRECOGNISED";
    vendor.ends(&format!(
        "order/plain: 200 → delivered
         order/budget: 200 → delivered
         order/highest: 200 → delivered
         order/parameter: 200 RESPONSE_REJECTED → dead_lettered
         order/lastly: 200 RESPONSE_REJECTED → dead_lettered
         order/exists: 200 → delivered
         order/system: {unknown}, 200 → delivered
         order/odd: {unknown}, {unknown}, {unknown} → dead_lettered
         order/wordy: {unknown}, {unknown}, {unknown} → dead_lettered"
    ));
    let exchanges = || vendor.bed.api.log(|log| log.requests.iter().filter(|seen| seen.target == EXCHANGE).count());
    assert_eq!(exchanges(), 1, "one token for all");

    // The token is refused once; with the next one the same event is taken, and no attempt is lost.
    vendor.ends("order/expired: 200 → delivered");
    assert_eq!((exchanges(), vendor.bed.api.log(|log| log.tally("expired").attempts)), (2, 2));

    // Refused with a new token too: not the token's fault, so it is not asked a third time.
    vendor.stops("locked", "locked", "locked", "RESPONSE_AUTH_EXPIRED", 2);
    assert_eq!(exchanges(), 3);
}
