//! The events and rules of the benchmark of matching, generated from a seed; also given to other engines
//! (`benches/peers/matching`).

use serde_json::{Value, json};

const SEED: u64 = 20_260_101;

/// Events and rules.
pub(super) struct Workload(fastrand::Rng);

const CITIES: [&str; 12] =
    ["Ulm", "Berlin", "Lyon", "Porto", "Gdańsk", "Brno", "Turku", "Aarhus", "Ghent", "Graz", "Malmö", "Split"];
const TIERS: [&str; 4] = ["bronze", "silver", "gold", "platinum"];
const STATES: [&str; 6] = ["new", "paid", "packed", "shipped", "returned", "closed"];

impl Workload {
    /// Always the same.
    pub(super) fn new() -> Self {
        Self(fastrand::Rng::with_seed(SEED))
    }

    fn pick<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.0.usize(..of.len())]
    }

    fn source(&mut self) -> String {
        format!("/shops/{}/checkout", 100 + self.0.u32(..20))
    }

    fn kind(&mut self) -> String {
        let n = self.0.usize(..25);
        format!("com.example.order.{}.v{}", ["created", "paid", "shipped", "returned", "closed"][n % 5], 1 + n / 5)
    }

    fn customer(&mut self) -> String {
        format!("C-{:05}", self.0.u32(..20_000))
    }

    fn sku(&mut self) -> String {
        format!("{}-{:03}", self.pick(&["BOOK", "TOY", "SHOE", "LAMP"]), self.0.u32(..300))
    }

    fn address(&mut self) -> String {
        format!("10.{}.{}.{}", self.0.u8(..16), self.0.u8(..), self.0.u8(..))
    }

    /// The next event.
    pub(super) fn event(&mut self) -> String {
        let items: Vec<String> = (0..3)
            .map(|_| {
                let (sku, qty, price) = (self.sku(), self.0.u32(1..9), self.0.u32(100..20_000));
                format!(r#"{{"sku":"{sku}","qty":{qty},"price":{}.{:02}}}"#, price / 100, price % 100)
            })
            .collect();
        let (source, kind, customer, total) = (self.source(), self.kind(), self.customer(), self.0.u32(..200_000));
        let (city, tier, state, ip) = (self.pick(&CITIES), self.pick(&TIERS), self.pick(&STATES), self.address());
        let head = format!(
            r#"{{"specversion":"1.0","id":"{:016x}","source":"{source}","type":"{kind}","subject":"orders/{}","time":"2026-03-0{}T0{}:15:30Z","datacontenttype":"application/json","data":{{"order":{{"state":"{state}","total":{}.{:02},"currency":"EUR","channel":"web","coupon":null}},"customer":{{"id":"{customer}","name":"Ann-Marie Example","tier":"{tier}","address":{{"street":"12 Harbour Road","city":"{city}","zip":"{}"}}}},"client":{{"ip":"{ip}","agent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36","session":"{:032x}"}},"items":[{}],"flags":["a","b",{}],"note":""#,
            self.0.u64(..),
            self.0.u32(..),
            self.0.u32(1..9),
            self.0.u32(..9),
            total / 100,
            total % 100,
            self.0.u32(10_000..99_999),
            self.0.u128(..),
            items.join(","),
            self.0.u8(..9),
        );
        let padding = 1_042_usize.saturating_sub(head.len() + 4);
        format!("{head}{}\"}}}}", "lorem ipsum dolor ".repeat(40).get(..padding).unwrap())
    }

    /// The next rule: its pattern.
    pub(super) fn rule(&mut self) -> String {
        let mut fields: Vec<(&str, Value)> = Vec::new();
        let wanted = self.0.usize(1..4);
        while fields.len() < wanted {
            let field = self.condition();
            if !fields.iter().any(|(path, _)| *path == field.0) {
                fields.push(field);
            }
        }
        let mut data = json!({});
        for (path, matchers) in fields {
            let mut at = &mut data;
            for key in path.split('.') {
                at = &mut at[key];
            }
            *at = matchers;
        }
        json!({"source": [self.source()], "type": [self.kind()], "data": data}).to_string()
    }

    fn condition(&mut self) -> (&'static str, Value) {
        let amount = f64::from(self.0.u32(..2_000));
        match self.0.u32(..16) {
            0 => ("order.state", json!([self.pick(&STATES)])),
            1 => ("order.state", json!([{"anything-but": [self.pick(&STATES), self.pick(&STATES)]}])),
            2 => ("order.total", json!([{"numeric": [">", amount]}])),
            3 => ("order.total", json!([{"numeric": [">=", amount, "<", amount + 100.0]}])),
            4 => ("order.total", json!([{"numeric": ["<", amount]}])),
            5 => ("customer.id", json!([self.customer()])),
            6 => ("customer.id", json!([{"prefix": format!("C-{:02}", self.0.u8(..20))}])),
            7 => ("customer.tier", json!([self.pick(&TIERS), self.pick(&TIERS)])),
            8 => ("customer.address.city", json!([{"equals-ignore-case": self.pick(&CITIES).to_uppercase()}])),
            9 => ("customer.address.zip", json!([{"suffix": format!("{:02}", self.0.u8(..100))}])),
            10 => ("client.ip", json!([{"cidr": format!("10.{}.0.0/16", self.0.u8(..16))}])),
            11 => ("client.agent", json!([{"wildcard": format!("Mozilla/*Linux*/{}*", self.0.u16(500..600))}])),
            12 => ("client.session", json!([{"exists": true}])),
            13 => ("order.refund", json!([{"exists": false}])),
            14 => ("items.sku", json!([self.sku(), self.sku()])),
            _ => ("note", json!([{"contains": "dolor"}])),
        }
    }
}
