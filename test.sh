#!/usr/bin/env bash
# Everything that has to pass before a change lands. Needs Rust 1.95 or later with rustfmt and clippy; the Debian
# packages it needs beside that are installed when they are missing (with sudo, unless it runs as root).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

started=$SECONDS

# step NAME COMMAND...: runs the command under its name and says how long it took.
step() {
  local name=$1 from=$SECONDS
  shift
  printf '\n== %s\n' "$name"
  if "$@"; then
    printf '== %s: ok, %d s\n' "$name" $((SECONDS - from))
  else
    printf '== %s: FAILED after %d s\n' "$name" $((SECONDS - from)) >&2
    exit 1
  fi
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# What the build and the tests need beside Rust: a C compiler and linker (ring, the bundled SQLite and the simulation's
# allocator are compiled from source; nothing asks for pkg-config, perl or a system library), a C++ compiler (for
# libFuzzer, which the fuzz targets are checked with), certificates for the download of crates, and a
# PostgreSQL server's programs, from which the tests start throwaway servers of their own. Debian keeps those out of
# PATH, where the tests find them.
packages() {
  local missing=()
  command -v cc >/dev/null || missing+=(gcc)
  command -v c++ >/dev/null || missing+=(g++)
  [ -e /usr/include/stdio.h ] || missing+=(libc6-dev)
  [ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
  command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
  if [ ${#missing[@]} -eq 0 ]; then
    echo 'nothing is missing'
    return
  fi
  echo "missing: ${missing[*]}"
  if ! command -v apt-get >/dev/null; then
    echo 'This system has no apt-get: install what these Debian packages hold, then run ./test.sh again.' >&2
    return 1
  fi
  as_root apt-get update || return
  if [[ " ${missing[*]} " == *' postgresql '* ]]; then
    # The package would create and start a server that nothing here uses.
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postgresql-common || return
    as_root sed -i 's/^#* *create_main_cluster *=.*/create_main_cluster = false/' \
      /etc/postgresql-common/createcluster.conf || return
  fi
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
}

# The bans of deny.toml, without its tool; and each server holds its own async runtime and not the other's.
dependencies() {
  local banned
  banned=$(sed -n '/^deny = \[/,/^\]/s/.*crate = "\([^"]*\)".*/\1/p' deny.toml)
  [ -n "$banned" ] || { echo 'deny.toml bans nothing: this check no longer reads it' >&2; return 1; }
  if grep -xF "$(printf 'name = "%s"\n' $banned)" Cargo.lock; then
    echo 'Cargo.lock holds a banned crate (above); deny.toml says why it is banned.' >&2
    return 1
  fi
  only_runtime callwarden smol tokio || return
  only_runtime callwarden-tokio tokio smol || return
  echo "absent as they should be: $(tr '\n' ' ' <<<"$banned")and from each server the other's runtime"
}

# only_runtime PACKAGE RUNTIME OTHER
only_runtime() {
  local tree
  tree=$(cargo tree --locked -p "$1" -e normal --prefix none --format '{p}') || return
  grep -q "^$2 v" <<<"$tree" || { echo "cargo tree does not show $2: this check no longer reads it" >&2; return 1; }
  if grep "^$3 v" <<<"$tree"; then
    echo "$3 is in the binary of $1; \"cargo tree -p $1 -e normal -i $3\" shows what brings it." >&2
    return 1
  fi
}

# A recogniser and recorded speech for one of the tests. A machine that cannot have them runs without: the test says so.
speech_engine() {
  local status=0
  if ! python3 -c 'import ensurepip' 2>/dev/null && command -v apt-get >/dev/null; then
    { as_root apt-get update &&
      as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3-venv; } || true
  fi
  tests/engine/install.sh target/speech-engine || status=$?
  case $status in
    3) echo 'Going on without: what needs the engine says so and is not tested.' ;;
    *) return "$status" ;;
  esac
}

# Their corpora are replayed by the tests; here is what nothing else would notice to be broken.
fuzz_targets() {
  cargo fmt --manifest-path fuzz/Cargo.toml --check &&
    cargo check --manifest-path fuzz/Cargo.toml --locked --target-dir target
}

documentation() {
  RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked
}

for tool in cargo cargo-fmt cargo-clippy; do
  command -v "$tool" >/dev/null || {
    echo "$tool is not in PATH. Install Rust 1.95 or later with rustfmt and clippy, for example from https://rustup.rs" >&2
    exit 1
  }
done

step 'Debian packages' packages
step 'formatting' cargo fmt --all --check
step 'dependencies' dependencies
step 'clippy' cargo clippy --workspace --all-targets --locked -- -D warnings
step 'fuzz targets' fuzz_targets
step 'documentation' documentation
step 'speech engine' speech_engine
step 'tests' cargo test --workspace --locked
# With a key it would ask a real service.
step 'demo' env -u OPENAI_API_KEY cargo run --locked --quiet -- demo

printf '\nEverything passed in %d s.\n' $((SECONDS - started))
