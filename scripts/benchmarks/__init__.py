"""Benchmarks, each beside its rivals in one run: python -m scripts.benchmarks.training, .private, .xnor or .audit."""
