"""Shared by every test: TensorFlow quiet, on the CPU and repeatable; hypothesis profiles."""

import os

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

# Two devices, so that tests of several replicas need no process of their own.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

_quiet = [hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture]
hypothesis.settings.register_profile(
    "default",
    derandomize=True,
    deadline=None,
    max_examples=20,
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


@pytest.fixture(autouse=True)
def _fresh_keras() -> None:
    """Every test starts from the same seed and the same automatic names."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(20240501)
