"""Configs that people ask for, each a few lines; take them as they are or as a pattern.

All return plain dicts for `LoopControllerCallback`, to be changed or merged with others, and use
graph predicates, so that they run at full speed under ``steps_per_execution``. All can be saved to
files: what is no number or text in them has a name, or is made of settings (`loopctl.objectives`).
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


def sharpness_aware(radius: float | Number = 0.05, **branch: Any) -> Config:
    """A config that takes gradients uphill, so that what is found is flat (SAM).

    Args:
        radius: how far uphill.
        branch: what else the branch holds.

    Source: Foret et al., Sharpness-Aware Minimization (2021), algorithm 1.
    """
    return {"sharp": {"cond": when.always, True: {**branch, "ascend": radius}}}


def private(clip: float | Number, noise: float | Number, **branch: Any) -> Config:
    """A config that clips each example's gradient and adds noise to their sum (DP-SGD).

    Args:
        clip: the norm that a gradient is clipped to.
        noise: standard deviation, in multiples of `clip`. What privacy that gives is not computed.
        branch: what else the branch holds.

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
    """A config that tunes a trained model, slower the deeper, on statistics that stay as they are.

    Args:
        factors: of the learning rate, by globs over ``variable.path``.
        frozen: globs over names of layers that run as in inference.
        head: globs over paths: what is trained alone at first.
        head_epochs: how long.
        branch: what else the branches hold.

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
    """A config that trains by an objective, one part of which counts for more and more.

    Args:
        objective: ``fn(model, data)`` -> a dict of losses, as of a variational autoencoder.
        over: train steps until the part counts once.
        part: its name.
        branch: what else the branch holds.

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
    """A config that trains one submodel by labels and by what another makes of the same batch.

    Both return logits, (batch, classes); labels are integers, (batch,) or (batch, 1). The parts of
    the loss are `hard` and `soft`; metrics measure the student's logits.

    Args:
        student, teacher: attributes of the model. The teacher infers, and is not trained.
        temperature: by which logits are divided.
        soft: what the teacher counts, of 1.
        branch: what else the branch holds.

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
    """A config of a critic with a gradient penalty, and a generator that follows (WGAN-GP).

    The generator takes noise, (batch, features), which is drawn by the model's ``seed``, a
    ``keras.random.SeedGenerator``, if it has one.

    Args:
        generator, critic: attributes of the model.
        penalty: what the penalty counts.
        every: the generator is trained in one of so many train steps.
        critic_optimizer, generator_optimizer: their own; None: the compiled one.

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
        views: of a batch, two: ``fn(x) -> (one, other)``.
        online, predictor, target: attributes of the model. What the predictor makes of the online
            network's view is held against the target network's other view.
        decay: of the average of the online network that the target network is.
        branch: what else the branch holds.

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
    """A config of double Q-learning with a target network, on batches of transitions.

    A batch is a dict of ``state`` and ``next_state``, (batch, ...), ``action``, integers (batch,),
    ``reward`` and ``done``, floats (batch,). Both networks return values of actions.

    Args:
        online, target: attributes of the model.
        discount: of later rewards.
        decay: of the average of the online network that the target network is.
        branch: what else the branch holds.

    Source: van Hasselt et al., Deep Reinforcement Learning with Double Q-learning (2016);
        Lillicrap et al., Continuous control with deep reinforcement learning (2016), for averages.
    """

    objective = DoubleQ(online, target, discount)
    following = _following(target, online, decay)
    trained = {"objective": objective, "variables": Trained((online,)), **following}
    return {"learn": {"cond": when.always, True: {**branch, **trained}}}


def _following(target: str, online: str, decay: float) -> Config:
    """A target network takes the average of the online one."""
    return {"average": {"decay": decay, "into": Submodel(target), "of": Submodel(online)}}


def _given(branch: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in branch.items() if value is not None}
