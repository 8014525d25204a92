"""Which needs of a policy a trainer can meet. What it can't is refused before the first step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import UnmetNeed

_ELSEWHERE = "choose another policy or other settings, or train with `host train`, which has it"

#: Fields of the needs that nothing here measures.
_UNMEASURED = {
    "judges": "judges' scores",
    "trial_scales": "trial updates",
    "gradient_conflict": "the conflict of task and alignment gradient",
    "gradient_agreement": "the agreement of each sample with the alignment gradient",
    "token_set": "a set of safety tokens",
    "steering": "steering vectors",
    "calibration_rows": "rows of the run for its calibration",
}

#: Actuators that act here; the others of the contract are refused.
ACTUATORS = frozenset(
    "token-weights label-divergence learning-rate gradient-clip ema anchor ratio-clip roll-back alignment-extra safety-anchors "
    "layer-scale".split()
)


def check(
    name: str,
    needs: Mapping[str, Any],
    *,
    canary: bool = False,
    anchors: tuple[bool, bool] = (False, False),
    alignment: bool = False,
    additive: bool = True,
    calibrated: bool = True,
    moments: bool = True,
) -> None:
    """Raises :class:`UnmetNeed` for the first need that this training can't meet.

    ``canary``, ``anchors`` (harmful, harmless), ``alignment``: whether there are such prompts and rows. ``additive``: the
    adapter adds matrices of low rank and does nothing else. ``calibrated``: there are parameters, or labelled prompts. ``moments``:
    the optimizer's are whole.
    """
    for field, what in _UNMEASURED.items():
        # Rows of the run are only for a calibration that is to be made.
        if needs.get(field) and not (field == "calibration_rows" and calibrated):
            raise UnmetNeed(what, _ELSEWHERE, name)
    declared = set(needs["actuators"])
    # Who adds samples to the batch may also say that none of the batch's own are of that kind, which is so here.
    unknown = sorted(declared - ACTUATORS - ({"alignment-share"} if "alignment-extra" in declared else set()))
    if unknown:
        raise UnmetNeed(f"the actuator {unknown[0]}", _ELSEWHERE, name)
    if "roll-back" in declared and not moments:
        raise UnmetNeed("the way back", "use DDP or fsdp=True: DeepSpeed has the optimizer's moments in flat partitions", name)
    if needs["canary_every"] and not canary:
        raise UnmetNeed("canary margins", "give held-out harmful prompts as RiskPolicyConfig(canary=[...])", name)
    wanted = needs.get("anchors")
    if wanted:
        for kind, there in zip(("harmful", "harmless"), anchors):
            if wanted[kind] and not there:
                raise UnmetNeed(f"{kind} safety anchors", f"give prompts as RiskPolicyConfig(anchors_{kind}=[...])", name)
    if "alignment-extra" in declared and not alignment:
        raise UnmetNeed("alignment samples", "give tokenised rows as RiskPolicyConfig(alignment=[...])", name)
    if needs["drift"] and not additive:
        raise UnmetNeed("the distance from the reference", "use an adapter without use_dora=True", name)
    if needs["calibration"] and not calibrated:
        raise UnmetNeed(
            "parameters from a calibration",
            "give PolicyChoice(calibration=FILE) from `host calibrate`, or RiskPolicyConfig(labelled=[(prompt, harmful), ...])",
            name,
        )
