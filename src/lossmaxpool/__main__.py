"""``python -m lossmaxpool``, which is also what ``torchrun -m lossmaxpool`` starts."""

from __future__ import annotations

import sys

from lossmaxpool.cli import main

sys.exit(main())
