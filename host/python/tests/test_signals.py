"""What can't be handed to a policy, and how it is said."""

from typing import Any

import numpy as np
import pytest

import risk_policy as rp

LAYERS, HIDDEN = 4, 8


class OnDevice:
    """Looks like a tensor on a GPU."""

    device = "cuda:0"

    def __array__(self) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


class Like:
    """Gives an array to whoever asks for one."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.array


def run(**more: Any) -> rp.RunInfo:
    known = dict(layers=LAYERS, hidden=HIDDEN, vocabulary=100, samples_per_step=2, total_steps=5)
    return rp.RunInfo(**(known | more))


@pytest.fixture(scope="module")
def probe() -> rp.Configured:
    return rp.Policy.load("builtin:probe").configure({"layers": [1, 3]}, run())


def step(**more: Any) -> dict[str, Any]:
    sample = {"origin": "Task", "prompt_tokens": 3, "answer_tokens": 2}
    samples = [{"id": 1, **sample}, {"id": 2, **sample}]
    return dict(step=0, learning_rate=1e-4, samples=samples, **more)


def good() -> Any:
    return np.arange(2 * 2 * HIDDEN, dtype=np.float32).reshape(2, 2, HIDDEN)


def unaligned() -> Any:
    """The same values, at an odd address."""
    values = good()
    bytes_ = np.zeros(values.nbytes + 1, np.uint8)
    bytes_[1:] = values.view(np.uint8).ravel()
    return bytes_[1:].view(np.float32).reshape(values.shape)


def values(signals: rp.Signals) -> list[float]:
    return signals.to_dict()["activations"][0]["values"]


@pytest.mark.parametrize("array", [good(), unaligned(), Like(good()), np.asmatrix], ids=str)
def test_arrays_are_taken_as_they_are(probe: rp.Configured, array: Any) -> None:
    if array is np.asmatrix:
        array = good().view(type("Own", (np.ndarray,), {}))
    signals = probe.signals(**step(activations=[array]))
    assert values(signals) == good().ravel().tolist()


def test_changing_an_array_afterwards_changes_nothing(probe: rp.Configured) -> None:
    array = good()
    signals = probe.signals(**step(activations=[array]))
    array[:] = -1
    assert values(signals) == good().ravel().tolist()


def test_not_a_number_reaches_the_policy(probe: rp.Configured) -> None:
    array = good()
    array[0, 0, 0] = np.nan
    assert np.isnan(values(probe.signals(**step(activations=[array])))[0])


def test_tensors_on_the_cpu_are_arrays(probe: rp.Configured) -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(good())
    assert values(probe.signals(**step(activations=[tensor]))) == good().ravel().tolist()
    for wrong in [tensor.bfloat16(), tensor.clone().requires_grad_(), tensor.to("meta")]:
        with pytest.raises(rp.SignalError, match=r"^signals.activations\[0\] .*tensor\.detach"):
            probe.signals(**step(activations=[wrong]))
    with pytest.raises(rp.SignalError, match="contiguous"):
        probe.signals(**step(activations=[tensor.transpose(0, 1)]))


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (good().astype(np.float64), "has the dtype float64; it must be float32"),
        (good().astype(">f4"), "has the dtype >f4"),
        (good().astype(np.int32), "has the dtype int32"),
        (np.empty((2, 2, HIDDEN), object), "has the dtype object"),
        (good()[:1], r"has the shape \(1, 2, 8\); it must be \(2, 2, 8\): samples, layers"),
        (good().ravel(), r"has the shape \(32,\); it must be"),
        (np.float32(1), r"has the shape \(\); it must be|is a float32"),
        (np.array(1, np.float32), r"has the shape \(\); it must be"),
        (np.empty((2, 2, 2 * HIDDEN), np.float32)[:, :, ::2], "isn't C-contiguous"),
        (np.asfortranarray(good()), "isn't C-contiguous"),
        (good().tolist(), "is a list; give a numpy array"),
        (b"1234", "is a bytes"),
        (None, "is a NoneType"),
        (Like(good().tolist()), "can't be read as an array"),
        (OnDevice(), "is on the device cuda:0; copy it to the CPU first"),
    ],
    ids=range(15),
)
def test_an_array_that_is_none_is_named_with_what_to_do(
    probe: rp.Configured, array: Any, says: str
) -> None:
    with pytest.raises(rp.SignalError, match=rf"^signals.activations\[0\] ({says})"):
        probe.signals(**step(activations=[array]))


def test_a_faked_interface_is_not_believed(probe: rp.Configured) -> None:
    class Fake(np.ndarray):
        @property
        def __array_interface__(self) -> Any:
            return {"data": (8, True), "shape": (2, 2, HIDDEN), "typestr": "<f4", "version": 3}

    fake = good().view(Fake)
    try:
        signals = probe.signals(**step(activations=[fake]))
    except rp.SignalError:
        return
    assert values(signals) == good().ravel().tolist()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "signals.activations has 0 arrays; the policy asked for 1"),
        ({"activations": [good(), good()]}, "signals.activations has 2 arrays"),
        ({"drift": 1.0}, "signals.drift is given, and the policy didn't ask for it"),
        ({"tokens": {"offsets": [0, 2, 4]}}, "signals.tokens is given"),
        ({"samples": []}, "signals.samples is empty"),
        ({"samples": [{"id": 1}]}, r"signals.samples\[0\].*missing field `origin`"),
        ({"samples": 3}, "signals.samples"),
        ({"step": -1}, "signals.step"),
        ({"step": 2**70}, "signals.step is an integer of more than 64 bits"),
        ({"learning_rate": float("nan")}, "signals.learning_rate is nan; it must be finite"),
        ({"learning_rate": "fast"}, "signals.learning_rate"),
        ({"learning_rate": object()}, "signals.learning_rate is a object"),
        ({"previous": {"step": 0, "action": "Jump"}}, "signals.previous"),
    ],
    ids=range(13),
)
def test_a_field_that_is_wrong_is_named(
    probe: rp.Configured, fields: dict[str, Any], says: str
) -> None:
    given = step(activations=[good()]) | fields
    if not fields:
        given.pop("activations")
    with pytest.raises(rp.SignalError, match=says):
        probe.signals(**given)


def test_an_unknown_field_is_no_keyword(probe: rp.Configured) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'activation'"):
        probe.signals(**step(activation=[good()]))


def test_a_nest_without_end_is_refused(probe: rp.Configured) -> None:
    nest: list[Any] = []
    nest.append(nest)
    with pytest.raises(rp.SignalError, match="nested too deeply"):
        probe.signals(**step(activations=[good()]) | {"canary": nest})


def test_token_lists_have_the_samples_lengths() -> None:
    policy = rp.Policy.load("builtin:constrained-sft")
    configured = policy.configure({}, run())
    asked = configured.needs["tokens"]
    assert asked
    lists: Any = {key: np.zeros(4, np.float32) for key in asked}
    signals = configured.signals(**step(tokens={"offsets": [0, 2, 4], **lists}))
    assert signals.to_dict()["tokens"]["offsets"] == [0, 2, 4]
    for tokens, says in [
        ({"offsets": [0, 3, 4], **lists}, r"offsets\[1\] is 3, and the samples' answer_tokens"),
        ({"offsets": [0, 2], **lists}, "offsets has 2 entries; 2 samples need 3"),
        (lists, "offsets is missing"),
        ({"offsets": [0, 2, 4]}, "is missing; the policy asked for it"),
        ({"offsets": [0, 2, 4], **{key: np.zeros(5, np.float32) for key in asked}}, "shape"),
    ]:
        with pytest.raises(rp.SignalError, match=says):
            configured.signals(**step(tokens=tokens))
