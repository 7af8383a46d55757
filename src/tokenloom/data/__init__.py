"""Corpora in, shards out, loaders, and the samples that travel with the package."""

from .embedded import sample, samples

__all__ = ["sample", "samples"]
