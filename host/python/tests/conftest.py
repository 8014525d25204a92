"""What the tests share: folders of the repository, the program, and engines."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PLUGINS = ROOT / "plugins"
OLD = ROOT / "tests" / "fixtures" / "v0.1"


@pytest.fixture(scope="session")
def host() -> Path:
    """The program; `cargo xtask python` names the one it was built with."""
    named = os.environ.get("RISK_POLICY_TEST_HOST")
    if not named:
        pytest.skip("RISK_POLICY_TEST_HOST names no program")
    return Path(named)


@pytest.fixture(scope="session")
def hostile() -> Path:
    """Folder of NAME.wasm and index.json, written by `cargo xtask python`."""
    named = os.environ.get("RISK_POLICY_TEST_HOSTILE")
    if not named:
        pytest.skip("RISK_POLICY_TEST_HOSTILE names no folder")
    return Path(named)
