"""What we claim, measured beside what others would use: `python -m benchmarks` (docs/explain/benchmarks.md)."""
