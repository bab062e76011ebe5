//! The one module that speaks C: what librdkafka offers and its Rust binding does not, or not without a panic.
//!
//! - Committing without blocking and with an answer per partition. `commit(Async)` never answers, `commit(Sync)` waits
//!   without bound and hides the errors of single partitions, and `commit_consumer_state` leaves out partitions whose
//!   offset has not advanced, so that a grown map would never be saved.
//! - Reading commit metadata and header names that are not UTF-8.
//! - Telling the embedded broker not to wait for more members of a group.
//! - Asking for the ids of topics, and of the cluster.
#![allow(unsafe_code, reason = "calls into librdkafka; every block says why it is sound")]

use super::identity::CLAIM_CHARS;
use super::partition::{METADATA_MAX, TopicPartition};
use rdkafka::bindings;
use rdkafka::client::{Client, ClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{IsError, KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedHeaders;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::time::Duration;

/// Sends these offsets with their metadata. Does not block; the answer reaches `commit_callback` at a later poll of the
/// consumer, with an error for each partition.
///
/// # Errors
/// The client takes no commits (it has no group, or is being closed). Nothing will be answered then.
pub(super) fn enqueue<'a, C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    offsets: impl Iterator<Item = (&'a TopicPartition, i64, &'a str)>,
) -> Result<(), KafkaError> {
    let mut list = TopicPartitionList::new();
    for (at, offset, metadata) in offsets {
        let mut element = list.add_partition(&at.topic, at.partition);
        element.set_offset(Offset::Offset(offset))?;
        if !metadata.is_empty() {
            element.set_metadata(metadata);
        }
    }
    let client = consumer.client().native_ptr();
    // SAFETY: `client` lives as long as `consumer`. The queue is a reference of its own, given back below, and the reply
    // keeps another. librdkafka copies the list. Without a callback no pointer of ours is kept: the reply becomes an
    // event on the queue that the consumer's poll serves.
    let error = unsafe {
        let queue = bindings::rd_kafka_queue_get_consumer(client);
        if queue.is_null() {
            return Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::UnknownGroup));
        }
        let error = bindings::rd_kafka_commit_queue(client, list.ptr(), queue, None, ptr::null_mut());
        bindings::rd_kafka_queue_destroy(queue);
        error
    };
    if error.is_error() { Err(KafkaError::ConsumerCommit(error.into())) } else { Ok(()) }
}

/// The metadata of each element, in the order of `elements()`: `None` where there is none or it is not plain ASCII of at
/// most [`METADATA_MAX`] characters and a claim, for then it is not ours.
pub(super) fn metadata(list: &TopicPartitionList) -> Vec<Option<String>> {
    let mut all = Vec::with_capacity(list.count());
    for i in 0..list.count() {
        // SAFETY: `elems` has `cnt` elements; each holds `metadata_size` bytes at `metadata`, or null.
        let bytes = unsafe {
            let element = &*(*list.ptr()).elems.add(i);
            slice(element.metadata, element.metadata_size)
        };
        let own = bytes.filter(|b| !b.is_empty() && b.len() <= METADATA_MAX + CLAIM_CHARS && b.is_ascii());
        all.push(own.map(|b| String::from_utf8_lossy(b).into_owned()));
    }
    all
}

/// The header at `index`. A name that is not UTF-8 (the binding would panic) reads `invalid-header-name`.
pub(super) fn header(headers: &BorrowedHeaders, index: usize) -> Option<(&str, Option<&[u8]>)> {
    let native = ptr::from_ref(headers).cast::<bindings::rd_kafka_headers_t>();
    let (mut name, mut value, mut size) = (ptr::null::<c_char>(), ptr::null::<c_void>(), 0);
    // SAFETY: a reference to `BorrowedHeaders` is by its definition the address of librdkafka's headers, which live as
    // long as the message that it borrows from; so do the name, which ends with a zero byte, and the value.
    unsafe {
        if bindings::rd_kafka_header_get_all(native, index, &raw mut name, &raw mut value, &raw mut size).is_error() {
            return None;
        }
        let name = CStr::from_ptr(name).to_str().unwrap_or("invalid-header-name");
        Some((name, slice(value, size)))
    }
}

/// How long the embedded broker behind `client` lets a new group wait for more members.
pub(super) fn embedded_join_delay<C: ClientContext>(client: &Client<C>, delay_ms: i32) {
    // SAFETY: the cluster belongs to the client and lives as long as it; null if the client has none.
    unsafe {
        let cluster = bindings::rd_kafka_handle_mock_cluster(client.native_ptr());
        if !cluster.is_null() {
            bindings::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, delay_ms);
        }
    }
}

/// The ids of topics as Kafka knows them now. A topic that it does not have, or tells no id of, is left out. Blocks.
///
/// # Errors
/// Kafka does not answer in time, or knows no such question.
pub(super) fn topic_ids<C: ClientContext>(
    client: &Client<C>,
    topics: &[&str],
    patience: Duration,
) -> Result<HashMap<String, [u8; 16]>, KafkaError> {
    let names: Vec<CString> = topics.iter().filter_map(|name| CString::new(*name).ok()).collect();
    let mut names: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let (client, patience_ms) = (client.native_ptr(), millis(patience));
    let operation = bindings::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
    // SAFETY: the client outlives this call, and everything made of it here is given back here. librdkafka copies the
    // names and the options, and keeps a reference of its own to the queue. What is read of the answer belongs to the
    // event and is copied before that is given back. An event of another kind gives a null result.
    unsafe {
        let queue = bindings::rd_kafka_queue_new(client);
        let options = bindings::rd_kafka_AdminOptions_new(client, operation);
        // A time that it refuses leaves its own; the answer is awaited no longer.
        bindings::rd_kafka_AdminOptions_set_request_timeout(options, patience_ms, ptr::null_mut(), 0);
        let asked = bindings::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        bindings::rd_kafka_DescribeTopics(client, asked, options, queue);
        let event = bindings::rd_kafka_queue_poll(queue, patience_ms);
        let answer = if event.is_null() {
            Err(KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut))
        } else {
            let error = bindings::rd_kafka_event_error(event);
            let result = bindings::rd_kafka_event_DescribeTopics_result(event);
            let answer = if error.is_error() || result.is_null() {
                Err(KafkaError::AdminOp(error.into()))
            } else {
                Ok(described(result))
            };
            bindings::rd_kafka_event_destroy(event);
            answer
        };
        bindings::rd_kafka_TopicCollection_destroy(asked);
        bindings::rd_kafka_AdminOptions_destroy(options);
        bindings::rd_kafka_queue_destroy(queue);
        answer
    }
}

/// SAFETY: `result` belongs to an event that has not been given back.
unsafe fn described(result: *const bindings::rd_kafka_DescribeTopics_result_t) -> HashMap<String, [u8; 16]> {
    let mut ids = HashMap::new();
    let mut count = 0;
    // SAFETY: there are `count` descriptions, each with a name that ends with a zero byte; the id may be null.
    unsafe {
        let topics = bindings::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        for i in 0..count {
            let topic = *topics.add(i);
            let id = bindings::rd_kafka_TopicDescription_topic_id(topic);
            if id.is_null() {
                continue;
            }
            let high = bindings::rd_kafka_Uuid_most_significant_bits(id).to_be_bytes();
            let low = bindings::rd_kafka_Uuid_least_significant_bits(id).to_be_bytes();
            let mut bytes = [0; 16];
            bytes.iter_mut().zip(high.into_iter().chain(low)).for_each(|(byte, from)| *byte = from);
            let name = CStr::from_ptr(bindings::rd_kafka_TopicDescription_name(topic)).to_string_lossy();
            // All zeros is no id.
            if bytes != [0; 16] {
                ids.insert(name.into_owned(), bytes);
            }
        }
    }
    ids
}

/// The id of the cluster, if it is known or becomes known in time.
pub(super) fn cluster_id<C: ClientContext>(client: &Client<C>, patience: Duration) -> Option<String> {
    // SAFETY: the text is ours: it is copied, and given back to who made it.
    unsafe {
        let text = bindings::rd_kafka_clusterid(client.native_ptr(), millis(patience));
        if text.is_null() {
            return None;
        }
        let id = CStr::from_ptr(text).to_string_lossy().into_owned();
        bindings::rd_kafka_mem_free(client.native_ptr(), text.cast());
        Some(id)
    }
}

fn millis(duration: Duration) -> c_int {
    c_int::try_from(duration.as_millis()).unwrap_or(c_int::MAX)
}

/// SAFETY: `start` is null or points to `size` bytes that live as long as `'a`.
unsafe fn slice<'a>(start: *const c_void, size: usize) -> Option<&'a [u8]> {
    if start.is_null() {
        return None;
    }
    // SAFETY: as the caller promises.
    Some(unsafe { std::slice::from_raw_parts(start.cast::<u8>(), size) })
}
