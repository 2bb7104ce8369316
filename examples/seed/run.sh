#!/usr/bin/env bash
# The main job on a fresh Debian machine with cargo, no registry and no daemon: makes a base image out of Debian's
# static busybox, builds the Dockerfile beside this script on it, lists and inspects the result, builds it again, and once
# more from a vendored directory.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/packages.sh

install_packages "${EXAMPLE_PACKAGES[@]}"
cargo build --release --locked
lith=$PWD/target/release/lith

work=$(mktemp -d)
trap 'chmod -R u+rwX "$work" 2>/dev/null; rm -rf "$work"' EXIT
export LITH_ROOT=${LITH_ROOT:-$work/store}

echo "== a base image out of busybox"
base=$work/base
mkdir -p "$base"/{bin,etc,tmp,proc,sys,dev,root}
chmod 1777 "$base/tmp"
cp "$(command -v busybox)" "$base/bin/busybox"
for applet in $("$base/bin/busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$base/bin/$applet"
done
echo 'root:x:0:0:root:/root:/bin/sh' > "$base/etc/passwd"
echo 'root:x:0:' > "$base/etc/group"
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C "$base" -cf "$work/base.tar" .
"$lith" import "$work/base.tar" alpine:latest

echo "== lith build"
"$lith" build -t seed examples/seed
echo "== lith images -a"
"$lith" images -a
echo "== lith image inspect seed"
"$lith" image inspect seed
echo "== lith history seed"
"$lith" history seed
echo "== the same again: every step a hit"
"$lith" build -t seed examples/seed
echo "== the same from a vendored directory, in another store, without a network"
cp -r examples/seed "$work/seed"
"$lith" lock "$work/seed"
"$lith" vendor "$work/vendored" "$work/seed"
first=$("$lith" build --quiet "$work/seed")
again=$(without_network "$lith" --root "$work/other" build --quiet --locked --offline --vendored "$work/vendored" "$work/seed")
[ "$first" = "$again" ]
echo "$again"
