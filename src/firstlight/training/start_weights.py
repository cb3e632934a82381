"""Start a training from the weights of a trained model instead of random ones (transfer learning)."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from firstlight.data.images import ImageSet
from firstlight.errors import UsageError
from firstlight.networks import StagedNetwork
from firstlight.recipes.config import Recipe
from firstlight.runs.open_model import network_config_of, open_model, weights_digest
from firstlight.training.initialization import init_from_train_images, seeded_network

_HEAD = "head."


@dataclass(frozen=True)
class StartWeights:
    """The weights that a training started from.

    Args:
        model: Name of the model.
        sha256: Digest of its weights file.
        has_new_head: Whether the head is new, because the model has other classes.
    """

    model: str
    sha256: str
    has_new_head: bool

    def to_dict(self) -> dict[str, object]:
        """Return the entry "init" of `environment.json`."""
        return asdict(self)


def initialized_network(
    recipe: Recipe, train: ImageSet, *, has_checkpoint: bool = False
) -> tuple[StagedNetwork, StartWeights | None]:
    """Build the network of a recipe with the weights that its training starts from.

    Args:
        recipe: Network, seed, and the model to start from if there is one.
        train: Training images.
        has_checkpoint: Whether the caller loads a checkpoint afterwards, so that no model to start from is needed.

    Raises:
        UsageError: The model to start from has another architecture, or fewer stages than are to be frozen.
        RunError: There is no such model.
    """
    network, start_weights = seeded_network(len(train.class_names), recipe), None
    if recipe.init and not has_checkpoint:
        start_weights = load_start_weights(network, recipe, train.class_names)
    else:
        init_from_train_images(network, train)
    freeze_first_stages(network, recipe)
    return network, start_weights


def load_start_weights(network: StagedNetwork, recipe: Recipe, class_names: tuple[str, ...]) -> StartWeights:
    """Copy the weights of the model that the recipe names into a network, and log what was copied.

    The body is copied whole, with the statistics of batch norm and of the normalization: the weights were trained on
    images that were normalized by these values. The head is copied if both networks have the same classes, in any
    order; otherwise it keeps its random weights.

    Args:
        network: Network of the recipe; only its weights change.
        recipe: Recipe whose `init` names the model.
        class_names: Classes of the training images.

    Raises:
        UsageError: The model has another architecture.
        RunError: There is no such model, or its files are damaged.
    """
    source = open_model(recipe.init)
    theirs, ours = source.network.state_dict(), network.state_dict()
    if _shapes(theirs) != _shapes(ours):
        raise UsageError(_describe_mismatch(recipe, network_config_of(source).to_dict()))
    has_new_head = set(source.class_names) != set(class_names)
    copied = {name: value for name, value in theirs.items() if not name.startswith(_HEAD)}
    if not has_new_head:
        order = torch.tensor([source.class_names.index(name) for name in class_names])
        copied |= {name: value[order] for name, value in theirs.items() if name.startswith(_HEAD)}
    network.load_state_dict(ours | copied)
    head = (
        f"a new head for {len(class_names)} classes replaces its head for {len(source.class_names)}"
        if has_new_head
        else "its head is kept, because the classes are the same"
    )
    logging.getLogger("firstlight").info(f"starting from the weights of {source.description}: {head}")
    return StartWeights(recipe.init, weights_digest(source), has_new_head)


def freeze_first_stages(network: StagedNetwork, recipe: Recipe) -> None:
    """Turn off the gradients of the stages that the recipe freezes; their batch norm still adapts to the new images.

    Raises:
        UsageError: The network has fewer stages, or the recipe names no model whose weights they keep.
    """
    num_stages = recipe.init_frozen_stages
    if num_stages and not recipe.init:
        raise UsageError("init_frozen_stages freezes the weights of a model: name the model with init, too")
    if num_stages > len(network.stages):
        raise UsageError(
            f"init_frozen_stages is {num_stages}, but the network has {len(network.stages)} stages: "
            f"{', '.join(network.stages)}"
        )
    for name in network.stages[:num_stages]:
        stage: nn.Module = network.get_submodule(name)
        stage.requires_grad_(False)


def _shapes(state: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in state.items() if not name.startswith(_HEAD)}


def _describe_mismatch(recipe: Recipe, theirs: dict[str, object]) -> str:
    """Return the message about another architecture, with the options that choose the same one."""
    ours = recipe.network.to_dict()
    if theirs["name"] != ours["name"]:
        options = [f"--network.{name} {value}" for name, value in theirs.items()]
    else:
        options = [f"--network.{name} {value}" for name, value in theirs.items() if value != ours.get(name)]
    return (
        f"--init {recipe.init}: its network ({_words(theirs)}) is not that of recipe {recipe.name} ({_words(ours)}): "
        f"add {' '.join(options)}"
    )


def _words(network: dict[str, object]) -> str:
    return ", ".join([str(network["name"]), *(f"{name} {value}" for name, value in network.items() if name != "name")])
