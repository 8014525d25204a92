"""The folder of a run: trainer.json, manifest.json, metrics.jsonl, and beside them the journal that `host audit --run` replays."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import UnsuitableSetup

FORMAT = "risk-policy-trainer/1"


def free_folder(parent: Path) -> Path:
    """``risk_policy`` in a folder, or the first ``risk_policy-N`` that isn't there."""
    path, number = parent / "risk_policy", 2
    while path.exists():
        path, number = parent / f"risk_policy-{number}", number + 1
    return path


def versions() -> dict[str, str]:
    """Of the packages that decide what a training computes."""
    found = {}
    for name in ("torch", "transformers", "trl", "peft", "accelerate"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


class Records:
    """What a run writes beside its journal; of rank 0."""

    def __init__(self, folder: Path, setup: Mapping[str, Any]) -> None:
        """``setup`` is what the run is made of, which the journal names by its digest."""
        self.folder, self.manifest = folder, {"format": FORMAT}
        self.setup = (json.dumps(setup, indent=2, default=str) + "\n").encode()
        self.faults = 0

    @property
    def identity(self) -> dict[str, str]:
        """Of ``trainer.json``, for record 0 of the journal."""
        return {"trainer": hashlib.sha256(self.setup).hexdigest()}

    def begin(self) -> None:
        """Makes the folder, which must not exist, for its owner alone."""
        if (self.folder / "manifest.json").exists():
            raise UnsuitableSetup(f"{self.folder} is there already; choose another RiskPolicyConfig(output=...)")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.folder / "trainer.json").write_bytes(self.setup)
        self.manifest |= {"started": int(time.time()), "status": "running"}
        self._write()

    def resume(self, lines: int) -> None:
        """Goes on: what was written after the checkpoint is cut off."""
        before = json.loads((self.folder / "manifest.json").read_text())
        self.manifest = {**before, "status": "running", "ended": None, "error": None}
        path = self.folder / "metrics.jsonl"
        kept = path.read_text().splitlines(keepends=True)[:lines] if path.exists() else []
        path.write_text("".join(kept))
        self._write()

    def step(self, line: Mapping[str, Any]) -> None:
        """One line of metrics.jsonl."""
        with open(self.folder / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps({name: value for name, value in line.items() if value is not None}) + "\n")

    def end(self, status: str, error: str | None) -> None:
        """How it ended: finished, stopped, interrupted or failed."""
        self.manifest.update(status=status, error=error, ended=int(time.time()))
        self._write()

    def _write(self) -> None:
        path = self.folder / "manifest.json"
        beside = path.with_name("manifest.json.new")
        beside.write_text(json.dumps(self.manifest, indent=2, default=str) + "\n")
        os.replace(beside, path)
