"""What a step does has one fingerprint, wherever and whenever it is looked at."""

from __future__ import annotations

import keras

from tests.verify.steps import batch, dense, step
from verify.flow import Flow, fingerprint
from verify.graphs.forms import Form
from verify.step import capture


def test_the_order_of_attributes_tells_nothing() -> None:
    """TensorFlow's definitions hold them in another order in each process."""
    train = step(dense(), keras.losses.MeanSquaredError())
    digests = []
    for reverse in (False, True):
        captured = capture(train, *batch())
        for node in captured.flat.nodes:
            settings = dict(sorted(node.settings.items(), reverse=reverse))
            node.form = Form(node.form.definition)  # of its own
            node.form._settings = settings
        flow = Flow(captured.flat)
        digests.append(fingerprint(flow, [seed.loss for seed in flow.seeds]))
    assert digests[0] == digests[1]
