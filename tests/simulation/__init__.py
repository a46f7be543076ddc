"""The real gateway and the real receiver on a virtual clock, with faults from a seed (docs/explain/simulation.md)."""
