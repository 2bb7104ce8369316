#!/usr/bin/env bash
# An image out of Debian's signed packages alone: builds the program beside this script in a stage with a compiler, which
# also writes down what the packages are; runs what the image holds; builds the same again offline, from a vendored
# directory.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/packages.sh

install_packages "${HELLO_PACKAGES[@]}"
cargo build --release --locked
lith=$PWD/target/release/lith

work=$(mktemp -d)
trap 'chmod -R u+rwX "$work" 2>/dev/null; rm -rf "$work"' EXIT
export LITH_ROOT=$work/store
cp -r examples/hello "$work/hello"
cd "$work"

echo "== lith build"
"$lith" build -t hello -o type=local,dest=out hello
echo "== what the packages are today: hello/lith.lock"
grep -c '^package ' hello/lith.lock
echo "== what is in the image"
find out -type f
out/bin/hello
echo "== every step once more, in another world"
"$lith" check --quiet hello
echo "== the same from a vendored directory, in another store, without a network"
"$lith" vendor vendored hello
first=$("$lith" build --quiet hello)
again=$(without_network "$lith" --root "$work/other" build --quiet --locked --offline --vendored vendored hello)
[ "$first" = "$again" ]
echo "$again"
