"""The Triton backend, for GPUs.

``support`` checks inputs and does not import Triton; ``kernels`` is the entry point of everything
else and does. Notation: B images, C classes, H, W, N pixels of an image, R pools (rows of the
solver), M low-resolution cells.
"""
