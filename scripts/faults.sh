#!/usr/bin/env bash
# Breaks things on purpose, on a real Kafka of three brokers, and counts: what was produced, delivered, delivered twice,
# dead-lettered and lost (always 0), with a figure or two for each fault. Takes about an hour.
#
#   scripts/faults.sh              all faults
#   scripts/faults.sh kill rate    only these; a name that it does not know lists them all
#
# Needs what scripts/kafka.sh needs (a Docker engine, or Java 17+ and Maven). Ports and place of its Kafka:
# KAFKA_PORT (29092) and KAFKA_HOME_DIR (target/kafka-faults).

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export KAFKA_PORT="${KAFKA_PORT:-29092}" KAFKA_HOME_DIR="${KAFKA_HOME_DIR:-$PWD/target/kafka-faults}"
# Events of 90 MiB and thousands of topics are too much for a broker of half a GiB.
export KAFKA_HEAP="${KAFKA_HEAP:--Xms512m -Xmx2g}"
cargo build --locked --release
trap 'scripts/kafka.sh down' EXIT
TEST_KAFKA="$(scripts/kafka.sh up 3 | tail -n 1)"
export TEST_KAFKA

processor="$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -n 1)"
printf '%s, %s cores, %s; %s\n' "${processor:-$(uname -m)}" "$(getconf _NPROCESSORS_ONLN)" "$(uname -sr)" "$(date -u +%F)"
cargo test --locked --release --quiet --test faults -- "$@"
