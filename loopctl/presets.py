"""Configs that people ask for, each a few lines; take them as they are or as a pattern.

All return plain dicts for `LoopControllerCallback`, to be changed or merged with others, and use
graph predicates, so that they run at full speed under ``steps_per_execution``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loopctl import when
from loopctl.config import Condition, ConfigError, Selector

__all__ = ["alternating", "delayed_regularization", "gradual_unfreezing", "inalu"]

Config = dict[str, Any]


def alternating(branches: Mapping[str, Mapping[str, Any]], steps: Sequence[int] = ()) -> Config:
    """A config that trains by one branch after the other, as the two halves of a GAN are.

    Args:
        branches: by action name, what a branch of a config holds: ``{"loss": ..., "variables":
            ..., "optimizer": ...}``.
        steps: for how many train steps each; 1 if left out.

    Raises:
        ConfigError: there are not as many steps as branches.
    """
    steps = list(steps) or [1] * len(branches)
    if len(steps) != len(branches):
        raise ConfigError(f"{len(steps)} numbers of steps for {len(branches)} branches")
    period, config, begin = sum(steps), Config(), 0
    for (name, branch), count in zip(branches.items(), steps, strict=True):
        turn, end = when.batches % period, begin + count
        begun, going = turn >= begin, turn < end
        cond = going if begin == 0 else begun if end == period else begun & going
        config[name] = {"cond": cond, True: dict(branch)}
        begin = end
    return config


def gradual_unfreezing(
    groups: Sequence[str | Sequence[str]], epochs: int = 1, **branch: Any
) -> Config:
    """A config that trains one group of variables, some epochs later the second as well, and so on.

    One action per stage, whose loss is ``loss_stage_<n>``; `loss` is that of the stage under way.

    Args:
        groups: globs over ``variable.path`` or lists of these, usually from the head downwards.
        epochs: between one group and the next.
        branch: what else each branch holds.

    Source: Howard and Ruder, Universal Language Model Fine-tuning for Text Classification (2018),
        section 3.3.
    """
    config, unfrozen = Config(), list[str]()
    for stage, group in enumerate(groups):
        unfrozen += [group] if isinstance(group, str) else list(group)
        begun, going = when.epochs >= stage * epochs, when.epochs < (stage + 1) * epochs
        last = stage == len(groups) - 1
        cond = begun if last else going if stage == 0 else begun & going
        config[f"stage_{stage + 1}"] = {
            "cond": cond,
            True: {**branch, "variables": list(unfrozen)},
        }
    return config


def delayed_regularization(after: Condition, **branch: Any) -> Config:
    """A config that trains with the layers' regularisation whenever `after` holds, else without.

    Args:
        after: e.g. ``(when.epochs >= 10) & (when.loss.mean(1000) < 1)``.
        branch: what else both branches hold.
    """
    return {
        "regularized": {
            "cond": after,
            True: {**branch, "regularize": True},
            False: {**branch, "regularize": False},
        }
    }


def inalu(gates: Selector | str = "*/g", *, delay: int = 10, loss_below: float = 1.0) -> Config:
    """A config: the recipe of chapter 6 for iNALU layers, in the graph.

    Weights are trained in 8 of 10 batches and gates in the others, both clipped to ±0.1; `delay`
    epochs after the last reinitialisation and later, the regulariser is applied in a substep of its
    own whenever the last loss was below `loss_below`.

    Source: figures 6.3 and 6.4 of the thesis, whose counter counts an epoch as it begins: its
    ``epochs > 10`` holds from the eleventh epoch on, as ``reinit_epochs >= 10`` does here.
    """
    return {
        "gate": {
            "cond": when.batches % 10 < 8,
            True: {"clipping": (-0.1, 0.1), "excluded_variables": gates},
            False: {"clipping": (-0.1, 0.1), "variables": gates},
        },
        "delay": {
            "cond": (when.reinit_epochs >= delay) & (when.loss.last() < loss_below),
            True: {"loss": False, "regularize": True},
        },
    }
