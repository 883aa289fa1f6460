"""The command line: thin verbs over the public interface."""

from jaxcascade.cli.entry import main

__all__ = ["main"]
