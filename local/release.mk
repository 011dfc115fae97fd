# The commands for a deployed stack (docs/operations.md). They need Python 3.11 or newer.

PYTHON ?= python3

# STACK, URL and the other settings reach them through the environment, as WEBHOOK_SECRET does.
.PHONY: smoke replay listen
smoke replay listen:
	@$(PYTHON) local/tools.py operate
	@.tools/operate/bin/python -m operate.$@
