#!/bin/sh
# Plants each bug of this folder in a scratch copy of the tree, and demands that the simulation finds it within 10,000
# calls. Prints which invariant found it and after how many calls.
#
#   tests/planted/run.sh [FOLDER FOR THE SCRATCH COPY] [PATCH ...]
#
# PLANTED_SEED is the first seed (1 unless given), PLANTED_TARGET the folder to build in.
set -eu

planted=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$planted/../.." && pwd)
scratch=${1:-$(mktemp -d)}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- "$planted"/*.patch
source=$scratch/source
target=${PLANTED_TARGET:-$scratch/target}
mkdir -p "$source"

# What the next patch does not touch keeps its time, so that little is built anew.
copy() {
    (cd "$root" && git ls-files -z --cached --others --exclude-standard | xargs -0 tar -cf -) | tar -C "$source" -xf -
}

build() {
    (cd "$source" && cargo build --quiet --locked --target-dir "$target" --profile planted -p callwarden-tests \
        --bin simulate --config 'profile.planted.inherits="release"' --config 'profile.planted.lto=false' \
        --config profile.planted.incremental=true)
}

missed=0
copy
for patch in "$@"; do
    name=$(basename "$patch" .patch)
    patch --quiet --force -d "$source" -p1 -i "$patch"
    build
    if said=$("$target/planted/simulate" --calls 10000 --seed "${PLANTED_SEED:-1}" --save "$scratch/scripts" --plain); then
        echo "MISSED $name"
        missed=1
    else
        echo "found  $name: $(printf '%s\n' "$said" | grep '^FAILED' | cut -c 1-160)"
    fi
    patch --quiet --force --reverse -d "$source" -p1 -i "$patch"
done
exit "$missed"
