"""Entry point of ``python -m lossmaxpool`` and ``torchrun -m lossmaxpool``."""

from __future__ import annotations

import sys

from lossmaxpool.cli import main

sys.exit(main())
