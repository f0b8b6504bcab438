"""Ready-made configs for common requests, each a few lines; use them as they are or as a pattern.

All functions return plain dicts for `LoopControllerCallback`, which can be changed or merged. They
use graph predicates, so they run at full speed under ``steps_per_execution``. They can be saved to
files, because whatever is not a number or text in them can be imported by name, or is an object
made from its settings (`loopctl.objectives`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from loopctl import when
from loopctl.config import Condition, ConfigError, Number, Selector
from loopctl.objectives import (
    Adversary,
    Bootstrapped,
    Critic,
    Distilled,
    DoubleQ,
    Submodel,
    Trained,
)

__all__ = [
    "adversarial_with_penalty",
    "alternating",
    "bootstrapped_views",
    "deep_q",
    "delayed_regularization",
    "discriminative_fine_tuning",
    "distillation",
    "gradual_unfreezing",
    "inalu",
    "kl_annealing",
    "private",
    "sharpness_aware",
]

Config = dict[str, Any]


def alternating(branches: Mapping[str, Mapping[str, Any]], steps: Sequence[int] = ()) -> Config:
    """A config that trains branches in turn, like the two halves of a GAN.

    Args:
        branches: a branch of a config for each action name: ``{"loss": ..., "variables": ...,
            "optimizer": ...}``.
        steps: the number of train steps of each turn; by default 1.

    Raises:
        ConfigError: there are not as many numbers of steps as branches.
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
    """A config that trains one group of variables first, and adds another one every few epochs.

    There is one action for each stage, with the loss ``loss_stage_<n>``; `loss` is that of the
    current stage.

    Args:
        groups: globs over ``variable.path`` or lists of these, usually from the head downwards.
        epochs: the number of epochs in each stage; the last stage goes on.
        branch: what else each branch contains.

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
    """A config that trains with the layers' regularisation while `after` holds, otherwise without.

    Args:
        after: e.g. ``(when.epochs >= 10) & (when.loss.mean(1000) < 1)``.
        branch: what else both branches contain.
    """
    return {
        "regularized": {
            "cond": after,
            True: {**branch, "regularize": True},
            False: {**branch, "regularize": False},
        }
    }


def inalu(gates: Selector | str = "*/g", *, delay: int = 10, loss_below: float = 1.0) -> Config:
    """A config for iNALU layers: the recipe of chapter 6, with graph predicates.

    Weights are trained in 8 of 10 batches and gates in the others, with gradients clipped to ±0.1.
    From `delay` epochs after the last reinitialisation on, the regulariser is applied in a substep
    of its own whenever the last loss was below `loss_below`.

    Source: figures 6.3 and 6.4 of the thesis, which counts an epoch when it begins: its ``epochs >
    10`` holds from the eleventh epoch on, like ``reinit_epochs >= 10`` here.
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


def sharpness_aware(radius: float | Number = 0.05, **branch: Any) -> Config:
    """A config that takes gradients a little uphill, in order to find flat minima (SAM).

    Args:
        radius: how far uphill.
        branch: what else the branch contains.

    Source: Foret et al., Sharpness-Aware Minimization (2021), algorithm 1.
    """
    return {"sharp": {"cond": when.always, True: {**branch, "ascend": radius}}}


def private(clip: float | Number, noise: float | Number, **branch: Any) -> Config:
    """A config that clips the gradient of each example and adds noise to their sum (DP-SGD).

    Args:
        clip: the norm to which each gradient is clipped.
        noise: the standard deviation, in multiples of `clip`. How private that is, is not computed.
        branch: what else the branch contains.

    Source: Abadi et al., Deep Learning with Differential Privacy (2016), algorithm 1.
    """
    each = {"clip": clip, "noise": noise}
    return {"private": {"cond": when.always, True: {**branch, "per_example": each}}}


def discriminative_fine_tuning(
    factors: Mapping[str, float | Number],
    *,
    frozen: str | Sequence[str] = "*normalization*",
    head: str | Sequence[str] = (),
    head_epochs: int = 1,
    **branch: Any,
) -> Config:
    """A config that fine-tunes a trained model with a learning rate for each layer.

    Moving statistics stay as they are.

    Args:
        factors: factors of the learning rate, by globs over ``variable.path``.
        frozen: globs over names of layers that run in inference mode.
        head: globs over paths: what is trained alone at first.
        head_epochs: for how many epochs.
        branch: what else the branches contain.

    Source: Howard and Ruder, Universal Language Model Fine-tuning for Text Classification (2018),
        section 3.2.
    """
    tuning = {**branch, "inference": frozen, "learning_rate": dict(factors)}
    if not head:
        return {"tune": {"cond": when.always, True: tuning}}
    first = {**branch, "inference": frozen, "variables": head}
    return {"tune": {"cond": when.epochs >= head_epochs, True: tuning, False: first}}


def kl_annealing(
    objective: Callable[[Any, Any], Any], over: int, *, part: str = "kl", **branch: Any
) -> Config:
    """A config that trains on an objective and raises the weight of one of its parts from 0 to 1.

    Args:
        objective: ``fn(model, data)`` -> a dict of losses, for example of a variational
            autoencoder.
        over: the number of train steps until the weight is 1.
        part: the name of the part.
        branch: what else the branch contains.

    Source: Bowman et al., Generating Sentences from a Continuous Space (2016), section 3.1.
    """
    weights = {part: when.linear(0, 1, over=over)}
    return {
        "annealed": {
            "cond": when.always,
            True: {**branch, "objective": objective, "loss_weights": weights},
        }
    }


def distillation(
    student: str = "student",
    teacher: str = "teacher",
    *,
    temperature: float = 2.0,
    soft: float = 0.9,
    **branch: Any,
) -> Config:
    """A config that trains a student on the labels and on a teacher's answers to the same batch.

    Both return logits, (batch, classes); labels are integers, (batch,) or (batch, 1). The parts of
    the loss are called `hard` and `soft`; metrics are computed from the student's logits.

    Args:
        student, teacher: names of the model's attributes. The teacher runs in inference mode and
            is not trained.
        temperature: logits are divided by this.
        soft: the weight of the teacher's answers; that of the labels is 1 - `soft`.
        branch: what else the branch contains.

    Source: Hinton et al., Distilling the Knowledge in a Neural Network (2015), section 2.
    """

    objective = Distilled(student, teacher, temperature, soft)
    trained = {"objective": objective, "variables": Trained((student,))}
    return {"learn": {"cond": when.always, True: {**branch, **trained}}}


def adversarial_with_penalty(
    generator: str = "generator",
    critic: str = "critic",
    *,
    penalty: float = 10.0,
    every: int = 5,
    critic_optimizer: Any = None,
    generator_optimizer: Any = None,
) -> Config:
    """A config that trains a critic with a gradient penalty and, less often, a generator (WGAN-GP).

    The generator takes noise, (batch, features), drawn with the model's ``seed``, a
    ``keras.random.SeedGenerator``, if it has one.

    Args:
        generator, critic: names of the model's attributes.
        penalty: the weight of the penalty.
        every: the generator is trained in one train step out of this many.
        critic_optimizer, generator_optimizer: optimizers of their own; None: the compiled one.

    Source: Gulrajani et al., Improved Training of Wasserstein GANs (2017), algorithm 1.
    """

    judged, forged = Critic(generator, critic, penalty), Adversary(generator, critic)
    judging = {"objective": judged, "variables": Trained((critic,)), "optimizer": critic_optimizer}
    forging = {
        "objective": forged,
        "variables": Trained((generator,)),
        "optimizer": generator_optimizer,
    }
    return {
        "judge": {"cond": when.always, True: _given(judging)},
        "forge": {"cond": when.every(every), True: _given(forging)},
    }


def bootstrapped_views(
    views: Callable[[Any], tuple[Any, Any]],
    online: str = "online",
    predictor: str = "predictor",
    target: str = "target",
    *,
    decay: float = 0.99,
    **branch: Any,
) -> Config:
    """A config that learns, without labels, to predict one view of a sample from another (BYOL).

    Args:
        views: returns two views of a batch: ``fn(x) -> (one, other)``.
        online, predictor, target: names of the model's attributes. The predictor's output for the
            online network's view is compared with the target network's output for the other view.
        decay: of the moving average of the online network's weights that the target network holds.
        branch: what else the branch contains.

    Source: Grill et al., Bootstrap Your Own Latent (2020), section 3.1.
    """

    objective = Bootstrapped(views, online, predictor, target)
    following = _following(target, online, decay)
    trained = {"objective": objective, "variables": Trained((online, predictor)), **following}
    return {"learn": {"cond": when.always, True: {**branch, **trained}}}


def deep_q(
    online: str = "online",
    target: str = "target",
    *,
    discount: float = 0.99,
    decay: float = 0.99,
    **branch: Any,
) -> Config:
    """A config for double Q-learning with a target network, on batches of transitions.

    A batch is a dict of ``state`` and ``next_state``, (batch, ...), ``action``, integers (batch,),
    ``reward`` and ``done``, floats (batch,). Both networks return a value for each action.

    Args:
        online, target: names of the model's attributes.
        discount: the factor by which later rewards count less.
        decay: of the moving average of the online network's weights that the target network holds.
        branch: what else the branch contains.

    Source: van Hasselt et al., Deep Reinforcement Learning with Double Q-learning (2016);
        Lillicrap et al., Continuous control with deep reinforcement learning (2016), for averages.
    """

    objective = DoubleQ(online, target, discount)
    following = _following(target, online, decay)
    trained = {"objective": objective, "variables": Trained((online,)), **following}
    return {"learn": {"cond": when.always, True: {**branch, **trained}}}


def _following(target: str, online: str, decay: float) -> Config:
    """The target network holds a moving average of the online one."""
    return {"average": {"decay": decay, "into": Submodel(target), "of": Submodel(online)}}


def _given(branch: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in branch.items() if value is not None}
