"""The tables and figures of Rota Bulò et al. 2017, beside what was run here.

``python -m reproduction tables`` and ``python -m reproduction figures``. This folder uses the
package and is not part of it: an installation trains and reports without it.
"""
