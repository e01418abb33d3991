"""Equations of einsum that are those of a dense layer."""


def read_equation(equation: str, bias_axes: str | None) -> tuple[int, int] | None:
    """How many axes of x and of z are features, if an equation of einsum is that of a dense layer: the last axes of x
    meet the first of W, and the others of W come last in z. None if it is not. For example abc,cde->abde gives (1, 2).
    """
    factors, _, z = equation.replace(" ", "").partition("->")
    x, _, weight = factors.partition(",")
    inputs = "".join(axis for axis in weight if axis in x)
    outputs = weight[len(inputs) :]
    rows = x.removesuffix(inputs) if inputs else x
    is_dense = weight == inputs + outputs and x == rows + inputs and z == rows + outputs and inputs and outputs
    letters = (rows + weight).removeprefix("...")
    if not is_dense or len(set(letters)) != len(letters) or (bias_axes and sorted(bias_axes) != sorted(outputs)):
        return None
    return len(inputs), len(outputs)
