# The commands for a deployed stack (docs/operations.md). Python 3.11 or newer is required.

PYTHON ?= python3

# make passes STACK, URL and the other settings to these commands through the environment.
.PHONY: smoke replay reconcile listen
smoke replay reconcile listen:
	@$(PYTHON) tools/install.py operate
	@.tools/operate/bin/python -m operate.$@
