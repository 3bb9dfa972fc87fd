"""Every type of number is stored, counted and priced at its own width, or refused by name before any work."""

from __future__ import annotations

import base64

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import costs, integer, models, quantizers
from gecko_jax.costs.energy import mac_energy
from gecko_jax.integer.codes import code_book
from gecko_jax.integer.packing import unpack_tensor

# A Dense layer of 4 inputs and 3 outputs under uniform(3), written by the first version of the format.
VERSION_1 = (
    "M@2(RPf$Ti0RR91-~a#siEwc9dm?aQd2DZCWFk5<GAtrva$_?xB04lOGB!3iF*r3jEFyGeZgX#Pb0Ruhdm?aQbZ8<vTOx2_a$#+AA}k_eX<>6B"
    "T`VGVXkl<=B05_$T`VGEX>@ZUIx{jXB4KnQIxs9Eba`-PB03^GW;7ywEPEnwVRUFBI$I)eVRB(@b0RDvYh`k7Wo#l{EFyDgVQ^(4I$Ja>GhHkq"
    "Vrg`9B04iHB4KnQIx#XVB4=`GWFk6SEi^1KT`VGVV_|G%Uvp?-aAhJoTQMv%T`VGVV_|G%Utx42Ix;YQU40-R0000#004l$0000$kv6vW4*&oF"
    "R#nwLR#nwL0000#"
)


class Narrow(nn.Module):
    """Two layers in one type, parameters included."""

    dtype: type

    @nn.compact
    def __call__(self, x):
        kinds = dict(dtype=self.dtype, param_dtype=self.dtype)
        return nn.Dense(3, **kinds)(nn.relu(nn.Dense(8, **kinds)(x)))


def single(quantizer, kernel):
    """(a quantized Dense layer without bias, its variables, one input)."""
    model = models.quantized(models.from_linen(nn.Dense(kernel.shape[1], use_bias=False)), [("", quantizer, None)], ())
    return model, {"params": {"kernel": kernel}}, np.zeros((1, kernel.shape[0]), np.float32)


@pytest.mark.parametrize("dtype, bits", [(jnp.bfloat16, 16), (jnp.float16, 16), (jnp.float32, 32)])
def test_a_float_model_is_priced_at_the_width_of_its_type(dtype, bits, filled):
    model, x = models.from_linen(Narrow(dtype)), jnp.zeros((2, 6), dtype)
    cost = costs.cost(model, filled(model, x), x)
    macs, weights = 6 * 8 + 8 * 3, 6 * 8 + 8 + 8 * 3 + 3
    assert {k: e.value for k, e in cost.macs.items()} == {(bits, bits): macs}
    assert {k: e.value for k, e in cost.parameters.items()} == {bits: weights}
    assert cost.stored.raw_bytes == weights * bits // 8
    assert cost.deployed_bytes.value == cost.stored.payload
    assert cost.peak_activation_bytes.value == (6 + 8) * bits // 8
    assert cost.bops.value == macs * bits * bits
    price = {16: 0.4 + 1.1, 32: 0.9 + 3.7}[bits]  # an addition and a multiplication in Horowitz's table
    assert cost.compute_energy.value == pytest.approx(macs * price * 1e-12)


def test_a_lookup_in_half_precision_is_listed_at_16_bits(filled):
    class Words(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(2)(nn.Embed(5, 4, param_dtype=jnp.bfloat16)(x).astype(jnp.float32).mean(1))

    x, model = np.zeros((1, 3), np.int32), models.from_linen(Words())
    layers = {layer.kind: layer for layer in costs.cost(model, filled(model, x), x).layers}
    assert (layers["Embed"].macs, layers["Embed"].weight_bits) == (0, 16)


def test_float64_is_stored_in_full_and_priced_above_float32(tmp_path):
    with jax.enable_x64(True):
        kernel = np.random.default_rng(0).normal(size=(5, 3))
        model, variables, x = single(quantizers.uniform(4), jnp.asarray(kernel))
        integer.write(tmp_path / "m", integer.pack(model, variables, x))
        back = integer.read(tmp_path / "m")["params"]["kernel"]
        assert back.dtype == np.float64
        np.testing.assert_array_equal(back, quantizers.uniform(4).apply((), jnp.asarray(kernel)))
        plain = models.from_linen(nn.Dense(3, use_bias=False, param_dtype=jnp.float64))
        cost = costs.cost(plain, variables, x.astype(np.float64))
        assert cost.parameters.keys() == {64} and cost.macs.keys() == {(64, 64)}
    assert mac_energy(64, 64) > mac_energy(32, 32) > mac_energy(16, 16) > mac_energy(8, 8)
    assert mac_energy(1, 64) > mac_energy(1, 32) > mac_energy(1, 16)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64", "int8", "uint16", "bool", "complex64", "int4",
                                   "float8_e4m3fn"])  # fmt: skip
def test_raw_leaves_come_back_in_their_type_to_the_bit(dtype, tmp_path):
    stored = np.arange(-3, 6).astype(np.float32).reshape(3, 3).astype(jnp.dtype(dtype))
    model, x = models.from_linen(nn.Dense(2)), np.zeros((1, 4), np.float32)
    variables = {**model.init(jax.random.key(0), x), "extra": {"leaf": stored}}
    written = integer.write(tmp_path / "m", integer.pack(model, variables, x))
    back = integer.read(tmp_path / "m")["extra"]["leaf"]
    assert back.dtype == stored.dtype and back.tobytes() == stored.tobytes()
    assert written.raw_bytes == 4 * 10 + stored.nbytes


def test_complex_products_count_their_four_real_ones():
    class Spectrum(nn.Module):
        @nn.compact
        def __call__(self, x):
            w = self.param("w", nn.initializers.ones, (4, 3), jnp.complex64)
            return jnp.abs(x.astype(jnp.complex64) @ w)

    model, x = models.from_linen(Spectrum()), np.zeros((1, 4), np.float32)
    cost = costs.cost(model, {"params": {"w": np.ones((4, 3), np.complex64)}}, x)
    assert {k: e.value for k, e in cost.macs.items()} == {(32, 32): 4 * 12}
    assert cost.stored.raw_bytes == 8 * 12


@pytest.mark.parametrize("dtype", [jnp.int8, jnp.complex64])
def test_weights_that_are_not_real_floats_are_refused_before_training(dtype):
    class Integers(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(3, param_dtype=dtype, kernel_init=nn.initializers.zeros)(x)

    model = models.quantized(models.from_linen(Integers()), [("", quantizers.ternary(), None)], float_layers=())
    with pytest.raises(ValueError, match=f"type {jnp.dtype(dtype).name} cannot be quantized"):
        model.init(jax.random.key(0), jnp.zeros((1, 4)))
    variables = {"params": {"Dense_0": {"kernel": np.zeros((4, 3), dtype), "bias": np.zeros(3, np.float32)}}}
    scheme = quantizers.ternary()._replace(init=lambda w: ())  # a scheme of one's own that looks at nothing
    model = models.quantized(models.from_linen(Integers()), [("", scheme, None)], float_layers=())
    with pytest.raises(ValueError, match="params/Dense_0/kernel has type.*real floats"):
        integer.pack(model, variables, jnp.zeros((1, 4)))


def test_a_random_key_is_refused_by_name():
    model, x = models.from_linen(nn.Dense(2)), np.zeros((1, 4), np.float32)
    variables = {**model.init(jax.random.key(0), x), "rng": {"key": jax.random.key(3)}}
    with pytest.raises(ValueError, match="rng/key has type key.*key_data"):
        integer.pack(model, variables, x)


def test_a_file_of_version_1_reads_and_is_still_written_so(tmp_path):
    content = base64.b85decode(VERSION_1)
    (tmp_path / "old").write_bytes(content)
    params = integer.read(tmp_path / "old")["params"]
    kernel = ((np.arange(12).reshape(4, 3) - 5.0) / 4).astype(np.float32)
    np.testing.assert_array_equal(params["kernel"], quantizers.uniform(3).apply((), kernel))
    assert params["bias"].tolist() == [0.5, -1.0, 2.0] and params["bias"].dtype == np.float32
    model = models.quantized(models.from_linen(nn.Dense(3)), [("", quantizers.uniform(3), None)], float_layers=())
    variables = {"params": {"kernel": kernel, "bias": params["bias"]}}
    assert integer.encode(integer.pack(model, variables, np.zeros((1, 4), np.float32))) == content


def test_a_file_of_a_later_version_is_refused_by_number(tmp_path):
    content = bytearray(base64.b85decode(VERSION_1))
    content[8] = 4
    (tmp_path / "new").write_bytes(content)
    with pytest.raises(ValueError, match="new has version 4; this library reads versions 1 to 3"):
        integer.read(tmp_path / "new")


@pytest.mark.parametrize("levels, bits, kind, stored", [
    ((-4, -2, -1, 0, 1, 2, 4), 3, np.int8, 7),
    ((-2, -1, 1, 2), 2, np.int8, 4),
    ((-100, -1, 1, 100), 2, np.int8, 4),
    ((-1000, 1, 1000), 2, np.int32, 12),
    ((-1, -0.25, 0, 0.5), 2, np.float32, 16),
])  # fmt: skip
def test_levels_off_any_grid_have_a_code_book(levels, bits, kind, stored, tmp_path):
    levels = np.array(levels, np.float32)
    kernel = levels[np.random.default_rng(0).permutation(np.arange(40) % len(levels))].reshape(10, 4)

    def codes(state, w):
        return integer_codes(w, bits)

    scheme = quantizers.ternary()._replace(name="mine", bits=bits, apply=lambda s, w, key=None: w * 0.5, codes=codes)
    packed = integer.pack(*single(scheme, kernel))
    [tensor] = packed.tensors
    assert tensor.book.dtype == kind and tensor.book.tolist() == levels.tolist()
    np.testing.assert_array_equal(unpack_tensor(tensor), kernel * 0.5)
    size = integer.write(tmp_path / "m", packed)
    assert (size.code_bits, size.scale_bytes) == (40 * bits, 4 + stored)
    assert size.total == (tmp_path / "m").stat().st_size
    np.testing.assert_array_equal(integer.read(tmp_path / "m")["params"]["kernel"], kernel * 0.5)
    assert integer.encode(integer.read_packed(tmp_path / "m")) == (tmp_path / "m").read_bytes()


def integer_codes(w, bits):
    from gecko_jax.types import Codes

    return Codes(w, np.float32(0.5), bits)


def test_more_levels_than_bits_hold_are_refused_with_both_numbers():
    with pytest.raises(ValueError, match="5 values in -4..4; 2 bits hold 4. Declare more bits"):
        code_book([-4, -1, 0, 1, 4], 2)
    with pytest.raises(ValueError, match="params/kernel: quantizer 'uniform8' has bits=12; codes of 1 to 8"):
        wide = quantizers.uniform(8)
        wide = wide._replace(bits=12, codes=lambda state, w: quantizers.uniform(8).codes(state, w)._replace(bits=12))
        integer.pack(*single(wide, np.ones((4, 2), np.float32)))
    with pytest.raises(ValueError, match="declares bits=2 and returns codes of 3 bits"):
        codes = quantizers.uniform(3).codes
        integer.pack(*single(quantizers.uniform(2)._replace(codes=codes), np.ones((4, 2), np.float32)))
    with pytest.raises(ValueError, match="not exact in float32"):
        code_book([0, 2**40 + 1], 1)
