"""Command lines: train.py, audit.py, prepare_data.py, and benchmarks."""
