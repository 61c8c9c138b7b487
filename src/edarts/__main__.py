"""`python -m edarts`."""

import sys

from edarts.cli import main

sys.exit(main())
