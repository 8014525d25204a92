#!/usr/bin/env python3
"""Makes a folder that is a CUDA 13.0 toolkit, out of NVIDIA's wheels on PyPI.

    python3 examples/cuda/toolkit.py target/cuda
    . target/cuda/env
    cargo build --release --features cuda

Enough to compile and link `--features cuda` where neither a toolkit nor a GPU is.
Where there is no driver, a stand-in for its library is built as well: every call
into it fails, so the program starts and says that it found no device.
Needs pip and a C compiler.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

WHEELS = {
    "nvidia-cuda-nvcc": "13.0.88",
    "nvidia-nvvm": "13.0.88",
    "nvidia-cuda-crt": "13.0.88",
    "nvidia-cuda-runtime": "13.0.96",
    "nvidia-cuda-cccl": "13.0.85",
    "nvidia-cuda-nvrtc": "13.0.88",
    "nvidia-cublas": "13.0.2.14",
    "nvidia-curand": "10.4.0.35",
}
# H100 and H200. CUDA_COMPUTE_CAP, set before, names another card.
COMPUTE_CAP = "90"


def install(folder: Path) -> Path:
    """The wheels, unpacked into one root."""
    names = [f"{name}=={version}" for name, version in WHEELS.items()]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade"]
    options = ["--only-binary", ":all:", "--target", str(folder)]
    subprocess.run([*pip, *options, *names], check=True)
    return folder / "nvidia" / "cu13"


def arrange(root: Path) -> None:
    """What build scripts expect and wheels leave out: modes, lib64, names to link by."""
    for program in [*(root / "bin").iterdir(), *(root / "nvvm" / "bin").iterdir()]:
        if program.is_file():
            program.chmod(0o755)
    lib = root / "lib"
    link(root / "lib64", "lib")
    for library in lib.glob("lib*.so.*"):
        link(lib / (library.name.split(".so.")[0] + ".so"), library.name)


def link(path: Path, target: str) -> None:
    if not path.is_symlink():
        path.symlink_to(target)


def driver_stand_in(root: Path) -> Path:
    """libcuda.so with every function of cuda.h, each of which answers that it is a
    stand-in (CUDA_ERROR_STUB_LIBRARY), as the one in NVIDIA's own toolkit does."""
    stubs = root / "lib" / "stubs"
    stubs.mkdir(exist_ok=True)
    header = root / "include" / "cuda.h"
    compiler = os.environ.get("CC", "cc")
    expand = [compiler, "-E", "-P", "-I", str(header.parent), str(header)]
    text = subprocess.run(expand, check=True, capture_output=True, text=True).stdout
    names = sorted(set(re.findall(r"\bCUresult\s+(cu\w+)\s*\(", text)))
    if len(names) < 300:
        sys.exit(f"{header} declares only {len(names)} functions; is it complete?")
    explained = {"cuGetErrorName", "cuGetErrorString"}
    source = [
        "static const char why[] = \"there is no NVIDIA driver here\";",
        *(f"int {name}(void) {{ return 34; }}" for name in names if name not in explained),
        *(f"int {name}(int e, const char **s) {{ *s = why; return 0; }}" for name in explained),
    ]
    library = stubs / "libcuda.so.1"
    with tempfile.NamedTemporaryFile("w", suffix=".c") as file:
        file.write("\n".join(source))
        file.flush()
        options = ["-shared", "-fPIC", "-w", "-Wl,-soname,libcuda.so.1"]
        subprocess.run([compiler, *options, "-o", str(library), file.name], check=True)
    link(stubs / "libcuda.so", library.name)
    return stubs


def has_driver() -> bool:
    cache = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True)
    return "libcuda.so.1" in cache.stdout


def environment(root: Path, stubs: Path) -> str:
    libraries = [str(root / "lib")]
    if not has_driver():
        libraries.append(str(stubs))
    lines = [f'export {name}="{root}"' for name in ("CUDA_HOME", "CUDA_PATH", "CUDA_ROOT")]
    lines += [
        f'export CUDA_COMPUTE_CAP="${{CUDA_COMPUTE_CAP:-{COMPUTE_CAP}}}"',
        f'export PATH="{root / "bin"}:$PATH"',
        f'export LD_LIBRARY_PATH="{":".join(libraries)}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"',
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1]).resolve()
    root = install(folder)
    arrange(root)
    (folder / "env").write_text(environment(root, driver_stand_in(root)))
    print(f". {folder / 'env'}")


if __name__ == "__main__":
    main()
