# SPDX-License-Identifier: Apache-2.0
"""Which modules of a Zipformer are balanced and whitened in training, and how strongly (Yao et al., 2024, appendix A).

The networks know nothing of this: balancers and whiteners are attached to the outputs of their modules as hooks, add no
parameters and do nothing in evaluation mode or before a batch count is known.
"""

from collections.abc import Iterator

from zipvoice.model.balancer import Balancer
from zipvoice.model.scheduled_float import Progress, ScheduledFloat
from zipvoice.model.whiten import Whitener
from zipvoice.model.zipformer import EncoderLayer, Zipformer

RARELY = ScheduledFloat((0, 0.05))


def attach_training_hooks(network: Zipformer, progress: Progress) -> dict[str, Whitener]:
    """Attach balancers and whiteners to every layer; the whiteners are returned, by name, for their state."""
    whiteners = {}
    for name, layer in network.named_modules():
        if not isinstance(layer, EncoderLayer):
            continue
        layer.norm.register_forward_pre_hook(Balancer(progress, 0.45, 0.55, 0.2, 4))
        for part, hook in _hooks(layer, progress):
            layer.get_submodule(part).register_forward_hook(hook)
            if isinstance(hook, Whitener):
                whiteners[f"{name}.{part}"] = hook
    return whiteners


def _hooks(layer: EncoderLayer, progress: Progress) -> Iterator[tuple[str, Balancer | Whitener]]:
    """What acts on the outputs of a layer's modules; of two at the same module the first acts first."""
    keys = slice(layer.self_attn_weights.widths[0], 2 * layer.self_attn_weights.widths[0])
    heads = layer.self_attn_weights.num_heads
    yield "self_attn_weights.in_proj", Balancer(progress, 0.4, 0.6, 0, 100, ScheduledFloat((0, 0.025)), keys)
    yield "self_attn_weights.in_proj", Whitener(progress, _rising(3, 6), 0.025, heads, keys)

    for part in ("self_attn1", "self_attn2"):
        yield part, Whitener(progress, _rising(7.5, 22.5))

    for part in ("feed_forward1", "feed_forward2", "feed_forward3"):
        yield f"{part}.in_proj", Balancer(progress, 0.3, 1, 0.75, 5)
        yield part, Whitener(progress, _rising(7.5, 15))
    yield "feed_forward2", Balancer(progress, 0.3, 0.7, ScheduledFloat((0, 0), (4000, 0.1)), 2, RARELY)
    yield "feed_forward3", Balancer(progress, 0.3, 0.7, ScheduledFloat((0, 0), (4000, 0.2)), 4, RARELY)

    hidden = layer.nonlin_attention.out_proj.in_features
    gate, value = slice(hidden), slice(hidden, 2 * hidden)
    low, high = ScheduledFloat((0, 0.25), (20000, 0.05)), ScheduledFloat((0, 0.75), (20000, 0.95))
    yield "nonlin_attention.in_proj", Balancer(progress, low, high, 0.5, 5, channels=gate)
    yield "nonlin_attention.in_proj", Whitener(progress, _rising(5, 10), channels=value)
    yield "nonlin_attention", Whitener(progress, _rising(5, 15))
    yield "nonlin_attention", Balancer(progress, 0.3, 0.7, ScheduledFloat((0, 0.004), (4000, 0.02)), 100, RARELY)

    dim = layer.norm.bias.numel()
    for part in ("conv_module1", "conv_module2"):
        positive, size = ScheduledFloat((0, 0.05), (8000, 0.025)), ScheduledFloat((0, 5), (8000, 10))
        yield f"{part}.in_proj", Balancer(progress, positive, 1, 1.5, size, channels=slice(dim, 2 * dim))
        positive, size = ScheduledFloat((0, 0.1), (8000, 0.05)), ScheduledFloat((0, 0.2), (20000, 0.5))
        yield f"{part}.depthwise_conv", Balancer(progress, positive, 1, size, 10)
        yield f"{part}.depthwise_conv", Whitener(progress, _rising(7.5, 15))

    yield "bypass", Balancer(progress, 0.45, 0.55, 0.1, 4)
    yield "bypass", Whitener(progress, _rising(4, 12))


def _rising(start: float, end: float) -> ScheduledFloat:
    """From start to end over the first 20 000 batches."""
    return ScheduledFloat((0, start), (20000, end))
