"""Names that do not depend on what was made before in the same process."""

from __future__ import annotations

import keras


def fresh_names() -> None:
    """Lets Keras number layers, metrics and models from the beginning again.

    What exists keeps its name; the global dtype policy stays.
    """
    policy = keras.config.dtype_policy()
    keras.utils.clear_session(free_memory=False)
    keras.config.set_dtype_policy(policy)
