"""Work shared out over devices, turns and processes, against one device and plain calls."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcascade
from jaxcascade.cascade import (
    CascadeModel,
    Prices,
    fit_weighted,
    grid_edges,
    markov_chain,
    observations,
    threshold_tables,
)
from jaxcascade.errors import InvalidInputError
from jaxcascade.tuning import (
    Chains,
    optimal_stopping,
    scale,
    spread_stopping,
    spread_thresholds,
    subcascades,
    thresholds_of_each,
)
from tests.cases import toy_model

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "scale.md"
CELLS = 16
CHAINS = subcascades(4)
PRICES = np.geomspace(1e-3, 5.0, 16)


def draws(count: int) -> CascadeModel:
    """Models that differ in costs, shapes and dependence."""
    model = toy_model()

    def moved(leaf, size):
        shape = (-1, *[1] * leaf.ndim)
        return leaf * (1.0 + size * jnp.arange(count).reshape(shape) / count)

    many = jax.tree.map(lambda leaf: moved(leaf, 0.0), model)
    return eqx.tree_at(parts, many, tuple(moved(leaf, 0.3) for leaf in parts(model)))


def parts(model: CascadeModel):
    return model.cost_usd, model.marginal.interior.concentration1, model.copula.theta


def each_draw(solve, models):
    """One draw after the other, by the calls for one."""
    leaves, kind = jax.tree.flatten(models)
    found = [solve(jax.tree.unflatten(kind, row)) for row in zip(*leaves, strict=True)]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *found)


def plain_thresholds(model, prices, chains, asking_usd=None):
    tables = threshold_tables(model, grid_edges(model, CELLS))
    asking_usd = model.cost_usd if asking_usd is None else asking_usd
    return thresholds_of_each(tables, asking_usd, jnp.asarray(prices), chains)


def plain_stopping(model, prices):
    return optimal_stopping(markov_chain(model, CELLS), model.cost_usd, model.latency_s, prices)


def assert_equal(found, expected, rtol=1e-13):
    """To rounding: what is compiled in another context may differ in the last bit."""
    for got, want in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(got, want, rtol=rtol, atol=0)


# --- One device -----------------------------------------------------------------------------------


def test_thresholds_are_those_of_each_draw():
    models, chains = draws(3), Chains.each(CHAINS)
    asking = models.cost_usd * jnp.array([[1.0], [2.0], [3.0]])
    found = spread_thresholds(models, asking, PRICES, chains, num_cells=CELLS)
    pairs = iter(asking)
    expected = each_draw(lambda m: plain_thresholds(m, PRICES, chains, next(pairs)), models)
    assert found.loss.shape == (3, len(CHAINS), len(PRICES))
    assert_equal(found, expected)


def test_without_draws_there_is_no_axis_of_them():
    model, chains = toy_model(), Chains.all_subcascades(4)
    found = spread_thresholds(model, model.cost_usd, PRICES, chains, num_cells=CELLS)
    assert found.loss.shape == (4, len(PRICES))
    assert_equal(found, plain_thresholds(model, PRICES, chains))


def test_stopping_is_that_of_each_draw():
    models, prices = draws(3), Prices(jnp.asarray(PRICES), 1e-3, 0.2)
    found = spread_stopping(models, prices, num_cells=CELLS)
    assert found.loss.shape == (3, len(PRICES))
    assert_equal(found, each_draw(lambda m: plain_stopping(m, prices), models))


@pytest.mark.parametrize("turns", [(2, 3), (3, 4)])
def test_turns_change_nothing(monkeypatch, turns):
    """Neither those that divide nor those that are filled up; as on a GPU, several draws each."""
    models, chains = draws(5), Chains.each(CHAINS[::-3])
    expected = each_draw(lambda m: plain_thresholds(m, PRICES, chains), models)
    at_once = (-(-5 // turns[0]), -(-len(PRICES) // turns[1]))
    plan = scale._Plan((1, 1, 1), turns, at_once)
    monkeypatch.setattr(scale, "_plan", lambda *_: plan)
    found = spread_thresholds(models, models.cost_usd, PRICES, chains, num_cells=CELLS)
    assert_equal(found, expected)


# --- Chains in parts ------------------------------------------------------------------------------


@pytest.mark.parametrize("num_parts", [1, 2, 3, 8, 20])
@pytest.mark.parametrize("chains", [Chains.each(CHAINS), Chains.all_subcascades(4)])
def test_parts_of_the_chains_bring_the_same_answers(chains, num_parts):
    """Each part alone, with all that fills it up: what is appended does no harm."""
    graphs, place = scale.divided(chains, num_parts)
    alone = [
        plain_thresholds(toy_model(), PRICES, Chains(*(leaf[part] for leaf in graphs)))
        for part in range(num_parts)
    ]
    found = jax.tree.map(lambda *leaves: np.concatenate(leaves)[place], *alone)
    assert_equal(found, plain_thresholds(toy_model(), PRICES, chains), rtol=0)


def test_parts_of_the_chains_keep_shared_ends_together():
    """Eight parts of a thousand chains solve few more nodes than there are."""
    graphs, _ = scale.divided(Chains.each(subcascades(10)), 8)
    assert graphs.starts.size == 8 * 127
    assert graphs.models.size < 1.3 * 1023


# --- Plans ----------------------------------------------------------------------------------------


class Device:
    """A device as a plan sees it."""

    process_index = 0

    def __init__(self, platform="cpu", memory=None):
        self.platform, self.memory = platform, memory

    def memory_stats(self):
        return self.memory and {"bytes_limit": self.memory}


TASK = scale._Thresholds(128, 5, 8)
EACH = Chains.each(subcascades(5))


@pytest.mark.parametrize(
    ("num_draws", "num_prices", "shards"),
    [(1000, 100, (8, 1, 1)), (1, 100, (1, 1, 8)), (2, 100, (2, 1, 4)), (1, 5, (1, 8, 1))],
)
def test_draws_are_split_first_and_chains_last(num_draws, num_prices, shards):
    task, chains = scale._Thresholds(128, 10, 8), Chains.each(subcascades(10))
    plan = scale._plan(task, num_draws, num_prices, chains, [Device()] * 8, 8 << 30)
    assert plan.shards == shards


def test_a_cpu_takes_one_draw_at_a_time_and_a_gpu_as_many_as_fit():
    on_cpu = scale._plan(TASK, 1000, 100, EACH, [Device()], 4 << 30)
    assert on_cpu.turns == (1000, 1)
    on_gpu = scale._plan(TASK, 1000, 100, EACH, [Device("gpu", 8 << 30)] * 2, None)
    needs = TASK.needs(scale.divided(EACH, 1)[0])
    one = needs.num_bytes + 100 * needs.bytes_per_price
    taken = 2 * 500 * 100 * needs.bytes_of_answer + on_gpu.at_once[0] * one
    assert on_gpu.turns[1] == 1
    # Half of the memory, and most of that half.
    assert 3 << 30 < taken <= 4 << 30


def test_little_memory_takes_prices_in_turns():
    plan = scale._plan(TASK, 1, 1000, EACH, [Device()], 64 << 20)
    assert plan.turns[0] == 1
    assert plan.turns[1] > 1
    assert plan.turns[1] * plan.at_once[1] >= 1000


@pytest.mark.parametrize(
    ("task", "num_cells", "num_prices"),
    [(scale._Thresholds, 64, 5), (scale._Thresholds, 128, 40), (scale._Stopping, 64, 40)],
)
def test_estimated_memory_holds_what_the_compiler_reserves(
    monkeypatch, task, num_cells, num_prices
):
    reserved = {}
    solve = scale._solve

    def noted(*given):
        compiled = solve.lower(*given).compile()
        memory = getattr(compiled, "compiled", compiled).memory_analysis()
        reserved["bytes"] = memory.temp_size_in_bytes + memory.output_size_in_bytes
        return compiled(*given)

    monkeypatch.setattr(scale, "_solve", noted)
    models, prices = draws(2), jnp.geomspace(1e-3, 5.0, num_prices)
    chains = Chains.each(CHAINS) if task is scale._Thresholds else Chains.each([(0,)])
    if task is scale._Thresholds:
        spread_thresholds(models, models.cost_usd, prices, chains, num_cells=num_cells)
    else:
        spread_stopping(models, Prices(prices), num_cells=num_cells)
    needs = task(num_cells, 4, 8).needs(scale.divided(chains, 1)[0])
    turn = needs.num_bytes + num_prices * needs.bytes_per_price
    estimate = turn + 2 * 2 * num_prices * needs.bytes_of_answer
    assert estimate / 5 < reserved["bytes"] <= estimate


# --- Errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"max_bytes": 10_000}, r"`max_bytes` must be at least .* MB.*smaller `num_cells`"),
        ({"max_bytes": 8 << 20, "error": np.ones(100_000)}, r"for the answer.*for each part"),
        ({"devices": []}, r"`devices` must name at least one"),
        ({"error": np.ones((2, 2))}, r"one-dimensional.*\(2, 2\)"),
        ({"error": np.ones(0)}, r"at least one"),
        ({"chains": Chains.each([(0, 7)])}, r"`chains` must hold positions of 4 models.*7"),
        ({"asking_usd": jnp.ones(3)}, r"`asking_usd` must have shape \(4,\)"),
    ],
)
def test_what_cannot_be_spread(changed, message):
    model = toy_model()
    given = {"asking_usd": model.cost_usd, "error": PRICES, "chains": Chains.each(CHAINS)}
    with pytest.raises(InvalidInputError, match=message):
        spread_thresholds(model, **(given | changed), num_cells=CELLS)


def test_draws_that_do_not_fit_together():
    models = draws(3)
    broken = eqx.tree_at(lambda m: m.latency_s, models, models.latency_s[:2])
    with pytest.raises(InvalidInputError, match=r"Every array of `models`.*3 draws"):
        spread_stopping(broken, Prices(PRICES))
    twice = jax.tree.map(lambda leaf: leaf[None], models)
    with pytest.raises(InvalidInputError, match=r"one leading axis.*\(1, 3, 4\)"):
        spread_stopping(twice, Prices(PRICES))


# --- Eight devices --------------------------------------------------------------------------------

# Draws, prices and chains, none of which eight devices, or two times four, divide evenly; and a
# plan, where it is not the one that so small a request would get.
SPLITS = {"draws": (11, 2, 2, None), "prices and chains": (None, 3, 11, (1, 2, 4))}
# Results on their way between devices.
TRAVELS = re.compile(r"= .*? (?:all-gather|all-to-all|collective-permute|all-reduce)\(")
EVEN_SPLIT = Prices(PRICES, 1e-3, 0.2)


def loss_slopes(solve):
    """Derivatives of a sum of losses in parts of two models, and in prices."""
    many = draws(2)

    def total(some, prices):
        return solve(eqx.tree_at(parts, many, some), prices).loss.sum()

    return jax.jit(jax.grad(total, (0, 1)))(parts(many), jnp.asarray(PRICES[-4:]))


def on_all_devices():
    """All that is compared, by name."""
    factors = scale._factors
    for name, (num_draws, num_prices, num_chains, shards) in SPLITS.items():
        models = toy_model() if num_draws is None else draws(num_draws)
        given = (models, models.cost_usd, PRICES[:num_prices], Chains.each(CHAINS[:num_chains]))
        if shards and jax.device_count() > 1:
            scale._factors = lambda n, shards=shards: [shards]
        yield name, spread_thresholds(*given, num_cells=CELLS)
        scale._factors = factors
    yield "stopping", spread_stopping(draws(2), EVEN_SPLIT, num_cells=CELLS)
    chains = Chains.each(CHAINS[-3:])
    yield (
        "slopes",
        loss_slopes(
            lambda m, prices: spread_thresholds(m, m.cost_usd, prices, chains, num_cells=CELLS)
        ),
    )


def eight_devices(path):
    """What a process with eight devices finds; its programs, and in how many parts answers lie."""
    assert jax.device_count() == 8
    programs, solve = [], scale._solve

    def noted(*given):
        if isinstance(given[2].models, jax.core.Tracer):
            return solve(*given)
        compiled = solve.lower(*given).compile()
        programs.append(compiled.compiled.as_text())
        return compiled(*given)

    scale._solve = noted
    results = {}
    for name, found in on_all_devices():
        leaves = jax.tree.leaves(found)
        results |= {f"{name}/{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
        results[f"{name}/parts"] = len({str(part.index) for part in leaves[-1].addressable_shards})
        results[f"{name}/program"] = programs.pop() if programs else ""
    np.savez(path, **results)


@pytest.fixture(scope="module")
def on_eight(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("eight") / "results.npz")
    code = f"from tests.tuning.test_scale import eight_devices; eight_devices({path!r})"
    command = [sys.executable, "-c", code]
    subprocess.run(command, cwd=ROOT, env=of_process(num_devices=8), check=True)
    return np.load(path)


def of_process(num_devices):
    """The environment of a process with several devices and the tests' compilation cache."""
    return os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": "1",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={num_devices}",
        "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".jax_cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


@pytest.mark.slow
@pytest.mark.slow
def test_eight_devices_find_what_one_finds(on_eight):
    for name, found in on_all_devices():
        # Wider matrix products and reverse mode add up in another order; nothing else does.
        rtol = 0 if name in SPLITS else 1e-12
        for i, leaf in enumerate(jax.tree.leaves(found)):
            np.testing.assert_allclose(on_eight[f"{name}/{i}"], leaf, rtol=rtol, err_msg=name)


@pytest.mark.slow
@pytest.mark.slow
def test_derivatives_on_eight_devices_are_those_of_plain_calls(on_eight):
    chains = Chains.each(CHAINS[-3:])
    plain = loss_slopes(
        lambda m, prices: jax.vmap(lambda one: plain_thresholds(one, prices, chains))(m)
    )
    for i, leaf in enumerate(jax.tree.leaves(plain)):
        largest = np.abs(leaf).max()
        assert largest > 0
        np.testing.assert_allclose(on_eight[f"slopes/{i}"], leaf, rtol=1e-9, atol=1e-12 * largest)


@pytest.mark.slow
def test_an_answer_of_even_parts_stays_in_parts(on_eight):
    assert on_eight["stopping/parts"] == 8


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SPLITS, "stopping"])
def test_tables_and_programs_do_not_travel(on_eight, name):
    """Draws, once split, may tell each other arguments of the beta function; never a table."""
    lines = str(on_eight[f"{name}/program"]).splitlines()
    assert any("num_partitions=8" in line for line in lines)
    travels = [line for line in lines if TRAVELS.search(line)]
    if name == "prices and chains":
        assert travels == []
    table = re.compile(rf"\[[\d,]*({CELLS}|{CELLS + 1}),({CELLS}|{CELLS + 1})[,\]]")
    assert [line for line in travels if table.search(line.split(" metadata")[0])] == []


# --- Two processes --------------------------------------------------------------------------------


@pytest.mark.slow
def test_script_of_the_page_runs_in_two_processes(tmp_path):
    (script,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "run.py").write_text(script)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    running = [
        subprocess.Popen(
            [sys.executable, "run.py", address, "2", str(i)], cwd=tmp_path, env=of_process(2)
        )
        for i in range(2)
    ]
    assert [process.wait(timeout=300) for process in running] == [0, 0]
    names = ("llama3.2-3b", "llama3.1-70b", "llama3.1-405b")
    records = jaxcascade.example_records("train").select(names)
    data, n = observations(records), records.num_queries
    chains, prices = Chains.each(subcascades(3)), jnp.geomspace(1e-3, 1.0, 20)
    expected = []
    for number in range(8):
        key = jax.random.fold_in(jax.random.key(0), number)
        counts = jnp.bincount(jax.random.choice(key, n, (n,)), length=n).astype(float)
        model = fit_weighted(data, counts, names).model
        tables = threshold_tables(model, grid_edges(model, 128))
        expected.append(thresholds_of_each(tables, model.cost_usd, prices, chains).loss)
    # Fits end in other digits where they are compiled otherwise.
    np.testing.assert_allclose(np.load(tmp_path / "loss.npy"), expected, rtol=1e-6)
