#!/usr/bin/env bash
# Everything that only a card can show, in ten minutes and one report on stdout: the device tests, speed and memory
# beside PyTorch with peft at 135M and at an 8B shape, and a short real training. No network, nothing is built.
#
#     card.sh                    the first CUDA device
#     card.sh --device cpu       tries the script itself: small shapes
#
# tests/cuda/pack.sh makes the folder that this runs in. Logs are left in ./card-logs. Exit code 1 if a part failed.
set -uo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
device=cuda
[ "${1-}" != --device ] || device="${2:?--device needs cpu, cuda or cuda:N}"
logs="$PWD/card-logs"
mkdir -p "$logs"
rm -rf "$logs"/run-*
failed=0
# One of PyTorch's wheels has the libraries, where the loader doesn't find a toolkit's.
libraries="$(python3 - 2>/dev/null <<'PYTHON'
import glob, os, sysconfig
folders = {os.path.dirname(path) for path in glob.glob(sysconfig.get_paths()["purelib"] + "/nvidia/**/lib*.so.*", recursive=True)}
print(":".join(sorted(folders)))
PYTHON
)"
export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$libraries"
export HOST_TEST_DEVICE="$device" RUST_BACKTRACE=0

# part NAME SECONDS COMMAND...: its output goes to a log; a line of the table says how it ended.
rows=()
part() {
    local name="$1" limit="$2" started=$SECONDS code=0
    shift 2
    timeout "$limit" "$@" >"$logs/$name.out" 2>"$logs/$name.err" || code=$?
    local took=$((SECONDS - started)) said=passed
    if [ $code = 124 ]; then
        said="over its $limit s"
    elif [ $code != 0 ]; then
        said="failed ($code): $(grep -hE '^error|panicked|FAILED' "$logs/$name.err" "$logs/$name.out" | head -1 | cut -c1-120)"
    fi
    [ $code = 0 ] || failed=1
    rows+=("| $name | $took s | $said |")
}

echo "## Machine"
echo
if [ "$device" != cpu ]; then
    nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader || failed=1
    command -v nvcc >/dev/null && nvcc --version | tail -1
fi
grep -m1 "model name" /proc/cpuinfo | cut -d: -f2-
python3 -c 'import torch, transformers, peft; print("torch", torch.__version__, "transformers", transformers.__version__, "peft", peft.__version__)' 2>&1 | tail -1
"$here/host" --version

part test-model 120 "$here/test-model" device
part test-trainer 120 "$here/test-trainer"
speed=(python3 "$here/device.py" --host "$here/device" --device "$device" --steps 3 --repeat 2)
if [ "$device" = cpu ]; then
    part speed-tiny 120 "${speed[@]}" --shape tiny
else
    part speed-smollm2 120 "${speed[@]}" --shape smollm2
    part speed-llama-8b 240 "${speed[@]}" --shape llama-8b
fi
# Evaluation before and after, calibration, reference, policy: the whole program.
for precision in f32 bf16; do
    part "train-$precision" 60 "$here/host" train --device "$device" --precision "$precision" --quiet \
        --policy builtin:probe --output "$logs/run-$precision"
done

echo
echo "## Parts"
echo
echo "| part | time | result |"
echo "|---|---|---|"
printf '%s\n' "${rows[@]}"
for name in speed-tiny speed-smollm2 speed-llama-8b train-f32 train-bf16; do
    [ -s "$logs/$name.out" ] || continue
    echo
    echo "## $name"
    echo
    cat "$logs/$name.out"
done
exit $failed
