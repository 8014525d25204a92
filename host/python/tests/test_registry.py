"""Policies of a registry, which is Debian's docker-registry on this machine."""

import logging
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import risk_policy as rp

CONFIG = """version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {root}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """Where it listens."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry isn't installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = tmp_path / "registry.yml"
    config.write_text(CONFIG.format(root=tmp_path / "storage", port=port))
    serving = subprocess.Popen([program, "serve", config], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=5)
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        serving.kill()
        serving.wait()


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))


def test_a_policy_of_a_registry_is_loaded_by_its_digest_and_needs_it_once(
    registry: str, host: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"oci://{registry}/team/fixed-kl:1.0.0"
    made = [host, "policy", "list", "--output", tmp_path / "files"]
    subprocess.run(made, check=True, capture_output=True)
    file, public = tmp_path / "files/fixed-kl.wasm", tmp_path / "a.pub"
    sign = [host, "policy", "sign", file, "--key", tmp_path / "a.key", "--new-key"]
    subprocess.run(sign, check=True, capture_output=True)
    subprocess.run([host, "policy", "push", file, name], check=True, capture_output=True)

    with caplog.at_level(logging.WARNING, logger="risk_policy"):
        policy = rp.Policy.load(name, engine=rp.Engine(cache=False), signed_by=public)
    assert policy.name == "fixed-kl" and policy.digest == rp.Policy.load(file).digest
    assert str(policy.path).startswith(f"{name}@sha256:")
    assert "is sha256:" in caplog.text and "is used by that digest" in caplog.text
    assert policy.verify(public)["name"] == "fixed-kl"
    rp.create_key(tmp_path / "other.key")
    with pytest.raises(rp.SignatureError, match="is by key"):
        rp.Policy.load(name, engine=rp.Engine(cache=False), signed_by=tmp_path / "other.pub")

    offline = rp.Engine(cache=False, offline=True)
    assert rp.Policy.load(name, engine=offline).digest == policy.digest
    with pytest.raises(rp.PolicyFileError, match="never pulled|--offline|offline"):
        rp.Policy.load(f"oci://{registry}/team/other:1", engine=offline)


def test_what_is_no_policy_of_a_registry_is_one_line(registry: str) -> None:
    for name, says in [
        (f"oci://{registry}/team/none:1.0.0", "there is no"),
        ("oci://", "; "),
        ("oci://localhost:1/team/none:1", "can't be reached"),
    ]:
        with pytest.raises(rp.PolicyFileError, match=says) as problem:
            rp.Policy.load(name, engine=rp.Engine(cache=False))
        assert "\n" not in str(problem.value)
