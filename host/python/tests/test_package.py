"""The package as others see it: its types, its guide, its speed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

import risk_policy as rp
from risk_policy import _native

STUB = Path(rp.__file__).with_name("_native.pyi")
RECORDS = STUB.with_name("_records.pyi")
#: Those that `_native.pyi` takes the library's own names from.
PARTS = [STUB.with_name(f"_{part}.pyi") for part in ("errors", "values", "policy", "journal")]


def test_the_stub_has_what_the_library_has() -> None:
    text = "".join(part.read_text() for part in PARTS)
    given = set(re.findall(r"^    (\w+) as \1,$", STUB.read_text(), re.MULTILINE))
    records = set(re.findall(r"^(?:class (\w+)|(\w+): TypeAlias)", RECORDS.read_text(), re.MULTILINE))
    theirs = {name for pair in records for name in pair if name}
    assert given - theirs == {name for name in dir(_native) if not name.startswith("_")}
    for name in (name for name in dir(_native) if not name.startswith("_")):
        found = getattr(_native, name)
        assert len(re.findall(rf"^(?:class|def) {name}\b", text, re.MULTILINE)) == 1, name
        if isinstance(found, type) and not issubclass(found, Exception):
            body = re.split(r"^(?=@final|class |def |# ---)", text, flags=re.MULTILINE)
            [body] = [part for part in body if part.startswith(f"class {name}:")]
            for method in (one for one in vars(found) if not one.startswith("_")):
                assert re.search(rf"\bdef {method}\(", body), f"{name}.{method}"
    for name in rp.__all__:
        assert hasattr(rp, name)


def test_errors_have_one_root_and_one_line_each() -> None:
    errors = [getattr(rp, name) for name in rp.__all__ if name.endswith(("Error", "Fault"))]
    assert len(errors) >= 9
    assert all(issubclass(error, rp.PolicyError) for error in errors)
    assert rp.PolicyFault("x").__class__.__module__ == "risk_policy"


def test_records_have_the_keys_of_the_contract() -> None:
    """Every key that the library gives is in a TypedDict of the stub, and the other way round."""
    from test_signals import run, step

    text = RECORDS.read_text()

    def keys(name: str) -> set[str]:
        [body] = re.findall(rf"^class {name}\(TypedDict\):\n((?:    .*\n|\n)+)", text, re.MULTILINE)
        return set(re.findall(r"^    (\w+): ", body, re.MULTILINE))

    def optional(name: str) -> set[str]:
        [body] = re.findall(rf"^class {name}\(TypedDict\):\n((?:    .*\n|\n)+)", text, re.MULTILINE)
        return set(re.findall(r"^    (\w+): NotRequired", body, re.MULTILINE))

    for name in rp.builtins():
        configured = rp.Policy.load(name)
        try:
            needs = configured.configure({}, run(judges=["critic", "guard"])).needs
        except rp.PolicyError:
            continue
        assert keys("Needs") - optional("Needs") <= needs.keys() <= keys("Needs"), name
    sft = rp.Policy.load("builtin:sft").configure({}, run())
    found = sft.assess(sft.signals(**step())).regularization
    assert keys("Regularization") - optional("Regularization") <= found.keys()
    assert found.keys() <= keys("Regularization")


@pytest.mark.parametrize("package", ["torch", "transformers", "peft"])
def test_trainers_say_which_package_they_miss(package: str) -> None:
    there = "sys.modules[name] = type(sys)(name); sys.modules[name].__spec__ = 1"
    program = f"""
import sys
for name in ("torch", "transformers", "peft"):
    {there}
sys.modules[{package!r}] = None
import risk_policy.training
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert f"needs {package}, which isn't installed; pip install torch" in done.stderr, done


def test_strict_mypy_takes_a_program(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    blocks = re.findall(r"```python\n(.*?)```", guide(), re.DOTALL)
    program = tmp_path / "program.py"
    program.write_text("\n".join(blocks))
    command = [sys.executable, "-m", "mypy", "--strict", program, STUB, *PARTS]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout


def guide() -> str:
    return (ROOT / "docs" / "guide" / "python.md").read_text()


def test_the_guide_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plugins").symlink_to(ROOT / "plugins")
    blocks = re.findall(r"```python\n(.*?)```", guide(), re.DOTALL)
    assert len(blocks) >= 4
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/guide/python.md", "exec"), names)
