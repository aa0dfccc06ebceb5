"""The same loops for GPUs, in Triton."""
