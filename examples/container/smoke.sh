#!/usr/bin/env bash
# The program of target/dist in a bare Debian, as a user without rights: the image of Containerfile where podman
# or a docker engine runs, else the same by debootstrap and chroot (as root). Exit 77: neither is there.
set -euo pipefail
cd "$(dirname "$0")/../.."
command='host doctor && host train --policy builtin:probe --steps 5 --eval-limit 10 --no-baseline --output run'

for engine in podman docker; do
    if "$engine" info >/dev/null 2>&1; then
        "$engine" build -q -f examples/container/Containerfile -t host-smoke target/dist
        exec "$engine" run --rm --network none --entrypoint sh host-smoke -c "$command"
    fi
done
if ! command -v debootstrap >/dev/null || [ "$(id -u)" != 0 ]; then
    echo "skipped: there is no podman, no docker engine, and no debootstrap for root" >&2
    exit 77
fi
# Not under /tmp: some systems mount that without devices or programs.
folder=$(mktemp -d /var/tmp/host-container.XXXXXX)
trap 'rm -rf "$folder"' EXIT
debootstrap --variant=minbase bookworm "$folder" ${DEBIAN_MIRROR:-} >/dev/null
tar -xzf target/dist/host-*.tar.gz -C "$folder/opt"
mv "$folder"/opt/host-* "$folder/opt/host"
chroot "$folder" useradd --create-home host
chroot --userspec=host:host "$folder" \
    env -i HOME=/home/host PATH=/opt/host/bin:/usr/bin:/bin sh -c "cd && $command"
