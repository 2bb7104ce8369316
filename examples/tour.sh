#!/usr/bin/env bash
# Writes examples/tour.md: lith's store for people who know docker's, each command with its real output. Runs as root on a
# Debian machine with busybox-static; all it makes lies on a memory file system that nobody else sees.
#
#     examples/tour.sh > examples/tour.md
#
# LITH names the program [default: it is built].
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${IN_TOUR:-}" ]; then
    . scripts/packages.sh
    install_packages "${EXAMPLE_PACKAGES[@]}" >&2
    if [ -z "${LITH:-}" ]; then
        cargo build --quiet --release --locked >&2
        LITH=$PWD/target/release/lith
    fi
    export LITH IN_TOUR=1
    exec unshare --mount --propagation private -- "$0"
fi

mount -t tmpfs -o mode=755 tour /mnt
cd /mnt
export LITH_ROOT=/mnt/lith PATH=/mnt/bin:$PATH TZ=UTC LC_ALL=C.UTF-8
mkdir bin
ln -s "$LITH" bin/lith
trap 'lith rm -f guide >/dev/null 2>&1 || true' EXIT

say() { printf '\n'; cat; }

# Shows commands and what they print; one that fails ends the tour.
show() {
    local text
    printf '\n```console\n'
    for text; do
        printf '$ %s\n' "$text"
        eval "$text" 2>&1
    done
    printf '```\n'
}

# As `show`, of one that has to fail.
refused() {
    printf '\n```console\n$ %s\n' "$1"
    if eval "$1" 2>&1; then
        echo "this should have failed: $1" >&2
        exit 1
    fi
    printf '```\n'
}

# A base image out of Debian's static busybox, every file with the same time.
mkdir -p base/bin base/dev base/etc base/proc base/root base/sys base/tmp
cp "$(command -v busybox)" base/bin/busybox
for applet in $(busybox --list); do
    [ "$applet" = busybox ] || ln -s busybox "base/bin/$applet"
done
echo 'root:x:0:0:root:/root:/bin/sh' > base/etc/passwd
echo 'root:x:0:' > base/etc/group
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C base -cf base.tar .
lith import base.tar busybox >/dev/null
mkdir site
echo 'first' > site/first
cat > site/Dockerfile <<'END'
FROM busybox
COPY first /first
RUN mkdir /dir && echo second > /dir/second
VOLUME /data
CMD echo ready && exec sleep 1000
END

cat <<'END'
# A tour of the store, for people who know docker's

lith keeps images and containers where docker's overlay2 driver does, in the same shapes: what you look for below `/var/lib/docker` is below
`$LITH_ROOT` (`/var/lib/lith` unless you say otherwise; here `/mnt/lith`). There is no daemon, so whoever may read the directory can look.
Every output on this page is real: `examples/tour.sh` wrote it, and the tests run it again. [spec/store-layout.md](../spec/store-layout.md)
and [spec/container-state.md](../spec/container-state.md) are the full description.

## Build an image
END
show 'cat site/Dockerfile' 'lith build --quiet -t toured site' 'lith images'
say <<'END'
Every step is an image of its own, as in docker before BuildKit. `images -a` lists them, `history` says where each line comes from.
END
show 'lith images -a' 'lith history toured'

say <<'END'
## Layers

A layer is named by the hash of its uncompressed tar, the *diff id*.
END
show "lith inspect --format '{{json .RootFS.Layers}}' toured | tr , '\n'"
say <<'END'
The layer db has an entry for each stack of layers, named by its *chain id*: that of the lowest layer is its diff id; above it, the hash of the
chain id below and the diff id, with a space between.
END
show "layers=(\$(lith inspect --format '{{json .RootFS.Layers}}' toured | tr -d '[]\"' | tr , ' '))" \
    "chain=\$(printf '%s' \"\${layers[0]} \${layers[1]}\" | sha256sum | cut -d' ' -f1)" \
    'cd $LITH_ROOT/layerdb/sha256 && ls' \
    'cd $chain && for file in *; do echo "$file: $(cat $file)"; done; cd /mnt'
say <<'END'
`cache-id` leads to the unpacked directory, which overlayfs mounts; `link` is its short name in `l/`. In docker this is the only copy. In lith it is
a cache of the layer's tar, which is kept in `blobs/` too, and it is made when something is mounted.
END
show 'lith run --rm toured cat /first /dir/second' \
    'cache=$(cat $LITH_ROOT/layerdb/sha256/$chain/cache-id)' \
    'cd $LITH_ROOT/overlay/$cache && ls && find diff && readlink ../../l/$(cat link); cd /mnt' \
    'cd $LITH_ROOT/blobs/sha256 && ls -l ${layers[1]#sha256:} | cut -c1-10,13-; cd /mnt'

say <<'END'
## A container

A container is a directory, a name, and two more layers: its own, and `-init` below it, which holds the mount points that the image
lacks.
END
show 'id=$(lith run -d --name guide toured)' 'lith ps' 'ls -X $LITH_ROOT/containers/$id' 'cat $LITH_ROOT/container-names/guide; echo' \
    "lith inspect --format '{{json .GraphDriver.Data}}' guide | tr ',:' '\n\n' | tr -d '{}\"'" \
    'cd $LITH_ROOT/layerdb/mounts/$id && for file in *; do echo "$file: $(cat $file)"; done; cd /mnt'
say <<'END'
What its program writes appears in `UpperDir`, and nothing else does: a file that is removed is a whiteout, a device 0:0.
END
show "upper=\$(lith inspect --format '{{.GraphDriver.Data.UpperDir}}' guide)" 'ls -A $upper' \
    "lith exec guide sh -c 'echo written > /dir/written; rm /first'" \
    'cd $upper && find . ! -type d | sort && stat -c "%F %t:%T" first; cd /mnt'
say <<'END'
`MergedDir` shows the whole while it runs. docker mounts it in the host's namespace. lith mounts it in the container's alone, so that no kill leaves a
mount behind; `merged` is a link to where the first process has it.
END
show "merged=\$(lith inspect --format '{{.GraphDriver.Data.MergedDir}}' guide)" 'readlink $merged' 'ls $merged/' 'cat $merged/dir/*' \
    'grep -c $LITH_ROOT /proc/self/mounts || true'
say <<'END'
The container watched from outside:
END
show 'lith top guide' 'lith stats --no-stream guide' 'lith logs guide' \
    'cat $LITH_ROOT/containers/$id/$id-json.log'

say <<'END'
## Volumes

The image's `VOLUME` made an anonymous one. A named one begins with what the image has at its place.
END
show 'lith run --rm -v pages:/dir toured sh -c "echo third > /dir/third; ls /dir"' 'lith volume ls' \
    "lith volume inspect --format '{{.Mountpoint}}' pages" 'ls $LITH_ROOT/volumes/pages/_data'
refused 'lith volume rm $(lith volume ls -q --filter name=pages --filter dangling=true) $(lith volume ls -q --filter dangling=false)'

say <<'END'
## A changed layer

Somebody puts a file into an unpacked layer. docker runs it in every container of the image. So does lith, unless it is asked to look; it can say what
is wrong, and make the layer again from its tar.
END
show 'echo evil > $LITH_ROOT/overlay/$cache/diff/evil' 'lith run --rm toured cat /evil'
refused 'lith run --rm --verify toured cat /evil'
show 'lith store verify --repair' 'lith run --rm --verify toured ls /'

say <<'END'
## Stop, start, remove

`stop` takes the mount away; the container's layer stays.
END
show 'lith stop -t 0 guide' 'lith ps -a' 'ls $merged 2>&1 || true' 'cat $upper/dir/written' 'lith start guide' 'cat $merged/dir/written' 'lith stop -t 0 guide'
say <<'END'
An image that a container is made of stays. `rm` takes the two layers, `rm -v` the anonymous volume too, `rmi` the names, and `gc` what nothing needs
any more. Nothing else ever removes a layer.
END
refused 'lith rmi toured'
show 'lith rm -v guide' 'ls $LITH_ROOT/containers $LITH_ROOT/layerdb/mounts $LITH_ROOT/container-names' 'lith volume prune --all --force' \
    'lith rmi toured busybox | tail -n 2' 'lith gc --all' 'ls $LITH_ROOT/overlay $LITH_ROOT/l $LITH_ROOT/layerdb/sha256 $LITH_ROOT/blobs/sha256'
