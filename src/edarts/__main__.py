"""`python -m edarts`."""

import sys

from edarts.cli.main import main

sys.exit(main())
