"""The function for JAX against the oracle: every p, every family of losses, jit, grad, vmap."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="jax is not installed: make test-adapters has it")

from lossmaxpool.adapters.jax import loss_max_pool  # noqa: E402
from lossmaxpool.paper import theorems  # noqa: E402
from tests.cases import LOSS_FAMILIES, P_VALUES  # noqa: E402
from tests.tolerances import FLOAT32, JAX  # noqa: E402

jnp = jax.numpy


@pytest.fixture
def double() -> Iterator[None]:
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def losses_of(family: str, n: int = 200) -> np.ndarray[Any, Any]:
    return LOSS_FAMILIES[family](np.random.default_rng(0), n)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("share", [0.013, 0.25, 1.0])
@pytest.mark.parametrize("family", LOSS_FAMILIES)
@pytest.mark.parametrize("p", P_VALUES)
def test_value_and_gradient_of_the_oracle(p: float, family: str, share: float) -> None:
    losses = losses_of(family)
    truth = theorems.solve(losses, p, max(share * len(losses), 1.0))

    def pooled(x: Any) -> Any:
        return loss_max_pool(x[None], p=p, min_support=share)

    value, weights = jax.value_and_grad(pooled)(jnp.asarray(losses))
    expected = float((truth.weights * losses).sum())
    assert float(value) == pytest.approx(expected, rel=JAX["float64"], abs=0)
    positive = losses > 0  # where a loss is 0, its weight does not matter
    np.testing.assert_allclose(
        np.asarray(weights)[positive],
        truth.weights[positive],
        rtol=0,
        atol=JAX["float64"] * float(truth.weights.max()),
    )


@pytest.mark.parametrize("family", ["lognormal", "ties", "zeros"])
@pytest.mark.parametrize("p", [1.0, 1.01, 1.3, 2.0, math.inf])
def test_float32(p: float, family: str) -> None:
    losses = losses_of(family).astype(np.float32)
    truth = theorems.solve(losses.astype(np.float64), p, 0.25 * len(losses))
    ours = loss_max_pool(jnp.asarray(losses)[None], p=p)
    assert ours.dtype == jnp.float32
    assert float(ours) == pytest.approx(float((truth.weights * losses).sum()), rel=JAX["float32"])


@pytest.mark.parametrize("p", [1.0, 1.3, math.inf])
def test_compiled_and_vectorized_it_is_the_same(p: float) -> None:
    batch = jnp.asarray(np.stack([losses_of("lognormal"), losses_of("exponential")]), jnp.float32)

    def pooled(x: Any) -> Any:
        return loss_max_pool(x, p=p, reduction="none")

    plain = pooled(batch)
    np.testing.assert_allclose(jax.jit(pooled)(batch), plain, rtol=JAX["float32"])
    np.testing.assert_allclose(jax.vmap(lambda x: pooled(x[None])[0])(batch), plain, rtol=FLOAT32)
    gradient = jax.jit(jax.grad(lambda x: pooled(x).sum()))(batch)
    assert float(gradient.sum()) <= 2 * (1 + FLOAT32)


@pytest.mark.parametrize("p", [1.0, 1.3, math.inf])
def test_ignored_pixels_do_not_exist(p: float) -> None:
    losses = jnp.asarray(losses_of("lognormal"), jnp.float32)
    wider = jnp.concatenate([losses, jnp.full(300, jnp.nan)])
    valid = jnp.arange(500) < 200

    def pooled(x: Any) -> Any:
        return loss_max_pool(x[None], p=p, valid=valid[None])

    value, gradient = jax.value_and_grad(pooled)(wider)
    assert float(value) == pytest.approx(float(loss_max_pool(losses[None], p=p)), rel=FLOAT32)
    assert not bool(gradient[200:].any())
    assert not bool(jnp.isnan(gradient).any())


@pytest.mark.parametrize("p", [1.0, 1.3, math.inf])
def test_nothing_valid_is_zero(p: float) -> None:
    losses, valid = jnp.ones((2, 5)), jnp.asarray([[False] * 5, [True] * 5])

    def pooled(x: Any) -> Any:
        return loss_max_pool(x, p=p, valid=valid)

    value, gradient = jax.value_and_grad(pooled)(losses)
    assert float(value) == pytest.approx(1.0, rel=FLOAT32)
    assert not bool(gradient[0].any())


@pytest.mark.parametrize("p", [1.0, 1.3, math.inf])
@pytest.mark.parametrize("wrong", [math.nan, math.inf, -1.0])
def test_an_unsound_loss_comes_out_as_nan(p: float, wrong: float) -> None:
    losses = jnp.ones((2, 5)).at[0, 2].set(wrong)
    values = loss_max_pool(losses, p=p, reduction="none")
    assert math.isnan(float(values[0]))
    assert float(values[1]) == pytest.approx(1.0, rel=FLOAT32)


@pytest.mark.parametrize("shape", [(2, 0), (0, 5), (0, 0)])
def test_no_pixel_or_no_image_is_zero(shape: tuple[int, int]) -> None:
    assert float(loss_max_pool(jnp.ones(shape))) == 0
    assert loss_max_pool(jnp.ones(shape), reduction="none").shape == shape[:1]


def test_a_batch_is_one_pool() -> None:
    losses = jnp.asarray(losses_of("lognormal"), jnp.float32)
    both = loss_max_pool(losses.reshape(2, 10, 10), pool="batch")
    assert float(both) == float(loss_max_pool(losses[None]))
    assert float(both) == float(loss_max_pool(losses, pool="batch"))


def test_half_precision_keeps_its_gradient() -> None:
    losses = jnp.ones((1, 5), jnp.bfloat16)
    gradient = jax.grad(lambda x: loss_max_pool(x))(losses)
    assert gradient.dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"p": 0.5}, ValueError, "p must be a norm exponent"),
        ({"min_support": 0}, ValueError, "min_support must be a share"),
        ({"pool": "world"}, ValueError, "pool must be one of 'image', 'batch', got 'world'"),
        ({"reduction": "avg"}, ValueError, "reduction must be one of"),
        ({"valid": np.ones((1, 5))}, TypeError, "valid must be bool, got float64"),
        ({"valid": np.ones((1, 4), bool)}, ValueError, r"valid has shape \(1, 4\)"),
    ],
)
def test_what_is_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        loss_max_pool(jnp.ones((1, 5)), **options)


def test_shapes_and_types_that_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(5,\) and no pixels of an image"):
        loss_max_pool(jnp.ones(5))
    with pytest.raises(TypeError, match="losses must be floating, got int32"):
        loss_max_pool(jnp.ones((1, 5), jnp.int32))
