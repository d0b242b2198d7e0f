"""Builds all parts of a run from its configuration."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dfa_cli.config.instantiate import arguments_error, build
from dfa_cli.config.own_errors import described, is_own_class, returned
from dfa_cli.config.plugins import is_of_package
from dfa_cli.config.schema import projects
from dfa_cli.data.base import Data
from dfa_cli.devices.base import Cost, ProjectionDevice
from dfa_cli.errors import DfaError
from dfa_cli.machine.memory import shortage_as_sentence, too_little, total_bytes
from dfa_cli.models.base import Model, ModelShape
from dfa_cli.models.forward_state import generators
from dfa_cli.rules.base import KEEP, RECOMPUTE, CanRecompute, LearningRule, Stateful
from dfa_cli.seeding import generator, stream_seed
from dfa_cli.training import alignment
from dfa_cli.training.batches import Batches
from dfa_cli.training.optimizer import make_optimizer
from dfa_cli.training.threads import process_threads, threads_for
from dfa_cli.training.trace import Trace
from dfa_cli.training.weights import BestWeights

SMALLER_MODEL = "Choose a smaller model, such as model.hidden=[64,64]."
SMALLER_MATRIX = (
    "Choose device/medium=procedural or structured, which store no matrix, or a smaller model, such as "
    "model.hidden=[64,64]."
)


@dataclass(frozen=True)
class Experiment:
    """All parts of a run, ready to train.

    `device` is `None` for a rule that projects nothing. `validation` and `test` are row indices. `generators` holds
    the generator of the order of the rows, and those of the model by the names of the modules that draw from them.
    `best` holds the weights of the best epoch so far; it is `None` when the run saves those of the last one.
    `trace` looks at the steps of a run with classes of the user's own, and is `None` in other runs.
    """

    model: Model
    rule: LearningRule
    device: ProjectionDevice | None
    optimizer: torch.optim.Optimizer
    batches: Batches
    validation: Tensor
    test: Tensor
    generators: dict[str, torch.Generator]
    best: BestWeights | None
    trace: Trace | None
    in_one_process: ClassVar[bool] = True

    def gather_state(self) -> AbstractContextManager[None]:
        """Gather the state of the whole run, within the `with` block, in the process that writes the record."""
        return nullcontext()

    def report(self) -> dict[str, Any] | None:
        """Return what a parallel run has measured in its processes; `None` if there is nothing to report here."""
        return None

    def cost(self) -> Cost | None:
        """Return the cost of the projections so far, or `None` for a rule that projects nothing."""
        if self.device is None:
            return None
        cost = self.device.cost()
        if not isinstance(cost, Cost):
            raise DfaError(
                f"{described(type(self.device))}: cost returned {returned(cost)}. It must return Cost(rows=..., ...) "
                "of dfa_cli.devices: what all projections since prepare have cost."
            )
        return cost

    def epoch_cost(self) -> Cost | None:
        """Return the same at the end of an epoch, when all processes of a run call it."""
        return self.cost()

    def projection(self, cost: Cost | None, epochs: int) -> dict[str, Any] | None:
        """Return the section `projection` of the record after so many epochs, from the cost at their end."""
        if cost is None:
            return None
        section = asdict(cost)
        del section["warnings"]  # The record has them at its top level.
        return section | {"steps": epochs * len(self.batches)}

    def alignment(self, epoch: int, every: int | None) -> dict[str, float | None]:
        """Measure how well the rule's gradients align with the true ones, as columns of metrics.csv.

        The alignment is measured in every `every`-th epoch, and the columns are empty in the other epochs. With
        `every = None` there are no columns.
        """
        if every is None:
            return {}
        columns = dict.fromkeys(alignment.columns(self.model, self.rule))
        if epoch % every:
            return columns
        batch = self.batches.sample()
        return columns | alignment.measure(
            self.model, self.rule, self.device, batch, self.generators.values()
        )


def build_experiment(
    config: Mapping[str, Any], data: Data, choices: Mapping[str, str] | None = None
) -> Experiment:
    """Build the model, the rule, the device, the optimizer and the batches that the configuration names.

    `choices`: the option chosen of each group, as messages name them. Without them a message names the class.

    Each has its own stream of random numbers. The function also sets the number of torch's threads and the state of
    torch's global generator, both for the whole process.

    Raises `DfaError` for a class that cannot be found and for keys that it does not accept.
    """
    named = {group: f"{group}={name}" for group, name in (choices or {}).items()}
    for group in ("model", "rule", "optimizer"):
        named.setdefault(group, config[group]["_target_"])
    compute = torch.device(config["compute"])
    model, data = build_model(config, data, named["model"])
    order = generator(config["seed"], "order")
    device: ProjectionDevice = build(config["device"])
    rule: LearningRule = build(config["rule"])
    _require_methods(device, ProjectionDevice, ("prepare", "project", "cost"))
    _require_methods(rule, LearningRule, ("prepare", "backward"))
    _require_whole_state(device, rule)
    if config["activations"] != KEEP:
        _recompute_activations(rule, model, named)
    with shortage_as_sentence("The feedback matrix", SMALLER_MATRIX):
        rule.prepare(model, data.classes, device, compute)
    if not is_of_package(config["rule"]["_target_"]):
        _require_tensors(rule)
    try:
        optimizer = make_optimizer(
            build(config["optimizer"]), parameter_groups(model, config["weight_decay_on"])
        )
    except TypeError as error:
        raise arguments_error(config["optimizer"], error, given=1) from error
    if compute.type == "cpu" and not config.get("parallel"):  # else the parts lie in several memories
        _require_memory(model, rule, optimizer)
    used = device if projects(config) and model.widths else None
    batches = Batches(data, config["batch_size"], order)
    kinds = filter(is_own_class, {type(part) for part in (*model.modules(), rule, used, optimizer)})
    own = sorted(kinds, key=lambda kind: kind.__qualname__)
    return Experiment(
        model=model,
        rule=rule,
        device=used,
        optimizer=optimizer,
        batches=batches,
        validation=data.validation,
        test=data.test,
        generators={"order": order, **generators(model)},
        best=BestWeights() if config["weights"] == "best" else None,
        trace=Trace(model, own, len(batches)) if own else None,
    )


def build_model(config: Mapping[str, Any], data: Data, name: str) -> tuple[Model, Data]:
    """Build the model with its first weights. Return it with the data in the format in which it computes.

    `name`: what messages call the model. The function also sets the number of torch's threads and the state of torch's
    global generator, both for the whole process.
    """
    seed, compute = config["seed"], torch.device(config["compute"])
    # Until the model is there and its work can be counted. Another run of this process may have left another number.
    torch.set_num_threads(config["threads"] or process_threads())
    # Layers of other libraries draw from the global generator.
    torch.manual_seed(stream_seed(seed, "layers"))
    sizes = ModelShape(
        data.x.shape[1], data.classes, generator(seed, "weights"), generator(seed, "dropout", compute)
    )
    with shortage_as_sentence("The model", SMALLER_MODEL):
        model: Model = build(config["model"], sizes)
        _require_blocks(model, data.classes, name)
        model = model.to(compute)
    torch.set_num_threads(threads_for(config, model, data))
    if compute.type == "cuda":  # for the whole process, in which another run may have set it
        torch.set_float32_matmul_precision("high" if config["precision"] == "tf32" else "highest")
    if config["precision"] == "bf16":
        model.set_matmul_dtype(torch.bfloat16)
        if data.edge_index is None:
            # The input is cast once here, instead of for every batch.
            data = replace(data, x=data.x.to(torch.bfloat16))
    return model, data


def _require_whole_state(*parts: object) -> None:
    """Raise `DfaError` for a part whose state is saved and not restored, or the other way round (`Stateful`).

    A checkpoint leaves such a part out, so a resumed run would go on with other numbers.
    """
    for part in parts:
        lacks = [name for name in ("state_dict", "load_state_dict") if not hasattr(part, name)]
        if len(lacks) == 1:
            raise DfaError(
                f"{type(part).__name__} lacks the method {lacks[0]}. A resumed run needs both state_dict and "
                "load_state_dict to go on where it stopped."
            )


def _require_methods(part: object, interface: type, names: Iterable[str]) -> None:
    """Raise `DfaError` for a part that lacks a method of its interface, or has one that cannot be called so."""
    for name in names:
        arguments = list(inspect.signature(getattr(interface, name)).parameters)[1:]
        call, method = f"{name}({', '.join(arguments)})", getattr(part, name, None)
        if not callable(method):
            raise DfaError(f"{described(type(part))} has no method {name}; it is called as {call}.")
        if not _can_be_called(method, arguments):
            takes = f"{name}{inspect.signature(method)}"
            raise DfaError(f"{described(type(part))} has {takes}, and it is called as {call}.")


def _require_tensors(rule: LearningRule) -> None:
    """Raise `DfaError` for a rule whose state is not made of tensors, which a checkpoint could not hold."""
    state = rule.state_dict() if isinstance(rule, Stateful) else {}
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DfaError(
            f"{described(type(rule))}: state_dict must return a dictionary of tensors, which a checkpoint can hold. "
            "A number is put into one with torch.tensor(number)."
        )


def _require_memory(model: Model, rule: LearningRule, optimizer: torch.optim.Optimizer) -> None:
    """Raise `DfaError` for a model that cannot be trained in all the memory of this machine."""

    def size(module: nn.Module) -> int:
        return sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())

    trained = model.blocks[-1] if getattr(rule, "last_block_only", False) else model
    # A gradient for each parameter, and the two numbers that Adam keeps of it.
    needed = size(model) + size(trained) * (3 if isinstance(optimizer, torch.optim.Adam) else 1)
    total = total_bytes()
    if total is not None and needed > total:
        advice = f"{SMALLER_MODEL} Or divide it over several machines with parallel=pipeline."
        raise too_little("What the training keeps of the parameters", needed, total, advice)


def _require_blocks(model: Model, classes: int, name: str) -> None:
    """Raise `DfaError` for a model without a list of blocks, and for blocks that cannot be called or compared."""
    has_blocks = isinstance(getattr(model, "blocks", None), (nn.ModuleList, list)) and len(model.blocks)
    if not isinstance(model, Model) or not has_blocks:
        raise DfaError(
            f"{name} has no list `blocks`, which training needs: the outputs of its blocks, in order. Derive its class "
            "from dfa_cli.models.Model, and hand the blocks to its constructor: super().__init__(blocks)."
        )
    for number, block in enumerate(model.blocks, start=1):
        layer = getattr(block, "layer", None)
        if lacks := [one for one in ("layer", "width") if not hasattr(block, one)]:
            raise DfaError(
                f"{name}: block {number} is a {described(type(block))}, which has no {' and no '.join(lacks)}. A block "
                "is a layer with an activation: hand dfa_cli.models.Block(layer, width, activation) to the constructor "
                "of Model."
            )
        if layer is not None and not _can_be_called(layer.forward, (None, None)):
            raise DfaError(
                f"{name}: the layer {type(layer).__name__} of block {number} cannot be called as layer(h, graph). Put "
                "it into a layer with the method forward(self, h, graph); graph is None for data without edges."
            )
    width = getattr(model.blocks[-1], "width", classes)
    if width != classes:
        raise DfaError(
            f"{name}: the last block is {width} wide, and there are {classes} classes. It gives the logits, so its "
            "width must be sizes.classes."
        )


def _can_be_called(method: Callable[..., object], arguments: Sequence[object]) -> bool:
    try:
        inspect.signature(method).bind(*arguments)
    except TypeError:
        return False
    except ValueError:  # a method of C, which has no signature
        return True
    return True


def _recompute_activations(rule: LearningRule, model: Model, named: Mapping[str, str]) -> None:
    """Let the rule compute activations again. Raises `DfaError` when the rule cannot, or the model is no chain."""
    if not isinstance(rule, CanRecompute):
        raise DfaError(
            f"activations=recompute: {named['rule']} needs what all blocks have computed, and does not compute it "
            "again. Use activations=keep, or one of rule=dfa, drtp, shallow, bp."
        )
    if type(model).forward is not Model.forward:
        raise DfaError(
            f"activations=recompute: {named['model']} has a `forward` of its own, so it may do more than call its "
            "blocks one after another, and cannot be computed again block by block. Use activations=keep."
        )
    rule.activations = RECOMPUTE


def parameter_groups(model: Model, weight_decay_on: str) -> list[dict[str, Any]]:
    """Divide the parameters into the groups of the optimizer.

    With `weight_decay_on: hidden` the last block has no weight decay, as in Kipf & Welling (2017).
    """
    hidden = [parameter for block in model.blocks[:-1] for parameter in block.parameters()]
    last = list(model.blocks[-1].parameters())
    if weight_decay_on == "all":
        return [{"params": [*hidden, *last]}]
    return [{"params": hidden}, {"params": last, "weight_decay": 0.0}]
