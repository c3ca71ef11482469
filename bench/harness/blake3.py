"""BLAKE3, which the platform names static files by: small inputs only, for the standard library has none.

After the reference implementation of the specification (https://github.com/BLAKE3-team/BLAKE3-specs)."""

from __future__ import annotations

import struct
from collections.abc import Sequence

_IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
_PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
# The four columns, then the four diagonals.
_QUARTERS = (
    *((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)),
    *((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)),
)
_CHUNK_START, _CHUNK_END, _PARENT, _ROOT = 1, 2, 4, 8
_ROUNDS = 7
_BLOCK_BYTES, _CHUNK_BYTES = 64, 1024
_MASK = 0xFFFFFFFF


def hexdigest(content: bytes) -> str:
    """The 32 bytes of the plain hash."""
    return struct.pack("<8I", *_subtree(content, 0, _ROOT)).hex()


def _subtree(content: bytes, chunk: int, root: int) -> list[int]:
    """The chaining value of what begins with the chunk of that number: the left half is the largest power of two."""
    if len(content) <= _CHUNK_BYTES:
        return _chunk(content, chunk, root)
    chunks = (len(content) - 1) // _CHUNK_BYTES
    left = 1 << (chunks.bit_length() - 1)
    cut = left * _CHUNK_BYTES
    words = [*_subtree(content[:cut], chunk, 0), *_subtree(content[cut:], chunk + left, 0)]
    return _compress(_IV, words, 0, _BLOCK_BYTES, _PARENT | root)


def _chunk(content: bytes, number: int, root: int) -> list[int]:
    value = list(_IV)
    last = max(0, (len(content) - 1) // _BLOCK_BYTES)
    for index in range(last + 1):
        block = content[index * _BLOCK_BYTES : (index + 1) * _BLOCK_BYTES]
        words = struct.unpack("<16I", block.ljust(_BLOCK_BYTES, b"\0"))
        flags = (_CHUNK_START if index == 0 else 0) | ((_CHUNK_END | root) if index == last else 0)
        value = _compress(value, words, number, len(block), flags)
    return value


def _compress(value: Sequence[int], words: Sequence[int], counter: int, length: int, flags: int) -> list[int]:
    state = [*value, *_IV[:4], counter & _MASK, counter >> 32, length, flags]
    for _ in range(_ROUNDS):
        for index, (a, b, c, d) in enumerate(_QUARTERS):
            for word, (first, second) in zip(words[2 * index : 2 * index + 2], ((16, 12), (8, 7))):
                state[a] = (state[a] + state[b] + word) & _MASK
                state[d] = _rotated(state[d] ^ state[a], first)
                state[c] = (state[c] + state[d]) & _MASK
                state[b] = _rotated(state[b] ^ state[c], second)
        words = [words[index] for index in _PERMUTATION]
    return [state[index] ^ state[index + 8] for index in range(8)]


def _rotated(word: int, by: int) -> int:
    return (word >> by | word << (32 - by)) & _MASK
