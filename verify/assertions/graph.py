"""`assert_graph`: what a training step does, from its traced graph."""

from __future__ import annotations

from typing import Any

from verify.assertions.expectation import UNSET, Expectation
from verify.assertions.failure import fail
from verify.graphs import no_collection
from verify.step import capture


def assert_graph(
    target: Any,
    *args: Any,
    loss: Any = UNSET,
    objective: Any = UNSET,
    forward: Any = UNSET,
    regularization: Any = UNSET,
    clipping: Any = UNSET,
    watched: Any = UNSET,
    unwatched: Any = UNSET,
    decayed: Any = UNSET,
    unchanged: Any = UNSET,
    statistics: Any = UNSET,
    fingerprint: Any = UNSET,
    follows: Any = UNSET,
    training: Any = UNSET,
    draws: Any = UNSET,
    sample_weight: Any = UNSET,
    optimizer: Any = UNSET,
    learning_rate: Any = UNSET,
    accumulated: Any = UNSET,
    guards: Any = UNSET,
    conditions: Any = UNSET,
    forbids: Any = UNSET,
    max_ops: Any = UNSET,
    max_bytes: Any = UNSET,
    allow_writes: bool = False,
    allow_transforms: bool = False,
    model: Any = None,
    signature: str | None = None,
) -> None:
    """Asserts what a training step does, from its traced graph. Keywords left out are unchecked.

    Args:
        target: a ``tf.function``, any other callable or a ``ConcreteFunction``; a compiled Keras
            model or one of its ``train_step``, ``train_function`` and so on; a ``FuncGraph``; a
            ``GraphDef``; the path of a SavedModel or of a file with a ``GraphDef``; what
            `verify.trace` has made of one of these.
        args: a batch to trace with, ``(x, y)`` or ``(x, y, sample_weight)``, as one tuple or one
            by one: tensors, arrays or ``tf.TensorSpec``; or a ``tf.data.Dataset`` of such. Left
            out for what has been traced before, as a ``train_function`` that has run.
        loss: a ``keras.losses.Loss``, a function ``(y_true, y_pred)``, a registered name or a list
            of these: exactly these data losses have a gradient that reaches an update, however
            they are written, with their constants and reduction (a function, or
            ``reduction=None``: in some mean), multiplied by nothing, or by the number or variable
            of a pair ``(loss, weight)``. In a dict by output of the known model each is of that
            output and its target; in a dict by variables, paths or globs each trains exactly
            these. ``None`` or ``[]``: no data loss does. Nor is a gradient multiplied by another
            number before the optimizer, unless `allow_transforms`.
        objective: a function of the step's arguments (where that is one tuple, of its parts as
            well) that makes one number: the gradient by which each variable is updated is that of
            this function, with all it depends on: layers' losses, penalties, other models. Or a
            dict of such by variables, paths or globs, each of those that it depends on; ``None``
            there: no gradient updates these. Where backward passes follow one another, variables
            are as they are when a pass reads them. Nor is a gradient changed before the optimizer
            (multiplied by a number, with noise added to it), unless `allow_transforms` or the
            function says what enters the optimizer; clips are left to `clipping`.
        forward: a model, or a function of the step's arguments (as for `objective`) that makes a
            real tensor, or a structure of such: what the loss judges is what this computes.
            ``True``: what the model that the step is known to train computes. A model
            is called in training mode, on the first argument or part of the batch; for inference
            say ``lambda x, y: model(x, training=False)``. Compared by values and precision, on what
            variables hold and with the same random numbers: activations, rates of dropout, what
            layers are there. ``None``: no prediction is judged.
        regularization: an int: so many terms reach an update, one per variable and regulariser;
            ``True``: at least one; ``False``: none; ``"all"``: what the known model has; a list
            of ``(variable, regulariser or its name in Keras)``: exactly these, ``[]`` none,
            multiplied by nothing, or by the number or variable that is third.
        clipping: ``(lo, hi)``, ``{"norm": n}`` or ``{"global_norm": n}``: every gradient that
            reaches an update is clipped so, before the optimizer, however that is written;
            ``None``: none is, nor limited in any other way.
        watched: variables, paths or globs over ``variable.path``: exactly these variables are
            updated from their gradients. Globs mean all weights that could be trained, of the step
            and of the known model, frozen or not. ``"!glob"`` makes an exception. ``None`` or
            ``[]``: none is.
        unwatched: the same: none of these is updated from a gradient, nor written by hand unless
            `allow_writes`. ``[]`` asks for nothing; ``None`` is refused.
        decayed: the same: exactly these trainable variables shrink by a share of themselves, on
            top of any gradient (weight decay); ``None`` or ``[]``: none does.
        unchanged: the same, where globs mean all variables, trainable or not (metrics, statistics,
            what an optimizer keeps): the step writes none of these, in any branch that can be
            taken, unless it is the very value that was read. ``[]`` asks for nothing; ``None`` is
            refused.
        statistics: the same: exactly these moving statistics move, in a branch at least: variables
            that could not be trained, and that are written as a mixture of what they held and of
            data. Globs mean all that could, of the known model as well. ``None`` or ``[]``: none
            does. In a dict by such selections each keeps that share of itself, the momentum.
        fingerprint: the digits that ``verify.facts(...).fingerprint`` tells of what is
            differentiated: they are others as soon as a layer, its settings or a loss is.
        follows: ``{selection: (selection, rate)}``, or a list of such pairs: each variable of the
            first is written as ``(1 - rate)`` times itself and `rate` times its partner of the
            second, before or after that one's update, in a branch at least, and in no other way.
            Partners are paired in the order of a list, or by path. A rate of 1 is a copy; None:
            any, also one of the step. ``None`` for a pair: these follow nothing; for the dict:
            nothing does.
        training: ``True``: all layers of the known model run in training mode for what is
            differentiated; ``False``: in inference mode; a dict of these by globs over paths of
            layers. Modes are told by the variables that a layer then depends on: dropout and noise
            on the state of their seeds, normalisation on its moving statistics.
        draws: ``"fresh"``: no random number that decides a trained variable is the same in every
            step, by a constant seed, by one that the step does not move on, or because it was
            drawn while tracing: the step's function is traced once more for that. ``None``: no
            random number decides one.
        sample_weight: ``True``: the sample weights that the step is handed multiply the loss of
            each example, as in Keras, and each loss that is differentiated; ``False``: they decide
            nothing that is trained.
        optimizer: a Keras optimizer, its name or its config; or a dict of such by variables, paths
            or globs: what is trained is written as this optimizer would write it, and so is what it
            keeps: rule, learning rate, momentum, decay, sign. What it clips is left to `clipping`.
            A config whose ``learning_rate`` is ``(least, most)`` means it at any rate between.
            ``None``: nothing is updated from a gradient.
        learning_rate: a number, ``(least, most)``, a schedule of Keras, or a dict of such by
            variables, paths or globs: the rate at which these are updated, now.
        accumulated: an int from 2: so many calls of the step are one update, by the mean of their
            gradients, after which it begins anew. The mean may be made of a sum or kept as one; or
            the loss, or each gradient, is divided. ``None`` or 1: each call is an update. Parts of
            one batch, one after the other in one call, are one call: `objective` tells of these.
        guards: ``{path or glob: {value: expectations}}``, or a list of pairs ``(variable, {value:
            expectations})``: the variable's value chooses branches of the step, and where it has
            that value, the step is as these keywords of `assert_graph` say (which may hold
            `guards` again). No expectations, ``{}``, ask for the choice alone; ``None``: no
            variable chooses a branch.
        conditions: ``{path or glob: expression}``: the step sets this variable, which chooses a
            branch, to an expression of other variables by the last parts of their paths, e.g.
            ``"epochs < 3"``; however it is spelled in arithmetic and comparisons. ``None``: the
            step sets none, nor chooses by an expression.
        forbids: globs over op types, e.g. ``"*PyFunc*"``: the step has no such op. ``"!glob"``
            makes an exception. ``[]`` forbids nothing; ``None`` is refused, and so is a glob that
            matches no op type of TensorFlow's.
        max_ops, max_bytes: at most so many ops, and bytes of constants.
        model: the model that the step trains, if `target` does not tell: what counts as trainable,
            and the regularisers that its layers add, are then taken from it.
        signature: which function of a SavedModel, if it has several.

    Raises:
        GraphAssertionError: with all violations.
        TypeError, ValueError: an argument is not of the kinds above, or a glob or exception matches
            nothing.
    """
    __tracebackhide__ = True
    # Written out, so that editors, type checkers and `help` know the keywords;
    # tests/verify/assertions/test_graph.py holds them against `verify.kinds`.
    expectation = Expectation.of(
        {
            "loss": loss,
            "objective": objective,
            "forward": forward,
            "regularization": regularization,
            "clipping": clipping,
            "watched": watched,
            "unwatched": unwatched,
            "decayed": decayed,
            "unchanged": unchanged,
            "statistics": statistics,
            "fingerprint": fingerprint,
            "follows": follows,
            "training": training,
            "draws": draws,
            "sample_weight": sample_weight,
            "optimizer": optimizer,
            "learning_rate": learning_rate,
            "accumulated": accumulated,
            "guards": guards,
            "conditions": conditions,
            "forbids": forbids,
            "max_ops": max_ops,
            "max_bytes": max_bytes,
            "allow_writes": allow_writes,
            "allow_transforms": allow_transforms,
        }
    )
    with no_collection():
        step = capture(target, *args, model=model, signature=signature)
        violations = expectation.violations(step)
    fail(step.name, violations)
