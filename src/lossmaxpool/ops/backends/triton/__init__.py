"""The same loops for GPUs, in Triton.

``support`` says in words whether the kernels take an input and needs no Triton to do so;
``kernels`` is the door to everything else, and imports Triton. Legend: B images, C classes,
H, W, N pixels of an image, R pools (rows of the solver), M low-resolution cells.
"""
