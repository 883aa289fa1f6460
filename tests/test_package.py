"""The wheel holds the package and works away from the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import jaxcascade

ROOT = Path(__file__).parents[1]


def test_public_names_resolve():
    for name in jaxcascade.__all__:
        assert getattr(jaxcascade, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = jaxcascade.nonsense


def test_help_does_not_wait_for_jax():
    code = "import sys, jaxcascade.cli; sys.exit('jax' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_wheel_works_outside_the_checkout(tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", tmp_path, ROOT], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert all(name.startswith(("jaxcascade/", "jaxcascade-")) for name in names)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r});"
        "import jaxcascade; print(jaxcascade.__file__); "
        "print(jaxcascade.example_records('train').num_queries)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    place, count = done.stdout.split()
    assert str(tmp_path) in place
    assert count == "300"
