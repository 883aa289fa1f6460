"""The command line: thin verbs over the public interface."""

from jaxcascade.cli.main import main

__all__ = ["main"]
