"""Every parser that meets foreign bytes, fed with what coverage finds interesting (docs/explain/fuzzing.md)."""
