"""Papermill's parameters as Rust.

Importing this package registers a translator for the language "rust". Papermill itself finds no
translators, so `python -m parcell_papermill in.ipynb out.ipynb -p n 100` wraps its command line.
"""

from papermill.translators import papermill_translators

from .translator import RustTranslator

__all__ = ["RustTranslator"]

papermill_translators.register("rust", RustTranslator)
