"""Three backends of the same four stages: torch, native (C++), Triton."""
