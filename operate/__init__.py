"""Commands that operate a deployed stack, run from the checkout: `python -m operate.listen` and others."""

import signal
import sys

# The imports of a command take a while. This lets Ctrl-C end them without a traceback, until `terminal.run` handles it.
if sys.argv[0] == "-m":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
