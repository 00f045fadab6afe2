# SPDX-License-Identifier: Apache-2.0
"""A linear layer with a low-rank adapter that is in its weight, for whoever reads it. Needs the library peft."""

from peft.tuners import lora
from torch import Tensor, nn
from torch.func import functional_call

ADAPTER = "default"
"""The name that peft gives an adapter that is not named."""


class AdaptedLinear(lora.Linear):
    """peft's layer, with the weight W + scaling · B A where peft adds scaling · B A x to the output of its base layer.

    So an adapter cannot be passed by, neither by a fused function that is given the weight instead of calling the
    layer, nor by the hooks on its output that shape gradients in training. The price is a gradient of the size of W on
    the way to those of A and B, as when W itself is trained.
    """

    base_layer: nn.Linear

    @property
    def weight(self) -> Tensor:
        """(out, in). In training the adapter does not see some of the inputs, the same ones in all frames."""
        a, b = self.lora_A[ADAPTER].weight, self.lora_B[ADAPTER].weight
        seen = self.lora_dropout[ADAPTER](a.new_ones(1, a.shape[1]))
        return self.base_layer.weight + self.scaling[ADAPTER] * (b @ (a * seen))

    def forward(self, x: Tensor) -> Tensor:
        """The layer itself, with its hooks, at another weight."""
        return functional_call(self.base_layer, {"weight": self.weight}, (x,))
