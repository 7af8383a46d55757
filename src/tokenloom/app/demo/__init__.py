"""The demo: `make demo`, or `python -m tokenloom.app.demo`."""
