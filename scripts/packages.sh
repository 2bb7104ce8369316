# shellcheck shell=bash
# The Debian packages that examples and tests need, and how they get installed.

# A base image is made of it.
EXAMPLE_PACKAGES=(busybox-static)
# Whose keys archives are signed with, and who checks that.
HELLO_PACKAGES=(gpgv debian-archive-keyring)
# Id ranges for plain users, a browser that reports are looked at in, peers that read what lith writes, tools that look at files, keys and signatures of archives.
TEST_PACKAGES=(busybox-static chromium uidmap qemu-user-static skopeo umoci buildah podman docker.io runc crun tmux hyperfine mmdebstrap attr libcap2-bin strace docker-registry apache2-utils git python3 python3-venv zstd xz-utils bzip2 gpg gpgv openssl debian-archive-keyring)

# Installs what is missing of the given packages.
install_packages() {
    local missing=()
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    local as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    echo "installing: ${missing[*]}" >&2
    "${as_root[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# Where the programs are that check statements, and what they are.
VALIDATORS=target/validators
VALIDATOR_LIST=tests/validators/requirements.txt

# Installs them from PyPI, each held against its digest; again if the list changes.
install_validators() {
    cmp -s "$VALIDATOR_LIST" "$VALIDATORS/made-of" && return 0
    echo "installing: validators of $VALIDATOR_LIST into $VALIDATORS" >&2
    rm -rf "$VALIDATORS"
    python3 -m venv "$VALIDATORS"
    "$VALIDATORS/bin/pip" install --quiet --disable-pip-version-check --no-input --only-binary :all: --require-hashes -r "$VALIDATOR_LIST"
    cp "$VALIDATOR_LIST" "$VALIDATORS/made-of"
}

# A registry of somebody else beside Debian's: from crates.io, with what its own Cargo.lock says, optimised no more than tests need.
REGISTRIES=target/registries
OTHER_REGISTRY=container-registry
OTHER_REGISTRY_VERSION=0.3.1

# Installs it; again if the version changes.
install_registries() {
    [ "$(cat "$REGISTRIES/made-of" 2>/dev/null)" = "$OTHER_REGISTRY $OTHER_REGISTRY_VERSION" ] && return 0
    echo "installing: $OTHER_REGISTRY $OTHER_REGISTRY_VERSION into $REGISTRIES" >&2
    rm -rf "$REGISTRIES"
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        cargo install --quiet --locked --features bin --root "$REGISTRIES" --version "$OTHER_REGISTRY_VERSION" "$OTHER_REGISTRY"
    echo "$OTHER_REGISTRY $OTHER_REGISTRY_VERSION" >"$REGISTRIES/made-of"
}

# Runs a command in a network namespace of its own, which has none. Only root makes one without becoming somebody else.
without_network() {
    if [ "$(id -u)" = 0 ]; then unshare --net -- "$@"; else "$@"; fi
}
