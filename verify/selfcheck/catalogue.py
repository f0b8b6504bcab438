"""The catalogue: every fault that is planted, from the modules in `verify.selfcheck.faults`."""

import importlib
import pkgutil

from verify.selfcheck import faults
from verify.selfcheck.planted import FAULTS, Fault

__all__ = ["FAULTS", "Fault"]

for _module in pkgutil.iter_modules(faults.__path__, f"{faults.__name__}."):
    importlib.import_module(_module.name)
