"""The same loops for CPUs, compiled: C++ behind a plain C interface, called through ctypes.

``support`` says in words whether the library takes an input; ``kernels`` is the door to its three
stages. Without the library everything runs on torch's own operations. Legend: B images, C classes,
R pools (rows of the solver), N losses of a pool.
"""
