"""`python -m firstlight` is `firstlight`."""

import sys

from firstlight.cli import main

sys.exit(main())
