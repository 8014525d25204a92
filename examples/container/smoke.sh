#!/usr/bin/env bash
# Tries the tarball of target/dist, or of the folder that is named, in a bare Debian, as a user without rights: in the
# image of Containerfile where podman or a docker engine runs, else by debootstrap and chroot (as root). Exit code 77:
# neither is there.
set -euo pipefail
cd "$(dirname "$0")/../.."
dist=${1:-target/dist}
command='host doctor && host train --policy builtin:probe --steps 5 --eval-limit 10 --no-baseline --output run'

for engine in podman docker; do
    if "$engine" info >/dev/null 2>&1; then
        "$engine" build -q -f examples/container/Containerfile -t host-smoke "$dist"
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
tar -xzf "$dist"/host-*.tar.gz -C "$folder/opt"
mv "$folder"/opt/host-* "$folder/opt/host"
chroot "$folder" useradd --create-home host
chmod 755 "$folder"
# As in a container: no network, processes and /proc of its own.
unshare --net --mount --pid --fork --mount-proc="$folder/proc" \
    chroot --userspec=host:host "$folder" \
    env -i HOME=/home/host PATH=/opt/host/bin:/usr/bin:/bin sh -c "cd && $command"
