"""{{name}}: an answer that the safe reference finds surprising is risky.

The surprise of a sample is its mean -ln P per answer token under the reference. Its
risk compares that with the usual surprise of the steps before. Change what you like:
the host only asks for the four functions of `Assessor`.

The types come from wit/policy.wit; `.build/bindings` holds them for your editor.
"""

import json
import math
import struct
from dataclasses import fields
from typing import get_origin

from componentize_py_types import Err
from settings_schema import SETTINGS_SCHEMA  # made from settings.schema.json
from wit_world import exports
from wit_world.exports import assessor as wit

WORTH_A_REASON = 0.8
"""A risk above this is worth a line in the run's records."""


def read_settings(text: str) -> dict[str, float]:
    """Every call gets the settings, and absent ones take the schema's defaults."""
    known = json.loads(SETTINGS_SCHEMA)["properties"]
    settings = {name: schema["default"] for name, schema in known.items()}
    for name, value in json.loads(text).items():
        if name not in known:
            names = ", ".join(f"`{name}`" for name in known)
            raise Err(f"unknown setting `{name}`: the settings are {names}")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise Err(f"setting `{name}`: must be a number")
        settings[name] = value
    if not 0 <= settings["b_max"] <= 1:
        raise Err("setting `b_max`: must be a number from 0 to 1")
    if not 0 <= settings["b_min"] <= settings["b_max"]:
        raise Err("setting `b_min`: must be a number from 0 to `b_max`")
    if not 0 <= settings["memory"] < 1:
        raise Err("setting `memory`: must be a number from 0 to below 1")
    return settings


def surprises(signals: wit.Signals) -> list[float]:
    """Sample i owns the log-probabilities offsets[i] to offsets[i + 1]."""
    offsets, reference = signals.tokens.offsets, signals.tokens.reference
    found = []
    for start, end in zip(offsets, offsets[1:]):
        total = 0.0
        # Not `sum`: it rounds differently, and the same policy in Rust, C and
        # JavaScript gives exactly these numbers.
        for log_probability in reference[start:end]:
            total -= log_probability
        found.append(total / (end - start) if end > start else 0.0)
    return found


class Assessor(exports.Assessor):
    def describe(self) -> wit.Descriptor:
        return wit.Descriptor(
            name="{{name}}",
            version="0.1.0",
            summary="Answers that surprise the reference are held to it.",
            settings_schema=SETTINGS_SCHEMA,
        )

    def configure(self, settings: str, run: wit.RunInfo) -> wit.Needs:
        """Called before anything expensive: refuse bad settings here, by name."""
        read_settings(settings)
        return with_rest(wit.Needs, tokens=wit.TokenNeeds.REFERENCE)

    def calibrate(self, settings, run, examples) -> wit.Calibration:
        """Only called if the needs say so."""
        raise Err("{{name}} has nothing to calibrate: train with it directly")

    def assess(self, settings, run, parameters, state, signals) -> wit.Assessment:
        """Called once per optimizer step, over all its samples."""
        options = read_settings(settings)
        surprise = surprises(signals)
        mean = 0.0
        for one in surprise:
            mean += one / len(surprise)
        # Broken measurements are refused, which ends the run: they are no low risk.
        if not math.isfinite(mean):
            raise Err("a log-probability of the reference is not finite")

        # The state is what this function returned at the step before: one number.
        if len(state) not in (0, 8):
            raise Err("the state is not one of {{name}}: it must have 8 bytes")
        usual = struct.unpack("<d", state)[0] if state else mean

        # Risk 0.5 is the usual surprise.
        risk = []
        for one in surprise:
            total = one * one + usual * usual
            risk.append(one * one / total if total > 0 else 0.0)
        kl = [options["b_min"] + (options["b_max"] - options["b_min"]) * r for r in risk]

        kept = options["memory"] * usual + (1 - options["memory"]) * mean
        return wit.Assessment(
            risk=risk,
            regularization=held(kl),
            reasons=[
                wit.Reason(i, "surprising", "far less likely under the reference than usual")
                for i, r in enumerate(risk)
                if r > WORTH_A_REASON
            ],
            metrics=[wit.Metric("surprise.mean", mean), wit.Metric("surprise.usual", usual)],
            state=struct.pack("<d", kept),
        )


def held(kl: list[float]) -> wit.Regularization:
    """An ordinary update with these KL weights; everything optional is off."""
    return with_rest(
        wit.Regularization,
        task_weight=[1 - weight for weight in kl],
        kl_weight=kl,
        learning_rate_scale=1.0,
    )


def with_rest(record, **given):
    """A record of wit/policy.wit of which only some fields are named.

    The others are absent, empty, off or the first of their names: `action` is
    `update` and `divergence` is `forward-kl`.
    """
    for field in fields(record):
        kind = field.type
        # An optional field and a list have no value of their own to start from.
        rest = [] if get_origin(kind) is list else None if get_origin(kind) else kind
        given.setdefault(field.name, rest(0) if rest is kind else rest)
    return record(**given)
