#!/usr/bin/env bash
# Does the simulation find defects? Plants each of *.patch in a copy of the tree (target/defects), one after the other,
# and demands that a schedule fails. The copy is built in a folder of its own, so that nothing of it is ever taken for
# the tree's; the first time that takes as long as any first build. `SIM_SCHEDULES` and `SIM_FIRST` are passed on.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
root="$(cd "$here/../../.." && pwd)"
copy="$root/target/defects"
export CARGO_TARGET_DIR="$root/target/defects-build"

rm -rf "$copy"
mkdir -p "$copy"
(cd "$root" && git ls-files -z --cached --others --exclude-standard | tar --null -T - -cf -) | tar -xmf - -C "$copy"
log="$copy/defect.log"
missed=0
for patch in "$here"/*.patch; do
    name="$(basename "$patch" .patch)"
    patch --quiet -p1 --fuzz=3 --no-backup-if-mismatch -d "$copy" < "$patch"
    if ! (cd "$copy" && cargo test --quiet --test sim --no-run) > "$log" 2>&1; then
        cat "$log"
        echo "$name: does not build"
        exit 1
    fi
    if (cd "$copy" && cargo test --quiet --test sim every_schedule -- --nocapture) > "$log" 2>&1; then
        echo "$name: NOT FOUND"
        missed=1
    else
        echo "$name: found by $(grep -m1 -A1 '^schedule [0-9]*:' "$log" || tail -n 20 "$log")"
    fi
    patch --quiet -R -p1 --fuzz=3 --no-backup-if-mismatch -d "$copy" < "$patch"
done
exit "$missed"
