"""Shared by every test: TensorFlow quiet, on the CPU and repeatable; hypothesis profiles.

And what keeps a long run small: Python is kept from looking through TensorFlow's own objects
for garbage, and what tracing left is let go of after each module.
"""

import gc
import os
import time
from collections.abc import Iterator
from pathlib import Path

# Read by TensorFlow when it is imported, hence before anything that imports it.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# One thread each: workers of a parallel run would fight over the cores, and sums
# keep one order.
os.environ["TF_NUM_INTRAOP_THREADS"] = "1"
os.environ["TF_NUM_INTEROP_THREADS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"

import hypothesis
import keras
import pytest
import tensorflow as tf

from tests import memory
from tests.grids import is_thorough, left_to_thorough

# Two devices, so that tests of several replicas need no process of their own.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

_quiet = [hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture]
hypothesis.settings.register_profile(
    "default",
    derandomize=True,
    deadline=None,
    max_examples=12,
    suppress_health_check=_quiet,
)
hypothesis.settings.register_profile(
    "thorough",
    derandomize=False,
    deadline=None,
    max_examples=500,
    suppress_health_check=_quiet,
    print_blob=True,
)
# To see a failure at once, in the form in which it was found.
hypothesis.settings.register_profile(
    "unshrunk",
    parent=hypothesis.settings.get_profile("default"),
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# Of the processor's time, between two passes of the collector after modules; the last so far.
_BETWEEN_PASSES = 60.0
_passed = time.process_time()

# What `--quick` leaves out, and what all but the thorough profile do.
_SLOW = {*(Path(__file__).parent / "tests" / "slow.txt").read_text().splitlines()}
_THOROUGH = left_to_thorough()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick",
        action="store_true",
        help="the first case of every test that takes well under a second (ci/slow.py)",
    )
    parser.addoption(
        "--every-case",
        action="store_true",
        help="also the tests that tests/thorough.txt leaves to the thorough profile",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    kept = {*items}
    if not config.getoption("--every-case") and not is_thorough():
        # What is asked for by name runs: a case, a test with its cases, or a file.
        asked = {*config.args}
        kept = {
            item
            for item in items
            if item.nodeid not in _THOROUGH or asked & {item.nodeid, *_parts(item.nodeid)}
        }
    if config.getoption("--quick"):
        first: dict[tuple[str, str], pytest.Item] = {}
        for item in items:
            name = getattr(item, "originalname", None) or item.name
            first.setdefault((str(item.path), name), item)
        kept &= {item for (_, name), item in first.items() if name not in _SLOW}
    if len(kept) < len(items):
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = [item for item in items if item in kept]


def _parts(nodeid: str) -> tuple[str, str]:
    """The test without its case, and its file."""
    return nodeid.partition("[")[0], nodeid.partition("::")[0]


@pytest.fixture(autouse=True)
def _fresh_keras() -> None:
    """Every test starts from the same seed and the same automatic names."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(20240501)


def pytest_collection_finish() -> None:
    """What the imports left is never garbage: half a million objects that no pass looks at again.

    What tests leave mostly hangs together in graphs that live for a whole test: passes are rarer.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


@pytest.fixture(scope="module", autouse=True)
def _forget_graphs() -> Iterator[None]:
    """After a module nothing is kept of what it traced: a run of the suite came to hold 9 GiB.

    A pass over all that is there takes half a second, or three after trainings: modules share one.
    """
    global _passed
    known = memory.traced_gradients()
    yield
    memory.forget(memory.traced_gradients() - known)
    if time.process_time() - _passed > _BETWEEN_PASSES:
        gc.collect()
        _passed = time.process_time()
