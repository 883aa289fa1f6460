"""Reads the command line, prepares JAX, runs a verb, and turns errors into one line each."""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from jaxcascade.cli.arguments import make_parser
from jaxcascade.errors import JaxcascadeError

_UNUSABLE, _INTERRUPTED = 2, 130
# Verbs that have a module; the others stand together in `verbs`.
_OF_THEIR_OWN = ("budget", "monitor", "segments", "worth")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: Words after the program's name; those of the process by default.

    Returns:
        Exit status: 0 for success, 2 for unusable input, 130 when interrupted.
    """
    parsed = make_parser().parse_args(arguments)
    try:
        _prepare_jax()
        _run(parsed)
        sys.stdout.flush()
    except JaxcascadeError as error:
        print(f"jaxcascade: {error}", file=sys.stderr)
        return _UNUSABLE
    except KeyboardInterrupt:
        print("jaxcascade: interrupted; nothing was written.", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _run(parsed: argparse.Namespace) -> None:
    # Imported only now: asking for help should not wait for JAX.
    if parsed.verb in _OF_THEIR_OWN:
        module = import_module(f"jaxcascade.cli.{parsed.verb}")
    else:
        module = import_module("jaxcascade.cli.verbs")
    getattr(module, parsed.verb)(parsed)


def _prepare_jax() -> None:
    """Double precision, and compiled programs kept in the user's cache for the next start."""
    import jax

    jax.config.update("jax_enable_x64", True)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxcascade"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # A home that cannot be written to costs time, not the answer.
    jax.config.update("jax_compilation_cache_dir", str(cache))
    # Another process may be writing the entry that this one reads: JAX then compiles, no harm done.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry")
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
