"""``python -m sparsight`` is the command ``sparsight``."""

from sparsight.app.main import main

main()
