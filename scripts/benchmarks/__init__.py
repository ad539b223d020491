"""What `benchmark.py` and `benchmark_quality.py` measure with, and in `results/` what they measured."""
