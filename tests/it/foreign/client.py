"""A foreign client: produces CloudEvents with the official Python SDK, and reads dead letters as JSON lines.

    client.py produce BOOTSTRAP TOPIC
    client.py dead-letters BOOTSTRAP TOPIC COUNT
"""

import json
import sys

from cloudevents.http import CloudEvent
from cloudevents.kafka import KafkaMessage, from_binary, from_structured, to_binary, to_structured
from confluent_kafka import Consumer, KafkaException, Producer

DEADLINE_S = 30


def event(event_id, kind):
    attributes = {"id": event_id, "type": kind, "source": "/python", "partitionkey": "customer-1"}
    attributes["datacontenttype"] = "application/json"
    return CloudEvent(attributes, {"id": "A1", "total": 12.5, "name": "Zoë"})


def produce(bootstrap, topic):
    failures = []
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    for mode, convert in (("structured", to_structured), ("binary", to_binary)):
        for event_id, kind in ((f"py-{mode}", "order.paid"), (f"py-refused-{mode}", "order.refused")):
            message = convert(event(event_id, kind))
            headers = {name: bytes(value) for name, value in message.headers.items()}
            if mode == "structured":
                # The binding asks for it; the SDK's JSON carries no content type of its own.
                headers["content-type"] = b"application/cloudevents+json; charset=UTF-8"
            producer.produce(
                topic,
                key=message.key,
                value=message.value,
                headers=list(headers.items()),
                on_delivery=lambda error, _: failures.append(error) if error else None,
            )
    left = producer.flush(DEADLINE_S)
    if left or failures:
        sys.exit(f"not produced: {left} left, {failures}")


def read_event(message, headers):
    as_text = {name: value for name, value in headers.items() if not name.startswith("tidegate-")}
    key = message.key().decode("utf-8") if message.key() else None
    kafka_message = KafkaMessage(headers=as_text, key=key, value=message.value())
    read = from_binary if "ce_id" in as_text else from_structured
    found = read(kafka_message)
    data = found.data
    return {**found.get_attributes(), "data": json.loads(data) if isinstance(data, (bytes, str)) else data}


def dead_letters(bootstrap, topic, count):
    settings = {"bootstrap.servers": bootstrap, "group.id": "foreign-reader", "auto.offset.reset": "earliest"}
    consumer = Consumer({**settings, "enable.auto.commit": False})
    consumer.subscribe([topic])
    for _ in range(count):
        message = consumer.poll(DEADLINE_S)
        if message is None:
            sys.exit(f"fewer than {count} dead letters in {topic}")
        if message.error():
            raise KafkaException(message.error())
        headers = dict(message.headers())
        ours = {name: value.decode("utf-8") for name, value in headers.items() if name.startswith("tidegate-")}
        print(json.dumps({"headers": ours, "event": read_event(message, headers)}))
    consumer.close()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["produce", bootstrap, topic]:
            produce(bootstrap, topic)
        case ["dead-letters", bootstrap, topic, count]:
            dead_letters(bootstrap, topic, int(count))
        case _:
            sys.exit(__doc__)
