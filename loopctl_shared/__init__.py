"""What our packages all need and none of them is about. Private to them.

In: nothing of theirs. Out: files that are written whole, attributes that packages import on demand,
the optimizer inside of one that scales losses, a check of TensorFlow's version, warnings at a
user's line, names, and what is spelled like one, texts as notebooks show them.
May import: the standard library.
"""

from loopctl_shared.files import whole, write_whole
from loopctl_shared.html import html_page, html_table
from loopctl_shared.loss_scaling import inner_optimizer
from loopctl_shared.names import (
    CONTRACT_SUFFIX,
    CONTROLLER,
    DISTRIBUTION,
    GENERATED,
    MONITOR,
    how_to_install,
    version,
)
from loopctl_shared.numpy_numbers import plain_numbers
from loopctl_shared.on_demand import imported_on_demand
from loopctl_shared.spelling import near_globs, near_spellings
from loopctl_shared.tensorflow_versions import OLDEST, check_tensorflow, versions
from loopctl_shared.user_warnings import warn_user

__all__ = [
    "CONTRACT_SUFFIX",
    "CONTROLLER",
    "DISTRIBUTION",
    "GENERATED",
    "MONITOR",
    "OLDEST",
    "check_tensorflow",
    "how_to_install",
    "html_page",
    "html_table",
    "imported_on_demand",
    "inner_optimizer",
    "near_globs",
    "near_spellings",
    "plain_numbers",
    "version",
    "versions",
    "warn_user",
    "whole",
    "write_whole",
]
