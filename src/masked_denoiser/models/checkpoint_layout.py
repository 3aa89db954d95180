"""Weights in a checkpoint, wherever a trainer put them.

Trainers store the weights of a network under names of their own, such as `params_ema` (BasicSR), `state_dict`
(Lightning) or `net_g`, next to optimisers and other networks, and wrappers of torch prefix the names of all tensors
(`module.`, `_orig_mod.`). A denoiser is recognised by its first convolution, in any dictionary and after any prefix.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from masked_denoiser.errors import ModelError

#: Tensor by which a denoiser is recognised.
_FIRST_TENSOR = "conv_first.weight"

#: Words in names of weights that are averaged over the steps of a training.
_AVERAGED = re.compile(r"(?<![a-z])(ema|swa|avg|averaged?|shadow)(?![a-z])", re.IGNORECASE)

#: Entry that `torch.optim.swa_utils.AveragedModel` adds to the tensors of its network.
_AVERAGED_COUNT = "n_averaged"

#: Segments that wrappers insert into names of tensors: compilation, distribution, sharding, checkpointing.
_WRAPPERS = re.compile(
    r"(?:(?<=\.)|^)(?:(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.)+(?=[^.])"
)

#: Numbers of containers, and of tensors in each, that an error lists.
_LISTED = 4


@dataclass(frozen=True, eq=False)
class FoundWeights:
    """Weights of one network in a checkpoint.

    Attributes:
        tensors: by their names in the network.
        place: keys of the dictionaries that they are in, and their prefix: "state_dict / model."; "" for the top.
        averaged: whether they are averaged over the steps of the training.
        others: places of other weights in the same file.
    """

    tensors: dict[str, Tensor]
    place: str = ""
    averaged: bool = False
    others: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """Text such as ", averaged weights 'params_ema' (not 'params')"; "" for the only weights, at the top."""
        if not self.place and not self.others:
            return ""
        kind = "averaged weights" if self.averaged else "weights"
        others = f" (not {', '.join(map(repr, self.others))})" if self.others else ""
        return f", {kind} {self.place or 'at the top'!r}{others}"


def find_weights(content: Any, name: str, *, ema: bool = True) -> FoundWeights:
    """Return the weights of the denoiser in a checkpoint.

    Of several, the averaged ones are taken (the others if `ema` is false), then those in the outermost dictionary.

    Args:
        content: what `torch.save` wrote.
        name: of the file, for error messages.
        ema: whether averaged weights are preferred.

    Raises:
        ModelError: if there is no denoiser, listing what was found.
    """
    found = [weights for place, tensors in _tensor_dictionaries(content) for weights in _networks(place, tensors)]
    if not found:
        raise ModelError(f"{name} {_describe_contents(content)}")
    found.sort(key=lambda weights: weights.averaged != ema)
    chosen, *others = found
    places = tuple(weights.place or "at the top" for weights in others)
    return FoundWeights(chosen.tensors, chosen.place, chosen.averaged, places)


def _tensor_dictionaries(content: Any) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
    """Yield the keys and the tensors of each dictionary with named tensors, outermost first."""
    pending: list[tuple[tuple[str, ...], Any]] = [((), content)] if isinstance(content, dict | list | tuple) else []
    seen: set[int] = set()
    for place, value in pending:  # grows while it is read
        if id(value) in seen:
            continue
        seen.add(id(value))
        items = value.items() if isinstance(value, dict) else enumerate(value)
        pending += [((*place, str(key)), item) for key, item in items if isinstance(item, dict | list | tuple)]
        if isinstance(value, dict):
            tensors = {key: t.detach() for key, t in value.items() if isinstance(key, str) and isinstance(t, Tensor)}
            if tensors:
                yield place, tensors


def _networks(place: tuple[str, ...], tensors: Mapping[str, Tensor]) -> Iterator[FoundWeights]:
    """Yield the denoisers among the tensors of a dictionary, one for each prefix of the first tensor."""
    prefixes = [
        key.removesuffix(_FIRST_TENSOR) for key in tensors if key == _FIRST_TENSOR or key.endswith(f".{_FIRST_TENSOR}")
    ]
    for prefix in prefixes:
        inner = tuple(other for other in prefixes if other != prefix and other.startswith(prefix))
        own = {key: t for key, t in tensors.items() if key.startswith(prefix) and not (inner and key.startswith(inner))}
        named = " / ".join((*place, *([prefix] if prefix else [])))
        averaged = _AVERAGED.search(named) is not None or _AVERAGED_COUNT in tensors
        yield FoundWeights({_WRAPPERS.sub("", key.removeprefix(prefix)): t for key, t in own.items()}, named, averaged)


def _describe_contents(content: Any) -> str:
    """Return what a file without a denoiser holds, as the rest of a sentence."""
    dictionaries = list(_tensor_dictionaries(content))
    if not dictionaries:
        keys = f" with the keys {_listed(content, 6)}" if isinstance(content, dict) else ""
        kind = "dictionary" if isinstance(content, dict) else type(content).__name__
        return f"holds no tensors with names, but a {kind}{keys}; give the state_dict of a SwinIR denoiser"
    parts = [
        f"{repr(' / '.join(place)) if place else 'the top'} has {len(tensors)} tensors ({_listed(tensors, _LISTED)})"
        for place, tensors in dictionaries[:_LISTED]
    ]
    more = f", and {len(dictionaries) - _LISTED} more" if len(dictionaries) > _LISTED else ""
    return f"has no tensor {_FIRST_TENSOR!r}; it is not a SwinIR denoiser: {', '.join(parts)}{more}"


def _listed(names: Mapping[Any, Any], count: int) -> str:
    shown = ", ".join(repr(str(name)[:40]) for name in list(names)[:count])
    return shown + (" ..." if len(names) > count else "")
