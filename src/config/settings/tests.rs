//! Precedence, origins, and every message about settings.

use super::{GroupProtocol, LogFormat, Override, Settings, Signals, TraceOutcomes, load};
use crate::config::env::Env;
use crate::model::fault::Fault;
use crate::model::resources::PatternLimits;
use crate::model::text::Text;
use std::time::Duration;

fn with(file: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<(Settings, String), Vec<String>> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("t.toml");
    std::fs::write(&path, file).expect("written");
    let overrides: Vec<_> = flags
        .iter()
        .map(|(key, value)| Override {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
            flag: format!("--set {key}"),
        })
        .collect();
    let hide = |text: String| text.replace(&format!("{}/", dir.path().display()), "");
    let say = |f: &Fault| {
        let place = f.place.as_ref().map(ToString::to_string).unwrap_or_default();
        hide(format!("{place} {} {}: {}; {}", f.code, f.pointer, f.message, f.cure))
    };
    match load(&[path], &Env::of(env.iter().copied()), &overrides) {
        Ok((settings, raw)) => Ok((settings, hide(raw.print()))),
        Err(faults) => Err(faults.iter().map(say).collect()),
    }
}

#[test]
fn the_built_in_file_is_the_default() {
    let (s, _) = with("", &[], &[]).expect("no faults");
    assert_eq!(
        (s.kafka.brokers.as_str(), s.kafka.group.as_str(), s.kafka.prefix.as_str()),
        ("127.0.0.1:9092", "tidegate", "tidegate")
    );
    assert_eq!(
        (s.kafka.session_timeout, s.kafka.heartbeat_interval),
        (Duration::from_secs(15), Duration::from_secs(1))
    );
    assert_eq!((s.kafka.max_poll_interval, s.kafka.group_protocol), (Duration::from_secs(60), GroupProtocol::Classic));
    assert!(s.kafka.instance_id.is_none() && s.kafka.replication_factor.is_none() && s.kafka.properties.is_empty());
    assert_eq!((s.delivery.drain_timeout, s.delivery.window_records), (Duration::from_secs(5), 4000));
    assert_eq!((s.delivery.window_bytes, s.delivery.memory_budget_bytes), (16 << 20, 256 << 20));
    assert_eq!((s.delivery.commit_interval, s.delivery.commit_map), (Duration::from_millis(500), true));
    assert!(s.delivery.workers >= 1);
    assert_eq!((s.dead_letter.topic.as_str(), s.dead_letter.partitions), ("tidegate.dlq", 12));
    assert_eq!(s.dead_letter.retention, Duration::from_secs(30 * 86_400));
    assert_eq!((s.trace.enabled, s.trace.outcomes), (true, TraceOutcomes::Failures));
    assert_eq!(s.admin_listen.map(|a| a.to_string()).as_deref(), Some("127.0.0.1:7070"));
    assert_eq!(s.trace.sample, 0.01);
    let t = &s.telemetry;
    assert!(t.otlp_endpoint.is_none() && t.otlp_headers.is_empty());
    assert_eq!(t.signals, Signals { traces: true, metrics: true, logs: true });
    assert_eq!((t.service_name.as_str(), t.traces_sample), ("tidegate", 0.1));
    assert_eq!(t.metrics_interval, Duration::from_secs(60));
    assert_eq!((s.log.format, s.log.level.as_str()), (LogFormat::Text, "info"));
    assert_eq!(s.resources.paths, [std::path::PathBuf::from("config/resources")]);
}

#[test]
fn later_layers_win_and_every_value_knows_its_origin() {
    let file = "[kafka]\nbrokers = \"file:1\"\ngroup = \"g\"\nprefix = \"p\"\n\n[kafka.properties]\n\"security.protocol\" = \"SSL\"\n\
                sasl.password = \"literal\"\n\"sasl.username\" = \"${env:USER}\"\n[resources]\npaths = [\"a\", \"b\"]\n";
    let env = [
        ("TIDEGATE__KAFKA__GROUP", "env-group"),
        ("TIDEGATE__KAFKA__BROKERS", "env:2"),
        ("TIDEGATE__KAFKA__PROPERTIES__SASL_MECHANISM", "PLAIN"),
        ("TIDEGATE__TRACE__ENABLED", "false"),
        ("USER", "ann"),
        ("OTHER", "x"),
    ];
    let (s, print) =
        with(file, &env, &[("kafka.brokers", "flag:3"), ("kafka.properties.client.rack", "r1")]).expect("no faults");
    assert_eq!((s.kafka.brokers.as_str(), s.kafka.brokers_origin.as_str()), ("flag:3", "--set kafka.brokers"));
    assert_eq!(
        (s.kafka.group.as_str(), s.kafka.prefix.as_str(), s.dead_letter.topic.as_str()),
        ("env-group", "p", "p.dlq")
    );
    assert!(!s.trace.enabled);
    assert_eq!(s.resources.paths.len(), 2);
    let properties: Vec<_> =
        s.kafka.properties.iter().map(|(name, value)| format!("{name}={}", value.masked())).collect();
    assert_eq!(
        properties,
        ["client.rack=r1", "sasl.mechanism=PLAIN", "sasl.password=***", "sasl.username=***", "security.protocol=SSL"]
    );
    assert!(matches!(s.kafka.properties[3].1, Text::Secret(_)));

    let line = |key: &str| {
        print
            .lines()
            .find(|l| l.starts_with(&format!("{key} =")))
            .map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    for (key, wanted) in [
        ("kafka.brokers", "kafka.brokers = \"flag:3\" # --set kafka.brokers"),
        ("kafka.group", "kafka.group = \"env-group\" # TIDEGATE__KAFKA__GROUP"),
        ("kafka.prefix", "kafka.prefix = \"p\" # t.toml:4"),
        ("kafka.session_timeout", "kafka.session_timeout = \"15s\" # built in"),
        ("kafka.properties.sasl.password", "kafka.properties.sasl.password = \"***\" # t.toml:8"),
        ("kafka.properties.sasl.username", "kafka.properties.sasl.username = \"${env:USER}\" # t.toml:9"),
        ("resources.paths", "resources.paths = [\"a\", \"b\"] # t.toml:11"),
    ] {
        assert_eq!(line(key).as_deref(), Some(wanted), "{print}");
    }
    assert!(!print.contains("literal"), "{print}");
}

#[test]
fn a_collector_and_its_headers() {
    let file = "[telemetry]\notlp_endpoint = \"https://otel.example/base/\"\nsignals = [\"traces\"]\ntraces_sample = 1\n\
                metrics_interval = \"10s\"\n[telemetry.otlp_headers]\nAuthorization = \"Bearer literal\"\n\
                x-team = \"${env:TEAM}\"\n";
    let env = [
        ("TEAM", "ops"),
        ("TIDEGATE__TELEMETRY__OTLP_HEADERS__X_API_KEY", "k3y"),
        ("TIDEGATE__TRACE__OUTCOMES", "sample"),
        ("TIDEGATE__TRACE__SAMPLE", "0.5"),
    ];
    let (s, print) = with(file, &env, &[]).expect("no faults");
    let t = &s.telemetry;
    assert_eq!(t.otlp_endpoint.as_deref(), Some("https://otel.example/base"));
    assert_eq!(t.signals, Signals { traces: true, metrics: false, logs: false });
    assert_eq!((t.traces_sample, t.metrics_interval), (1.0, Duration::from_secs(10)));
    let headers: Vec<_> = t.otlp_headers.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    assert!(t.otlp_headers.iter().all(|(_, value)| matches!(value, Text::Secret(_))), "{headers:?}");
    assert_eq!(
        t.otlp_headers.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>(),
        ["authorization", "x-api-key", "x-team"]
    );
    assert_eq!((s.trace.outcomes, s.trace.sample), (TraceOutcomes::Sample, 0.5));
    for secret in ["literal", "k3y", "ops"] {
        assert!(!print.contains(secret) && !format!("{s:?}").contains(secret), "{print}");
    }
    let (s, _) = with("", &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318/")], &[]).expect("no faults");
    assert_eq!(s.telemetry.otlp_endpoint.as_deref(), Some("http://127.0.0.1:4318"));
}

#[test]
fn references_work_here_too() {
    let (s, _) = with("[kafka]\ninstance_id = \"${env:HOSTNAME}\"", &[("HOSTNAME", "tg-0")], &[]).expect("no faults");
    assert_eq!(s.kafka.instance_id.as_deref(), Some("tg-0"));
}

#[test]
fn every_fault_names_setting_origin_and_cure() {
    for (file, env, wanted) in [
        (
            "[kafka]\nbroker = \"a:1\"",
            None,
            "t.toml:2:10 CONFIG_UNKNOWN_SETTING /kafka/broker: there is no setting `kafka.broker`; write `kafka.brokers`",
        ),
        (
            "brokers = \"a:1\"",
            None,
            "t.toml:1:11 CONFIG_UNKNOWN_SETTING /brokers: there is no setting `brokers`; write `kafka.brokers`",
        ),
        (
            "[kafka]\n\"client.id\" = \"a\"",
            None,
            "there is no setting `kafka.client.id`; properties of librdkafka stand under [kafka.properties]",
        ),
        (
            "",
            Some(("TIDEGATE__KAFKA__BROKER", "a:1")),
            "TIDEGATE__KAFKA__BROKER is no setting: there is no `kafka.broker`; write TIDEGATE__KAFKA__BROKERS",
        ),
        (
            "[delivery]\ndrain_timeout = 5",
            None,
            "t.toml:2:17 CONFIG_VALUE /delivery/drain_timeout: `delivery.drain_timeout` is wrong: `5` needs a unit; write 5s or 5m",
        ),
        (
            "[delivery]\nwindow_bytes = \"5\"",
            None,
            "`delivery.window_bytes` is wrong: `5` needs a unit; write 5B, 5KiB or 5MiB",
        ),
        (
            "[delivery]\ndrain_timeout = \"6s\"",
            None,
            "`delivery.drain_timeout` is more than a third of kafka.session_timeout; at most 5s",
        ),
        ("[kafka]\nheartbeat_interval = \"6s\"", None, "`kafka.heartbeat_interval` is more than a third"),
        (
            "[kafka]\nmax_poll_interval = \"10s\"",
            None,
            "`kafka.max_poll_interval` is shorter than kafka.session_timeout",
        ),
        ("[delivery]\nwindow_bytes = \"1GiB\"", None, "`delivery.window_bytes` is more than delivery.memory_budget"),
        (
            "[delivery]\nmax_event_bytes = \"200MiB\"",
            None,
            "`delivery.max_event_bytes` is more than half of delivery.memory_budget",
        ),
        ("[delivery]\ncommit_map = \"yes\"", None, "`delivery.commit_map` must be true or false, found `yes`"),
        ("[delivery]\nworkers = -1", None, "`delivery.workers` must be a whole number from 0 to 1024, found `-1`"),
        (
            "[kafka]\nbrokers = \"a\"",
            None,
            "`kafka.brokers` must be host:port, separated by commas, found `a`; write \"k1:9092,k2:9092\"",
        ),
        ("[kafka]\nprefix = \"a b\"", None, "`kafka.prefix` must be letters, digits"),
        ("[kafka]\ngroup_protocol = \"x\"", None, "`kafka.group_protocol` must be classic or consumer, found `x`"),
        (
            "[kafka.properties]\n\"enable.auto.commit\" = true",
            None,
            "t.toml:2:24 CONFIG_VALUE /kafka/properties/enable/auto/commit: `kafka.properties.enable.auto.commit` is set by Tidegate; leave it out",
        ),
        (
            "",
            Some(("TIDEGATE__KAFKA__PROPERTIES__GROUP_ID", "g")),
            "`kafka.properties.group.id` is set by Tidegate (from TIDEGATE__KAFKA__PROPERTIES__GROUP_ID); write kafka.group",
        ),
        (
            "[kafka.properties]\n\"queued.min.messages\" = 5",
            None,
            "is set by Tidegate; write delivery.memory_budget, of which what is read ahead is a part",
        ),
        (
            "[kafka]\ninstance_id = \"${env:NONE}\"",
            None,
            "`kafka.instance_id` cannot be read: the environment variable `NONE` is not set",
        ),
        ("[admin]\nlisten = \"localhost\"", None, "`admin.listen` must be an address and port, found `localhost`"),
        ("[log]\nformat = \"xml\"", None, "`log.format` must be text or json, found `xml`"),
        (
            "[telemetry]\notlp_endpoint = \"127.0.0.1:4318\"",
            None,
            "t.toml:2:17 CONFIG_VALUE /telemetry/otlp_endpoint: `telemetry.otlp_endpoint` is wrong: `127.0.0.1:4318` is no url; write https://",
        ),
        (
            "[telemetry]\notlp_endpoint = \"https://u:p@h\"",
            None,
            "`telemetry.otlp_endpoint` is wrong: a url must not carry a password",
        ),
        (
            "[telemetry]\nsignals = [\"spans\"]",
            None,
            "`telemetry.signals` has no signal `spans`; write [\"traces\", \"metrics\", \"logs\"]",
        ),
        (
            "[telemetry]\ntraces_sample = 10",
            None,
            "`telemetry.traces_sample` must be a share from 0 to 1, found `10`; write 0.1 for one in ten",
        ),
        ("[trace]\nsample = \"NaN\"", None, "`trace.sample` must be a share from 0 to 1, found `NaN`"),
        ("[telemetry]\nmetrics_interval = \"1ms\"", None, "`telemetry.metrics_interval` must be from 1s to 1h"),
        (
            "[telemetry.otlp_headers]\n\"a b\" = \"x\"",
            None,
            "`telemetry.otlp_headers.a b` cannot be used: `a b` is no name of a header; letters, digits and `-`",
        ),
        ("[trace]\noutcomes = \"some\"", None, "`trace.outcomes` must be failures or all or sample, found `some`"),
        ("[kafka\nbrokers = 1", None, "t.toml:1:1 CONFIG_SYNTAX : not TOML"),
        ("[kafka]\nbrokers = k1:9092", None, "t.toml:2:1 CONFIG_SYNTAX : not TOML"),
    ] {
        let faults = with(file, env.as_slice(), &[]).expect_err(wanted);
        assert!(faults.len() == 1 && faults[0].contains(wanted), "{file}: wanted {wanted}\nsaid {faults:#?}");
    }
}

#[test]
fn all_faults_at_once() {
    let faults = with("[kafka]\nsession_timeout = 1\nx = 1\n[log]\nformat = 1", &[("TIDEGATE__A", "1")], &[("b", "1")])
        .expect_err("faults");
    assert_eq!(faults.len(), 5, "{faults:#?}");
}

#[test]
fn off_is_empty() {
    let (s, _) = with("[admin]\nlisten = \"\"", &[], &[]).expect("no faults");
    assert!(s.admin_listen.is_none());
}

#[test]
fn limits_of_patterns_have_bounds() {
    let load = |key: &str, value: &str| {
        let overrides = [Override { key: format!("pattern.{key}"), value: value.to_owned(), flag: "--x".to_owned() }];
        load(&[], &Env::of([]), &overrides).map(|(settings, _)| settings.pattern)
    };
    assert_eq!(load("max_depth", "32").unwrap(), PatternLimits::default());
    assert_eq!(load("max_text", "1MiB").unwrap().text_bytes, 1 << 20);
    assert_eq!(load("max_attempts", "5").unwrap().attempts, 5);
    for (key, value, cure) in [
        ("max_text", "10B", "1KiB"),
        ("max_text", "1GiB", "16384KiB"),
        ("max_depth", "129", "whole number from 1 to 128"),
        ("max_matchers", "0", "from 1 to 1000000"),
        ("max_values", "-1", "from 1 to 1000000"),
        ("max_attempts", "10000001", "from 1 to 10000000"),
    ] {
        let faults = load(key, value).unwrap_err();
        let [fault] = faults.as_slice() else { panic!("{faults:?}") };
        let said = format!("{} {}", fault.message, fault.cure);
        assert!(said.contains(&format!("pattern.{key}")) && said.contains(cure), "{said}");
    }
}
