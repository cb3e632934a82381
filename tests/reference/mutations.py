"""Damages bytes as disks, transfers and attackers do, reproducibly for a seed."""

from __future__ import annotations

import random
import struct

TELLING = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1)


def mutated(content: bytes, chance: random.Random, skeleton_bytes: int = 400) -> bytes:
    """Return the content with one to four kinds of damage, mostly at the ends, where the structure is."""
    damaged = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        if not damaged:
            break
        _damage(damaged, _place(len(damaged), chance, skeleton_bytes), chance)
    return bytes(damaged)


def _place(length: int, chance: random.Random, skeleton_bytes: int) -> int:
    kind = chance.random()
    if kind < 0.6:
        return chance.randrange(min(length, skeleton_bytes))
    if kind < 0.75:
        return length - 1 - chance.randrange(min(length, skeleton_bytes))
    return chance.randrange(length)


def _damage(damaged: bytearray, position: int, chance: random.Random) -> None:
    kind = chance.randrange(8)
    if kind == 0:
        damaged[position] ^= 1 << chance.randrange(8)
    elif kind == 1:
        damaged[position] = chance.randrange(256)
    elif kind == 2:
        value, form = chance.choice(TELLING), chance.choice(("<B", "<H", "<I", "<Q", ">H", ">I", ">Q"))
        packed = struct.pack(form, value & ((1 << 8 * struct.calcsize(form)) - 1))
        damaged[position : position + len(packed)] = packed
    elif kind == 3:
        del damaged[position:]
    elif kind == 4:
        del damaged[position : position + chance.choice((1, 2, 4, 7, 100))]
    elif kind == 5:
        damaged[position:position] = chance.randbytes(chance.choice((1, 2, 4, 7, 100)))
    elif kind == 6:
        source = chance.randrange(len(damaged))
        damaged[position:position] = damaged[source : source + chance.choice((1, 8, 64))]
    else:
        source, length = chance.randrange(len(damaged)), chance.choice((1, 4, 16))
        damaged[position : position + length] = damaged[source : source + length]
