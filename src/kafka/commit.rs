//! The one module that speaks C: what librdkafka offers and its Rust binding does not, or not without a panic.
//!
//! - Committing without blocking and with an answer per partition. `commit(Async)` never answers, `commit(Sync)` waits
//!   without bound and hides the errors of single partitions, and `commit_consumer_state` leaves out partitions whose
//!   offset has not advanced, so that a grown map would never be saved.
//! - Reading commit metadata and header names that are not UTF-8.
//! - Telling the embedded broker not to wait for more members of a group.
#![allow(unsafe_code, reason = "calls into librdkafka; every block says why it is sound")]

use super::partition::{METADATA_MAX, TopicPartition};
use rdkafka::bindings;
use rdkafka::client::{Client, ClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{IsError, KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedHeaders;
use rdkafka::{Offset, TopicPartitionList};
use std::ffi::{CStr, c_char, c_void};
use std::ptr;

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
/// most [`METADATA_MAX`] characters, for then it is not ours.
pub(super) fn metadata(list: &TopicPartitionList) -> Vec<Option<String>> {
    let mut all = Vec::with_capacity(list.count());
    for i in 0..list.count() {
        // SAFETY: `elems` has `cnt` elements; each holds `metadata_size` bytes at `metadata`, or null.
        let bytes = unsafe {
            let element = &*(*list.ptr()).elems.add(i);
            slice(element.metadata, element.metadata_size)
        };
        let own = bytes.filter(|b| !b.is_empty() && b.len() <= METADATA_MAX && b.is_ascii());
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

/// SAFETY: `start` is null or points to `size` bytes that live as long as `'a`.
unsafe fn slice<'a>(start: *const c_void, size: usize) -> Option<&'a [u8]> {
    if start.is_null() {
        return None;
    }
    // SAFETY: as the caller promises.
    Some(unsafe { std::slice::from_raw_parts(start.cast::<u8>(), size) })
}
