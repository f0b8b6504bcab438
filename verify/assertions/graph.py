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
    """Asserts what a training step does, from its traced graph; returns None if all of it holds.

    Every keyword is optional, and what is left out is not checked. A *selection* is a variable, a
    path, a glob over ``variable.path``, or a list of these; ``"!glob"`` in a list makes an
    exception.

    Args:
        target: a ``tf.function``, any other callable or a ``ConcreteFunction``; a compiled Keras
            model or its ``train_step``, ``train_function`` and so on; a ``FuncGraph``; a
            ``GraphDef``; the path of a SavedModel or of a file with a ``GraphDef``; or what
            `verify.trace` returned for one of these.
        args: the batch to trace with, ``(x, y)`` or ``(x, y, sample_weight)``, either as one tuple
            or as separate arguments: tensors, arrays or ``tf.TensorSpec``; or a
            ``tf.data.Dataset`` of such batches. Leave it out if `target` has been traced already,
            like a ``train_function`` that has run.
        loss: a ``keras.losses.Loss``, a function ``(y_true, y_pred)``, a registered name, or a list
            of these. Exactly these data losses have a gradient that reaches an update, however
            they are written, with the same constants and reduction (for a function or
            ``reduction=None``, any mean). Their weight is 1, or the number or variable in a pair
            ``(loss, weight)``. In a dict by output of the model, each loss is that of its output
            and its target; in a dict by selection, each trains exactly the selected variables.
            ``None`` or ``[]``: no data loss reaches an update. Unless `allow_transforms` is set,
            gradients must not be multiplied by any other number before the optimizer.
        objective: a function of the step's arguments that returns a scalar. (If the step takes one
            tuple, the function may also take its parts.) Each variable is updated by the gradient
            of this function, which has to include everything: the losses of layers, penalties,
            other models. In a dict by selection, each function applies to those of the selected
            variables that it depends on, and ``None`` means that no gradient updates the selected
            variables. If one backward pass follows another, the function sees variables as they
            are when that pass reads them. Unless `allow_transforms` is set, or the function itself
            says what enters the optimizer, gradients must not be changed before the optimizer
            (multiplied, or noise added); clips are the business of `clipping`.
        forward: a model, or a function of the step's arguments (as for `objective`) that returns a
            real-valued tensor or a structure of them. The prediction that the loss judges is
            what this computes. ``True`` stands for the model that the step trains. A model is
            called in training mode, on the first argument or the first part of the batch; for
            inference, write ``lambda x, y: model(x, training=False)``. Values and precision are
            compared, with the same variables and random numbers, so that activations, dropout
            rates and missing layers show. ``None``: the loss judges no prediction.
        regularization: an int: this many regularisation terms reach an update, one for each pair of
            variable and regulariser; ``True``: at least one; ``False``: none; ``"all"``: those
            that the model has; a list of ``(variable, regulariser or its Keras name)``: exactly
            these, with weight 1 or the number or variable given as a third entry.
        clipping: ``(lo, hi)``, ``{"norm": n}`` or ``{"global_norm": n}``: every gradient that
            reaches an update is clipped like this before the optimizer, however the clip is
            written. ``None``: no gradient is clipped or limited in any other way.
        watched: a selection. Exactly these variables are updated from their gradients. Globs are
            matched against all weights that could be trained, of the step and of the model, frozen
            or not. ``None`` or ``[]``: no variable is.
        unwatched: a selection. None of these is updated from a gradient or, unless `allow_writes`
            is set, written in any other way. ``[]`` checks nothing; ``None`` is an error.
        decayed: a selection. Exactly these trainable variables have weight decay: they shrink by a
            share of themselves, independent of any gradient. ``None`` or ``[]``: no variable does.
        unchanged: a selection, with globs over all variables, trainable or not (metrics,
            statistics, optimizer state). The step does not write these in any branch that can be
            taken, except with the very value that it read. ``[]`` checks nothing; ``None`` is an
            error.
        statistics: a selection, with globs over all weights, of the step and of the model, that
            cannot be trained. Exactly these moving statistics are updated, in at least one branch:
            each becomes a mixture of its old value and the data. ``None`` or ``[]``: none is. In a
            dict by selection, the values are the share of the old value that is kept (the
            momentum).
        fingerprint: the digits in ``verify.facts(...).fingerprint``. They change with any change
            in what is differentiated: a layer, its settings, a loss.
        follows: ``{selection: (selection, rate)}``, or a list of such pairs. Each variable of the
            first selection becomes ``(1 - rate)`` times itself plus `rate` times its partner in the
            second, before or after the partner's own update, in at least one branch and in no other
            way. Partners are paired by the order of lists, or by path. A rate of 1 is a copy;
            ``None`` as a rate allows any, even one that changes from step to step. ``None`` instead
            of a pair: these variables follow nothing; instead of the dict: no variable does.
        training: ``True``: all layers of the model run in training mode where the loss depends on
            them; ``False``: in inference mode; or a dict of these by globs over paths of layers.
            The mode shows in the variables that a layer depends on: dropout and noise depend on
            the state of their seeds, normalisation depends on its moving statistics.
        draws: ``"fresh"``: every random number that affects a trained variable is different in
            each step. It comes from no constant seed, nor from one that the step does not advance,
            and was not drawn while tracing; to find the latter, the step's function is traced a
            second time. ``None``: no random number affects a trained variable.
        sample_weight: ``True``: the sample weights passed to the step multiply the loss of each
            example as in Keras, in each loss that is differentiated; ``False``: they have no effect
            on what is trained.
        optimizer: a Keras optimizer, its name or its config, or a dict of these by selection.
            Trained variables, and the optimizer's state for them, are written as this optimizer
            would: rule, learning rate, momentum, decay, sign. Its clips are the business of
            `clipping`. In a config, ``learning_rate`` may be a range ``(least, most)``. ``None``:
            no variable is updated from a gradient.
        learning_rate: a number, a range ``(least, most)``, a Keras schedule, or a dict of these by
            selection: the learning rate as it is now.
        accumulated: an int of at least 2: the gradients of this many calls of the step are averaged
            for one update, and accumulation then starts again. The mean may be computed from a sum
            or kept as a running mean, or the loss or each gradient may be divided. ``None`` or 1:
            each call makes an update. If the step splits one batch into parts, that is one call:
            use `objective`.
        guards: ``{path or glob: {value: expectations}}``, or a list of pairs ``(variable, {value:
            expectations})``. The variable chooses branches of the step; the expectations for a
            value are keywords of this function (including `guards`) that hold for the step while
            the variable has that value. Empty expectations, ``{}``, only require that the variable
            chooses. ``None``: no variable chooses a branch.
        conditions: ``{path or glob: expression}``: the step sets this variable, which chooses a
            branch, to an expression of other variables, named by the last parts of their paths:
            ``"epochs < 3"``. Any equivalent spelling in arithmetic and comparisons is accepted.
            ``None``: the step neither sets such a variable nor chooses a branch by an expression.
        forbids: globs over op types, such as ``"*PyFunc*"``, none of which the step contains.
            ``"!glob"`` makes an exception. ``[]`` forbids nothing; ``None``, or a glob that matches
            no op type of TensorFlow, is an error.
        max_ops, max_bytes: the largest number of ops, and of bytes in constants.
        allow_writes: whether code other than an optimizer may write `unwatched` variables.
        allow_transforms: whether gradients may be changed between `loss` or `objective` and the
            optimizer.
        model: the model that the step trains, if `target` does not say: it determines which
            weights can be trained, and which regularisers the layers have.
        signature: the function of a SavedModel to use, if it has several.

    Raises:
        GraphAssertionError: with all violations.
        TypeError, ValueError: an argument is none of the above, or a glob or exception matches
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
