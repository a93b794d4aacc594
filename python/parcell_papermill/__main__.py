"""Papermill's command line with the translator for Rust registered."""

from papermill.cli import papermill

from . import RustTranslator  # noqa: F401  (the import registers the translator)


def main():
    """Run papermill with the arguments of this process."""
    papermill(prog_name="parcell-papermill")


if __name__ == "__main__":
    main()
