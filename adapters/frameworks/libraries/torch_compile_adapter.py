"""`torch.compile` of a forward pass with its loss, and the gradients by `torch.autograd`: needs a C++ compiler."""

from typing import Any

import torch
from torch._dynamo import config as dynamo
from torch._inductor import config as inductor

from ..shared.tensors import Function, Structure, differentiate
from ..shared.torch_shared import TorchAdapter
from ..torch_func_adapter import make_squared_error


class TorchCompile(TorchAdapter):
    """Compiled once for a structure, which takes many seconds. k_i is the gradient with respect to zeros that are added
    to z_i.
    """

    name = "torch-compile"
    max_structures = 8
    backend = "inductor"

    def make_backpropagate(self, structure: Structure) -> Function:
        inductor.compile_threads = 1  # else it starts a process for each core
        dynamo.recompile_limit = 10_000  # every structure compiles the same code again
        squared_error = make_squared_error(self.functions(structure), structure.network.bias)
        compiled = torch.compile(squared_error, fullgraph=True, dynamic=False, backend=self.backend)

        def backpropagate(*given: Any) -> tuple:
            asked = given[:3]  # weights, biases and shifts; x and y follow
            for one in (one for some in asked for one in some):
                one.requires_grad_()
            E, answer = compiled(*given)
            return differentiate(lambda them: torch.autograd.grad(E, them), *asked), answer

        return backpropagate
