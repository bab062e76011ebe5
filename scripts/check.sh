#!/usr/bin/env bash
# The one gate: what must be green before anything lands. People and CI run the same.
#
# Stops at the first step that fails. Needs what the build needs (cargo, a C compiler, make, perl), no server.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() {
  local name="$1" began=$SECONDS
  shift
  printf '\n== %s: %s\n' "$name" "$*"
  if ! "$@"; then
    printf '\n== %s FAILED; to see it again: %s\n' "$name" "$*" >&2
    exit 1
  fi
  printf '== %s: ok (%d s)\n' "$name" "$((SECONDS - began))"
}

step format cargo fmt --check
# The benchmark is no part of the build; people run it seldom, so at least it is kept in shape.
step "format of the benchmark" cargo fmt --check --manifest-path benches/throughput/Cargo.toml
step lints cargo clippy --locked --all-targets -- -D warnings
step documents env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
# What the README tells people to run.
step tests cargo test --locked

printf '\n== all green (%d s)\n' "$SECONDS"
