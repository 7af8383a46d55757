"""One hypothesis profile for all tests: examples may compile kernels, so no deadline; failures repeat themselves."""

from hypothesis import settings

settings.register_profile("tokenloom", deadline=None, derandomize=True)
settings.load_profile("tokenloom")
