"""Loops of a network's layers on a CPU, on float32 arrays with their channels last.

Those of activation pass once over what torch passes over two or three times, and take less than
half of its time for an exponential. Those of Winograd's convolution stand for the matrices in
``pipeline.boundaries.winograd``. Each result depends on its own inputs alone: arrays may be
cut anywhere and given to several threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.compiled import compiled

NO_ACTIVATION, ELU, RELU = 0, 1, 2
TWO, FOUR, FIVE, EIGHT = (np.float32(n) for n in (2, 4, 5, 8))
ZERO, LOWEST, PART = np.float32(0), np.float32(-18), np.float32(1 / 32)
# expm1(x) / x on -0.5625..0, within 5e-11; least squares on Chebyshev nodes
C0, C1, C2, C3, C4, C5, C6 = (
    np.float32(c)
    for c in (
        1.0,
        4.99999993e-01,
        1.66666452e-01,
        4.16643594e-02,
        8.32145216e-03,
        1.35719724e-03,
        1.55543360e-04,
    )
)


@compiled
def _elu(x: Any) -> Any:
    """ELU within 2e-7; NaN stays NaN. expm1(2 x) = expm1(x) (expm1(x) + 2), five times."""
    y = (x if x > LOWEST else LOWEST) * PART
    e = y * (C0 + y * (C1 + y * (C2 + y * (C3 + y * (C4 + y * (C5 + y * C6))))))
    e = e * (e + TWO)
    e = e * (e + TWO)
    e = e * (e + TWO)
    e = e * (e + TWO)
    e = e * (e + TWO)
    return e if x < ZERO else x


@compiled
def elu(values: Any) -> None:
    """ELU of (n,) values, in place."""
    for i in range(values.size):
        values[i] = _elu(values[i])


@compiled
def elu_of_sum(values: Any, added: Any) -> None:
    """ELU of the sum of two (n,) arrays, in the place of the first."""
    for i in range(values.size):
        values[i] = _elu(values[i] + added[i])


@compiled
def elu_of_shuffled(x: Any, result: Any) -> None:
    """ELU of (H, W, 4 C), channels (row, column, C) of 2 x 2 pixels, to (2 H, 2 W, C)."""
    height, width, channels = x.shape
    run = channels // 2  # the channels of two pixels side by side
    for y in range(height):
        for row in range(2):
            to = result[2 * y + row].reshape(width, run)
            for column in range(width):
                source = x[y, column, row * run : (row + 1) * run]
                target = to[column]
                for c in range(run):
                    target[c] = _elu(source[c])


@compiled
def elu_of_pooled(x: Any, result: Any) -> None:
    """ELU of the maximum of 2 x 2 pixels: (2 H, 2 W, C) to (H, W, C). NaN stays NaN."""
    height, width, channels = result.shape
    for y in range(height):
        for column in range(width):
            a, b = x[2 * y, 2 * column], x[2 * y, 2 * column + 1]
            c, d = x[2 * y + 1, 2 * column], x[2 * y + 1, 2 * column + 1]
            to = result[y, column]
            for i in range(channels):
                top = b[i] if b[i] > a[i] or np.isnan(b[i]) else a[i]
                low = d[i] if d[i] > c[i] or np.isnan(d[i]) else c[i]
                to[i] = _elu(low if low > top or np.isnan(low) else top)


@compiled
def to_tiles(x: Any, dilation: int, row: int, phase: int, tiles: Any, offset: int) -> None:
    """A row of 6 x 6 tiles of one phase of the image's rows, all phases of its columns.

    Parameters
    ----------
    x
        (H, W, C); beyond its border there are zeros.
    dilation, row, phase
        Image rows ``dilation (4 row + i - 1) + phase`` for i = 0..5.
    tiles
        (36, n C) transformed tiles.
    offset
        Number of the first tile that is written.
    """
    height, width, channels = x.shape
    across = -(-width // (4 * dilation))
    length = (4 * across + 2) * channels
    rows = np.empty((6, length), np.float32)
    once = np.empty((6, length), np.float32)
    for column in range(dilation):
        here = (width - column + dilation - 1) // dilation
        for i in range(6):
            y = dilation * (4 * row + i - 1) + phase
            to = rows[i]
            if y < 0 or y >= height:
                to[:] = ZERO
                continue
            to[:channels] = ZERO
            to[(here + 1) * channels :] = ZERO
            for j in range(here):
                source = x[y, column + j * dilation]
                target = to[(j + 1) * channels : (j + 2) * channels]
                for c in range(channels):
                    target[c] = source[c]
        _six(rows[0], rows[1], rows[2], rows[3], rows[4], rows[5], once, 0, 0)
        for i in range(6):
            line = once[i]
            for t in range(across):
                b = 4 * t * channels
                x0, x1 = line[b : b + channels], line[b + channels : b + 2 * channels]
                b += 2 * channels
                x2, x3 = line[b : b + channels], line[b + channels : b + 2 * channels]
                b += 2 * channels
                x4, x5 = line[b : b + channels], line[b + channels : b + 2 * channels]
                first = (offset + column * across + t) * channels
                _six(x0, x1, x2, x3, x4, x5, tiles, 6 * i, first)


@compiled
def _six(
    x0: Any, x1: Any, x2: Any, x3: Any, x4: Any, x5: Any, result: Any, row: int, first: int
) -> None:
    """Winograd's B^T of six (n,) lines, to six rows of ``result`` from column ``first`` on."""
    n = x0.size
    to = result[row, first : first + n]
    for c in range(n):
        to[c] = FOUR * x0[c] - FIVE * x2[c] + x4[c]
    to = result[row + 1, first : first + n]
    for c in range(n):
        to[c] = x3[c] + x4[c] - FOUR * (x1[c] + x2[c])
    to = result[row + 2, first : first + n]
    for c in range(n):
        to[c] = x4[c] - x3[c] + FOUR * (x1[c] - x2[c])
    to = result[row + 3, first : first + n]
    for c in range(n):
        to[c] = x4[c] - x2[c] + TWO * (x3[c] - x1[c])
    to = result[row + 4, first : first + n]
    for c in range(n):
        to[c] = x4[c] - x2[c] - TWO * (x3[c] - x1[c])
    to = result[row + 5, first : first + n]
    for c in range(n):
        to[c] = FOUR * x1[c] - FIVE * x3[c] + x5[c]


@compiled
def from_tiles(
    tiles: Any,
    dilation: int,
    row: int,
    phase: int,
    offset: int,
    bias: Any,
    added: Any,
    adds: bool,
    activation: int,
    result: Any,
) -> None:
    """Rows of the image from a row of products of tiles: the way back from ``to_tiles``.

    Parameters
    ----------
    tiles
        (36, n K) products.
    dilation, row, phase, offset
        Those of ``to_tiles``.
    bias
        (K,), added to every pixel.
    added, adds
        (H, W, K), added before the activation if ``adds``.
    activation
        ``NO_ACTIVATION``, ``ELU`` or ``RELU``.
    result
        (H, W, K), of which rows ``dilation (4 row + i) + phase`` are written for i = 0..3.
    """
    height, width, channels = result.shape
    across = -(-width // (4 * dilation))
    once = np.empty((4, 6 * across * channels), np.float32)
    pixels = np.empty((4, channels), np.float32)
    for column in range(dilation):
        here = (width - column + dilation - 1) // dilation
        low = (offset + column * across) * channels
        n = across * channels
        for j in range(6):
            m0, m1 = tiles[j, low : low + n], tiles[6 + j, low : low + n]
            m2, m3 = tiles[12 + j, low : low + n], tiles[18 + j, low : low + n]
            m4, m5 = tiles[24 + j, low : low + n], tiles[30 + j, low : low + n]
            _four(m0, m1, m2, m3, m4, m5, once, j * n)
        for i in range(4):
            y = dilation * (4 * row + i) + phase
            if y >= height:
                break
            line = once[i]
            for t in range(across):
                a = t * channels
                x0, x1 = line[a : a + channels], line[a + n : a + n + channels]
                a += 2 * n
                x2, x3 = line[a : a + channels], line[a + n : a + n + channels]
                a += 2 * n
                x4, x5 = line[a : a + channels], line[a + n : a + n + channels]
                _four(x0, x1, x2, x3, x4, x5, pixels, 0)
                for k in range(min(4, here - 4 * t)):
                    x = column + (4 * t + k) * dilation
                    pixel = pixels[k]
                    if adds:
                        _add(pixel, added[y, x])
                    _activate(pixel, bias, activation, result[y, x])


@compiled
def _add(values: Any, added: Any) -> None:
    for c in range(values.size):
        values[c] += added[c]


@compiled
def _activate(values: Any, bias: Any, activation: int, result: Any) -> None:
    """Activation of (n,) values plus bias; NaN stays NaN."""
    if activation == ELU:
        for c in range(values.size):
            result[c] = _elu(values[c] + bias[c])
    elif activation == RELU:
        for c in range(values.size):
            value = values[c] + bias[c]
            result[c] = ZERO if value < ZERO else value
    else:
        for c in range(values.size):
            result[c] = values[c] + bias[c]


@compiled
def _four(x0: Any, x1: Any, x2: Any, x3: Any, x4: Any, x5: Any, result: Any, first: int) -> None:
    """Winograd's A^T of six (n,) lines, to four rows of ``result`` from column ``first`` on."""
    n = x0.size
    to = result[0, first : first + n]
    for c in range(n):
        to[c] = x0[c] + (x1[c] + x2[c]) + (x3[c] + x4[c])
    to = result[1, first : first + n]
    for c in range(n):
        to[c] = (x1[c] - x2[c]) + TWO * (x3[c] - x4[c])
    to = result[2, first : first + n]
    for c in range(n):
        to[c] = (x1[c] + x2[c]) + FOUR * (x3[c] + x4[c])
    to = result[3, first : first + n]
    for c in range(n):
        to[c] = (x1[c] - x2[c]) + EIGHT * (x3[c] - x4[c]) + x5[c]
