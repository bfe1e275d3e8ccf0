"""Seconds that ideal hardware would need: no operation waits for another, memory and arithmetic are at their peaks.

A decoding step reads the weights once for the whole batch and the KV cache of each sequence, so it is bound by memory until the
batch is large; reading a prompt and training are bound by arithmetic. Lengths are taken as exponentially distributed about their
mean, which is what a constant chance to end at each token gives.
"""

import math

from magpie_align.pricing.resources import Device
from magpie_align.pricing.shapes import forward_flops, kv_bytes
from magpie_align.training.shape import Shape


def step_seconds(shape: Shape, device: Device, gpus: int, batch: float, context: float, element: int = 2) -> float:
    """One decoding step: a token for each of `batch` sequences, with `context` tokens in cache each; weights over `gpus`."""
    memory = shape.parameters * element + batch * context * kv_bytes(shape, element)
    arithmetic = batch * forward_flops(shape, context)
    return max(memory / device.bandwidth, arithmetic / device.flops) / gpus


def reading_seconds(shape: Shape, device: Device, gpus: int, tokens: float, context: float) -> float:
    """Of `tokens` read and none written: prompts, or chats to be scored; each token looks at half its `context`."""
    return tokens * forward_flops(shape, context / 2) / device.flops / gpus


def streaming_seconds(
    shape: Shape, device: Device, gpus: int, rows: float, prompt: float, new: float, batch: float, element: int = 2
) -> float:
    """`rows` requests of `prompt` tokens that get `new` tokens each, the batch always full: a finished one is followed at once."""
    steps = rows * new / batch * step_seconds(shape, device, gpus, batch, prompt + new, element)
    return steps + reading_seconds(shape, device, gpus, rows * prompt, prompt)


def draining_seconds(
    shape: Shape, device: Device, gpus: int, requests: float, prompt: float, new: float, batch: float, longest: int
) -> float:
    """The same for a call with `requests` and no more: once none is waiting the batch drains, down to its longest answer."""
    held = min(batch, requests)
    first = streaming_seconds(shape, device, gpus, requests - held, prompt, new, held)
    total = first + reading_seconds(shape, device, gpus, held * prompt, prompt)
    for written in range(longest):
        left = held * math.exp(-written / new)
        if left < 0.5:
            break
        total += step_seconds(shape, device, gpus, max(left, 1.0), prompt + written)
    return total


def training_seconds(shape: Shape, device: Device, tokens: float, context: float, passes: float) -> float:
    """Of `tokens` trained on. `passes` forward passes' worth of work each: 3 for a step, 4 with gradient checkpointing."""
    return tokens * passes * forward_flops(shape, context) / device.flops
