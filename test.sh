#!/usr/bin/env bash
# Passes all tests on a Debian machine with cargo: installs the packages, validators and registries the tests compare with, then runs them.
# As a plain user without sudo rights to install, the tests say what they miss.
set -euo pipefail
cd "$(dirname "$0")"
. scripts/packages.sh

install_packages "${TEST_PACKAGES[@]}"
install_validators
install_registries
# A skip is a failure here: everything a test needs was just installed.
export LITH_REQUIRE_KERNEL=1
exec cargo test --release --locked "$@"
