"""Runs the command line: `python -m jaxcascade`."""

from jaxcascade.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
