"""Losses to weights, batched, sort-free, on any device.

``threshold`` brackets alpha* with a histogram of the loss bits (``histogram``, ``bracket``) and
finishes with Newton's iteration (``newton``); p = 1 is an order statistic (``select``). ``weights``
gives w*; ``operators`` shows both to autograd and to the compiler. ``ranks`` is the only door to
other processes.
"""
