"""``python -m verify``."""

import os
import sys

from verify.cli import main

if __name__ == "__main__":
    # What TensorFlow tells while it starts is not what was asked for.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.exit(main())
