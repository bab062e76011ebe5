//! Written settings → checked ones: each by itself, then against each other.

use super::raw::{Origin, PROPERTIES, RawSettings, Written, is_secret};
use super::{
    DeadLetterSettings, DeliverySettings, GroupProtocol, KafkaSettings, LogFormat, LogSettings, ResourceSettings,
    Settings, TraceOutcomes, TraceSettings,
};
use crate::config::env::Env;
use crate::config::secrets::{self, Grammar, Resolved};
use crate::model::fault::Fault;
use crate::model::resources::PatternLimits;
use crate::model::text::Text;
use crate::model::units;
use secrecy::SecretString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Properties that Tidegate sets itself, and what to write instead.
const OURS: &[(&str, &str)] = &[
    ("bootstrap.servers", "write kafka.brokers"),
    ("metadata.broker.list", "write kafka.brokers"),
    ("group.id", "write kafka.group"),
    ("group.instance.id", "write kafka.instance_id"),
    ("group.protocol", "write kafka.group_protocol"),
    ("session.timeout.ms", "write kafka.session_timeout"),
    ("heartbeat.interval.ms", "write kafka.heartbeat_interval"),
    ("max.poll.interval.ms", "write kafka.max_poll_interval"),
    ("enable.auto.commit", "leave it out: offsets are committed when events are settled"),
    ("auto.commit.interval.ms", "write delivery.commit_interval"),
    ("enable.auto.offset.store", "leave it out: offsets are committed when events are settled"),
    ("auto.offset.reset", "write `start` and `on_missing` in a source"),
    ("partition.assignment.strategy", "leave it out: it is cooperative-sticky"),
    ("enable.partition.eof", "leave it out"),
    ("auto.commit.enable", "leave it out: offsets are committed when events are settled"),
    ("acks", "leave it out: a record counts as handed off when all replicas in sync have it"),
    ("request.required.acks", "leave it out: a record counts as handed off when all replicas in sync have it"),
    ("enable.idempotence", "leave it out: it stays on, or retries would reorder and repeat"),
    ("transactional.id", "leave it out: transactions are not used"),
    ("message.max.bytes", "write delivery.max_event_bytes"),
    ("queued.max.messages.kbytes", "write delivery.memory_budget, of which what is read ahead is a part"),
    ("queued.min.messages", "write delivery.memory_budget, of which what is read ahead is a part"),
    ("queue.buffering.max.kbytes", "write delivery.memory_budget, of which what waits to be written is a part"),
    ("log.queue", "leave it out"),
    ("debug", "leave it out; the log shows more with log.level = \"info,librdkafka=debug\""),
    ("test.mock.num.brokers", "leave it out; `tidegate dev` runs an embedded broker"),
];

/// The settings, unless something is wrong; every fault goes to `faults`.
pub(super) fn check(raw: &RawSettings, env: &Env, faults: &mut Vec<Fault>) -> Option<Settings> {
    let mut reader = Reader { raw, env, faults };
    let settings = reader.settings();
    if let Some(settings) = &settings {
        reader.against_each_other(settings);
    }
    settings
}

pub(super) struct Reader<'a> {
    raw: &'a RawSettings,
    env: &'a Env,
    faults: &'a mut Vec<Fault>,
}

impl Reader<'_> {
    fn settings(&mut self) -> Option<Settings> {
        // Each is read before any is missed, so that all faults are told.
        let kafka = self.kafka();
        let resources = self.resources();
        let delivery = self.delivery();
        let pattern = self.pattern();
        let prefix = kafka.as_ref().map_or("tidegate", |kafka| kafka.prefix.as_str()).to_owned();
        let dead_letter = self.dead_letter(&prefix);
        let trace = self.trace();
        let admin_listen = self.admin_listen();
        let telemetry = self.telemetry();
        let log = self.log();
        Some(Settings {
            kafka: kafka?,
            resources: resources?,
            delivery: delivery?,
            pattern: pattern?,
            dead_letter: dead_letter?,
            trace: trace?,
            admin_listen: admin_listen?,
            telemetry: telemetry?,
            log: log?,
        })
    }

    fn kafka(&mut self) -> Option<KafkaSettings> {
        let brokers = self.matching("kafka.brokers", "host:port, separated by commas", "k1:9092,k2:9092", |text| {
            let one = |broker: &str| {
                let broker = broker.trim().rsplit("://").next().unwrap_or_default();
                broker.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
            };
            text.split(',').all(one)
        });
        let part = |text: &str| !text.is_empty() && text.len() <= 100 && text.bytes().all(is_topic_byte);
        let group = self.matching("kafka.group", "letters, digits, `.`, `-`, `_`", "tidegate", part);
        let prefix = self.matching("kafka.prefix", "letters, digits, `.`, `-`, `_`", "tidegate", part);
        let instance_id = self.text("kafka.instance_id");
        let group_protocol = self.word(
            "kafka.group_protocol",
            &[("classic", GroupProtocol::Classic), ("consumer", GroupProtocol::Consumer)],
        );
        let session_timeout = self.duration("kafka.session_timeout");
        let heartbeat_interval = self.duration("kafka.heartbeat_interval");
        let max_poll_interval = self.duration("kafka.max_poll_interval");
        let replication_factor = self.number("kafka.replication_factor", 0, 32_767);
        let properties = self.properties();
        Some(KafkaSettings {
            brokers: brokers?,
            brokers_origin: self.raw.get("kafka.brokers").map(|(_, origin)| origin.to_string()).unwrap_or_default(),
            group: group?,
            prefix: prefix?,
            instance_id: instance_id.map(|id| Some(id).filter(|id| !id.is_empty()))?,
            group_protocol: group_protocol?,
            session_timeout: session_timeout?,
            heartbeat_interval: heartbeat_interval?,
            max_poll_interval: max_poll_interval?,
            replication_factor: replication_factor.map(|n: u16| Some(n).filter(|n| *n > 0))?,
            properties: properties?,
        })
    }

    fn properties(&mut self) -> Option<Vec<(String, Text)>> {
        let ours = |name: &str| {
            let (_, cure) = OURS.iter().find(|(ours, _)| *ours == name)?;
            Some(("is set by Tidegate".to_owned(), (*cure).to_owned()))
        };
        self.named(PROPERTIES, ours)
    }

    /// The values of a section where any name may stand; `refuse` says what is wrong with a name, and the cure.
    pub(super) fn named(
        &mut self,
        section: &str,
        refuse: impl Fn(&str) -> Option<(String, String)>,
    ) -> Option<Vec<(String, Text)>> {
        let mut values = Some(Vec::new());
        let raw = self.raw;
        for (name, written, origin) in raw.under(section) {
            let key = format!("{section}{name}");
            if let Some((message, cure)) = refuse(name) {
                self.fault(&key, origin, message, cure);
                values = None;
                continue;
            }
            let text = match written {
                Written::One(text) => self.resolve(&key, text, origin),
                Written::Several(items) => Some(Resolved { text: items.join(","), ..Resolved::new(false) }),
            };
            match (text, &mut values) {
                (Some(found), Some(values)) => {
                    let secret = found.secret || is_secret(&key);
                    let value =
                        if secret { Text::Secret(SecretString::from(found.text)) } else { Text::Plain(found.text) };
                    values.push((name.to_owned(), value));
                }
                (None, _) => values = None,
                (Some(_), None) => {}
            }
        }
        values
    }

    fn resources(&mut self) -> Option<ResourceSettings> {
        let paths = self.list("resources.paths");
        let watch = self.flag("resources.watch");
        Some(ResourceSettings { paths: paths?.into_iter().map(PathBuf::from).collect(), watch: watch? })
    }

    fn delivery(&mut self) -> Option<DeliverySettings> {
        let drain_timeout = self.duration("delivery.drain_timeout");
        let window_records = self.number("delivery.window_records", 1, 1_000_000);
        let window_bytes = self.size("delivery.window_bytes");
        let memory_budget_bytes = self.size("delivery.memory_budget");
        let max_event_bytes = self.size("delivery.max_event_bytes");
        let commit_interval = self.duration("delivery.commit_interval");
        let commit_map = self.flag("delivery.commit_map");
        let workers: Option<usize> = self.number("delivery.workers", 0, 1_024);
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        Some(DeliverySettings {
            drain_timeout: drain_timeout?,
            window_records: window_records?,
            window_bytes: window_bytes?,
            memory_budget_bytes: memory_budget_bytes?,
            max_event_bytes: max_event_bytes?,
            commit_interval: commit_interval?,
            commit_map: commit_map?,
            workers: workers.map(|n| if n == 0 { cores() } else { n })?,
        })
    }

    /// Patterns are compiled by recursion, hence the bound on their depth; the bound on attempts keeps one event from
    /// stopping a worker for seconds.
    fn pattern(&mut self) -> Option<PatternLimits> {
        let text_bytes = self.size_within("pattern.max_text", 1 << 10, 16 << 20);
        let depth = self.number("pattern.max_depth", 1, 128);
        let matchers = self.number("pattern.max_matchers", 1, 1_000_000);
        let values = self.number("pattern.max_values", 1, 1_000_000);
        let attempts = self.number("pattern.max_attempts", 1, 10_000_000);
        Some(PatternLimits {
            text_bytes: usize::try_from(text_bytes?).ok()?,
            depth: depth?,
            matchers: matchers?,
            values: values?,
            attempts: attempts?,
        })
    }

    fn dead_letter(&mut self, prefix: &str) -> Option<DeadLetterSettings> {
        let fits = |text: &str| text.len() <= 249 && text.bytes().all(is_topic_byte);
        let topic = self.matching("dead_letter.topic", "the name of a topic", "tidegate.dlq", fits);
        let partitions = self.number("dead_letter.partitions", 1, 10_000);
        let retention = self.duration("dead_letter.retention");
        Some(DeadLetterSettings {
            topic: topic.map(|topic| if topic.is_empty() { format!("{prefix}.dlq") } else { topic })?,
            partitions: partitions?,
            retention: retention?,
        })
    }

    fn trace(&mut self) -> Option<TraceSettings> {
        let enabled = self.flag("trace.enabled");
        let words =
            [("failures", TraceOutcomes::Failures), ("all", TraceOutcomes::All), ("sample", TraceOutcomes::Sample)];
        let outcomes = self.word("trace.outcomes", &words);
        let sample = self.share("trace.sample");
        let partitions = self.number("trace.partitions", 1, 10_000);
        let retention = self.duration("trace.retention");
        Some(TraceSettings {
            enabled: enabled?,
            outcomes: outcomes?,
            sample: sample?,
            partitions: partitions?,
            retention: retention?,
        })
    }

    fn admin_listen(&mut self) -> Option<Option<SocketAddr>> {
        let fits = |text: &str| text.is_empty() || text.parse::<SocketAddr>().is_ok();
        let listen = self.matching("admin.listen", "an address and port", "127.0.0.1:7070", fits)?;
        Some(listen.parse().ok())
    }

    fn log(&mut self) -> Option<LogSettings> {
        let format = self.word("log.format", &[("text", LogFormat::Text), ("json", LogFormat::Json)]);
        let level = self.matching("log.level", "a level or filter", "info", |text| !text.trim().is_empty());
        Some(LogSettings { format: format?, level: level? })
    }

    /// What no setting can say by itself.
    fn against_each_other(&mut self, settings: &Settings) {
        let (kafka, delivery) = (&settings.kafka, &settings.delivery);
        let third = kafka.session_timeout / 3;
        if delivery.drain_timeout > third {
            let cure = format!("at most {third:?}, or a longer kafka.session_timeout");
            self.conflict("delivery.drain_timeout", "is more than a third of kafka.session_timeout", cure);
        }
        if kafka.heartbeat_interval > third {
            let cure = format!("at most {third:?}, or a longer kafka.session_timeout");
            self.conflict("kafka.heartbeat_interval", "is more than a third of kafka.session_timeout", cure);
        }
        if kafka.max_poll_interval < kafka.session_timeout {
            let cure = "make it longer, 60s is usual".to_owned();
            self.conflict("kafka.max_poll_interval", "is shorter than kafka.session_timeout", cure);
        }
        for (key, duration) in [
            ("kafka.heartbeat_interval", kafka.heartbeat_interval),
            ("delivery.commit_interval", delivery.commit_interval),
            ("dead_letter.retention", settings.dead_letter.retention),
            ("trace.retention", settings.trace.retention),
        ] {
            if duration < Duration::from_millis(1) {
                self.conflict(key, "is shorter than 1ms", "make it longer".to_owned());
            }
        }
        if delivery.window_bytes > delivery.memory_budget_bytes {
            let cure = "a smaller window, or a larger budget".to_owned();
            self.conflict("delivery.window_bytes", "is more than delivery.memory_budget", cure);
        }
        if delivery.max_event_bytes > delivery.memory_budget_bytes / 2 {
            let cure = "at most half of it, so that reading and delivering both go on".to_owned();
            self.conflict("delivery.max_event_bytes", "is more than half of delivery.memory_budget", cure);
        }
        if settings.dead_letter.topic == format!("{}.trace", kafka.prefix) {
            self.conflict("dead_letter.topic", "is the trace topic", "choose another".to_owned());
        }
    }

    fn conflict(&mut self, key: &str, message: &str, cure: String) {
        if let Some((_, origin)) = self.raw.get(key) {
            self.fault(key, origin, message.to_owned(), cure);
        }
    }

    fn fault(&mut self, key: &str, origin: &Origin, message: String, cure: String) {
        let pointer = format!("/{}", key.replace('.', "/"));
        let fault = |message: String| Fault::error("CONFIG_VALUE", pointer, message).cure(cure);
        self.faults.push(match origin {
            Origin::File(place) => fault(format!("`{key}` {message}")).at(place.clone()),
            Origin::BuiltIn => fault(format!("`{key}` {message}")),
            Origin::Variable(_) | Origin::Flag(_) => fault(format!("`{key}` {message} (from {origin})")),
        });
    }

    fn resolve(&mut self, key: &str, text: &str, origin: &Origin) -> Option<Resolved> {
        match secrets::resolve(text, Grammar::Literal, self.env) {
            Ok(resolved) => Some(resolved),
            Err(error) => {
                self.fault(key, origin, format!("cannot be read: {error}"), error.cure());
                None
            }
        }
    }

    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        let (written, origin) = self.raw.get(key)?;
        match written {
            Written::One(text) => self.resolve(key, text, origin).map(|found| found.text),
            Written::Several(_) => {
                self.fault(key, origin, "must be one value, found a list".to_owned(), "write \"…\"".to_owned());
                None
            }
        }
    }

    /// A url, and what of it people must not see.
    pub(super) fn url(&mut self, key: &str) -> Option<(String, Vec<SecretString>)> {
        let (written, origin) = self.raw.get(key)?;
        let Written::One(text) = written else { return self.text(key).map(|text| (text, Vec::new())) };
        let found = self.resolve(key, text, origin)?;
        let hidden = found.hidden_in_url();
        Some((found.text, hidden))
    }

    pub(super) fn list(&mut self, key: &str) -> Option<Vec<String>> {
        let (written, origin) = self.raw.get(key)?;
        let items: Vec<&str> = match written {
            Written::One(text) => text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect(),
            Written::Several(items) => items.iter().map(String::as_str).collect(),
        };
        items.into_iter().map(|item| self.resolve(key, item, origin).map(|found| found.text)).collect()
    }

    /// A text that fits, or a fault that says what would.
    pub(super) fn matching(
        &mut self,
        key: &str,
        wanted: &str,
        example: &str,
        fits: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let text = self.text(key)?;
        if fits(&text) {
            return Some(text);
        }
        self.wrong(key, &format!("must be {wanted}, found `{text}`"), format!("write \"{example}\""))
    }

    fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let names: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        self.wrong(
            key,
            &format!("must be {}, found `{text}`", names.join(" or ")),
            format!("write \"{}\"", names.join("\" or \"")),
        )
    }

    fn flag(&mut self, key: &str) -> Option<bool> {
        self.word(key, &[("true", true), ("false", false)])
    }

    fn number<T: FromStr + PartialOrd + TryFrom<u32>>(&mut self, key: &str, from: u32, to: u32) -> Option<T> {
        let text = self.text(key)?;
        match text.parse::<u32>() {
            Ok(n) if (from..=to).contains(&n) => T::try_from(n).ok(),
            _ => self.wrong(
                key,
                &format!("must be a whole number from {from} to {to}, found `{text}`"),
                format!("write {}", from.max(1)),
            ),
        }
    }

    pub(super) fn duration(&mut self, key: &str) -> Option<Duration> {
        let text = self.text(key)?;
        units::duration(&text).map_or_else(|said| self.unit(key, &said), Some)
    }

    /// A number from 0 to 1.
    pub(super) fn share(&mut self, key: &str) -> Option<f64> {
        let text = self.text(key)?;
        match text.parse::<f64>() {
            Ok(share) if (0.0..=1.0).contains(&share) => Some(share),
            Ok(_) | Err(_) => {
                let message = format!("must be a share from 0 to 1, found `{text}`");
                self.wrong(key, &message, "write 0.1 for one in ten".to_owned())
            }
        }
    }

    fn size(&mut self, key: &str) -> Option<u64> {
        let text = self.text(key)?;
        units::size_bytes(&text).map_or_else(|said| self.unit(key, &said), Some)
    }

    fn size_within(&mut self, key: &str, from: u64, to: u64) -> Option<u64> {
        let bytes = self.size(key)?;
        if (from..=to).contains(&bytes) {
            return Some(bytes);
        }
        let message = format!("must be {}KiB to {}KiB", from >> 10, to >> 10);
        self.wrong(key, &message, format!("write {}KiB", bytes.clamp(from, to) >> 10))
    }

    fn unit<T>(&mut self, key: &str, said: &str) -> Option<T> {
        let (message, cure) = said.split_once("; ").unwrap_or((said, "write it with a unit, in quotes"));
        self.wrong(key, &format!("is wrong: {message}"), cure.to_owned())
    }

    pub(super) fn wrong<T>(&mut self, key: &str, message: &str, cure: String) -> Option<T> {
        let (written, origin) = self.raw.get(key)?;
        let refers = matches!(written, Written::One(text) if secrets::mentions(text, Grammar::Literal));
        if refers {
            let message = "cannot be what its references give; it is not shown, for it may be secret";
            let cure = "check the variables or files that they name";
            self.fault(key, origin, message.to_owned(), cure.to_owned());
            return None;
        }
        self.fault(key, origin, message.to_owned(), cure);
        None
    }
}

fn is_topic_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}
