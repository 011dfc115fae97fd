"""Commands for a deployed stack: `python -m operate.smoke --help` and others. One file is one command or a shared concept."""
