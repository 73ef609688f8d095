"""``python -m llara``, also what torchrun starts."""

import sys

from llara.cli import main

sys.exit(main())
