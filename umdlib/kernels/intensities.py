"""Sums, maxima and sphere means of an image under the masks of a bit-mask volume."""

from __future__ import annotations

import numpy as np

from umdlib.kernels.compiled import njit


@njit(cache=True, nogil=True)
def sums(image, bits, count, total, highest):
    """Add up flat voxels of every mask: their number, sum and maximum, one entry a bit."""
    one = np.uint64(1)
    for n in range(len(bits)):
        left = np.uint64(bits[n])
        if left == 0:
            continue
        value = np.float64(image[n])
        for bit in range(len(count)):
            if left & one:
                count[bit] += 1
                total[bit] += value
                highest[bit] = max(highest[bit], value)
            left >>= one
            if left == 0:
                break


@njit(cache=True, nogil=True)
def peaks(image, bits, means, offsets, steps, reach, highest):
    """Largest sphere mean whose centre lies in each mask.

    Flat image, bits and sphere means (NaN where not known yet, filled here) of one shape; `offsets`
    (n, 3) are the sphere's voxels, `steps` the shape, first axis fastest, `reach` how far the sphere
    goes along each axis. A sphere that leaves the image is the part inside.
    """
    one = np.uint64(1)
    inner = np.empty(len(offsets), np.int64)
    for s in range(len(offsets)):
        inner[s] = offsets[s, 0] + steps[0] * (offsets[s, 1] + steps[1] * offsets[s, 2])
    for k in range(steps[2]):
        for j in range(steps[1]):
            row = steps[0] * (j + steps[1] * k)
            safe = reach[1] <= j < steps[1] - reach[1] and reach[2] <= k < steps[2] - reach[2]
            for i in range(steps[0]):
                n = row + i
                left = np.uint64(bits[n])
                if left == 0:
                    continue
                mean = means[n]
                if mean != mean:
                    mean = 0.0
                    if safe and reach[0] <= i < steps[0] - reach[0]:
                        for s in range(len(inner)):
                            mean += image[n + inner[s]]
                        mean /= len(inner)
                    else:
                        inside = 0
                        for s in range(len(inner)):
                            a, b, c = i + offsets[s, 0], j + offsets[s, 1], k + offsets[s, 2]
                            if 0 <= a < steps[0] and 0 <= b < steps[1] and 0 <= c < steps[2]:
                                mean += image[n + inner[s]]
                                inside += 1
                        mean /= inside
                    means[n] = mean  # rounded, and the same when it is read again
                    mean = np.float64(means[n])
                for bit in range(len(highest)):
                    if left & one:
                        highest[bit] = max(highest[bit], mean)
                    left >>= one
                    if left == 0:
                        break
