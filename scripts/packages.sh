# shellcheck shell=bash
# The Debian packages that examples and tests need, and how they get installed.

# A base image is made of it.
EXAMPLE_PACKAGES=(busybox-static)
# Whose keys archives are signed with, and who checks that.
HELLO_PACKAGES=(gpgv debian-archive-keyring)
# Id ranges for plain users, peers that read what lith writes, tools that look at files, keys and signatures of archives.
TEST_PACKAGES=(busybox-static uidmap qemu-user-static skopeo docker-registry umoci buildah podman docker.io runc crun tmux hyperfine mmdebstrap attr libcap2-bin strace git python3 python3-venv zstd xz-utils bzip2 gpg gpgv debian-archive-keyring)

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

# Runs a command in a network namespace of its own, which has none. Only root makes one without becoming somebody else.
without_network() {
    if [ "$(id -u)" = 0 ]; then unshare --net -- "$@"; else "$@"; fi
}
