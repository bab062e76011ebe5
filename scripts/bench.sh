#!/usr/bin/env bash
# Measures what an event costs from Kafka to an API, and prints one table: Tidegate, the floors (librdkafka straight to raw
# HTTP/1.1 connections, and to hyper's client, with no features), and each peer whose program is found.
#
#   scripts/bench.sh                      all scenarios
#   scripts/bench.sh saturation pace      only these; a name that it does not know lists them all
#   scripts/bench.sh --rounds 5 --only tidegate,floor saturation
#
# The table and target/bench/results.json say: CPU time of the process for each event, events per second, time from
# production to arrival (half of the events, 99 % of them), the most memory, and CPU by the floor's in the same scenario.
#
# Peers (configurations in benches/peers): `vector` and `bento` or `redpanda-connect` on the path, or where VECTOR and BENTO
# say; Confluent's Parallel Consumer if there are a JDK and Maven, which fetches it.
#
# Needs what the build needs; a real Kafka if scripts/kafka.sh can run one, else librdkafka's mock cluster, with small
# backlogs. TEST_KAFKA names one that runs already. Ports and place of its own: KAFKA_PORT (29192), KAFKA_HOME_DIR
# (target/kafka-bench).

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export KAFKA_PORT="${KAFKA_PORT:-29192}" KAFKA_HOME_DIR="${KAFKA_HOME_DIR:-$PWD/target/kafka-bench}"
export KAFKA_VERSION="${KAFKA_VERSION:-4.3.1}"
# The lock file of each is its own; what they have in common is built once.
cargo build --locked --release
(cd benches/throughput && cargo build --locked --release)

# A peer that is not found is not measured; one that cannot be fetched neither.
peer="$PWD/target/bench/parallel-consumer"
if [ -z "${PARALLEL_CONSUMER:-}" ] && command -v javac >/dev/null 2>&1 && command -v mvn >/dev/null 2>&1; then
  if (
    cd benches/peers/parallel-consumer
    [ -d "$peer" ] || mvn -B -q dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$peer"
    javac -cp "$peer/*" -d "$peer" Bench.java
  ) >&2; then
    export PARALLEL_CONSUMER="$peer"
  fi
fi

if [ -z "${TEST_KAFKA:-}" ]; then
  trap 'scripts/kafka.sh down' EXIT
  TEST_KAFKA="$(scripts/kafka.sh up | tail -n 1)" || echo "no real Kafka: the mock cluster it is" >&2
fi
kafka=()
if [ -n "${TEST_KAFKA:-}" ]; then kafka=(--brokers "$TEST_KAFKA" --kafka-version "$KAFKA_VERSION"); fi

mkdir -p target/bench
target/release/throughput run --tidegate target/release/tidegate "${kafka[@]}" --json target/bench/results.json "$@"
