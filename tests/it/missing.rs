//! Offsets that are gone: what retention has deleted is skipped, counted and told; what is done with is deleted.

use crate::support::{Answer, Bed, events, lacks_real_kafka};
use std::time::Duration;
use tidegate::kafka::{Admin, ClientSettings, TopicPartition};

const MINUTE: Duration = Duration::from_secs(60);

/// Deletes all records of partition 0 below an offset, as retention would.
fn delete_before(bed: &Bed, topic: &str, offset: i64) {
    let admin = Admin::real(&ClientSettings::new(bed.broker.bootstrap.as_str())).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(admin.delete_before(&[(TopicPartition::new(topic, 0), offset)])).unwrap();
}

#[test]
fn reading_goes_on_with_the_oldest_record_and_says_what_was_skipped() {
    if lacks_real_kafka("reading_goes_on_with_the_oldest_record_and_says_what_was_skipped") {
        return;
    }
    let bed = Bed::new("missing", 1, |_| Answer::ok());
    bed.usual_resources("");
    let first = bed.replica("first");
    bed.broker.produce(&bed.topic(), events::orders(100));
    bed.api.wait_until("the first hundred", MINUTE, |log| log.delivered() == 100);
    bed.wait_all_committed(MINUTE);
    assert!(first.stop(MINUTE).success());

    bed.broker.produce(&bed.topic(), events::orders(200).skip(100));
    delete_before(&bed, &bed.topic(), 150);
    let second = bed.replica("second");
    second.wait_line("what was skipped", MINUTE, |line| line.contains("skipped=50"));
    bed.api.wait_until("what is left", MINUTE, |log| log.delivered() == 150);
    bed.wait_all_committed(MINUTE);
    bed.api.log(|log| {
        let skipped = |n: usize| (100..150).contains(&n);
        assert!((0..200).all(|n| log.has(&n.to_string()) != skipped(n)), "exactly what was deleted is missing");
        assert_eq!(log.duplicates(), 0);
    });
}
