"""The main job on real input: control a training run, verify its graphs, gate on them.

Chapter 6's model learns (x1 - x2)(x3 - x4) + x5 x6 under LoopControllerCallback. Before and
after training the graph of every substep is held against the config; a graph that is not
what the config says ends the demo with exit code 1.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np

import verify
from inalu import recipe
from inalu.explanation import explain
from inalu.plots import plot_evaluation, plot_explanation, plot_training
from inalu.plots.figures import save
from inalu.task import FORMULA, ArithmeticDataset, arithmetic_dataset
from loopctl import LoopControllerCallback

Config = dict[str, Any]

# Most seeds stop themselves after fifteen, which is about a minute on two cores.
EPOCHS = 20
EPOCHS_IN_FULL = 120


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit code: 0, or 1 if a graph is not what its config says."""
    options = _parse(arguments)
    try:
        _run(options)
    except verify.GraphAssertionError as error:
        # In this order also where both streams end in one file.
        sys.stdout.flush()
        print(f"\nA graph is not what its config says:\n\n{error}", file=sys.stderr)
        return 1
    return 0


def _run(options: argparse.Namespace) -> None:
    keras.utils.set_random_seed(options.seed)
    print(f"Data: (x1 - x2)(x3 - x4) + x5 x6 of 7 inputs in (-3, 3), {options.samples} samples")
    data = arithmetic_dataset(options.samples, options.seed)
    batches = data.train.batches(seed=options.seed)
    model = recipe.build_model()
    recipe.compile_model(model)
    print(f"Model: 7-3-2-1 iNALU, {model.count_params()} weights; RMSprop, MSE\n")

    planted = recipe.config if options.fault is None else FAULTS[options.fault](recipe.config)
    callback = LoopControllerCallback(planted, recipe.async_config)
    callback.attach(model)
    # What runs may come from a faulty config; what is expected is always the recipe's.
    expected = SimpleNamespace(config=recipe.config, main_step=callback.main_step, model=model)
    batch = next(iter(batches.dataset))
    _verify(model, expected, batch, "before training")
    _show_substeps(model, recipe.config, batch)

    epochs = options.epochs or (EPOCHS_IN_FULL if options.full else EPOCHS)
    print(f"\nTraining for up to {epochs} epochs of {batches.steps} steps")
    evaluation = _evaluation(data)
    start = time.perf_counter()
    model.fit(
        batches.dataset,
        epochs=epochs,
        # The data set shuffles itself.
        shuffle=False,
        # The bar draws over itself, which a log file cannot show.
        verbose=1 if sys.stdout.isatty() else 2,
        callbacks=[batches, callback, evaluation],
    )
    seconds = time.perf_counter() - start

    steps = evaluation.epochs * batches.steps
    print(f"\n{steps} steps in {seconds:.0f} s, {1e6 * seconds / steps:.0f} µs a step")
    _show_control(callback.history, batches.steps)
    _show_result(model, evaluation)
    formula = explain(model, data.extrapolation.x)
    print("\n".join(f"  {line}" for line in str(formula).splitlines()))
    verdict = "proved equal to" if formula.proves(FORMULA) else "not, or not yet,"
    print(f"  {verdict} {FORMULA}\n")
    _verify(model, expected, batch, "after training")
    figures = {
        "loss.png": plot_training(callback.history),
        "errors.png": plot_evaluation(evaluation.int_results, evaluation.ext_results),
        "formula.png": plot_explanation(formula),
    }
    loss, errors, diagram = (save(figures[name], options.output / name) for name in figures)
    print(f"\nPlots: {loss}, {errors} and {diagram}")


def _verify(model: Any, expected: Any, batch: Any, when: str) -> None:
    start = time.perf_counter()
    verify.assert_config(model, expected, batch)
    print(
        f"Verified {when}: every substep, alone and in the main step, is what the config says "
        f"({time.perf_counter() - start:.1f} s)"
    )


def _show_substeps(model: Any, config: Config, batch: Any) -> None:
    """Print what the graph of each substep does, one line each."""
    for action, settings in config.items():
        for branch, name in [(True, f"{action}_on"), (False, f"{action}_off")]:
            if branch in settings:
                facts = verify.facts(getattr(model, name), batch, model=model)
                print(f"  {name:<9} {_describe(facts, len(model.trainable_variables))}")


def _describe(facts: verify.StepFacts, variables: int) -> str:
    losses = " + ".join(loss.name for loss in facts.losses) or "no data loss"
    terms = len(facts.regularization)
    clips = sorted({(clip.lower, clip.upper) for clip in facts.clipping})
    return ", ".join(
        [
            losses,
            f"{terms} regularisation terms" if terms else "no regularisation",
            " and ".join(f"clipped to [{a:.6g}, {b:.6g}]" for a, b in clips) or "not clipped",
            f"trains {len(facts.watched)} of {variables} variables",
        ]
    )


def _evaluation(data: ArithmeticDataset) -> recipe.InExtrapolationEvaluationCallback:
    return recipe.InExtrapolationEvaluationCallback(
        (data.extrapolation.x, data.extrapolation.y),
        (data.interpolation.x, data.interpolation.y),
    )


def _show_control(history: Sequence[Mapping[str, Any]], epoch: int) -> None:
    """Print losses and the share of steps in which each action was on, epoch by epoch."""
    actions = list(recipe.config)
    print(
        "\n  steps since the weights were drawn    loss: median, last    on: " + ", ".join(actions)
    )
    for first in range(0, len(history), epoch):
        steps = [history[i] for i in range(first, min(first + epoch, len(history)))]
        losses = [float(step["loss"]) for step in steps]
        shares = [f"{np.mean([bool(step[a]) for step in steps]):4.0%}" for a in actions]
        print(
            f"  {first:>14} to {first + len(steps) - 1:<14}"
            f"    {np.median(losses):>12.3g} {losses[-1]:>8.2g}         " + "  ".join(shares)
        )


def _show_result(model: Any, evaluation: recipe.InExtrapolationEvaluationCallback) -> None:
    last = max(evaluation.int_results)
    gates = " | ".join(
        " ".join(f"{gate:.3f}" for gate in keras.ops.sigmoid(g).numpy())
        for g in recipe.get_gates_variables(model)
    )
    print(f"\n  mean squared error inside (-3, 3)     {evaluation.int_results[last]:.3g}")
    print(f"  mean squared error inside (10, 15)    {evaluation.ext_results[last]:.3g}")
    print(f"  gates, 1 adds and 0 multiplies        {gates}")


def _changed(config: Config, action: str, branch: bool, **settings: Any) -> Config:
    """A copy of the config with settings of one branch replaced."""
    changed = {**config[action][branch], **settings}
    return {**config, action: {**config[action], branch: changed}}


def _break_clip(config: Config) -> Config:
    """The gates' substep forgets to clip."""
    branch = {k: v for k, v in config["gate"][False].items() if k != "clipping"}
    return {**config, "gate": {**config["gate"], False: branch}}


def _break_variables(config: Config) -> Config:
    """The weights' substep trains one gate too."""
    return _changed(
        config, "gate", True, excluded_variables=lambda self: recipe.get_gates_variables(self)[1:]
    )


def _break_loss(config: Config) -> Config:
    """The weights' substep minimises what is only a metric."""
    return _changed(config, "gate", True, loss=keras.losses.MeanAbsoluteError())


def _break_regularize(config: Config) -> Config:
    """The regularisation's substep does not regularise."""
    return _changed(config, "delay", True, regularize=False)


FAULTS: dict[str, Callable[[Config], Config]] = {
    "clip": _break_clip,
    "variables": _break_variables,
    "loss": _break_loss,
    "regularize": _break_regularize,
}


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="ci/demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help=f"train to convergence, up to {EPOCHS_IN_FULL} epochs instead of {EPOCHS}",
    )
    faults = "; ".join(f"{name}: {fault.__doc__}" for name, fault in FAULTS.items())
    parser.add_argument(
        "--break",
        dest="fault",
        choices=list(FAULTS),
        help=f"plant a fault in what runs and show how it is found ({faults})",
    )
    parser.add_argument("--seed", type=int, default=0, help="of data and weights (default: 0)")
    parser.add_argument("--epochs", type=_positive, help="train for at most this many")
    parser.add_argument(
        "--samples", type=_samples, default=64_000, help="of each data set (default: 64000)"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("demo-output"),
        metavar="DIR",
        help="where plots go (default: demo-output)",
    )
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return number


def _samples(text: str) -> int:
    number = int(text)
    if number < 64:
        raise argparse.ArgumentTypeError(f"{text} samples do not fill a batch of 64")
    return number


if __name__ == "__main__":
    sys.exit(main())
