"""Double precision, checked shapes of kernels, and a compilation cache for the whole test run."""

import os
from pathlib import Path

import hypothesis
import jax
import pytest
from jaxtyping import install_import_hook

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parent.parent / ".jax_cache"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
os.environ.setdefault("MPLBACKEND", "agg")

# The same examples in every run: what fails, fails for everybody.
hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None)
hypothesis.settings.load_profile("fixed")

# Linux allows a process 65,530 mappings of memory, and every compiled program takes several.
_MANY_MAPPINGS = 20_000


@pytest.fixture(scope="module", autouse=True)
def _few_compiled_programs():
    """Lets go of compiled programs before there are so many that the next one aborts."""
    yield
    mappings = Path("/proc/self/maps")
    if mappings.exists() and len(mappings.read_bytes().splitlines()) > _MANY_MAPPINGS:
        jax.clear_caches()


# For good, because rooms are imported when first used. Elsewhere annotations say what is meant,
# a NumPy scalar counts as an array, and wrong shapes meet an error of the function's own.
install_import_hook(["jaxcascade.marginals", "jaxcascade.numerics"], "beartype.beartype")
