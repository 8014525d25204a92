#!/usr/bin/env bash
# Packs what a machine with a card needs and can't build itself into one archive.
#
#     python3 examples/cuda/toolkit.py target/cuda && . target/cuda/env
#     tests/cuda/pack.sh card.tar.xz            builds with --features host/cuda, an hour on two cores
#     tests/cuda/pack.sh card.tar.xz --cpu      the same without CUDA, to try card.sh on any machine
#
# There: tar xf card.tar.xz && card/card.sh
set -euo pipefail
cd "$(dirname "$0")/../.."

[ $# -ge 1 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
archive="$(realpath -m "$1")"
features=(--features host/cuda)
[ "${2-}" != --cpu ] || features=()
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
mkdir "$work/card"

# Of the tests two programs have the name `device`: an example and a test of the trainer.
cargo test --release --workspace --no-run --message-format json "${features[@]}" \
    --test decoder --test device --example device >"$work/built"
cargo build --release --workspace --message-format json "${features[@]}" --bin host >>"$work/built"
python3 - "$work/built" "$work/card" <<'PYTHON'
import json, pathlib, shutil, sys

names = {("bin", "host"): "host", ("example", "device"): "device", ("test", "device"): "test-trainer", ("test", "decoder"): "test-model"}
found = {}
for line in open(sys.argv[1]):
    message = json.loads(line)
    if message.get("reason") == "compiler-artifact" and message["executable"]:
        key = (message["target"]["kind"][0], message["target"]["name"])
        if key in names:
            found[names[key]] = message["executable"]
if missing := set(names.values()) - set(found):
    sys.exit(f"error: cargo built no {', '.join(sorted(missing))}")
for name, path in found.items():
    shutil.copy(path, pathlib.Path(sys.argv[2]) / name)
PYTHON
strip "$work"/card/*
cp tests/cuda/card.sh tests/peft/device.py "$work/card/"
tar -C "$work" -cf - card | xz -T0 -6 >"$archive"
ls -l "$archive" | awk '{print $5 " bytes: " $9}'
