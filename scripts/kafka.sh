#!/usr/bin/env bash
# A real Kafka for tests and for trying things out: one node, or three to survive the loss of one.
#
# Uses a Docker engine if one answers, otherwise Java 17+ with Kafka's own jars (fetched once by Maven).
# Everything lies under target/kafka. Run without arguments for the commands and settings.

set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
home="${KAFKA_HOME_DIR:-$root/target/kafka}"
host="${KAFKA_HOST:-127.0.0.1}"
port="${KAFKA_PORT:-19092}"
version="${KAFKA_VERSION:-4.3.1}"
engine="${KAFKA_ENGINE:-auto}"
heap="${KAFKA_HEAP:--Xms256m -Xmx512m}"
ready_s="${KAFKA_READY_S:-90}"
image="apache/kafka:$version"
prefix="tidegate-kafka-$port"
cluster_id="dGlkZWdhdGUta2Fma2Eta3"

usage() {
  cat <<USAGE
A real Kafka on this machine.

  scripts/kafka.sh up [1|3]      start it (again: does nothing); the last line printed is the bootstrap address
  scripts/kafka.sh down          stop every node and delete its data
  scripts/kafka.sh status        what runs; exit code 0 when every node answers
  scripts/kafka.sh kill N        end node N at once (kill -9)
  scripts/kafka.sh stop N        end node N in good order
  scripts/kafka.sh start N       start node N again with the data it had, and wait for it
  scripts/kafka.sh pause N       freeze node N; resume N lets it go on
  scripts/kafka.sh cli NAME …    Kafka's tools by their usual names: topics, groups, configs, console-consumer,
                                 console-producer, get-offsets (the bootstrap address is added)
  scripts/kafka.sh tool CLASS …  a class of org.apache.kafka.tools, for example TopicCommand --list; or with a
                                 full name any class of Kafka's, for example kafka.tools.StorageTool --help

Settings (environment): KAFKA_PORT ($port; node N listens on KAFKA_PORT + N - 1, its controller 100 above),
KAFKA_HOST ($host), KAFKA_HOME_DIR ($home), KAFKA_ENGINE (auto, docker, java), KAFKA_VERSION ($version),
KAFKA_HEAP ($heap), KAFKA_READY_S ($ready_s).
USAGE
}

say() { printf '%s\n' "$*" >&2; }
fail() { say "kafka.sh: $*"; exit 1; }

# ---- which engine -------------------------------------------------------------------------------------------

docker_answers() { command -v docker >/dev/null 2>&1 && docker info >/dev/null 2>&1; }

java_major() { java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1; }

java_answers() {
  command -v java >/dev/null 2>&1 || return 1
  [ "$(java_major || true)" -ge 17 ] 2>/dev/null
}

# What a running cluster was started with wins, so that `down` and `kill` need no settings.
choose_engine() {
  if [ -f "$home/engine" ]; then engine="$(cat "$home/engine")"; fi
  case "$engine" in
    docker) docker_answers || fail "KAFKA_ENGINE is docker, but no Docker engine answers: start it" ;;
    java) java_answers || fail "KAFKA_ENGINE is java, but no Java 17 or newer is on the path: install it" ;;
    auto)
      if docker_answers; then engine=docker
      elif java_answers && { [ -f "$home/libs/.complete-$version" ] || command -v mvn >/dev/null 2>&1; }; then engine=java
      else
        fail "needs a Docker engine that answers, or Java 17 with Maven
  Debian, Ubuntu:  apt-get install openjdk-17-jre-headless maven
  macOS:           brew install openjdk@17 maven
  or start Docker: docker info must answer"
      fi ;;
    *) fail "KAFKA_ENGINE must be auto, docker or java, not '$engine'" ;;
  esac
}

# ---- nodes --------------------------------------------------------------------------------------------------

node_count() { cat "$home/nodes" 2>/dev/null || echo 0; }
node_port() { echo $((port + $1 - 1)); }
controller_port() { echo $((port + 100 + $1 - 1)); }

bootstrap() {
  local n list=""
  for n in $(seq 1 "$(node_count)"); do list="$list${list:+,}$host:$(node_port "$n")"; done
  echo "$list"
}

check_node() {
  [[ "${1:-}" =~ ^[1-9]$ ]] || fail "say which node: 1 to $(node_count)"
  [ "$1" -le "$(node_count)" ] || fail "there is no node $1; nodes that exist: $(node_count)"
}

answers() { (exec 3<>"/dev/tcp/$host/$(node_port "$1")") 2>/dev/null; }

# ---- Java ---------------------------------------------------------------------------------------------------

fetch_jars() {
  local libs="$home/libs"
  [ -f "$libs/.complete-$version" ] && return
  command -v mvn >/dev/null 2>&1 || fail "needs Maven once, to fetch Kafka's jars: install maven"
  say "fetching Kafka $version (56 MB, once)"
  rm -rf "$libs" && mkdir -p "$libs"
  cat > "$home/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tidegate</groupId><artifactId>kafka-for-tests</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$version</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$version</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.4</version></dependency>
  </dependencies>
</project>
POM
  # A registry may drop one of ninety downloads; Maven goes on where it stopped.
  local try
  for try in 1 2 3; do
    if mvn -B -q -f "$home/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$libs" >&2; then
      touch "$libs/.complete-$version"
      return
    fi
    say "fetching failed (try $try of 3)"
  done
  fail "Kafka's jars could not be fetched by Maven"
}

node_dir() { echo "$home/node-$1"; }

write_properties() {
  local n="$1" nodes="$2" dir voters="" i replicas=1 in_sync=1
  dir="$(node_dir "$n")"
  for i in $(seq 1 "$nodes"); do voters="$voters${voters:+,}$i@$host:$(controller_port "$i")"; done
  if [ "$nodes" -eq 3 ]; then replicas=3 in_sync=2; fi
  mkdir -p "$dir"
  cat > "$dir/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=$n
controller.quorum.voters=$voters
listeners=PLAINTEXT://$host:$(node_port "$n"),CONTROLLER://$host:$(controller_port "$n")
advertised.listeners=PLAINTEXT://$host:$(node_port "$n")
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs=$dir/data
$(common_settings "$replicas" "$in_sync" | tr ' ' '\n')
PROPERTIES
  cat > "$dir/log4j2.properties" <<'LOGGING'
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{HH:mm:ss.SSS} %p %m (%c{1})%n
rootLogger.level=INFO
rootLogger.appenderRef.out.ref=out
LOGGING
}

# The settings that a small cluster for tests needs, the same for both engines.
common_settings() {
  local replicas="$1" in_sync="$2"
  echo "offsets.topic.replication.factor=$replicas" \
    "offsets.topic.num.partitions=8" \
    "transaction.state.log.replication.factor=$replicas" \
    "transaction.state.log.min.isr=$in_sync" \
    "transaction.state.log.num.partitions=8" \
    "share.coordinator.state.topic.replication.factor=$replicas" \
    "share.coordinator.state.topic.min.isr=$in_sync" \
    "default.replication.factor=$replicas" \
    "min.insync.replicas=$in_sync" \
    "group.initial.rebalance.delay.ms=0" \
    "auto.create.topics.enable=false"
}

java_pid() {
  local pid
  pid="$(cat "$(node_dir "$1")/pid" 2>/dev/null)" || return 1
  # A process id may have been given to somebody else since: only ours has our settings on its command line.
  ps -o args= -p "$pid" 2>/dev/null | grep -qF "$(node_dir "$1")/server.properties" || return 1
  echo "$pid"
}

java_launch() {
  local n="$1" dir detach=""
  dir="$(node_dir "$n")"
  if java_pid "$n" >/dev/null; then return; fi
  if [ ! -f "$dir/data/meta.properties" ]; then
    java -Xmx128m -cp "$home/libs/*" -Dlog4j2.configurationFile="$dir/log4j2.properties" \
      kafka.tools.StorageTool format -t "$cluster_id" -c "$dir/server.properties" >"$dir/format.log" 2>&1 \
      || { tail -n 20 "$dir/format.log" >&2; fail "formatting node $n failed"; }
  fi
  : > "$dir/log"
  command -v setsid >/dev/null 2>&1 && detach="setsid"
  # shellcheck disable=SC2086  # heap is several options, detach may be nothing
  nohup $detach java $heap -XX:+UseG1GC -cp "$home/libs/*" -Dlog4j2.configurationFile="$dir/log4j2.properties" \
    kafka.Kafka "$dir/server.properties" >"$dir/log" 2>&1 </dev/null &
  echo $! > "$dir/pid"
}

java_ready() { grep -q 'Kafka Server started' "$(node_dir "$1")/log" 2>/dev/null && answers "$1"; }

java_alive() { java_pid "$1" >/dev/null; }

java_frozen() { case "$(ps -o state= -p "$(java_pid "$1")" 2>/dev/null)" in T*) true ;; *) false ;; esac; }

java_log() { tail -n 30 "$(node_dir "$1")/log" >&2; }

java_signal() {
  local pid
  pid="$(java_pid "$1")" || fail "node $1 does not run"
  kill "-$2" "$pid"
}

java_stop() {
  local pid
  pid="$(java_pid "$1")" || return 0
  kill -CONT "$pid" 2>/dev/null || true
  kill -TERM "$pid" 2>/dev/null || true
  # With its quorum gone a node waits minutes for a controller that will not come back.
  if ! wait_for 20 gone "$1"; then
    kill -KILL "$pid" 2>/dev/null || true
    wait_for 10 gone "$1" || fail "node $1 (process $pid) does not end"
  fi
}

gone() { ! "${engine}_alive" "$1"; }

# ---- Docker -------------------------------------------------------------------------------------------------

container() { echo "$prefix-$1"; }

docker_launch() {
  local n="$1" nodes voters="" i replicas=1 in_sync=1 setting env=()
  nodes="$(node_count)"
  if docker container inspect "$(container "$n")" >/dev/null 2>&1; then
    docker start "$(container "$n")" >/dev/null
    return
  fi
  if [ "$nodes" -eq 3 ]; then replicas=3 in_sync=2; fi
  for i in $(seq 1 "$nodes"); do voters="$voters${voters:+,}$i@$(container "$i"):9093"; done
  for setting in $(common_settings "$replicas" "$in_sync"); do
    env+=(-e "KAFKA_$(echo "${setting%%=*}" | tr 'a-z.' 'A-Z_')=${setting#*=}")
  done
  docker network inspect "$prefix" >/dev/null 2>&1 || docker network create "$prefix" >/dev/null
  docker run -d --name "$(container "$n")" --hostname "$(container "$n")" --network "$prefix" \
    -p "$host:$(node_port "$n"):$(node_port "$n")" \
    -e CLUSTER_ID="$cluster_id" \
    -e KAFKA_NODE_ID="$n" \
    -e KAFKA_PROCESS_ROLES=broker,controller \
    -e KAFKA_CONTROLLER_QUORUM_VOTERS="$voters" \
    -e KAFKA_LISTENERS="INSIDE://:9092,OUTSIDE://:$(node_port "$n"),CONTROLLER://:9093" \
    -e KAFKA_ADVERTISED_LISTENERS="INSIDE://$(container "$n"):9092,OUTSIDE://$host:$(node_port "$n")" \
    -e KAFKA_LISTENER_SECURITY_PROTOCOL_MAP=INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT \
    -e KAFKA_INTER_BROKER_LISTENER_NAME=INSIDE \
    -e KAFKA_CONTROLLER_LISTENER_NAMES=CONTROLLER \
    -e KAFKA_HEAP_OPTS="$heap" \
    "${env[@]}" "$image" >/dev/null
}

docker_ready() {
  # Only what it said since its last start counts.
  local since
  since="$(docker inspect -f '{{.State.StartedAt}}' "$(container "$1")" 2>/dev/null)" || return 1
  docker logs --since "$since" "$(container "$1")" 2>&1 | grep 'Kafka Server started' >/dev/null && answers "$1"
}

docker_alive() { [ "$(docker inspect -f '{{.State.Running}}' "$(container "$1")" 2>/dev/null)" = true ]; }

docker_frozen() { [ "$(docker inspect -f '{{.State.Paused}}' "$(container "$1")" 2>/dev/null)" = true ]; }

docker_log() { docker logs --tail 30 "$(container "$1")" >&2; }

docker_signal() {
  docker_alive "$1" || fail "node $1 does not run"
  case "$2" in
    KILL) docker kill "$(container "$1")" >/dev/null ;;
    STOP) docker pause "$(container "$1")" >/dev/null ;;
    CONT) docker unpause "$(container "$1")" >/dev/null ;;
  esac
}

docker_stop() { docker stop -t 20 "$(container "$1")" >/dev/null 2>&1 || true; }

# ---- waiting ------------------------------------------------------------------------------------------------

# wait_for SECONDS CONDITION…: looks at the condition five times a second until it holds.
wait_for() {
  local until=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$until" ] || return 1
    sleep 0.2
  done
}

# A node that has ended will not become ready: stop waiting and show why.
ready_or_dead() { "${engine}_ready" "$1" || ! "${engine}_alive" "$1"; }

await_node() {
  if wait_for "$ready_s" ready_or_dead "$1" && "${engine}_ready" "$1"; then return; fi
  "${engine}_log" "$1"
  fail "node $1 did not become ready (its last lines are above)"
}

# ---- commands -----------------------------------------------------------------------------------------------

up() {
  local nodes="${1:-1}" have n
  [ "$nodes" = 1 ] || [ "$nodes" = 3 ] || fail "up takes 1 or 3 nodes, not '$nodes'"
  mkdir -p "$home"
  have="$(node_count)"
  if [ "$have" -ne 0 ] && [ "$have" -ne "$nodes" ]; then
    fail "a cluster of $have exists already: scripts/kafka.sh down, then up $nodes"
  fi
  choose_engine
  if [ "$engine" = java ]; then fetch_jars; fi
  if [ "$have" -eq 0 ]; then
    for n in $(seq 1 "$nodes"); do
      if answers "$n"; then fail "port $(node_port "$n") is taken by something else: set KAFKA_PORT"; fi
    done
  fi
  echo "$nodes" > "$home/nodes"
  echo "$engine" > "$home/engine"
  for n in $(seq 1 "$nodes"); do
    if [ "$engine" = java ]; then write_properties "$n" "$nodes"; fi
    "${engine}_launch" "$n"
  done
  for n in $(seq 1 "$nodes"); do await_node "$n"; done
  say "Kafka $version runs ($engine, nodes: $nodes)"
  bootstrap
}

down() {
  local n
  if [ "$(node_count)" -eq 0 ]; then say "nothing runs"; return; fi
  choose_engine
  # All at once: a node whose quorum has gone takes long to end on its own.
  local jobs=()
  for n in $(seq 1 "$(node_count)"); do
    "${engine}_stop" "$n" &
    jobs+=($!)
  done
  for n in "${jobs[@]}"; do wait "$n" || fail "a node did not stop"; done
  for n in $(seq 1 "$(node_count)"); do
    if [ "$engine" = docker ]; then docker rm -f -v "$(container "$n")" >/dev/null 2>&1 || true; fi
    rm -rf "$(node_dir "$n")"
  done
  if [ "$engine" = docker ]; then docker network rm "$prefix" >/dev/null 2>&1 || true; fi
  rm -f "$home/nodes" "$home/engine"
  say "stopped"
}

status() {
  local n nodes all=0
  nodes="$(node_count)"
  if [ "$nodes" -eq 0 ]; then say "nothing runs"; return 3; fi
  choose_engine
  for n in $(seq 1 "$nodes"); do
    if ! "${engine}_alive" "$n"; then say "node $n: stopped"; all=1
    elif "${engine}_frozen" "$n"; then say "node $n: paused"; all=1
    elif "${engine}_ready" "$n"; then say "node $n: ready on $host:$(node_port "$n") ($engine)"
    else say "node $n: starting"; all=1
    fi
  done
  bootstrap
  return "$all"
}

tool() {
  local class="${1:-}"
  [ -n "$class" ] || fail "say which tool, for example: tool TopicCommand --list"
  shift
  [ "$(node_count)" -ne 0 ] || fail "nothing runs: scripts/kafka.sh up"
  choose_engine
  case "$class" in kafka.* | org.*) ;; *) class="org.apache.kafka.tools.$class" ;; esac
  local arguments=("$@")
  case " $* " in
    *" --bootstrap-server "* | *" --help "*) ;;
    *) arguments+=(--bootstrap-server "$(bootstrap)") ;;
  esac
  if [ "$engine" = docker ]; then
    local n inside=()
    # Inside a container the brokers have other addresses than outside.
    for n in "${!arguments[@]}"; do
      if [ "${arguments[$n]}" = "$(bootstrap)" ]; then inside+=("$(container 1):9092"); else inside+=("${arguments[$n]}"); fi
    done
    docker exec -i "$(container 1)" /opt/kafka/bin/kafka-run-class.sh "$class" "${inside[@]}"
  else
    java -Xmx256m -cp "$home/libs/*" -Dorg.apache.logging.log4j.level=WARN -XX:TieredStopAtLevel=1 \
      "$class" "${arguments[@]}"
  fi
}

cli() {
  local name="${1:-}"
  [ -n "$name" ] || fail "say which tool: topics, groups, configs, console-consumer, console-producer, get-offsets"
  shift
  case "$name" in
    topics) tool TopicCommand "$@" ;;
    groups) tool consumer.group.ConsumerGroupCommand "$@" ;;
    configs) tool kafka.admin.ConfigCommand "$@" ;;
    console-consumer) tool consumer.ConsoleConsumer "$@" ;;
    console-producer) tool ConsoleProducer "$@" ;;
    get-offsets) tool GetOffsetShell "$@" ;;
    *) fail "no tool is called '$name': topics, groups, configs, console-consumer, console-producer, get-offsets" ;;
  esac
}

one() {
  check_node "${2:-}"
  choose_engine
  case "$1" in
    kill) "${engine}_signal" "$2" KILL; wait_for 10 gone "$2" || fail "node $2 does not end" ;;
    stop) "${engine}_stop" "$2" ;;
    start) "${engine}_launch" "$2"; await_node "$2" ;;
    pause) "${engine}_signal" "$2" STOP ;;
    resume) "${engine}_signal" "$2" CONT ;;
  esac
}

case "${1:-}" in
  up) shift; up "$@" ;;
  down) down ;;
  status) status ;;
  kill | stop | start | pause | resume) one "$@" ;;
  tool) shift; tool "$@" ;;
  cli) shift; cli "$@" ;;
  "" | help | -h | --help) usage ;;
  *) usage >&2; exit 2 ;;
esac
